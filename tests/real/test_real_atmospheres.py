"""The mock's spectra against real ones: MILES stars, each at its own published parameters."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d, uniform_filter1d

from real_data import REAL, needs_real_data
from specdis.arrays import Float, Float64
from specdis.mock.atmospheres import load_grid, spectra
from specdis.surveys import open_file
from specdis.surveys.table import ARM

pytestmark = needs_real_data

STEP = 0.9  # Angstrom per pixel of MILES
RESOLUTION = 2.5  # FWHM of MILES in Angstrom


def lines(flux: Float) -> Float:
    """Flux over its running mean of 250 A, less its own mean: what the pipeline feeds to the components."""
    continuum = uniform_filter1d(flux, round(250 / STEP), axis=1, mode="nearest")
    normalised = flux / continuum
    return normalised - normalised.mean(axis=1, keepdims=True)


class Comparison(NamedTuple):
    """Per star: Teff, correlation of real with mock lines, the same with a mock hotter by 10 %, ratio of their rms."""

    teff: Float64
    correlation: Float64
    correlation_hotter: Float64
    contrast: Float64


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    survey = open_file(REAL / "miles.fits")
    [stars] = survey.stars()
    [real] = survey.spectra(stars)
    arm = real.arms[ARM]
    teff, logg, feh = (np.asarray(stars[name], dtype=float) for name in ("TEFF", "LOGG", "FEH"))
    inside = (arm.wavelength > 3650) & (arm.wavelength < 7350)
    known = np.isfinite(teff + logg + feh) & (teff > 3400) & (teff < 12_300) & (feh > -3.1)
    use = known & (arm.flux[:, inside] > 0).all(axis=1)
    teff, logg, feh = teff[use], logg[use], feh[use]
    observed = lines(arm.flux[use][:, inside])

    def mock(teff: Float64) -> Float:
        flux = spectra(teff, logg, feh, np.clip(-0.4 * feh, 0.0, 0.4), arm.wavelength[inside])
        sigma = np.sqrt(RESOLUTION**2 - load_grid().resolution ** 2) / np.sqrt(8 * np.log(2)) / STEP
        return lines(gaussian_filter1d(flux, sigma, axis=1, mode="nearest"))

    def correlation(one: Float, other: Float) -> Float64:
        return (one * other).mean(axis=1) / (one.std(axis=1) * other.std(axis=1))

    own, hotter = mock(teff), mock(1.1 * teff)
    contrast = own.std(axis=1) / observed.std(axis=1)
    return Comparison(teff, correlation(observed, own), correlation(observed, hotter), contrast)


@pytest.mark.parametrize(
    ("low", "high", "correlation", "contrast"),
    [
        (3400, 4500, 0.80, (0.9, 1.2)),
        (4500, 5500, 0.86, (0.9, 1.1)),
        (5500, 6500, 0.93, (0.9, 1.1)),
        (6500, 8000, 0.95, (0.8, 1.1)),
        (8000, 12_300, 0.97, (0.8, 1.1)),
    ],
)
def test_mock_spectra_correlate_with_real_stars(
    comparison: Comparison, low: float, high: float, correlation: float, contrast: tuple[float, float]
) -> None:
    """Bounds a little below the medians measured when the grid was made (tools/spectra_grid/README.md)."""
    here = (comparison.teff >= low) & (comparison.teff < high)
    assert here.sum() > 60
    assert np.median(comparison.correlation[here]) > correlation
    assert contrast[0] < np.median(comparison.contrast[here]) < contrast[1]


def test_mock_spectra_of_the_right_temperature_fit_better(comparison: Comparison) -> None:
    # Parameters of single stars are uncertain by 2-3 %, and metallicity makes up for part of a wrong temperature.
    assert np.mean(comparison.correlation > comparison.correlation_hotter) > 0.8
