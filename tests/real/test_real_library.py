"""A model of configs/library.toml on spectra of another telescope: LAMOST's, that nobody could train on.

A cheap version: fewer components, epochs, networks and copies, in smaller batches. The numbers of the whole one
are in docs/library-model.md.
"""

from __future__ import annotations

import fitsio
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

import specdis
from real_data import REAL, needs_real_data, run_of
from specdis.catalogue import read_catalogue, verify_catalogue
from specdis.flags import Flag
from specdis.verbs.predict import predict_files

CHEAP = (
    "components.n_components=40",
    "training.batch=64",
    "training.epochs=25",
    "training.n_seeds=1",
    "training.noisy_copies=3",
    "distances.n_draws=2",
)
MAIN_SEQUENCE = ((3850, 8.10), (4440, 6.85), (5280, 5.55), (5930, 4.33), (6550, 3.26), (7220, 2.51), (8600, 1.69))
"""Teff and M_G of dwarf stars (Pecaut & Mamajek 2013)."""

pytestmark = [
    pytest.mark.slow,
    needs_real_data,
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Return the folder of a trained model."""
    directory = tmp_path_factory.mktemp("library") / "run"
    run_of("library", directory, CHEAP, last="model")
    return directory / "model"


def test_dwarf_stars_of_lamost_lie_on_the_main_sequence(model, tmp_path):
    """Without copies for other instruments they lie 1.5 mag above it."""
    predict_files(model, [REAL / "lamost.fits"], tmp_path / "lamost.fits")
    assert verify_catalogue(tmp_path / "lamost.fits").good
    stars = read_catalogue(tmp_path / "lamost.fits")
    magnitude, error, teff, logg, snr = (
        np.ma.filled(np.ma.asarray(stars[name], float), np.nan)
        for name in ("M_G_NN", "M_G_NN_ERR", "TEFF", "LOGG", "SN")
    )
    use = (logg > 4) & (snr > 10)
    assert use.sum() >= 15
    offset = (magnitude - np.interp(teff, *zip(*MAIN_SEQUENCE, strict=True)))[use]
    assert abs(np.median(offset)) < 0.5
    assert np.mean(np.abs(offset) < np.hypot(error[use], 0.3)) > 0.5
    flagged = (stars["FLAGS"][use] & Flag.OUTSIDE_DOMAIN) != 0
    assert flagged.mean() < 0.3


def test_spectra_of_far_lower_resolution_are_flagged(model):
    """Copies are blurred by up to 4 A: the model knows lines of that width, and none of 15 A."""
    with fitsio.FITS(str(REAL / "miles.fits")) as file:
        wavelength, stars = file["WAVELENGTH"].read(), file["STARS"].read()
        rows = np.flatnonzero(stars["USE"] & (stars["LOGG"] > 3.8))[:40]
        flux = file["FLUX"].read()[rows].astype(float)
    loaded = specdis.load_model(model)

    def flagged(fwhm):
        seen = gaussian_filter1d(flux, fwhm / 2.355 / np.median(np.diff(wavelength)), axis=1)
        found = loaded.predict(wavelength, seen, ivar=(50 / seen) ** 2, medium="air", frame="rest")
        return np.mean((np.asarray(found["FLAGS"]) & Flag.OUTSIDE_DOMAIN) != 0)

    assert flagged(3.0) < 0.2
    assert flagged(15.0) > 0.9
