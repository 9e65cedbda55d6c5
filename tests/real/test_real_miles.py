"""The MILES stars from file to catalogue, and LAMOST spectra predicted by what was learned from them.

A cheap version of configs/miles.toml: a fifth of the components, a fourth of the epochs and networks. The numbers
of the whole one, and how its hyper-parameters were chosen, are in docs/decisions.
"""

from __future__ import annotations

import logging

import fitsio
import numpy as np
import pytest

from real_data import REAL, needs_real_data, run_of
from specdis.catalogue import read_catalogue, verify_catalogue
from specdis.flags import DESCRIPTIONS, Flag
from specdis.statistics import robust_scatter
from specdis.verbs.predict import predict_files

CHEAP = ("components.n_components=20", "training.epochs=40", "training.n_seeds=2", "distances.n_draws=2")

pytestmark = [
    pytest.mark.slow,
    needs_real_data,
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return the directory of a finished run."""
    directory = tmp_path_factory.mktemp("miles") / "run"
    run_of("miles", directory, CHEAP, last="validation")
    return directory


@pytest.fixture(scope="module")
def stars():
    """Return the 827 stars with a parallax."""
    rows = fitsio.read(REAL / "miles.fits", ext="STARS")
    return rows[rows["USE"]]


def columns(catalogue, stars, *names):
    """Return columns of the catalogue for these stars, NaN where they are missing."""
    _, ours, theirs = np.intersect1d(stars["SOURCE_ID"], catalogue["SOURCE_ID"], return_indices=True)
    assert len(ours) == len(stars)
    order = theirs[np.argsort(ours)]
    return [np.ma.filled(np.ma.asarray(catalogue[name], float), np.nan)[order] for name in names]


def test_the_catalogue_is_good_and_holds_out_every_star(finished, stars):
    assert verify_catalogue(finished).good, verify_catalogue(finished).problems
    catalogue = read_catalogue(finished)
    assert len(stars) == 827
    (held_out,) = columns(catalogue, stars, "HELD_OUT")
    assert held_out.all()
    assert len(catalogue) == 984  # the others too, flagged


def test_magnitudes_agree_with_hipparcos(finished, stars):
    """The stars with a parallax S/N above 10, against G_0 and parallax, A_G being about 2.6 E(B-V)."""
    (magnitude,) = columns(read_catalogue(finished), stars, "M_G_NN")
    good = stars["PARALLAX"] > 10 * stars["PARALLAX_ERROR"]
    assert good.sum() == 630
    chosen = stars[good]
    intrinsic = chosen["PHOT_G_MEAN_MAG"] - 2.6 * chosen["EBV"]
    residual = magnitude[good] - (intrinsic + 5 * np.log10(chosen["PARALLAX"] / 100))
    residual = residual[np.isfinite(residual)]
    assert len(residual) >= 620
    assert abs(np.median(residual)) <= 0.15
    assert robust_scatter(residual) < 0.45


def test_distances_agree_with_gaia(finished, stars):
    distance, error = columns(read_catalogue(finished), stars, "DIST", "DISTERR")
    ratio = distance * stars["PARALLAX_DR3"]
    ratio = ratio[np.isfinite(ratio)]
    assert len(ratio) > 300
    assert abs(np.log(np.median(ratio))) < np.log(1.10)
    assert np.isfinite(error).mean() > 0.95


def test_lamost_gets_magnitudes_and_is_told_what_is_missing(finished, tmp_path, caplog):
    caplog.set_level(logging.INFO, "specdis")
    predict_files(finished / "model", [REAL / "lamost.fits"], tmp_path / "lamost.fits")
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert verify_catalogue(tmp_path / "lamost.fits").good
    catalogue = read_catalogue(tmp_path / "lamost.fits")
    assert len(catalogue) == 25
    magnitude, distance = (np.ma.filled(np.ma.asarray(catalogue[n], float), np.nan) for n in ("M_G_NN", "DIST"))
    assert np.isfinite(magnitude).sum() >= 24
    assert np.isnan(distance).all()
    assert ((catalogue["FLAGS"] & Flag.NO_MAGNITUDE) != 0).all()
    assert f"25 of 25 stars: {DESCRIPTIONS[Flag.NO_MAGNITUDE]}" in said
    assert "% of the wavelengths of arm A are not covered" in said  # LAMOST begins at 3700 A
    assert "native pixels of 1.21 A in arm A, trained on 0.90 A" in said
    giants = np.ma.filled(np.ma.asarray(catalogue["LOGG"], float), np.nan) < 3.5
    assert np.nanmedian(magnitude[giants]) < np.nanmedian(magnitude[~giants])
