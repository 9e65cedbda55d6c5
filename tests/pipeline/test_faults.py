"""Bad input: what stops a run says where and what to do; one bad file among many is counted, and the run goes on."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import fitsio
import numpy as np
import pytest
from typer.testing import CliRunner

import desi_files
import table_files
import tiny_run
from specdis.catalogue import read_catalogue, verify_catalogue
from specdis.cli import app
from specdis.flags import Flag
from specdis.pipeline.manifest import Manifest
from specdis.storage import read_json, read_table
from specdis.stores.paths import RunPaths

STARS = 60


def specdis(*arguments: object) -> tuple[int, str]:
    """Run the command line; return its exit status and what it said on stderr."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stderr


def stopped(*arguments: object) -> str:
    """Return the message with which a command fails."""
    status, said = specdis(*arguments)
    assert status == 1
    assert "Traceback" not in said
    (message,) = (line for line in said.splitlines() if line.startswith("specdis: "))
    return message


def without(*names: str):
    return lambda hdus: [hdus.pop(name) for name in names]


def column(name: str, values: object):
    """Return a function that puts a column, or None for none, into the table of stars."""

    def spoil(hdus):
        if values is None:
            del hdus["STARS"][name]
        else:
            hdus["STARS"][name] = np.resize(values, STARS)

    return spoil


def image(name: str, change):
    return lambda hdus: hdus.update({name: change(hdus[name])})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without("FLUX"), r"bad.fits: expected an HDU FLUX, found the HDUs STARS, .*Check that this is the right file"),
        (without("WAVELENGTH"), r"bad.fits: expected an HDU WAVELENGTH, .*Check that this is the right file"),
        (column("SOURCE_ID", None), r"bad.fits\[STARS\]: expected a column SOURCE_ID, .*Add SOURCE_ID"),
        (column("VRAD", None), r"bad.fits\[STARS\]: expected a column VRAD, .*Add heliocentric velocities"),
        (column("PARALLAX", None), r"bad.fits: expected stars to train on.*no column PARALLAX.*Add what is missing"),
        (column("PARALLAX", b"one"), r"bad.fits\[STARS\], column PARALLAX: expected numbers.*Write the column again"),
        (column("SOURCE_ID", 1.5), r"bad.fits\[STARS\], column SOURCE_ID: expected integers.*Write the column again"),
        (column("SOURCE_ID", [3, 4]), r"bad.fits\[STARS\], column SOURCE_ID: .*come twice.*Leave out repeated rows"),
        (column("PARALLAX_ERROR", [0.0, -1]), r"bad.fits: .*60 cut as invalid-parallax-error.*Add what is missing"),
        (column("PHOT_G_MEAN_MAG", np.nan), r"bad.fits: .*60 cut as no-g-magnitude.*Add what is missing"),
        (column("VRAD", np.nan), r"bad.fits: .*60 spectra without a radial velocity.*Add VRAD"),
        (image("WAVELENGTH", np.flip), r"bad.fits\[WAVELENGTH\]: .*found decreasing ones. Sort the pixels"),
        (image("FLUX", lambda flux: flux * np.nan), r"bad.fits: .*at least one good pixel.*check their flux"),
        (image("IVAR", np.negative), r"bad.fits: .*at least one good pixel.*check their flux, inverse variance"),
        (image("IVAR", lambda ivar: ivar[:10]), r"bad.fits\[IVAR\]: expected 60 rows of 900 .*Write the image again"),
    ],
)
def test_a_bad_table_stops_the_run(tmp_path, spoil, message):
    hdus = table_files.table(STARS)
    spoil(hdus)
    config = table_files.write_config(table_files.write(tmp_path / "bad.fits", hdus))
    assert re.search(message, stopped("run", config, "--to", "spectra"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without("GAIA"), r"mwsall.fits: expected an HDU GAIA, found the HDUs RVTAB.*Check that this is"),
        (lambda h: h.update(GAIA=_without_field(h["GAIA"], "PARALLAX")), r"mwsall.fits\[GAIA\]: .*Add PARALLAX"),
        (
            lambda h: h.update(GAIA=_retyped(h["GAIA"], "SOURCE_ID", "f8")),
            r"mwsall.fits\[GAIA\], column SOURCE_ID: expected integers, .*Write the column again",
        ),
        (lambda h: h.update(GAIA=h["GAIA"][:-1]), r"mwsall.fits: expected HDUs that match row by row.*as released"),
        (
            lambda h: h["GAIA"].__setitem__("PARALLAX_ERROR", 0),
            r"found 6 rows, cut as invalid-parallax-error 6. Loosen",
        ),
    ],
)
def test_a_bad_catalogue_stops_the_run(tmp_path, spoil, message):
    hdus = desi_files.catalogue()
    spoil(hdus)
    desi_files.write(tmp_path / "mwsall.fits", hdus)
    assert re.search(message, stopped("run", desi_config(tmp_path, "mwsall.fits"), "--to", "sample"))


def _without_field(table: np.ndarray, name: str) -> np.ndarray:
    return table[[field for field in table.dtype.names if field != name]].copy()


def _retyped(table: np.ndarray, name: str, dtype: str) -> np.ndarray:
    types = [(field, dtype if field == name else table.dtype[field]) for field in table.dtype.names]
    return table.astype(types)


def desi_config(folder: Path, catalogue: str) -> Path:
    """Write a configuration for a catalogue with the folder healpix beside it."""
    (folder / "healpix").mkdir(exist_ok=True)
    path = folder / "tiny.toml"
    survey = f'[survey]\nkind = "desi"\ncatalogue = "{catalogue}"\nspectra = "healpix"\n'
    path.write_text(f'[run]\nname = "tiny"\ndirectory = "run"\n{survey}{tiny_run.SETTINGS}')
    return path


@pytest.mark.parametrize("kept", [1000, 0.9, -1])
def test_a_truncated_file_stops_the_run(tmp_path, kept):
    table = table_files.write(tmp_path / "bad.fits", table_files.table(STARS))
    catalogue = desi_files.write(tmp_path / "mwsall.fits", desi_files.catalogue())
    for path, config in ((table, table_files.write_config(table)), (catalogue, desi_config(tmp_path, "mwsall.fits"))):
        content = path.read_bytes()
        path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
        expected = f"{path}: expected a complete FITS file, .*Copy or download it again"
        assert re.search(expected, stopped("run", config))


def test_a_survey_that_is_not_there_stops_the_run(tmp_path):
    config = desi_config(tmp_path, "mwsall.fits")
    assert "mwsall.fits: expected a file, found none. Copy or download it" in stopped("run", config)
    desi_files.write(tmp_path / "mwsall.fits", desi_files.catalogue())
    (tmp_path / "healpix").rmdir()
    assert re.search("healpix: expected the folder .*Correct survey.spectra", stopped("run", config))


@pytest.mark.parametrize(
    ("given", "instead", "message"),
    [
        ("[sample]", "[sample]\nebvmax = 1", r"good.toml: \[sample\] ebvmax: unknown key, .*did you mean ebv_max"),
        ("[sample]", "[smaple]", r"good.toml: \[smaple\]: unknown .*did you mean sample"),
        ("epochs = 15", "epochs = 'all'", r"good.toml: \[training\] epochs: .*integer, found \"all\""),
        ("good.fits", "${NOWHERE}/a.fits", r"good.toml: \[survey\] spectra: variable NOWHERE is not set, .*export"),
    ],
)
def test_a_bad_configuration_stops_the_run(tmp_path, given, instead, message):
    config = table_files.write_config(table_files.write(tmp_path / "good.fits", table_files.table(STARS)))
    config.write_text(config.read_text().replace(given, instead))
    assert re.search(message, stopped("run", config))


def test_folders_that_cannot_be_written_stop_the_run(tmp_path):
    """A file lies where a folder should be: that stops even the superuser, for whom permissions do not."""
    config = table_files.write_config(table_files.write(tmp_path / "good.fits", table_files.table(STARS)))
    (tmp_path / "file").write_text("")
    for directory in ("file", "file/run"):
        said = stopped("run", config, "--set", f"run.directory={tmp_path / directory}")
        assert re.search(f"{directory}: expected a writable folder, .*Choose another run.directory", said)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "spectra").write_text("")
    expected = "pixels.zarr: expected a name in a writable folder, .*Choose another folder"
    assert re.search(expected, stopped("run", config, "--to", "spectra"))


# One bad file among many


def _spoil_coadds(healpix: Path) -> dict[str, np.ndarray]:
    """Spoil six of the coadds in different ways; return the targets to be lost by name of the fault."""
    paths = sorted(healpix.glob("*/*/*/*/coadd-*.fits"))
    assert len(paths) >= 10
    contents = [_hdus(path) for path in paths[:7]]
    targets = [hdus["FIBERMAP"]["TARGETID"].copy() for hdus in contents]
    without_flux, unsorted, bad_stars, bad_rows = contents[2:6]
    without_flux.pop("R_FLUX")
    unsorted["B_WAVELENGTH"][10] = 3600
    for arm in "BR":
        bad_stars[f"{arm}_FLUX"][10:20] = np.nan
        bad_stars[f"{arm}_IVAR"][20:30] = -1
    bad_rows["FIBERMAP"]["TARGETID"][10:20] = targets[5][20:30]
    for path, hdus in zip(paths, contents):
        path.unlink()
        desi_files.write(path, hdus)
    paths[0].write_bytes(paths[0].read_bytes()[:500_000])
    paths[1].unlink()
    return {
        "unreadable-file": targets[0],
        "missing-file": targets[1],
        "missing-hdu": targets[2],
        "bad-wavelength": targets[3],
        "no-good-pixel": targets[4][10:30],
        "missing-row": targets[5][10:20],
        "duplicate-row": targets[5][20:30],
        "no-velocity": targets[6][10:20],
    }


def _hdus(path: Path) -> desi_files.Hdus:
    with fitsio.FITS(path) as file:
        return {hdu.get_extname(): hdu.read() for hdu in file if hdu.has_data()}


@pytest.fixture(scope="module")
def spoilt(config, compiled, tmp_path_factory):
    """Run the mock survey with six bad coadds of ten and some bad rows; return the run, what was lost and the rows."""
    folder = tmp_path_factory.mktemp("spoilt")
    shutil.copytree(config.parent / "survey" / "healpix", folder / "healpix", copy_function=os.symlink)
    lost = _spoil_coadds(folder / "healpix")
    hdus = _hdus(config.parent / "survey" / "mwsall-pix-mock.fits")
    good = np.flatnonzero(np.isfinite(hdus["GAIA"]["PARALLAX"]))
    hdus["GAIA"]["PARALLAX_ERROR"][good[:3]] = [0, -1, np.nan]
    hdus["RVTAB"]["VRAD"][np.isin(hdus["RVTAB"]["TARGETID"], lost["no-velocity"])] = np.nan
    hdus = {name: np.concatenate([table, table[good[10:12]]]) for name, table in hdus.items()}
    desi_files.write(folder / "mwsall.fits", hdus)
    status, said = specdis(
        "run", desi_config(folder, "mwsall.fits"), "--to", "validation", "--set", tiny_run.ONE_PROCESS
    )
    assert status == 0, said
    return RunPaths(folder / "run"), lost, hdus["RVTAB"], said


def test_bad_files_are_named_and_counted_and_the_run_goes_on(spoilt):
    paths, lost, _, said = spoilt
    assert verify_catalogue(paths.directory).good
    counted = Manifest.read(paths.manifest).stages["spectra"].fault_counts
    sample = read_table(paths.sample, ["TARGETID"])["TARGETID"]
    expected = {name: int(np.isin(targets, sample).sum()) for name, targets in lost.items()}
    assert {name: count["stars"] for name, count in counted.items()} == expected
    assert min(expected.values()) >= 1
    log = paths.log.read_text()
    for name in expected:
        place = "mwsall.fits" if name == "no-velocity" else r"coadd-main-\w+-\d+.fits.*"
        assert re.search(f"{place}: {name}: .*\\w", said)
        assert f": {name}: " in log


def test_every_star_is_in_the_catalogue_or_cut_by_name_and_lost_ones_are_flagged(spoilt):
    paths, lost, rows, _ = spoilt
    flow = read_json(paths.cutflow)
    cut = {line["name"]: line["cut"] for line in flow["cuts"]}
    assert (cut["invalid-parallax-error"], cut["duplicate-identifier"]) == (3, 2)
    catalogue = read_catalogue(paths.directory)
    assert len(rows) == len(catalogue) + sum(cut.values())
    flagged = np.asarray(catalogue["TARGETID"])[(catalogue["FLAGS"] & Flag.NO_SPECTRUM) != 0]
    assert set(flagged) == set(np.concatenate(list(lost.values()))) & set(np.asarray(catalogue["TARGETID"]))
    assert np.array_equal(np.ma.getmaskarray(catalogue["M_G_NN"]), np.isin(catalogue["TARGETID"], flagged))
    assert len(flagged) < 0.7 * len(catalogue)
