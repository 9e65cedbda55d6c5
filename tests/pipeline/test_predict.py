"""The verb `predict`: a model on files it has never seen, and what it says of what it cannot give."""

from __future__ import annotations

import logging
import shutil

import fitsio
import numpy as np
import pytest

import desi_files
import table_files
import tiny_run
from specdis import load_model
from specdis.catalogue import read_catalogue, verify
from specdis.errors import InputError
from specdis.flags import DESCRIPTIONS, Flag
from specdis.pipeline.predict import predict_files
from specdis.statistics import robust_scatter

STARS = 80


def column(table, name):
    return np.ma.filled(np.ma.asarray(table[name], float), np.nan)


@pytest.fixture(scope="module")
def table_model(compiled, tmp_path_factory):
    """Return a model of a table of 200 stars."""
    folder = tmp_path_factory.mktemp("table")
    config = table_files.write_config(table_files.write(folder / "spectra.fits", table_files.table(200)))
    tiny_run.start(config, folder / "run", last="distances")
    return folder / "run" / "model"


@pytest.fixture
def said(caplog):
    """Return a function that gives all that was logged."""
    caplog.set_level(logging.INFO, "specdis")
    return lambda: "\n".join(record.getMessage() for record in caplog.records)


@pytest.fixture(scope="module")
def coadd(config, tmp_path_factory):
    """Return a coadd of the mock by itself, with the velocities that DESI puts beside it."""
    path = next((config.parent / "survey" / "healpix").glob("main/bright/*/*/coadd-*.fits"))
    alone = shutil.copy(path, tmp_path_factory.mktemp("coadd") / path.name)
    with fitsio.FITS(config.parent / "survey" / "mwsall-pix-mock.fits") as file:
        rows = file["RVTAB"].read(columns=["TARGETID", "VRAD"])
    rows = rows[np.isin(rows["TARGETID"], fitsio.read(path, ext="FIBERMAP")["TARGETID"])]
    desi_files.write(alone.with_name(f"rvtab_{alone.name}"), desi_files.rvtab(rows["TARGETID"], rows["VRAD"]))
    return alone


def test_a_table_gets_a_good_catalogue_with_all_its_rows(table_model, tmp_path, said):
    path = table_files.write(tmp_path / "new.fits", table_files.table(STARS, seed=2))
    predict_files(table_model, [path], tmp_path / "out.fits")
    assert verify(tmp_path / "out.fits").good, verify(tmp_path / "out.fits").problems
    found = read_catalogue(tmp_path / "out.fits")
    assert len(found) == STARS
    assert np.isfinite(column(found, "DIST")).all()
    assert np.isfinite(column(found, "DISTERR")).all()
    assert found["HELD_OUT"].all()
    assert "differ" not in said()
    predict_files(table_model, [path], tmp_path / "out.parquet")
    assert verify(tmp_path / "out.parquet").good
    np.testing.assert_array_equal(column(read_catalogue(tmp_path / "out.parquet"), "DISTERR"), column(found, "DISTERR"))


def test_a_table_gets_what_its_arrays_get(table_model, tmp_path):
    """Labels agree to the last digit; errors come from other draws, because plain arrays have other identifiers."""
    hdus = table_files.table(STARS, seed=2)
    predict_files(table_model, [table_files.write(tmp_path / "new.fits", hdus)], tmp_path / "out.fits")
    stars = hdus["STARS"]
    arrays = load_model(table_model).predict(
        hdus["WAVELENGTH"],
        hdus["FLUX"],
        ivar=np.where(hdus["MASK"], 0, hdus["IVAR"]),
        vrad=stars["VRAD"],
        phot_g_mean_mag=stars["PHOT_G_MEAN_MAG"],
        ebv=stars["EBV"],
        teff=stars["TEFF"],
    )
    found = read_catalogue(tmp_path / "out.fits")
    for name in ("M_G_NN", "DIST", "CHI2_RECONSTRUCTION", "FRACTION_BAD"):
        np.testing.assert_array_equal(column(found, name), np.asarray(arrays[name]))
    ratio = column(found, "M_G_NN_ERR_NOISE") / arrays["M_G_NN_ERR_NOISE"]
    assert abs(np.log(np.median(ratio))) < np.log(1.3)  # four draws each, the median of 80


def test_a_table_without_errors_gets_distances_without_errors(table_model, tmp_path, said):
    hdus = table_files.table(STARS, seed=2)
    del hdus["IVAR"], hdus["STARS"]["EBV"]
    predict_files(table_model, [table_files.write(tmp_path / "new.fits", hdus)], tmp_path / "out.fits")
    found = read_catalogue(tmp_path / "out.fits")
    assert ((found["FLAGS"] & Flag.NO_ERROR_SPECTRUM) != 0).all()
    assert ((found["FLAGS"] & Flag.NO_EBV) != 0).all()
    assert np.isfinite(column(found, "DIST")).all()
    assert np.isnan(column(found, "DISTERR")).all()
    assert f"{STARS} of {STARS} stars: {DESCRIPTIONS[Flag.NO_ERROR_SPECTRUM]}" in said()
    assert f"{STARS} of {STARS} stars: {DESCRIPTIONS[Flag.NO_EBV]}" in said()
    assert verify(tmp_path / "out.fits").good


def test_a_table_without_magnitudes_gets_absolute_ones_alone(table_model, tmp_path, said):
    hdus = table_files.table(STARS, seed=2)
    for name in ("PHOT_G_MEAN_MAG", "PARALLAX", "PARALLAX_ERROR"):
        del hdus["STARS"][name]
    predict_files(table_model, [table_files.write(tmp_path / "new.fits", hdus)], tmp_path / "out.fits")
    found = read_catalogue(tmp_path / "out.fits")
    assert np.isfinite(column(found, "M_G_NN")).all()
    assert np.isnan(column(found, "DIST")).all()
    assert f"{STARS} of {STARS} stars: {DESCRIPTIONS[Flag.NO_MAGNITUDE]}" in said()
    assert verify(tmp_path / "out.fits").good


def test_another_instrument_s_pixels_are_spoken_of(table_model, tmp_path, said):
    hdus = table_files.table(STARS, seed=2)
    coarse = {name: hdus[name][:, 200:600:2] for name in ("FLUX", "IVAR", "MASK")}
    hdus |= coarse | {"WAVELENGTH": hdus["WAVELENGTH"][200:600:2]}
    predict_files(table_model, [table_files.write(tmp_path / "new.fits", hdus)], tmp_path / "out.fits")
    assert "the resolution may differ" in said()
    assert "of the wavelengths of arm A are not covered" in said()
    found = read_catalogue(tmp_path / "out.fits")
    assert ((found["FLAGS"] & Flag.MANY_BAD_PIXELS) != 0).all()


def test_a_coadd_gets_the_distances_of_the_run(finished, coadd, tmp_path):
    predict_files(finished / "model", [coadd], tmp_path / "out.fits")
    found, run = read_catalogue(tmp_path / "out.fits"), read_catalogue(finished)
    assert len(found) == (fitsio.read(coadd, ext="FIBERMAP")["OBJTYPE"] != "SKY").sum()
    assert verify(tmp_path / "out.fits").good, verify(tmp_path / "out.fits").problems
    _, ours, theirs = np.intersect1d(found["TARGETID"], run["TARGETID"], return_indices=True)
    assert len(ours) > 80
    # All networks here, in the run those that did not see the star: they agree to a part of their scatter of 0.6 mag.
    difference = column(found, "M_G_NN")[ours] - column(run, "M_G_NN")[theirs]
    assert abs(np.nanmedian(difference)) < 0.15
    assert robust_scatter(difference) < 0.4
    for name in ("CHI2_RECONSTRUCTION", "FRACTION_BAD"):
        np.testing.assert_allclose(column(found, name)[ours], column(run, name)[theirs], rtol=0.02, atol=2e-3)


def test_a_coadd_without_velocities_has_no_rest_frame(finished, coadd, tmp_path, said):
    alone = shutil.copy(coadd, tmp_path / coadd.name)
    predict_files(finished / "model", [alone], tmp_path / "out.fits")
    found = read_catalogue(tmp_path / "out.fits")
    assert ((found["FLAGS"] & Flag.NO_SPECTRUM) != 0).all()
    assert np.isnan(column(found, "M_G_NN")).all()
    assert "no velocities, because rvtab_coadd" in said()
    assert verify(tmp_path / "out.fits").good


def test_files_of_both_kinds_go_together_and_bad_ones_are_left_out(finished, coadd, tmp_path, said):
    table = table_files.write(tmp_path / "new.fits", table_files.table(STARS, seed=2))
    (tmp_path / "bad.fits").write_bytes(coadd.read_bytes()[:100_000])
    predict_files(
        finished / "model", [table, tmp_path / "bad.fits", coadd, tmp_path / "none.fits"], tmp_path / "o.fits"
    )
    found = read_catalogue(tmp_path / "o.fits")
    assert (found["SURVEY"] == "table").sum() == STARS
    assert (found["SURVEY"] == "main").sum() == len(found) - STARS > 90
    assert "bad.fits is left out: " in said()
    assert "none.fits is left out: " in said()
    assert verify(tmp_path / "o.fits").good


@pytest.mark.parametrize(
    ("name", "message"),
    [("none.fits", "expected a file, found none"), ("mwsall.fits", "found a catalogue.*Give the coadd files")],
)
def test_one_file_that_cannot_be_read_is_an_error(table_model, tmp_path, name, message):
    desi_files.write(tmp_path / "mwsall.fits", desi_files.catalogue())
    with pytest.raises(InputError, match=message):
        predict_files(table_model, [tmp_path / name], tmp_path / "out.fits")
    assert not (tmp_path / "out.fits").exists()


def test_an_output_that_cannot_be_written_is_an_error(table_model, tmp_path):
    path = table_files.write(tmp_path / "new.fits", table_files.table(STARS, seed=2))
    with pytest.raises(InputError, match=r"expected a name that ends in \.fits or \.parquet"):
        predict_files(table_model, [path], tmp_path / "out.csv")
    with pytest.raises(InputError, match="expected a name in a folder that can be written"):
        predict_files(table_model, [path], path / "out.fits")
