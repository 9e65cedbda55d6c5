"""The mock's spectra: lines at their places, of the right strength, and moving with velocity."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdis.arrays import Bool, Float64
from specdis.errors import InputError
from specdis.mock.atmospheres import load_grid, spectra

WAVELENGTH = np.arange(3600.0, 7600.0, 0.25)
SUN = (5772.0, 4.44, 0.0, 0.0)


def spectrum(teff: float, logg: float, feh: float = 0.0, alphafe: float = 0.0) -> Float64:
    return spectra(*(np.array([value]) for value in (teff, logg, feh, alphafe)), WAVELENGTH)[0].astype(float)


def minimum(flux: Float64, near: float) -> float:
    """Wavelength of the deepest point within 3 A, by a parabola through three pixels."""
    inside = np.flatnonzero(np.abs(WAVELENGTH - near) < 3.0)
    deepest = inside[np.argmin(flux[inside])]
    before, at, after = flux[deepest - 1 : deepest + 2]
    return float(WAVELENGTH[deepest] + 0.125 * (before - after) / (before - 2.0 * at + after))


def equivalent_width(flux: Float64, line: tuple[float, float], *sides: tuple[float, float]) -> float:
    """Equivalent width in Angstrom under a line drawn through the upper envelope of two windows."""
    level = [np.percentile(flux[between(*side)], 95) for side in sides]
    inside = between(*line)
    continuum = np.interp(WAVELENGTH[inside], np.mean(sides, axis=1), level)
    return float((1.0 - flux[inside] / continuum).sum() * 0.25)


def between(low: float, high: float) -> Bool:
    return (low < WAVELENGTH) & (high > WAVELENGTH)


def h_beta(flux: Float64) -> float:
    return equivalent_width(flux, (4780, 4950), (4750, 4780), (4950, 4980))


def mg_b(flux: Float64) -> float:
    return equivalent_width(flux, (5162, 5192), (5100, 5155), (5195, 5240))


def sodium_d(flux: Float64) -> float:
    return equivalent_width(flux, (5888, 5902), (5868, 5886), (5904, 5915))


@pytest.mark.parametrize("rest", [4341.69, 4862.69, 6564.61])
def test_balmer_lines_of_a_hot_star_stand_at_their_vacuum_wavelengths(rest: float) -> None:
    # 0.1 A is 6 km/s at H-beta; air wavelengths are 1.2 to 1.8 A shorter.
    assert minimum(spectrum(9000, 4.0), rest) == pytest.approx(rest, abs=0.1)


@pytest.mark.parametrize("rest", [3934.77, 3969.59, 4227.92, 5174.13, 5185.05, 5891.58, 5897.56])
def test_calcium_magnesium_and_sodium_lines_stand_at_their_vacuum_wavelengths(rest: float) -> None:
    # Blends move a minimum by up to a fifth of the 1.8 A resolution.
    assert minimum(spectrum(5000, 4.5), rest) == pytest.approx(rest, abs=0.2)


def test_equivalent_widths_agree_with_the_sun_and_vega() -> None:
    """Moore et al. (1966): H-alpha 4.0 A, Na D 1.33 A, here with weak blends; Vega's H-beta is about 15 A."""
    sun = spectrum(*SUN)
    assert equivalent_width(sun, (6545, 6585), (6500, 6540), (6590, 6630)) == pytest.approx(4.0, rel=0.15)
    assert sodium_d(sun) == pytest.approx(1.33, rel=0.2)
    assert h_beta(spectrum(9600, 3.95, -0.5)) == pytest.approx(15.0, rel=0.1)


def test_lines_follow_temperature_metallicity_and_gravity() -> None:
    assert h_beta(spectrum(9000, 4.0)) > 1.3 * h_beta(spectrum(6000, 4.0))
    assert mg_b(spectrum(5500, 4.0, -2.0)) < 0.5 * mg_b(spectrum(5500, 4.0, 0.0))
    assert mg_b(spectrum(5500, 4.0, -1.0, 0.4)) > 1.1 * mg_b(spectrum(5500, 4.0, -1.0, 0.0))
    assert mg_b(spectrum(4500, 4.6)) > 1.3 * mg_b(spectrum(4500, 1.5))
    # Balmer lines of A stars are pressure-broadened: dwarfs against horizontal-branch stars.
    assert h_beta(spectrum(9000, 4.2)) > 1.15 * h_beta(spectrum(9000, 3.2))


def test_hotter_stars_are_bluer() -> None:
    teff = np.geomspace(4000, 12_000, 40)  # cooler stars lose red flux to TiO
    same = np.ones_like(teff)
    flux = spectra(teff, 4.0 * same, -0.5 * same, 0.2 * same, np.array([4020.0, 7000.0]))
    assert (np.diff(flux[:, 0] / flux[:, 1]) > 0).all()


def test_flux_is_normalised_near_5500() -> None:
    generator = np.random.default_rng(0)
    uniform = generator.uniform((3500, 0, -3, 0), (12_000, 5, 0.5, 0.4), (50, 4)).T
    flux = spectra(*uniform, np.arange(5450.0, 5550.0, 0.1))
    assert flux.dtype == np.float32
    # The grid's own pixels are uniform in the logarithm; components are rounded to 2e-4 of ln(flux).
    np.testing.assert_allclose(np.exp(np.log(flux).mean(axis=1)), 1.0, atol=5e-3)


@settings(max_examples=30, deadline=None)
@given(velocity=st.floats(-900, 900), teff=st.floats(3500, 12_000))
def test_velocity_moves_lines_by_the_doppler_factor(velocity: float, teff: float) -> None:
    star = [np.array([value]) for value in (teff, 3.5, -0.5, 0.1)]
    wavelength = np.arange(3620.0, 7620.0, 0.8)
    moved = spectra(*star, wavelength, np.array([velocity]))
    at_rest = spectra(*star, wavelength / (1.0 + velocity / 299_792.458))
    np.testing.assert_allclose(moved, at_rest, rtol=2e-3)


def test_a_star_does_not_depend_on_its_neighbours() -> None:
    generator = np.random.default_rng(1)
    many = generator.uniform((3500, 0, -3, 0, -400), (12_000, 5, 0.5, 0.4, 400), (150, 5)).T
    wavelength = np.arange(3700.0, 5000.0, 0.8)
    whole = spectra(*many[:4], wavelength, many[4])
    alone = spectra(*many[:4, 100:101], wavelength, many[4, 100:101])
    np.testing.assert_allclose(whole[100:101], alone, rtol=1e-4)


def test_parameters_beyond_the_grid_are_clipped() -> None:
    np.testing.assert_array_equal(spectrum(3000, -1, 1, 0.9), spectrum(3500, 0, 0.5, 0.4))
    np.testing.assert_array_equal(spectrum(20_000, 1, -4, -0.2), spectrum(12_000, 2.5, -3, 0.0))


def test_no_stars_give_no_spectra() -> None:
    assert spectra(*np.empty((4, 0)), WAVELENGTH, np.empty(0)).shape == (0, len(WAVELENGTH))


def test_wavelengths_beyond_the_grid_and_missing_parameters_are_errors() -> None:
    star = [np.array([value]) for value in SUN]
    with pytest.raises(InputError, match="3550 to 7678 Angstrom"):
        spectra(*star, np.array([5000.0, 9000.0]))
    with pytest.raises(InputError, match="at rest"):
        spectra(*star, np.array([3600.0]), np.array([8000.0]))
    with pytest.raises(InputError, match="NaN"):
        spectra(star[0], np.array([np.nan]), *star[2:], WAVELENGTH)


def test_the_grid_is_small_and_smooth_in_its_parameters() -> None:
    assert len(files("specdis").joinpath("data/spectra_grid.npz").read_bytes()) < 1_000_000
    teff = np.linspace(3500, 12_000, 2000)
    same = np.ones_like(teff)
    coefficients = load_grid().coefficients(teff, 4.0 * same, -0.3 * same, 0.1 * same)
    # A spline has no corners: second differences stay near those of their neighbours.
    bend = np.diff(coefficients, n=2, axis=0)
    assert np.abs(np.diff(bend, axis=0)).max() < 0.2 * np.abs(bend).max()
