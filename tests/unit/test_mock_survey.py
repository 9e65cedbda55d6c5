"""The mock's files: layout of DR1, identifiers, truth, and equal bytes for equal settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pytest
from astropy.io import fits

from specdis.errors import InputError
from specdis.mock import files
from specdis.mock.settings import MockSettings
from specdis.mock.survey import CATALOGUE, SUMMARY, TRUTH, write_mock
from specdis.mock.systems import CLUSTERS
from specdis.storage import file_digest, read_table
from specdis.surveys.base import Fault, Stars
from specdis.surveys.desi import DesiSurvey
from specdis.surveys.layout import columns, dtype

SETTINGS = MockSettings(stars=400, backup_fraction=0.25, repeat_fraction=0.1, unmatched_fraction=0.05, seed=7)


@pytest.fixture(scope="module")
def mock(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    directory = tmp_path_factory.mktemp("mock")
    return directory, write_mock(directory, SETTINGS)


def _coadds(directory: Path) -> list[Path]:
    return sorted(directory.glob("healpix/main/*/*/*/coadd-*.fits"))


def test_tables_have_the_row_widths_of_the_release(mock: tuple[Path, dict[str, Any]]) -> None:
    directory, summary = mock
    with fitsio.FITS(str(directory / CATALOGUE)) as file:
        names = [hdu.get_extname() for hdu in file][1:]
        widths = [hdu.read_header()["NAXIS1"] for hdu in file[1:6]]
        assert {hdu.get_nrows() for hdu in file[1:6]} == {summary["spectra"]}
    assert dict(zip(names, widths, strict=True)) == {
        "RVTAB": 259,
        "SPTAB": 556,
        "FIBERMAP": 421,
        "SCORES": 172,
        "GAIA": 640,
    }
    with fitsio.FITS(str(_coadds(directory)[0])) as file:
        for hdu, width in (("FIBERMAP", 317), ("EXP_FIBERMAP", 162), ("SCORES", 172)):
            assert file[hdu].read_header()["NAXIS1"] == width


def test_columns_have_the_names_types_and_units_of_the_release(mock: tuple[Path, dict[str, Any]]) -> None:
    directory, _ = mock
    for path, layout, hdus in (
        (directory / CATALOGUE, "mwsall", ("RVTAB", "SPTAB", "FIBERMAP", "SCORES", "GAIA")),
        (_coadds(directory)[0], "coadd", ("FIBERMAP", "EXP_FIBERMAP", "SCORES")),
    ):
        with fits.open(path) as file:
            for hdu in hdus:
                given = file[hdu].columns
                assert [(c.name, c.format.lstrip("1") or c.format, c.unit or "") for c in given] == [
                    (c.name, c.tform.lstrip("1") if c.tform != "1A" else "A", c.unit) for c in columns(layout, hdu)
                ]


def test_coadds_open_in_astropy_and_fitsio_alike(mock: tuple[Path, dict[str, Any]]) -> None:
    directory, _ = mock
    path = _coadds(directory)[0]
    with fits.open(path) as one, fitsio.FITS(str(path)) as other:
        one.verify("exception")
        assert [hdu.name for hdu in one[1:]] == [hdu.get_extname() for hdu in other[1:]]
        assert one["B_MASK"].data.dtype == np.dtype(">i4")
        assert "BZERO" not in one["B_MASK"].header
        for arm in "BRZ":
            for part, kind in (("WAVELENGTH", ">f8"), ("FLUX", ">f4"), ("IVAR", ">f4"), ("MASK", ">i4")):
                assert one[f"{arm}_{part}"].data.dtype == np.dtype(kind)
                np.testing.assert_array_equal(one[f"{arm}_{part}"].data, other[f"{arm}_{part}"].read())
        header = one[0].header
        pixel = int(path.parent.name)
        assert (header["HPXPIXEL"], header["HPXNSIDE"], header["HPXNEST"]) == (pixel, 64, True)
        assert f"coadd-{header['SURVEY']}-{header['PROGRAM']}-{pixel}.fits" == path.name
        assert path.parent.parent.name == str(pixel // 100)


def test_identifiers_agree_between_all_files(mock: tuple[Path, dict[str, Any]]) -> None:
    directory, summary = mock
    with fitsio.FITS(str(directory / CATALOGUE)) as file:
        rv, gaia = file["RVTAB"].read(), file["GAIA"].read()
        for hdu in ("SPTAB", "FIBERMAP", "SCORES"):
            np.testing.assert_array_equal(file[hdu].read(columns="TARGETID"), rv["TARGETID"])
    truth = read_table(directory / TRUTH)
    for name in ("TARGETID", "HEALPIX", "SURVEY", "PROGRAM"):
        np.testing.assert_array_equal(truth[name], rv[name].astype(truth[name].dtype))
    matched = gaia["SOURCE_ID"] != 999999
    np.testing.assert_array_equal(gaia["SOURCE_ID"][matched] >> 47, rv["HEALPIX"][matched])
    np.testing.assert_array_equal(truth["SOURCE_ID"], np.where(matched, gaia["SOURCE_ID"], 0))
    assert len(np.unique(rv["TARGETID"])) == summary["spectra"]
    found = {}
    for path in _coadds(directory):
        rows = fitsio.read(str(path), ext="FIBERMAP", columns=["TARGETID", "OBJTYPE"])
        assert (rows["OBJTYPE"] == "SKY").sum() == 2
        stars = rows["TARGETID"][rows["TARGETID"] > 0]
        assert len(stars) >= 100
        assert ((rows["TARGETID"] < 0) == (rows["OBJTYPE"] == "SKY")).all()
        found |= dict.fromkeys(stars.tolist(), (int(path.parent.name), path.parents[2].name))
    named = zip(rv["TARGETID"].tolist(), rv["HEALPIX"].tolist(), rv["PROGRAM"].tolist(), strict=True)
    assert found == {target: (pixel, program) for target, pixel, program in named}


def test_unmatched_stars_look_as_in_the_release(mock: tuple[Path, dict[str, Any]]) -> None:
    directory, _ = mock
    with fits.open(directory / CATALOGUE) as file:
        gaia, header = file["GAIA"].data, file["GAIA"].header
        unmatched = gaia["SOURCE_ID"] == 999999
        assert 5 < unmatched.sum() < 50
        assert np.isnan(gaia["PARALLAX"][unmatched]).all()
        assert np.isfinite(gaia["PHOT_G_MEAN_MAG"][~unmatched]).all()
        assert header["TNULL3"] == 999999
        assert (gaia["ASTROMETRIC_PARAMS_SOLVED"][unmatched] == header["TNULL49"]).all()


def test_repeats_are_rows_of_their_own_with_one_source(mock: tuple[Path, dict[str, Any]]) -> None:
    directory, summary = mock
    truth = read_table(directory / TRUTH)
    assert summary["spectra"] > summary["stars"] == 400
    source, count = np.unique(truth["SOURCE_ID"], return_counts=True)
    twice = source[(count == 2) & (source > 0)]
    assert len(twice) >= 1
    for one in twice:
        rows = np.flatnonzero(truth["SOURCE_ID"] == one)
        assert set(truth["PROGRAM"][rows]) == {b"bright", b"backup"}
        assert np.ptp(truth["DIST_TRUE"][rows]) == 0


def test_magnitudes_add_up(mock: tuple[Path, dict[str, Any]]) -> None:
    directory, _ = mock
    truth = read_table(directory / TRUTH)
    g = fitsio.read(str(directory / CATALOGUE), ext="GAIA", columns="PHOT_G_MEAN_MAG").astype(float)
    matched = np.isfinite(g)
    sum_ = truth["M_G_TRUE"] + 5 * np.log10(truth["DIST_TRUE"]) + 10 + truth["A_G_TRUE"]
    np.testing.assert_allclose(g[matched], sum_[matched], atol=2e-6)  # float32
    binary = truth["BINARY_TRUE"]
    np.testing.assert_array_equal(binary, np.isfinite(truth["MASS_RATIO"]))
    assert 0 < binary.sum() < len(binary)
    np.testing.assert_array_equal(truth["M_G_TRUE"][~binary], truth["M_G_PRIMARY_TRUE"][~binary])
    assert (truth["M_G_TRUE"][binary] < truth["M_G_PRIMARY_TRUE"][binary]).all()


def test_the_survey_reads_it_back(mock: tuple[Path, dict[str, Any]]) -> None:
    directory, summary = mock
    survey = DesiSurvey(directory / CATALOGUE, directory)
    stars = Stars.concatenate(list(survey.stars()))
    blocks = list(survey.spectra(stars))
    assert not any(isinstance(block, Fault) for block in blocks)
    assert sum(len(block.row) for block in blocks) == summary["spectra"]
    np.testing.assert_allclose(np.nanpercentile(stars["SN"], [16, 50, 84]), summary["snr_16_50_84"], rtol=1e-6)


def test_equal_settings_give_equal_bytes(mock: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    directory, summary = mock
    assert write_mock(tmp_path / "again", SETTINGS) == summary
    names, others = (
        sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        for folder in (directory, tmp_path / "again")
    )
    assert names == others
    lists = len(CLUSTERS) + 1  # of members
    assert len(names) == summary["files"] + 3 + lists
    for name in names:
        assert file_digest(directory / name) == file_digest(tmp_path / "again" / name), name


def test_a_mock_that_is_there_is_left_alone(mock: tuple[Path, dict[str, Any]]) -> None:
    directory, summary = mock
    before = (directory / CATALOGUE).stat().st_mtime_ns
    assert write_mock(directory, SETTINGS) == summary
    assert (directory / CATALOGUE).stat().st_mtime_ns == before


def test_another_mock_replaces_the_old_one_and_survives_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mock(tmp_path, MockSettings(stars=300))
    old = _coadds(tmp_path)

    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "write_coadd", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_mock(tmp_path, MockSettings(stars=300, seed=2))
    monkeypatch.undo()
    write_mock(tmp_path, MockSettings(stars=300, seed=2))
    assert not set(old) & set(_coadds(tmp_path))
    assert (tmp_path / CATALOGUE).is_file()


def test_spectra_that_are_no_mock_are_not_replaced(tmp_path: Path) -> None:
    precious = tmp_path / "healpix" / "main"
    precious.mkdir(parents=True)
    with pytest.raises(InputError, match=SUMMARY):
        write_mock(tmp_path, SETTINGS)
    assert precious.is_dir()


def test_resolution_matrices_are_normalised(mock: tuple[Path, dict[str, Any]]) -> None:
    matrix = files._resolution(2, "R")
    assert matrix.shape == (2, 11, 2326)
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, rtol=1e-6)


def test_an_unknown_column_is_refused() -> None:
    with pytest.raises(ValueError, match="no field"):
        files.record("mwsall", "RVTAB", {"TARGETID": np.arange(3), "TEMPERATURE": np.ones(3)}, np.nan)
    assert files.record("mwsall", "RVTAB", {"TARGETID": np.arange(3)}, np.nan).dtype == dtype("mwsall", "RVTAB")
