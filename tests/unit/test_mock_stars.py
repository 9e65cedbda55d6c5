"""The mock's stars: magnitudes, gravities and populations."""

from __future__ import annotations

import numpy as np
import pytest

from specdis.mock.draws import Draws
from specdis.mock.stars import (
    TEFF_RANGE,
    Population,
    bolometric_correction,
    isochrones,
    population,
    surface_gravity,
)


def _old_halo(points: int = 20_000) -> Population:
    draws = Draws(3, (np.arange(points),))
    return population(np.full(points, -1.5), np.full(points, 0.3), np.full(points, 12.0), draws)


def test_the_sun_has_its_own_gravity_and_magnitude() -> None:
    assert surface_gravity(np.ones(1), np.zeros(1), np.array([5772.0]))[0] == pytest.approx(4.438)
    # M_G of the Sun is 4.67 (Casagrande & VandenBerg 2018); the table is good to 0.03 mag
    assert 4.74 - bolometric_correction(np.array([5772.0]))[0] == pytest.approx(4.67, abs=0.03)


def test_the_sun_lies_on_the_isochrones() -> None:
    tracks = isochrones()
    node = np.linspace(0, 59, 500)
    log_luminosity, teff, mass, _ = tracks.at(np.zeros(500), np.full(500, 4.57), node)
    # the analytic tracks are good to 5 % in L and 2 % in Teff; ages between the isochrones add as much again
    assert np.interp(1.0, mass, log_luminosity) == pytest.approx(0.0, abs=0.06)
    assert np.interp(1.0, mass, teff) == pytest.approx(5772.0, abs=120.0)


def test_the_tip_of_the_giant_branch_ends_at_its_known_magnitude() -> None:
    halo = _old_halo()
    # M_I of the tip is -4.05, which with G - I of 0.8 to 1.0 is M_G = -3.2; 0.5 mag for the mass and abundance
    assert halo.columns["M_G"].min() == pytest.approx(-3.2, abs=0.5)


def test_metal_poor_giants_reach_the_tip_at_any_metallicity() -> None:
    draws = Draws(3, (np.arange(20_000),))
    for feh in (-2.5, -2.0, -1.2):
        tip = population(np.full(20_000, feh), np.full(20_000, 0.3), np.full(20_000, 12.0), draws).columns["M_G"].min()
        # M_I = -4.05 at any [Fe/H] below -1, with G - I of 0.4 to 0.9 of giants of these temperatures
        assert -3.9 < tip < -3.0


def test_giants_are_the_cooler_the_more_metals_they_have() -> None:
    """The formula of the giant branch holds at the metallicities to which it was fitted, and not between them."""
    tracks = isochrones()
    branch = slice(tracks.first_node[2], tracks.first_node[3])
    for age in np.flatnonzero(tracks.age > 5.0):
        for log_luminosity in (1.5, 2.0, 2.5):
            teff = [10 ** np.interp(log_luminosity, *grid[age, branch, :2].T) for grid in tracks.grid]
            assert (np.diff(teff) < 0).all()


def test_metal_poor_giants_are_as_hot_as_those_of_other_models() -> None:
    tracks = isochrones()
    node = np.arange(tracks.first_node[2], tracks.first_node[3])
    log_luminosity, teff, _, _ = tracks.at(np.full(len(node), -1.0), np.full(len(node), 10.0), node)
    # MIST 1.2 (Choi et al. 2016), [Fe/H] = -1 and 10 Gyr: models differ by some 100 K
    expected = {1.5: 4983.0, 2.0: 4701.0, 2.5: 4370.0, 3.0: 3994.0}
    np.testing.assert_allclose(np.interp(list(expected), log_luminosity, teff), list(expected.values()), atol=120.0)


def test_gravity_follows_from_mass_luminosity_and_temperature() -> None:
    columns = _old_halo().columns
    log_luminosity = -0.4 * (columns["M_G"] + bolometric_correction(columns["TEFF"]) - 4.74)
    np.testing.assert_allclose(surface_gravity(columns["MASS"], log_luminosity, columns["TEFF"]), columns["LOGG"])


def test_a_spectrum_fixes_the_magnitude_up_to_the_mass() -> None:
    columns = _old_halo().columns
    giants = (columns["LOGG"] < 3.5) & (columns["TEFF"] < 5600)
    design = np.stack([columns["LOGG"], np.log10(columns["TEFF"]), np.ones(len(giants))], axis=1)[giants]
    magnitude = columns["M_G"][giants] + bolometric_correction(columns["TEFF"][giants])
    residual = magnitude - design @ np.linalg.lstsq(design, magnitude, rcond=None)[0]
    assert residual.std() < 0.15


def test_the_horizontal_branch_of_old_metal_poor_stars_is_blue_and_red_with_a_gap() -> None:
    columns = _old_halo().columns
    branch = (columns["M_G"] > -0.5) & (columns["M_G"] < 1.5) & (columns["TEFF"] > 5300)
    blue = branch & (columns["TEFF"] > 7300)
    gap = branch & (columns["TEFF"] > 6300) & (columns["TEFF"] < 7300)
    assert blue.sum() > 500
    assert gap.sum() < 0.02 * blue.sum()
    # M_V of blue horizontal branch stars is 0.4 to 0.8 for most of their life, and their log g 2.9 to 3.6
    assert np.median(columns["M_G"][blue]) == pytest.approx(0.6, abs=0.2)
    assert np.median(columns["LOGG"][blue]) == pytest.approx(3.3, abs=0.3)


def test_dwarfs_outnumber_giants_as_they_live_longer() -> None:
    halo = _old_halo()
    share = halo.number[np.searchsorted(halo.columns["M_G"], 3.0)]
    # subgiants, giants and horizontal branch: well below 2 % of the stars down to the coolest with model spectra
    assert 0.001 < share < 0.03
    assert (np.diff(halo.columns["M_G"]) >= 0).all()
    assert halo.columns["TEFF"].min() > TEFF_RANGE[0]
    assert halo.columns["TEFF"].max() < TEFF_RANGE[1]


def test_drawing_inverts_counting() -> None:
    halo = _old_halo()
    share = np.linspace(0.0005, 0.9995, 1001)
    magnitude = halo.columns["M_G"][halo.draw(share)]
    assert (halo.brighter(magnitude) <= share).all()
    assert (halo.brighter(np.nextafter(magnitude, np.inf)) > share).all()


def test_masses_follow_the_kroupa_function() -> None:
    node = np.arange(60)
    _, _, mass, number = isochrones().at(np.zeros(60), np.full(60, 9.0), node)
    # integrals of 2 m^-1.3 from 0.1 to 0.5 and of m^-2.3 from 0.5 to 0.8 solar masses, by hand: 5.095 and 0.866
    low, high = 20 / 3 * (0.1**-0.3 - 0.5**-0.3), (0.5**-1.3 - 0.8**-1.3) / 1.3
    share = np.cumsum(number) - number / 2  # each node stands for half a step of mass on either side
    below, above = np.interp([0.5, 0.8], mass, share)
    # the trapezoidal rule on sixty nodes of a steep function
    assert (above - below) / high == pytest.approx(1.0, abs=0.02)
    assert (below - share[0]) / low == pytest.approx(1.0, abs=0.03)
