"""The mock's files: layout of DR1, identifiers, truth, and equal bytes for equal settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pytest
from astropy.io import fits

from specdis.errors import InputError
from specdis.mock import files, observation, spmod, targets
from specdis.mock.rivals import MOCK_RIVALS
from specdis.mock.settings import MockSettings
from specdis.mock.survey import CATALOGUE, SUMMARY, TRUTH, write_mock
from specdis.references import TABLE_A1
from specdis.spectra.grid import PixelGrid
from specdis.spectra.normalise import normalise
from specdis.spectra.settings import SpectraSettings
from specdis.storage import file_digest, read_table
from specdis.surveys.base import Fault, Spectra, Stars
from specdis.surveys.desi import DesiSurvey
from specdis.surveys.layout import NATIVE_GRID, SPMOD_GRID, columns, dtype
from specdis.validation import join

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
        beside = fitsio.read(str(path.with_name(f"rvtab_{path.name}")), ext="RVTAB")
        assert beside.dtype.names == dtype("rvtab_coadd", "RVTAB").names
        assert set(beside["TARGETID"]) == set(stars)
        _, here, there = np.intersect1d(beside["TARGETID"], rv["TARGETID"], return_indices=True)
        for name in ("VRAD", "TEFF", "RVS_WARN", "SN_B"):
            np.testing.assert_array_equal(beside[name][here], rv[name][there])
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


def test_photometry_is_in_the_catalogue_and_in_the_coadds(mock: tuple[Path, dict[str, Any]]) -> None:
    directory, _ = mock
    with fitsio.FITS(str(directory / CATALOGUE)) as file:
        fibermap, program, gaia = file["FIBERMAP"].read(), file["RVTAB"].read(columns="PROGRAM"), file["GAIA"].read()
    matched = np.isfinite(gaia["PHOT_G_MEAN_MAG"])
    for band in ("G", "BP", "RP"):
        assert (gaia[f"PHOT_{band}_MEAN_FLUX_OVER_ERROR"][matched] > 5).all()
        assert np.isnan(gaia[f"PHOT_{band}_MEAN_FLUX_OVER_ERROR"][~matched]).all()
    imaged = (program != b"backup") & matched & (gaia["PHOT_G_MEAN_MAG"] > 17.0)
    for band in ("G", "R", "Z", "W1", "W2"):
        assert not fibermap[f"FLUX_{band}"][program == b"backup"].any()
        assert np.mean(fibermap[f"FLUX_IVAR_{band}"][imaged] > 0) > 0.95
    # a star of G = 17 has 158 nanomaggies in a band of equal AB magnitude; giants and dwarfs have r within 0.4 of G
    r = 22.5 - 2.5 * np.log10(fibermap["FLUX_R"][imaged & (fibermap["FLUX_R"] > 0)])
    assert np.abs(r - gaia["PHOT_G_MEAN_MAG"][imaged & (fibermap["FLUX_R"] > 0)]).max() < 0.6
    order = np.argsort(fibermap["TARGETID"])
    for path in _coadds(directory):
        targets_ = fitsio.read(str(path), ext="FIBERMAP")
        stars, sky = targets_[targets_["TARGETID"] > 0], targets_[targets_["TARGETID"] < 0]
        rows = order[np.searchsorted(fibermap["TARGETID"][order], stars["TARGETID"])]
        for name in ("FLUX_G", "FLUX_IVAR_W2"):
            np.testing.assert_array_equal(stars[name], fibermap[name][rows])
            assert not sky[name].any()


def test_the_survey_reads_it_back(mock: tuple[Path, dict[str, Any]]) -> None:
    directory, summary = mock
    survey = DesiSurvey(directory / CATALOGUE, directory)
    stars = Stars.concatenate(list(survey.stars()))
    blocks = list(survey.spectra(stars))
    assert not any(isinstance(block, Fault) for block in blocks)
    assert sum(len(block.row) for block in blocks) == summary["spectra"]
    np.testing.assert_allclose(np.nanpercentile(stars["SN"], [16, 50, 84]), summary["snr_16_50_84"], rtol=1e-6)


def test_what_is_read_back_is_the_truth_within_its_errors(mock: tuple[Path, dict[str, Any]]) -> None:
    directory, _ = mock
    survey = DesiSurvey(directory / CATALOGUE, directory)
    stars = Stars.concatenate(list(survey.stars()))
    truth = read_table(directory / TRUTH)
    truth = {name: values[join(stars.columns, truth)] for name, values in truth.items()}
    np.testing.assert_array_equal(stars["SOURCE_ID"], truth["SOURCE_ID"])
    warned = stars["RVS_WARN"] != 0
    assert np.median(np.abs(stars["FEH"] - truth["FEH_TRUE"])[~warned]) < 0.15
    assert np.median(np.abs(stars["VRAD"] - truth["VRAD_TRUE"])[~warned]) < 5.0
    pulls = []
    for block in survey.spectra(stars):
        assert isinstance(block, Spectra)
        rows, _ = targets.observed(SETTINGS, stars.take(block.row).columns)
        for name, model in observation.model_flux(rows).items():
            if name in block.arms:
                arm = block.arms[name]
                pulls.append(((arm.flux - model) * np.sqrt(arm.ivar))[~arm.bad])
    pull = np.concatenate(pulls).astype(np.float64)
    # two million numbers: 0.0007 in the mean, 0.0005 in the standard deviation; 5 sigma
    assert pull.mean() == pytest.approx(0.0, abs=0.0035)
    assert pull.std() == pytest.approx(1.0, abs=0.0025)


def test_normalised_spectra_on_request_are_those_that_the_pipeline_makes_of_the_coadds(tmp_path: Path) -> None:
    write_mock(tmp_path, MockSettings(stars=300, spmod=True, dead_arm_fraction=0.05))
    settings = SpectraSettings(missing="zeros")
    normalised = {}
    for kind in ("coadd", "spmod"):
        survey = DesiSurvey(tmp_path / CATALOGUE, tmp_path, kind)
        stars = Stars.concatenate(list(survey.stars()))
        one_file = (stars["PROGRAM"] == b"bright") & (stars["HEALPIX"] == stars["HEALPIX"][0])
        stars = stars.take(np.flatnonzero(one_file & (stars["RVS_WARN"] == 0)))
        [block] = list(survey.spectra(stars))
        assert isinstance(block, Spectra)
        assert block.normalised == (kind == "spmod")
        grid = PixelGrid.of({name: arm.native_wavelength for name, arm in block.arms.items()}, settings)
        normalised[kind] = normalise(block, grid, settings)
    ours, theirs = normalised["coadd"], normalised["spmod"]
    # half a window from the ends of the arms the two continua repeat other pixels
    inside = np.ones(len(grid.wavelength), bool)
    for arm in grid.arms:
        inside[arm.start : arm.start + 252] = inside[arm.stop - 252 : arm.stop] = False
    good = ~ours.bad & ~theirs.bad & inside
    assert good.mean() > 0.7
    # the files hold single precision, and the recipe rounds the velocity of the rest frame nowhere
    np.testing.assert_allclose(theirs.flux[good], ours.flux[good], rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(theirs.sigma[good], ours.sigma[good], rtol=1e-4)
    assert np.mean(ours.bad == theirs.bad) > 0.99


def test_a_normalised_spectrum_follows_the_recipe_step_by_step() -> None:
    native, grid = NATIVE_GRID["B"].wavelength(), SPMOD_GRID["B"].wavelength()
    flux = 100 + 10 * np.sin(native / 20)[None, :].astype(np.float32)
    ivar = np.full_like(flux, 0.25)
    flux[0, 1500], ivar[0, 1500] = 0.0, 0.0
    data = observation.ArmData(native, flux, ivar, np.zeros(flux.shape, np.int32))
    found = spmod.normalised_arm("B", data, np.array([0]), np.array([150.0]))
    at_rest = native * (1 - 150 / 299_792.458)
    value, error = np.interp(grid, at_rest, flux[0]), np.interp(grid, at_rest, np.where(ivar[0] > 0, 2.0, 1e5 * 1.1))
    padded = np.concatenate([np.full(250, value[0]), value, np.full(250, value[-1])])
    continuum = np.array([padded[pixel : pixel + 501].mean() for pixel in range(len(value))])
    np.testing.assert_allclose(found["obs"][0], value / continuum, rtol=1e-9)
    np.testing.assert_allclose(found["err"][0], error / continuum, rtol=1e-3)


def test_equal_settings_give_equal_bytes(mock: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    directory, summary = mock
    assert write_mock(tmp_path / "again", SETTINGS) == summary
    names, others = (
        sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        for folder in (directory, tmp_path / "again")
    )
    assert names == others
    lists = len(TABLE_A1) + 3  # of members: of the stream, of blue and RR Lyrae stars, too
    assert len(names) == 2 * summary["files"] + 3 + lists + len(MOCK_RIVALS) + 1  # and the one from parallaxes alone
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
    matrix = files.resolution_matrices(2, "R")
    assert matrix.shape == (2, 11, 2326)
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, rtol=1e-6)


def test_an_unknown_column_is_refused() -> None:
    with pytest.raises(ValueError, match="no field"):
        files.record("mwsall", "RVTAB", {"TARGETID": np.arange(3), "TEMPERATURE": np.ones(3)}, np.nan)
    assert files.record("mwsall", "RVTAB", {"TARGETID": np.arange(3)}, np.nan).dtype == dtype("mwsall", "RVTAB")
