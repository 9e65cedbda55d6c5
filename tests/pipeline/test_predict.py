"""The verb `predict`: a model on files it has never seen, and what it says of what it cannot give."""

from __future__ import annotations

import logging
import shutil
from contextlib import nullcontext

import fitsio
import numpy as np
import pytest

import desi_files
import table_files
import tiny_run
from specdis import load_model
from specdis.catalogue import COLUMNS, read_catalogue, verify_catalogue
from specdis.errors import InputError
from specdis.flags import DESCRIPTIONS, Flag
from specdis.verbs.predict import predict_files
from specdis.workers.answers import Died

STARS = 80


def column(table, name):
    return np.ma.filled(np.ma.asarray(table[name], float), np.nan)


@pytest.fixture(scope="module")
def table_model(table_run):
    return table_run / "model"


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
    assert verify_catalogue(tmp_path / "out.fits").good, verify_catalogue(tmp_path / "out.fits").problems
    found = read_catalogue(tmp_path / "out.fits")
    assert len(found) == STARS
    assert np.isfinite(column(found, "DIST")).all()
    assert np.isfinite(column(found, "DISTERR")).all()
    assert found["HELD_OUT"].all()
    assert "differ" not in said()
    predict_files(table_model, [path], tmp_path / "out.parquet")
    assert verify_catalogue(tmp_path / "out.parquet").good
    np.testing.assert_array_equal(column(read_catalogue(tmp_path / "out.parquet"), "DISTERR"), column(found, "DISTERR"))


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
    assert verify_catalogue(tmp_path / "out.fits").good


def test_a_table_without_magnitudes_gets_absolute_ones_alone(table_model, tmp_path, said):
    hdus = table_files.table(STARS, seed=2)
    for name in ("PHOT_G_MEAN_MAG", "PARALLAX", "PARALLAX_ERROR"):
        del hdus["STARS"][name]
    predict_files(table_model, [table_files.write(tmp_path / "new.fits", hdus)], tmp_path / "out.fits")
    found = read_catalogue(tmp_path / "out.fits")
    assert np.isfinite(column(found, "M_G_NN")).all()
    assert np.isnan(column(found, "DIST")).all()
    assert f"{STARS} of {STARS} stars: {DESCRIPTIONS[Flag.NO_MAGNITUDE]}" in said()
    assert verify_catalogue(tmp_path / "out.fits").good


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
    assert verify_catalogue(tmp_path / "out.fits").good, verify_catalogue(tmp_path / "out.fits").problems
    _, ours, theirs = np.intersect1d(found["TARGETID"], run["TARGETID"], return_indices=True)
    assert len(ours) > 80
    # The coadd has no SOURCE_ID, but the model knows its targets: each is predicted by the networks of its fold. Pixels
    # of the run are in half precision. The coadd lacks Teff and photometric errors, which are no inputs of the
    # networks, but decide which colours are odd. Stars without a Gaia source in the run's catalogue have colours in the
    # coadd alone.
    difference = (column(found, "M_G_NN")[ours] - column(run, "M_G_NN")[theirs]) / column(run, "M_G_NN_ERR")[theirs]
    alike = ((run["FLAGS"][theirs] | found["FLAGS"][ours]) & (Flag.NO_COLOUR | Flag.ODD_COLOUR)) == 0
    assert alike.sum() > 70
    assert np.nanmax(np.abs(difference[alike])) < 0.05
    trained = run["HELD_OUT"][theirs] & run["SELECTED"][theirs]
    assert found["HELD_OUT"][ours][trained].all()
    new = ~np.isin(found["TARGETID"], run["TARGETID"])
    assert new.any()
    assert not found["HELD_OUT"][new].any()
    for name in ("CHI2_RECONSTRUCTION", "FRACTION_BAD"):
        np.testing.assert_allclose(column(found, name)[ours], column(run, name)[theirs], rtol=0.02, atol=2e-3)


def test_a_coadd_without_velocities_has_no_rest_frame(finished, coadd, tmp_path, said):
    alone = shutil.copy(coadd, tmp_path / coadd.name)
    predict_files(finished / "model", [alone], tmp_path / "out.fits")
    found = read_catalogue(tmp_path / "out.fits")
    assert ((found["FLAGS"] & Flag.NO_SPECTRUM) != 0).all()
    assert np.isnan(column(found, "M_G_NN")).all()
    assert "no velocities, because rvtab_coadd" in said()
    assert verify_catalogue(tmp_path / "out.fits").good


def test_the_same_star_in_two_files_is_selected_once(table_model, tmp_path, said):
    hdus = table_files.table(STARS, seed=2)
    once = table_files.write(tmp_path / "once.fits", hdus)
    stars = hdus["STARS"] | {"TARGETID": np.arange(STARS), "SN": np.full(STARS, 9.0)}
    stars["SOURCE_ID"] = np.where(np.arange(STARS) < 30, stars["SOURCE_ID"], stars["SOURCE_ID"] + 1)
    again = table_files.write(tmp_path / "again.fits", hdus | {"STARS": stars})
    predict_files(table_model, [once, again, once], tmp_path / "out.fits")
    assert verify_catalogue(tmp_path / "out.fits").good, verify_catalogue(tmp_path / "out.fits").problems
    found = read_catalogue(tmp_path / "out.fits")
    assert f"{once}: {STARS} spectra that are also in another input are left out" in said()
    assert len(found) == 2 * STARS
    assert found["SELECTED"].sum() == 2 * STARS - 30
    worse = found[~found["SELECTED"]]
    assert (worse["FLAGS"] & (Flag.NOT_TRAINABLE | Flag.OUTSIDE_CUTS) == Flag.NOT_TRAINABLE).all()
    assert not np.isfinite(column(worse, "SN")).any()  # the others have one


def test_a_file_that_kills_its_reader_costs_its_own_stars_alone(table_model, tmp_path, said, monkeypatch):
    good, deadly = (
        table_files.write(tmp_path / f"{name}.fits", table_files.table(STARS, seed=seed))
        for name, seed in (("good", 2), ("deadly", 3))
    )

    class OneDies:
        def each(self, task, blocks, *, may_kill, here):
            assert may_kill
            assert not here
            return ((block, Died("it died") if block.path == deadly else task(block)) for block in blocks)

    monkeypatch.setattr("specdis.verbs.predict.start_workers", lambda *_, **__: nullcontext(OneDies()))
    predict_files(table_model, [good, deadly], tmp_path / "out.fits")
    assert f"{deadly}: killed-its-reader: it died" in said()
    assert f"{deadly} is left out" in said()
    assert len(read_catalogue(tmp_path / "out.fits")) == STARS
    assert verify_catalogue(tmp_path / "out.fits").good


def test_a_file_that_vanishes_costs_its_own_stars_alone(table_model, tmp_path, said, monkeypatch):
    """Both files are opened first, then each is read."""
    good, lost = (
        table_files.write(tmp_path / f"{name}.fits", table_files.table(STARS, seed=seed))
        for name, seed in (("good", 2), ("lost", 3))
    )

    class Here:
        def each(self, task, blocks, **_):
            blocks = list(blocks)
            lost.unlink()
            return ((block, task(block)) for block in blocks)

    monkeypatch.setattr("specdis.verbs.predict.start_workers", lambda *_, **__: nullcontext(Here()))
    predict_files(table_model, [good, lost], tmp_path / "out.fits")
    assert f"{lost} is left out" in said()
    assert len(read_catalogue(tmp_path / "out.fits")) == STARS


def test_one_number_for_two_stars_is_refused(table_model, tmp_path):
    hdus = table_files.table(STARS, seed=2)
    numbered = {**hdus["STARS"], "TARGETID": np.arange(STARS)}
    one = table_files.write(tmp_path / "one.fits", hdus | {"STARS": numbered})
    for sources in (numbered["SOURCE_ID"] + 1, np.zeros(STARS, int)):
        other = hdus | {"STARS": {**numbered, "SOURCE_ID": sources}}
        two = table_files.write(tmp_path / "two.fits", other)
        with pytest.raises(InputError, match=r"one\.fits, .*two\.fits: expected identifiers that mean one star"):
            predict_files(table_model, [one, two], tmp_path / "out.fits")


def test_the_documented_filter_keeps_stars_without_a_parallax(table_model, tmp_path):
    hdus = table_files.table(STARS, seed=2)
    hdus["STARS"]["PARALLAX"][:] = np.nan
    hdus["STARS"]["EBV"][:7] = 2.0
    predict_files(table_model, [table_files.write(tmp_path / "new.fits", hdus)], tmp_path / "out.fits")
    assert len(read_catalogue(tmp_path / "out.fits", without=Flag.OUTSIDE_CUTS)) == STARS - 7
    assert verify_catalogue(tmp_path / "out.fits").good


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
    assert verify_catalogue(tmp_path / "o.fits").good


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
    with pytest.raises(InputError, match=r"expected a name in \.fits or \.parquet"):
        predict_files(table_model, [path], tmp_path / "out.csv")
    with pytest.raises(InputError, match="expected a name in a writable folder"):
        predict_files(table_model, [path], path / "out.fits")


# One way: a run, the command and Python

SEEN = (
    *(
        Flag.OUTSIDE_CUTS,
        Flag.NOT_TRAINABLE,
        Flag.NO_SPECTRUM,
        Flag.NO_MAGNITUDE,
        Flag.A_G_FALLBACK,
        Flag.NO_ZERO_POINT,
    ),
    *(Flag.NO_EBV, Flag.MANY_BAD_PIXELS, Flag.OUTSIDE_PARAMETERS, Flag.BINARY_OUTSIDE_DOMAIN),
)


def plain(column):
    return np.ma.filled(column, np.nan) if column.dtype.kind == "f" else np.ma.getdata(column)


@pytest.fixture(scope="module", params=["n_folds = 2", pytest.param("train_fraction = 0.6", marks=pytest.mark.slow)])
def three_ways(request, table_run, compiled, tmp_path_factory):
    """Return the catalogues of one survey by the three ways, in the order of TARGETID."""
    run, path, survey = table_run, table_run.with_name("spectra.fits"), table_files.uneven_table()
    folder = tmp_path_factory.mktemp("three")
    if request.param not in table_files.UNEVEN_SETTINGS:
        shutil.copy(path, folder)
        settings = table_files.UNEVEN_SETTINGS.replace("n_folds = 2", request.param)
        run = folder / "run"
        tiny_run.start(table_files.write_config(folder / path.name, settings), run, last="catalogue")
    predict_files(run / "model", [path], folder / "out.fits")
    arrays = load_model(run / "model").predict(
        survey["WAVELENGTH"],
        survey["FLUX"],
        ivar=survey["IVAR"],
        mask=survey["MASK"],
        identifier=survey["STARS"]["TARGETID"],
        **{name.lower(): values for name, values in survey["STARS"].items() if name != "TARGETID"},
    )
    catalogues = read_catalogue(run), read_catalogue(folder / "out.fits"), arrays
    return tuple(found[np.argsort(found["TARGETID"])] for found in catalogues)


def test_the_command_and_python_give_every_column_alike(three_ways):
    _, command, arrays = three_ways
    assert command.colnames == arrays.colnames
    for name in command.colnames:
        assert command[name].dtype == arrays[name].dtype
        assert (command[name].unit, command[name].description) == (arrays[name].unit, arrays[name].description)
        np.testing.assert_array_equal(plain(command[name]), plain(arrays[name]), err_msg=name)


def test_a_run_and_the_command_give_every_column_alike(three_ways):
    run, command, _ = three_ways
    assert run.colnames == command.colnames
    for name in run.colnames:
        one, other = plain(run[name]), plain(command[name])
        if one.dtype.kind != "f":
            np.testing.assert_array_equal(one, other, err_msg=name)
            continue
        if COLUMNS[name].source.startswith("sample"):
            np.testing.assert_array_equal(one, other, err_msg=name)
            continue
        # A run keeps its pixels in half precision, 5e-4 of each; hundreds of them make a magnitude. Errors from
        # derivatives jump where such a step meets a corner of the networks: one star in a hundred may.
        assert np.isclose(one, other, rtol=5e-3, atol=5e-3, equal_nan=True).mean() > 0.99, name
        if COLUMNS[name].extension == "MIXTURE":  # of equal choices what to merge, either may be taken
            continue
        np.testing.assert_allclose(one, other, rtol=0.05, atol=0.05, equal_nan=True, err_msg=name)


def test_a_run_and_the_command_give_gaussians_of_equal_moments(three_ways):
    run, command, _ = three_ways
    np.testing.assert_allclose(*map(moments, (run, command)), rtol=0.05, atol=0.05)


def moments(table):
    """Return the mean and the standard deviation of the released distributions, shape (2, star)."""
    weight, mean, sigma = (
        np.stack([plain(table[f"MIX_{part}_{number}"]) for number in range(1, 6)])
        for part in ("WEIGHT", "M_G", "SIGMA")
    )
    middle = (weight * mean).sum(0)
    return np.stack([middle, np.sqrt((weight * (sigma**2 + (mean - middle) ** 2)).sum(0))])


def test_stars_that_trained_are_predicted_by_networks_that_never_saw_them(three_ways):
    run, command, arrays = three_ways
    for found in (command, arrays):
        np.testing.assert_array_equal(found["HELD_OUT"], run["HELD_OUT"])
        np.testing.assert_array_equal(found["CALIBRATION"], run["CALIBRATION"])
    # Under folds each star has its own; else what trained is on record.
    assert run["HELD_OUT"].all() or 0.4 < run["HELD_OUT"].mean() < 0.8


@pytest.mark.parametrize("flag", SEEN)
def test_the_survey_of_the_three_ways_shows_every_kind(three_ways, flag):
    assert (three_ways[0]["FLAGS"] & flag != 0).any()
