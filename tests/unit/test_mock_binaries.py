"""Binaries of the mock: what two stars look like as one."""

from __future__ import annotations

import numpy as np
import pytest

from specdis.mock import gaia, observation
from specdis.mock.binaries import blended_magnitude, with_companions
from specdis.mock.galaxy import universe
from specdis.mock.settings import MockSettings
from specdis.mock.stars import main_sequence

Table = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def stars() -> Table:
    return universe(MockSettings())


def test_magnitudes_of_pairs() -> None:
    # Eq. 6 with its cubic law: a companion of mass ratio rho has rho^3 of the light
    rho = np.array([1.0, 0.8, 0.5, 0.1])
    pair = blended_magnitude(np.full(4, 5.0), 5.0 - 7.5 * np.log10(rho))
    np.testing.assert_allclose(5.0 - pair, 2.5 * np.log10(1 + rho**3))
    assert 5.0 - pair[0] == pytest.approx(0.7526, abs=1e-4)
    assert blended_magnitude(np.array([3.0]), np.array([np.nan]))[0] == 3.0
    assert blended_magnitude(np.array([6.0]), np.array([1.0]))[0] == pytest.approx(
        blended_magnitude(np.array([1.0]), np.array([6.0]))[0]
    )


def test_shares_of_binaries_and_mass_ratios(stars: Table) -> None:
    settings = MockSettings()
    ratio = stars["MASS_RATIO"][np.isfinite(stars["MASS_RATIO"])]
    # binomial shares of 10,000 and of 2,500 stars, 4 sigma
    assert len(ratio) / 10_000 == pytest.approx(settings.binary_fraction, abs=0.018)
    flat = (1 - settings.twin_fraction) * (1 - 0.95) / 0.9
    assert np.mean(ratio > 0.95) == pytest.approx(settings.twin_fraction + flat, abs=0.03)
    assert np.mean(ratio < 0.5) == pytest.approx((1 - settings.twin_fraction) * 0.4 / 0.9, abs=0.04)
    assert ratio.min() > 0.1
    assert ratio.max() < 1.0


def test_the_main_sequence_returns_the_stars_that_lie_on_it(stars: Table) -> None:
    dwarfs = (stars["LOGG"] > 4.4) & (stars["TEFF"] < 6000)
    again = main_sequence(*(stars[name][dwarfs] for name in ("FEH", "ALPHAFE", "AGE", "MASS")))
    # by bisection between the nodes of one isochrone: what interpolation leaves
    np.testing.assert_allclose(again["M_G"], stars["M_G_PRIMARY"][dwarfs], atol=0.01)
    np.testing.assert_allclose(again["TEFF"], stars["TEFF"][dwarfs], rtol=0.001)


def test_twins_on_the_main_sequence_are_0_75_mag_brighter_and_dwarf_companions_of_giants_do_not_show(
    stars: Table,
) -> None:
    gain = stars["M_G_PRIMARY"] - stars["M_G"]
    twins = (stars["MASS_RATIO"] > 0.98) & (stars["LOGG"] > 4.4)
    assert twins.sum() > 30
    assert np.median(gain[twins]) == pytest.approx(0.72, abs=0.04)
    giants = np.isfinite(stars["MASS_RATIO"]) & (stars["M_G_PRIMARY"] < 0)
    assert giants.sum() > 100
    assert gain[giants].max() < 0.1
    assert (gain[~np.isfinite(stars["MASS_RATIO"])] == 0).all()


def test_without_binaries_nothing_changes() -> None:
    alone = universe(MockSettings(stars=1000, binary_fraction=0.0))
    np.testing.assert_array_equal(alone["M_G"], alone["M_G_PRIMARY"])
    assert np.isnan(alone["M_G_COMPANION"]).all()
    pairs = universe(MockSettings(stars=1000))
    np.testing.assert_array_equal(alone["M_G"], pairs["M_G_PRIMARY"])


@pytest.fixture(scope="module")
def pairs() -> tuple[Table, Table]:
    """Return some binaries at rest without dust, and the same stars alone at the brightness of the pair."""
    dwarfs = universe(MockSettings(stars=3000, binary_fraction=0.0))
    chosen = np.flatnonzero((dwarfs["LOGG"] > 4.4) & (dwarfs["TEFF"] < 6000) & (dwarfs["TEFF"] > 4800))[:50]
    settings = MockSettings(binary_fraction=1.0, twin_fraction=0.0)
    single = {name: values[chosen] for name, values in dwarfs.items()} | {"EBV_IN_FRONT": np.zeros(50)}
    both = with_companions({**single, "M_G": single["M_G_PRIMARY"]}, settings)
    for table in (single, both):
        table["PHOT_G_MEAN_MAG"] = np.full(50, 15.0)
    return both, single


def test_a_pair_of_equal_stars_has_the_spectrum_of_one(pairs: tuple[Table, Table]) -> None:
    _, single = pairs
    equal = {f"{name}_COMPANION": single[source] for name, source in (("TEFF", "TEFF"), ("LOGG", "LOGG"))}
    equal |= {"M_G_COMPANION": single["M_G_PRIMARY"], "MASS_RATIO": np.ones(50)}
    equal["M_G"] = blended_magnitude(single["M_G_PRIMARY"], single["M_G_PRIMARY"])
    for arm in ("B", "R"):
        alone, pair = (observation.model_flux(table)[arm] for table in (single, {**single, **equal}))
        np.testing.assert_allclose(pair, alone, rtol=1e-4)


def test_a_cooler_companion_reddens_its_star(pairs: tuple[Table, Table]) -> None:
    both, single = pairs
    cooler = (both["MASS_RATIO"] > 0.5) & (both["MASS_RATIO"] < 0.8)
    assert cooler.sum() > 5
    colour = [observation.model_flux(t)["B"].mean(1) / observation.model_flux(t)["R"].mean(1) for t in (both, single)]
    assert (colour[0] < colour[1])[cooler].all()
    bp_rp = [gaia.observed_by_gaia(table, MockSettings())["BP_RP"] for table in (both, single)]
    assert (bp_rp[0] > bp_rp[1])[cooler].mean() > 0.8  # errors of colours are some mmag


def test_near_binaries_have_a_raised_ruwe_more_often(stars: Table) -> None:
    high = gaia.observed_by_gaia(stars, MockSettings())["RUWE"] > 1.2
    binary, near = np.isfinite(stars["MASS_RATIO"]), stars["DIST"] < 2.0
    # shares of 1,000 binaries and of thousands of single stars, 4 sigma
    assert high[binary & near].mean() == pytest.approx(0.25, abs=0.06)
    assert high[~binary].mean() == pytest.approx(0.04, abs=0.015)
