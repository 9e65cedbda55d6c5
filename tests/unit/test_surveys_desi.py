"""The DESI reader against fabricated files with the exact layout of DR1, and against every oddity such files have."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import fitsio
import numpy as np
import pytest
from pydantic import ValidationError

import desi_files as fake
from specdis.errors import InputError
from specdis.surveys import Fault, Spectra, Stars, SurveySettings, coadd, layout, open_file, open_survey
from specdis.surveys.base import STAR_COLUMNS
from specdis.surveys.desi import CoaddSurvey, DesiSurvey
from specdis.surveys.fits import read_image_rows

HEADER = {"SURVEY": "main", "PROGRAM": "bright", "HPXPIXEL": fake.HEALPIX}

TWOMASS = {f"{band}_{ending}" for band in ("J", "H", "KS") for ending in ("M", "MSIGCOM")}


@pytest.fixture
def catalogue() -> fake.Hdus:
    return fake.catalogue(6)


@pytest.fixture
def spectra() -> fake.Hdus:
    """Return the coadd of the same stars, in another order and with targets that the catalogue lacks."""
    return fake.coadd(np.concatenate([fake.targets(6)[::-1], [77, 88]]))


@pytest.fixture
def open_desi(tmp_path: Path) -> Callable[..., DesiSurvey]:
    def open_(catalogue: fake.Hdus, kind: str = "coadd") -> DesiSurvey:
        (tmp_path / "healpix").mkdir(exist_ok=True)
        return DesiSurvey(fake.write(tmp_path / "mwsall-pix-test.fits", catalogue), tmp_path, kind)

    return open_


def all_stars(survey: DesiSurvey | CoaddSurvey, block: int = 4) -> Stars:
    return Stars.concatenate(list(survey.stars(block)))


def collect(survey: DesiSurvey | CoaddSurvey, stars: Stars) -> tuple[list[Spectra], list[Fault]]:
    """Return spectra and faults, having checked that every row comes exactly once."""
    found = list(survey.spectra(stars))
    assert sorted(np.concatenate([part.row for part in found])) == list(range(len(stars)))
    return [part for part in found if isinstance(part, Spectra)], [part for part in found if isinstance(part, Fault)]


def pick(table: np.ndarray, names: Sequence[str]) -> np.ndarray:
    new = np.zeros(len(table), [(name, table.dtype[name]) for name in names])
    for name in names:
        new[name] = table[name]
    return new


def drop(table: np.ndarray, *names: str) -> np.ndarray:
    return pick(table, [name for name in table.dtype.names if name not in names])


def retyped(table: np.ndarray, name: str, dtype: str) -> np.ndarray:
    fields = [(field, dtype if field == name else table.dtype[field]) for field in table.dtype.names]
    new = np.zeros(len(table), fields)
    for field in table.dtype.names:
        if np.dtype(dtype).kind == table.dtype[field].kind or field != name:
            new[field] = table[field]
    return new


# --- layout ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "hdu", "width", "count"),
    [
        ("mwsall", "RVTAB", 259, 37),
        ("mwsall", "SPTAB", 556, 22),
        ("mwsall", "FIBERMAP", 421, 80),
        ("mwsall", "SCORES", 172, 42),
        ("mwsall", "GAIA", 640, 153),
        ("coadd", "FIBERMAP", 317, 67),
        ("coadd", "EXP_FIBERMAP", 162, 26),
        ("coadd", "SCORES", 172, 42),
        ("rvtab_coadd", "RVTAB", 237, 33),
        ("spmod_coadd", "B_MODEL", 190_360, 5),
        ("spmod_coadd", "R_MODEL", 169_240, 5),
        ("spmod_coadd", "Z_MODEL", 191_880, 5),
        ("spmod_coadd", "FILTER", 80, 10),
    ],
)
def test_written_tables_have_the_row_widths_of_dr1(tmp_path: Path, file: str, hdu: str, width: int, count: int) -> None:
    path = tmp_path / "table.fits"
    with fitsio.FITS(str(path), "rw") as out:
        out.write(fake.table(file, hdu, 2), extname=hdu, units=fake.units(file, hdu))
    header = fitsio.read_header(str(path), ext=hdu)
    assert (header["NAXIS1"], header["TFIELDS"]) == (width, count)
    for number, column in enumerate(layout.columns(file, hdu), start=1):
        assert (header[f"TTYPE{number}"], header[f"TFORM{number}"]) == (column.name, column.tform)
        assert header.get(f"TUNIT{number}", "") == column.unit


@pytest.mark.parametrize(
    ("hdu", "name", "offset"),
    [
        ("RVTAB", "TARGETID", 202),
        ("RVTAB", "HEALPIX", 223),
        ("RVTAB", "PRIMARY", 258),
        ("SPTAB", "RV_ADOP", 532),
        ("FIBERMAP", "EBV", 86),
        ("FIBERMAP", "SV3_SCND_TARGET", 413),
        ("SCORES", "MEDIAN_COADD_SNR_R", 28),
        ("GAIA", "SOURCE_ID", 36),
        ("GAIA", "PHOT_G_MEAN_MAG", 308),
        ("GAIA", "PHOT_VARIABLE_FLAG", 456),
        ("GAIA", "EBV", 636),
    ],
)
def test_columns_stand_at_the_bytes_of_dr1(hdu: str, name: str, offset: int) -> None:
    assert layout.dtype("mwsall", hdu).fields[name][1] == offset


def test_grids_end_where_dr1_ends() -> None:
    ends = {arm: grid.wavelength()[-1] for arm, grid in layout.NATIVE_GRID.items()}
    assert ends == {"B": 5800.0, "R": 7620.0, "Z": 9824.0}
    ends = {arm: grid.wavelength()[-1] for arm, grid in layout.SPMOD_GRID.items()}
    assert ends == {"B": 5958.2, "R": 7750.2, "Z": 9843.2}


# --- stars ----------------------------------------------------------------------------------------------------------


def test_stars_come_with_native_types_and_exact_identifiers(open_desi, catalogue) -> None:
    survey = open_desi(catalogue)
    stars = all_stars(survey)
    assert stars["TARGETID"].tolist() == fake.targets(6).tolist()
    assert min(stars["TARGETID"]) == -24_360_048
    assert stars["SOURCE_ID"].tolist() == [(fake.HEALPIX << 47) + 1 + row for row in range(6)]
    assert all(values.dtype == STAR_COLUMNS[name].dtype for name, values in stars.columns.items())
    assert all(values.dtype.isnative for values in stars.columns.values())
    assert set(stars.columns) == survey.columns == set(STAR_COLUMNS) - TWOMASS
    assert stars["SN"].tolist() == [15, 16, 17, 18, 19, 20]
    assert stars["PARALLAX"][-1] == pytest.approx(-0.5, abs=1e-12)
    assert not survey.predicts_every_row


@pytest.mark.parametrize("block", [1, 5, 6, 100])
def test_stars_do_not_depend_on_the_block_size(open_desi, catalogue, block: int) -> None:
    survey = open_desi(catalogue)
    parts = list(survey.stars(block))
    assert [len(part) for part in parts] == [min(block, 6 - start) for start in range(0, 6, block)]
    expected = all_stars(survey)
    for name, values in Stars.concatenate(parts).columns.items():
        np.testing.assert_array_equal(values, expected[name])


def test_hdus_and_columns_may_come_in_any_order(open_desi, catalogue) -> None:
    expected = all_stars(open_desi(catalogue))
    shuffled = {hdu: pick(catalogue[hdu], catalogue[hdu].dtype.names[::-1]) for hdu in reversed(catalogue)}
    stars = all_stars(open_desi(shuffled))
    for name in expected.columns:
        np.testing.assert_array_equal(stars[name], expected[name])


@pytest.mark.parametrize("source", [999_999, 0, -1, -(2**63), 4321])
def test_rows_without_gaia_source_hold_nothing_of_gaia(tmp_path, open_desi, catalogue, source: int) -> None:
    for name in ("PMRA", "PARALLAX", "PARALLAX_ERROR", "PHOT_G_MEAN_MAG", "RUWE"):
        catalogue["GAIA"][name] = 1
    catalogue["GAIA"]["SOURCE_ID"][2] = source
    catalogue["GAIA"]["ASTROMETRIC_PARAMS_SOLVED"][2] = 16_959
    catalogue["GAIA"]["PARALLAX"][2], catalogue["GAIA"]["PHOT_G_MEAN_MAG"][2] = 1e20, 1e20
    catalogue["GAIA"]["RA"][2] = 1e20
    open_desi(catalogue)
    with fitsio.FITS(str(tmp_path / "mwsall-pix-test.fits"), "rw") as file:
        file["GAIA"].write_key("TNULL3", 4321)  # masked, as the third column SOURCE_ID declares it
    stars = all_stars(DesiSurvey(tmp_path / "mwsall-pix-test.fits", tmp_path))
    assert stars["SOURCE_ID"][2] == 0
    assert stars["ASTROMETRIC_PARAMS_SOLVED"][2] == 0
    assert stars["PHOT_VARIABLE_FLAG"][2] == b""
    for name in ("RA", "DEC", "PMRA", "PARALLAX", "PARALLAX_ERROR", "PHOT_G_MEAN_MAG", "RUWE", "ECL_LAT"):
        assert np.isnan(stars[name]).tolist() == [False, False, True, False, False, False]
    assert stars["VRAD"][2] == 0
    assert stars["EBV"][2] == np.float32(0.1)


def test_strings_lose_padding_and_capitals(open_desi, catalogue) -> None:
    catalogue["RVTAB"]["SURVEY"], catalogue["RVTAB"]["PROGRAM"] = b"MAIN   ", b"Dark  "
    catalogue["GAIA"]["PHOT_VARIABLE_FLAG"][1] = b"VARIABLE            "
    stars = all_stars(open_desi(catalogue))
    assert set(stars["SURVEY"]) == {b"main"}
    assert set(stars["PROGRAM"]) == {b"dark"}
    assert stars["PHOT_VARIABLE_FLAG"][:2].tolist() == [b"NOT_AVAILABLE", b"VARIABLE"]


def test_reddening_is_that_of_the_fibermap_then_of_gaia_then_missing(open_desi, catalogue) -> None:
    catalogue["FIBERMAP"]["EBV"] = [0.1, 0.0, np.nan, -1.0, 0.0, 0.2]
    catalogue["GAIA"]["EBV"] = [0.3, 0.3, 0.4, 0.5, 0.0, np.nan]
    ebv = all_stars(open_desi(catalogue))["EBV"]
    np.testing.assert_array_equal(ebv, np.float32([0.1, 0.3, 0.4, 0.5, np.nan, 0.2]))


def test_a_missing_optional_column_is_absent_and_not_invented(open_desi, catalogue) -> None:
    catalogue["RVTAB"] = drop(catalogue["RVTAB"], "ALPHAFE", "SN_B", "TARGET_RA")
    catalogue["GAIA"] = drop(catalogue["GAIA"], "RUWE", "EBV")
    catalogue["FIBERMAP"] = drop(catalogue["FIBERMAP"], "EBV")
    del catalogue["SPTAB"], catalogue["SCORES"]
    survey = open_desi(catalogue)
    lacking = {"ALPHAFE", "SN_B", "SN", "RUWE", "EBV"}
    assert survey.columns == set(STAR_COLUMNS) - TWOMASS - lacking
    assert not lacking & set(all_stars(survey).columns)


@pytest.mark.parametrize(
    ("hdu", "column"),
    [
        ("RVTAB", "TARGETID"),
        ("RVTAB", "SURVEY"),
        ("RVTAB", "HEALPIX"),
        ("RVTAB", "VRAD"),
        ("FIBERMAP", "TARGETID"),
        ("GAIA", "SOURCE_ID"),
        ("GAIA", "PARALLAX"),
        ("GAIA", "PARALLAX_ERROR"),
        ("GAIA", "PHOT_G_MEAN_MAG"),
    ],
)
def test_a_missing_essential_column_is_named(open_desi, catalogue, hdu: str, column: str) -> None:
    catalogue[hdu] = drop(catalogue[hdu], column)
    with pytest.raises(InputError, match=rf"mwsall-pix-test\.fits\[{hdu}\].* column {column}.*Add {column}"):
        open_desi(catalogue)


@pytest.mark.parametrize("hdu", ["RVTAB", "FIBERMAP", "GAIA"])
def test_a_missing_hdu_is_named(open_desi, catalogue, hdu: str) -> None:
    del catalogue[hdu]
    with pytest.raises(InputError, match=rf"mwsall-pix-test\.fits: expected an HDU {hdu}, found the HDUs .*SCORES"):
        open_desi(catalogue)


@pytest.mark.parametrize(
    ("hdu", "column", "dtype", "expected"),
    [
        ("RVTAB", "TARGETID", "f8", "integers"),
        ("RVTAB", "VRAD", "S8", "numbers"),
        ("RVTAB", "VRAD", "(3,)f8", "numbers, one a row"),
        ("RVTAB", "PROGRAM", "i8", "strings"),
        ("FIBERMAP", "EBV", "S4", "numbers"),
        ("GAIA", "SOURCE_ID", "f8", "integers"),
        ("GAIA", "PARALLAX", "S10", "numbers"),
        ("GAIA", "ASTROMETRIC_PARAMS_SOLVED", "f4", "integers"),
    ],
)
def test_a_column_of_the_wrong_type_is_named(open_desi, catalogue, hdu, column, dtype, expected) -> None:
    catalogue[hdu] = retyped(catalogue[hdu], column, dtype)
    with pytest.raises(InputError, match=rf"\[{hdu}\], column {column}: expected {expected}.*Write the column again"):
        open_desi(catalogue)


def test_misaligned_hdus_are_refused(open_desi, catalogue) -> None:
    catalogue["FIBERMAP"]["TARGETID"][5] += 1
    with pytest.raises(InputError, match=r"\[FIBERMAP\].*another TARGETID in row 5"):
        all_stars(open_desi(catalogue))


def test_a_gaia_table_shifted_by_a_row_is_refused(open_desi, catalogue) -> None:
    catalogue["GAIA"] = np.roll(catalogue["GAIA"], 1)
    with pytest.raises(InputError, match=r"\[GAIA\].*degrees \(median\) from their targets in rows 0 to 5"):
        all_stars(open_desi(catalogue), block=100)


def test_one_wrong_gaia_match_and_the_meridian_are_no_misalignment(open_desi, catalogue) -> None:
    catalogue["RVTAB"]["TARGET_RA"], catalogue["GAIA"]["RA"] = 359.99999, 0.00001
    catalogue["GAIA"]["DEC"][3] += 40
    assert len(all_stars(open_desi(catalogue))) == 6


def test_hdus_of_different_length_are_refused(open_desi, catalogue) -> None:
    catalogue["GAIA"] = catalogue["GAIA"][:5]
    with pytest.raises(InputError, match="RVTAB with 6 rows, FIBERMAP with 6 rows, GAIA with 5 rows"):
        open_desi(catalogue)


def test_a_catalogue_without_rows_is_refused(open_desi) -> None:
    with pytest.raises(InputError, match="at least one row"):
        open_desi(fake.catalogue(6) | {hdu: fake.table("mwsall", hdu, 0) for hdu in fake.catalogue(6)})


def test_a_truncated_missing_or_foreign_catalogue_is_refused(tmp_path: Path, catalogue) -> None:
    path = fake.write(tmp_path / "mwsall.fits", catalogue)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2 + 100])
    with pytest.raises(InputError, match=r"mwsall\.fits: expected a complete FITS file.*Copy or download it again"):
        DesiSurvey(path, tmp_path)
    path.write_text("TARGETID,VRAD\n1,2\n" * 400)
    with pytest.raises(InputError, match="expected a complete FITS file"):
        DesiSurvey(path, tmp_path)
    with pytest.raises(InputError, match=r"none\.fits: expected a file, found none"):
        DesiSurvey(tmp_path / "none.fits", tmp_path)


def test_the_folder_of_spectra_must_exist_and_may_be_healpix_or_its_parent(tmp_path: Path, catalogue) -> None:
    path = fake.write(tmp_path / "mwsall.fits", catalogue)
    with pytest.raises(InputError, match=r"Correct survey\.spectra"):
        DesiSurvey(path, tmp_path / "nowhere")
    (tmp_path / "healpix" / "main" / "bright").mkdir(parents=True)
    for spectra in (tmp_path, tmp_path / "healpix"):
        survey = DesiSurvey(path, spectra)
        assert survey.healpix == tmp_path / "healpix"
        assert survey.inputs == [path]


# --- coadds ---------------------------------------------------------------------------------------------------------


def test_spectra_are_joined_by_identifier(tmp_path: Path, open_desi, catalogue, spectra) -> None:
    fake.write(fake.coadd_path(tmp_path), spectra)
    survey = open_desi(catalogue)
    stars = all_stars(survey).take(np.array([4, 0, 3]))
    [block], faults = collect(survey, stars)
    assert not faults
    assert block.row.tolist() == [0, 1, 2]
    assert block.velocity.tolist() == block.observed_velocity.tolist() == stars["VRAD"].tolist() == [20, -20, 10]
    assert not block.normalised
    assert list(block.arms) == ["B", "R"]
    for name, arm in block.arms.items():
        np.testing.assert_array_equal(arm.wavelength, layout.NATIVE_GRID[name].wavelength())
        good = np.arange(len(arm.wavelength)) != 7
        np.testing.assert_array_equal(arm.bad, np.broadcast_to(~good, arm.bad.shape))
        np.testing.assert_array_equal(arm.flux, fake.flux(stars["TARGETID"], name) * good)
        np.testing.assert_array_equal(arm.ivar, np.where(arm.bad, 0, 4))
        assert arm.flux.dtype == arm.ivar.dtype == np.float32


def test_hdus_of_a_coadd_may_come_in_any_order(tmp_path: Path, open_desi, catalogue, spectra) -> None:
    survey = open_desi(catalogue)
    fake.write(fake.coadd_path(tmp_path), spectra)
    [expected], _ = collect(survey, all_stars(survey))
    fake.write(fake.coadd_path(tmp_path), {name: spectra[name] for name in sorted(spectra, reverse=True)})
    [block], _ = collect(survey, all_stars(survey))
    np.testing.assert_array_equal(block.arms["R"].flux, expected.arms["R"].flux)


@pytest.mark.parametrize("form", ["int32", "uint32 with BZERO", "compressed int32", "compressed uint32", "absent"])
def test_any_form_of_mask_is_read(tmp_path: Path, open_desi, catalogue, spectra, form: str) -> None:
    for arm in "BR":
        mask = spectra.pop(f"{arm}_MASK")
        if "uint32" in form:
            mask = mask.astype(np.uint32)
            mask[:, 7] = 1 << 31
        if form != "absent":
            spectra[f"{arm}_MASK"] = mask
        spectra[f"{arm}_IVAR"][:, 9] = 0  # which is bad with and without a mask
    path = fake.write(fake.coadd_path(tmp_path), spectra, compressed=["B_MASK", "R_MASK"] if "com" in form else [])
    if form != "absent":
        header = fitsio.read_header(str(path), ext="B_MASK")
        assert ("BZERO" in header) == ("uint32" in form)
        assert ("ZCMPTYPE" in header) == ("compressed" in form)
    survey = open_desi(catalogue)
    [block], _ = collect(survey, all_stars(survey))
    for arm in block.arms.values():
        assert np.flatnonzero(arm.bad.all(axis=0)).tolist() == ([9] if form == "absent" else [7, 9])
        assert arm.bad.sum() == 6 * arm.bad.all(axis=0).sum()


def test_bad_pixels_are_found_by_flux_and_variance_and_set_to_zero(
    tmp_path: Path, open_desi, catalogue, spectra, caplog
) -> None:
    spectra["B_FLUX"][:, 20:22] = np.nan, np.inf
    spectra["B_IVAR"][:, 22:26] = 0, -3, np.nan, np.inf
    fake.write(fake.coadd_path(tmp_path), spectra)
    survey = open_desi(catalogue)
    with caplog.at_level(logging.WARNING):
        [block], _ = collect(survey, all_stars(survey))
    arm = block.arms["B"]
    assert np.flatnonzero(arm.bad.all(axis=0)).tolist() == [7, 20, 21, 22, 23, 24, 25]
    assert arm.bad.sum() == 7 * 6
    assert not arm.flux[arm.bad].any()
    assert not arm.ivar[arm.bad].any()
    assert (arm.ivar[~arm.bad] > 0).all()
    [message] = [record.message for record in caplog.records]
    assert message.startswith("6 pixels of negative inverse variance are taken as bad")
    assert "coadd-main-bright-10813.fits[B_IVAR]" in message


def test_a_dead_arm_leaves_the_other(tmp_path: Path, open_desi, catalogue, spectra) -> None:
    spectra["R_IVAR"][:], spectra["R_FLUX"][:] = 0, 0
    fake.write(fake.coadd_path(tmp_path), spectra)
    survey = open_desi(catalogue)
    [block], faults = collect(survey, all_stars(survey))
    assert not faults
    assert block.arms["R"].bad.all()
    assert block.arms["B"].bad.mean() < 0.01


def test_an_arm_that_a_file_lacks_is_absent(tmp_path: Path, open_desi, catalogue, spectra) -> None:
    fake.write(fake.coadd_path(tmp_path), {name: spectra[name] for name in spectra if not name.startswith("B_")})
    survey = open_desi(catalogue)
    [block], faults = collect(survey, all_stars(survey))
    assert list(block.arms) == ["R"]
    assert not faults


def spoil_image(name: str, index: object, value: object) -> Callable[[fake.Hdus], object]:
    return lambda hdus: hdus[name].__setitem__(index, value)


def without(*names: str) -> Callable[[fake.Hdus], object]:
    return lambda hdus: [hdus.pop(name) for name in names]


def replace(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[fake.Hdus], object]:
    return lambda hdus: hdus.__setitem__(name, change(hdus[name]))


@pytest.mark.parametrize(
    ("spoil", "name", "place"),
    [
        (dict.clear, "empty-file", ""),
        (without("FIBERMAP"), "missing-hdu", ""),
        (without("B_IVAR"), "missing-hdu", ""),
        (without("R_WAVELENGTH"), "missing-hdu", ""),
        (without(*(f"{arm}_{part}" for arm in "BR" for part in ("WAVELENGTH", "FLUX", "IVAR"))), "missing-hdu", ""),
        (replace("FIBERMAP", lambda table: drop(table, "TARGETID")), "missing-column", "[FIBERMAP]"),
        (replace("FIBERMAP", lambda table: retyped(table, "TARGETID", "f8")), "wrong-type", "TARGETID"),
        (replace("FIBERMAP", lambda table: table[:0]), "missing-row", "[FIBERMAP]"),
        (spoil_image("B_WAVELENGTH", slice(100, 102), [4000.0, 3000.0]), "bad-wavelength", "[B_WAVELENGTH]"),
        (spoil_image("R_WAVELENGTH", 5, np.nan), "bad-wavelength", "[R_WAVELENGTH]"),
        (replace("R_WAVELENGTH", lambda values: values[::-1].copy()), "bad-wavelength", "[R_WAVELENGTH]"),
        (replace("R_WAVELENGTH", lambda values: values[None].repeat(8, 0)), "bad-wavelength", "[R_WAVELENGTH]"),
        (replace("B_FLUX", lambda values: values[:5]), "wrong-shape", "[B_FLUX]"),
        (replace("R_MASK", lambda values: values[:, :-1].copy()), "wrong-shape", "[R_MASK]"),
        (lambda hdus: [hdus[f"{arm}_FLUX"].fill(np.nan) for arm in "BR"], "no-good-pixel", ""),
        (lambda hdus: [hdus[f"{arm}_MASK"].fill(1) for arm in "BR"], "no-good-pixel", ""),
    ],
)
def test_a_bad_file_is_a_fault_and_the_rest_goes_on(
    tmp_path: Path, open_desi, catalogue, spectra, spoil, name: str, place: str
) -> None:
    catalogue["RVTAB"]["HEALPIX"][3:] = 10814
    fake.write(fake.coadd_path(tmp_path, healpix=10814), fake.coadd(fake.targets(6)))
    spoil(spectra)
    path = fake.write(fake.coadd_path(tmp_path), spectra)
    survey = open_desi(catalogue)
    [block], [fault] = collect(survey, all_stars(survey))
    assert fault.name == name
    assert fault.row.tolist() == [0, 1, 2]
    assert str(path) in fault.place
    assert place in fault.place
    assert str(path) in fault.message
    assert "expected" in fault.message
    assert fault.message.endswith(".")
    assert block.row.tolist() == [3, 4, 5]


@pytest.mark.parametrize("keep", [0.0, 0.001, 0.2, 0.5, 0.9, 0.99999])
def test_a_truncated_file_is_a_fault_wherever_it_ends(tmp_path: Path, open_desi, catalogue, spectra, keep) -> None:
    path = fake.write(fake.coadd_path(tmp_path), spectra)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    survey = open_desi(catalogue)
    blocks, [fault] = collect(survey, all_stars(survey))
    assert not blocks
    assert fault.name == "unreadable-file"
    assert "Copy or download it again" in fault.message


def test_a_missing_file_is_a_fault(open_desi, catalogue) -> None:
    survey = open_desi(catalogue)
    blocks, [fault] = collect(survey, all_stars(survey))
    assert not blocks
    assert fault.name == "missing-file"
    assert fault.place.endswith("healpix/main/bright/108/10813/coadd-main-bright-10813.fits")


def test_bytes_that_are_no_text_make_an_unreadable_file(tmp_path: Path, open_desi, catalogue, spectra) -> None:
    path = fake.write(fake.coadd_path(tmp_path), spectra)
    content = bytearray(path.read_bytes())
    start = content.index(b"XTENSION")
    content[start : start + 160] = b"\xf7" * 160
    path.write_bytes(content)
    survey = open_desi(catalogue)
    _, [fault] = collect(survey, all_stars(survey))
    assert fault.name == "unreadable-file"


def test_missing_and_repeated_targets_are_faults_of_their_own(tmp_path: Path, open_desi, catalogue, spectra) -> None:
    identifiers = fake.targets(6)
    own = spectra["FIBERMAP"]["TARGETID"]
    own[own == identifiers[1]] = 99
    own[own == 77] = identifiers[4]
    fake.write(fake.coadd_path(tmp_path), spectra)
    survey = open_desi(catalogue)
    [block], faults = collect(survey, all_stars(survey))
    assert {fault.name: fault.row.tolist() for fault in faults} == {"missing-row": [1], "duplicate-row": [4]}
    assert all(str(identifiers[fault.row[0]]) in fault.message for fault in faults)
    assert block.row.tolist() == [0, 2, 3, 5]


def test_one_dead_spectrum_among_good_ones_is_a_fault(tmp_path: Path, open_desi, catalogue, spectra) -> None:
    place = int(np.flatnonzero(spectra["FIBERMAP"]["TARGETID"] == fake.targets(6)[2])[0])
    for arm in "BR":
        spectra[f"{arm}_FLUX"][place] = np.nan
    fake.write(fake.coadd_path(tmp_path), spectra)
    survey = open_desi(catalogue)
    [block], [fault] = collect(survey, all_stars(survey))
    assert (fault.name, fault.row.tolist()) == ("no-good-pixel", [2])
    assert block.row.tolist() == [0, 1, 3, 4, 5]
    np.testing.assert_array_equal(block.velocity, [-20, -10, 10, 20, 30])
    np.testing.assert_array_equal(block.arms["B"].flux[:, 0], fake.flux(fake.targets(6)[block.row], "B")[:, 0])


def test_one_target_in_two_programmes_has_two_spectra(tmp_path: Path, open_desi, catalogue) -> None:
    catalogue["RVTAB"]["PROGRAM"][1::2] = b"backup"
    for hdu in ("RVTAB", "FIBERMAP"):
        catalogue[hdu]["TARGETID"][1] = catalogue[hdu]["TARGETID"][0]
    identifiers = catalogue["RVTAB"]["TARGETID"].astype(np.int64)
    other = fake.coadd(identifiers[1::2])
    other["B_FLUX"] += 1000
    fake.write(fake.coadd_path(tmp_path), fake.coadd(identifiers[::2]))
    fake.write(fake.coadd_path(tmp_path, program="backup"), other)
    survey = open_desi(catalogue)
    stars = all_stars(survey).take(np.array([1, 0, 2, 3]))
    blocks, faults = collect(survey, stars)
    assert not faults
    assert [block.row.tolist() for block in blocks] == [[0, 3], [1, 2]]  # in order of first appearance
    backup, bright = (block.arms["B"].flux[0, 0] for block in blocks)
    assert backup == bright + 1000


def test_no_block_is_larger_than_the_limit(tmp_path: Path, open_desi, catalogue, spectra, monkeypatch) -> None:
    monkeypatch.setattr(coadd, "SPECTRA_AT_ONCE", 4)
    fake.write(fake.coadd_path(tmp_path), spectra)
    survey = open_desi(catalogue)
    blocks, _ = collect(survey, all_stars(survey))
    assert [block.row.tolist() for block in blocks] == [[0, 1, 2, 3], [4, 5]]
    flux = np.concatenate([block.arms["B"].flux[:, 0] for block in blocks])
    np.testing.assert_array_equal(flux, fake.flux(fake.targets(6), "B")[:, 0])


@pytest.mark.parametrize("compressed", [False, True])
def test_rows_of_an_image_come_in_any_order(tmp_path: Path, compressed: bool) -> None:
    image = np.arange(100 * 30, dtype=np.float32).reshape(100, 30)
    path = fake.write(tmp_path / "image.fits", {"FLUX": image}, compressed=["FLUX"] if compressed else [])
    stored = fitsio.read(str(path), ext="FLUX")  # compression of floats loses digits
    rows = np.array([99, 0, 1, 2, 50, 50, 20, 3, 98])
    with fitsio.FITS(str(path)) as file:
        np.testing.assert_array_equal(read_image_rows(file["FLUX"], rows), stored[rows])


# --- normalised spectra ---------------------------------------------------------------------------------------------


def spmod_path(tmp_path: Path) -> Path:
    path = fake.coadd_path(tmp_path)
    return path.with_name(f"spmod_{path.name}")


def test_normalised_spectra_are_at_rest_with_the_velocity_that_was_applied(tmp_path, open_desi, catalogue) -> None:
    catalogue["SPTAB"]["RV_ADOP"] = [-500, 150, np.nan, 11, 21, 31]
    fake.write(spmod_path(tmp_path), fake.spmod(fake.targets(6)))
    survey = open_desi(catalogue, "spmod")
    stars = all_stars(survey)
    [block], faults = collect(survey, stars.take(slice(0, 3)))
    assert not faults
    assert block.normalised
    assert block.velocity.tolist() == [0, 0, 0]
    assert block.observed_velocity.tolist() == [-500, 150, 0]  # the third is VRAD
    assert list(block.arms) == ["B", "R"]
    for name, arm in block.arms.items():
        np.testing.assert_allclose(arm.ivar[~arm.bad], 100, rtol=1e-6)
        assert arm.bad[:, 1000:1004].all()
        np.testing.assert_allclose(arm.flux[2, 2000], 1.02, rtol=1e-6)
        native = layout.NATIVE_GRID[name].wavelength()
        for row, velocity in enumerate([-500, 150, 0]):
            good = arm.wavelength[~arm.bad[row]]
            shift = 1 - velocity / 299_792.458
            assert native[0] * shift <= good[0] < native[0] * shift + 0.5
            assert native[-1] * shift - 0.5 < good[-1] <= native[-1] * shift


def test_normalised_spectra_need_the_table_with_their_velocities(open_desi, catalogue) -> None:
    del catalogue["SPTAB"]
    with pytest.raises(InputError, match="expected an HDU SPTAB"):
        open_desi(catalogue, "spmod")


def test_normalised_spectra_of_another_grid_than_their_wavelengths_are_a_fault(tmp_path, open_desi, catalogue) -> None:
    hdus = fake.spmod(fake.targets(6))
    hdus["R_WAVELENGTH"] = hdus["R_WAVELENGTH"][:-1]
    fake.write(spmod_path(tmp_path), hdus)
    survey = open_desi(catalogue, "spmod")
    _, [fault] = collect(survey, all_stars(survey))
    assert (fault.name, fault.place) == ("wrong-shape", f"{spmod_path(tmp_path)}[R_MODEL]")


# --- one file by itself ---------------------------------------------------------------------------------------------


def test_a_coadd_by_itself_gives_stars_and_velocities(tmp_path: Path, spectra) -> None:
    path = fake.write(fake.coadd_path(tmp_path), spectra, HEADER)
    identifiers = fake.targets(6)
    fake.write(path.with_name(f"rvtab_{path.name}"), fake.rvtab(identifiers[:5], 10.0 * np.arange(5)))
    survey = open_file(path)
    assert isinstance(survey, CoaddSurvey)
    assert survey.predicts_every_row
    assert survey.inputs == [path, path.with_name(f"rvtab_{path.name}")]
    stars = all_stars(survey)
    order = [stars["TARGETID"].tolist().index(identifier) for identifier in identifiers]
    assert len(stars) == 8
    np.testing.assert_array_equal(stars["VRAD"][order], [0, 10, 20, 30, 40, np.nan])
    assert np.isnan(stars["VRAD"]).sum() == 3
    assert stars["RVS_WARN"][order].tolist() == [1, 1, 1, 1, 1, 0]
    assert {"SURVEY": b"main", "PROGRAM": b"bright", "HEALPIX": 10813, "SN": 40, "PHOT_G_MEAN_MAG": 17}.items() <= {
        name: values[0] for name, values in stars.columns.items()
    }.items()
    assert {"SOURCE_ID", "PARALLAX"}.isdisjoint(survey.columns)
    assert set(stars.columns) == survey.columns
    [block], faults = collect(survey, stars)
    assert not faults
    np.testing.assert_array_equal(block.velocity, stars["VRAD"])
    np.testing.assert_array_equal(block.arms["B"].flux[:, 0], fake.flux(stars["TARGETID"], "B")[:, 0])


@pytest.mark.parametrize("velocities", [None, {}])
def test_without_velocities_a_coadd_still_reads_and_says_so(tmp_path: Path, spectra, caplog, velocities) -> None:
    path = fake.write(fake.coadd_path(tmp_path), spectra, HEADER)
    if velocities is not None:
        fake.write(path.with_name(f"rvtab_{path.name}"), velocities)
    with caplog.at_level(logging.WARNING):
        survey = CoaddSurvey(path)
    assert "VRAD" not in survey.columns
    assert "no velocities" in caplog.text
    [block], _ = collect(survey, all_stars(survey))
    assert np.isnan(block.velocity).all()


def test_sky_fibres_and_zero_magnitudes_are_no_stars_and_no_magnitudes(tmp_path: Path, spectra) -> None:
    spectra["FIBERMAP"]["OBJTYPE"][2] = b"SKY"
    spectra["FIBERMAP"]["GAIA_PHOT_G_MEAN_MAG"][0] = 0
    path = fake.write(fake.coadd_path(tmp_path), spectra)
    stars = all_stars(CoaddSurvey(path))
    assert stars["TARGETID"].tolist() == np.delete(spectra["FIBERMAP"]["TARGETID"], 2).tolist()
    assert np.isnan(stars["PHOT_G_MEAN_MAG"]).tolist() == [True] + 6 * [False]


def test_a_file_of_normalised_spectra_by_itself(tmp_path: Path) -> None:
    path = fake.write(spmod_path(tmp_path), fake.spmod(fake.targets(4)))
    fake.write(
        fake.coadd_path(tmp_path).with_name("rvtab_coadd-main-bright-10813.fits"), fake.rvtab(fake.targets(4), 7)
    )
    survey = CoaddSurvey(path)
    stars = all_stars(survey)
    # This kind of file has no header keys for them: they come from its name.
    assert (stars["SURVEY"][0], stars["PROGRAM"][0], stars["HEALPIX"][0]) == (b"main", b"bright", 10813)
    [block], _ = collect(survey, stars)
    assert block.normalised
    assert block.velocity.tolist() == [0, 0, 0, 0]
    assert block.observed_velocity.tolist() == [7, 7, 7, 7]


def test_a_catalogue_is_no_file_of_spectra(tmp_path: Path, catalogue) -> None:
    with pytest.raises(InputError, match=r"found a catalogue.*survey\.catalogue"):
        open_file(fake.write(tmp_path / "mwsall.fits", catalogue))


# --- configuration --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"kind": "desi", "spectra": "healpix"}, "needs catalogue"),
        ({"kind": "table", "spectra": "t.fits", "catalogue": "c.fits"}, "takes no catalogue"),
        ({"kind": "table", "spectra": "t.fits", "spectra_kind": "spmod"}, "takes no spectra_kind"),
        ({"kind": "sdss", "spectra": "t.fits"}, "'desi', 'table' or 'mock'"),
        ({"kind": "table"}, "needs spectra"),
        ({"kind": "mock", "spectra": "t.fits"}, "takes no spectra"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(keys: dict[str, str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SurveySettings(**keys)


def test_settings_open_the_survey_and_find_the_truth(tmp_path: Path, open_desi, catalogue) -> None:
    open_desi(catalogue)
    path = tmp_path / "mwsall-pix-test.fits"
    settings = SurveySettings(kind="desi", catalogue=path, spectra=tmp_path)
    assert isinstance(open_survey(settings), DesiSurvey)
    assert settings.truth_file is None
    (tmp_path / "truth.parquet").touch()
    assert settings.truth_file == tmp_path / "truth.parquet"
    assert settings.model_copy(update={"truth": Path("else")}).truth_file == Path("else")


def test_single_exposures_are_refused_and_the_coadd_is_asked_for(tmp_path: Path) -> None:
    path = fake.write(tmp_path / f"spectra-main-bright-{fake.HEALPIX}.fits", fake.coadd(fake.targets(4).repeat(3)))
    with pytest.raises(InputError, match=r"spectra-main.*one row per exposure.*Give the coadd \(coadd-"):
        CoaddSurvey(path)


def test_repeated_fibres_on_the_sky_are_no_single_exposures(tmp_path: Path) -> None:
    hdus = fake.coadd(fake.targets(4)[[0, 1, 2, 2]])
    hdus["FIBERMAP"]["OBJTYPE"][2:] = b"SKY"
    assert len(next(CoaddSurvey(fake.write(tmp_path / "coadd.fits", hdus)).stars())) == 2


def test_a_file_without_targets_says_so(tmp_path: Path) -> None:
    hdus = fake.coadd(fake.targets(4))
    hdus["FIBERMAP"]["OBJTYPE"] = b"SKY"
    with pytest.raises(InputError, match=r"\[FIBERMAP\]: expected at least one fibre on a target .* none in 4 rows"):
        CoaddSurvey(fake.write(tmp_path / "coadd.fits", hdus))


@pytest.mark.parametrize("zipped", [("coadd",), ("rvtab",), ("coadd", "rvtab")])
def test_coadds_and_velocities_with_and_without_gz_belong_together(tmp_path: Path, zipped: tuple[str, ...]) -> None:
    ids, name = fake.targets(4), f"coadd-main-bright-{fake.HEALPIX}.fits"
    path = fake.write(tmp_path / name, fake.coadd(ids))
    fake.write(tmp_path / f"rvtab_{name}", fake.rvtab(ids, np.arange(4.0)))
    for kind, file in (("coadd", path), ("rvtab", tmp_path / f"rvtab_{name}")):
        if kind in zipped:
            file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes(), 1))
            file.unlink()
    survey = CoaddSurvey(path if path.exists() else tmp_path / f"{name}.gz")
    stars = next(survey.stars())
    assert stars["VRAD"].tolist() == [0, 1, 2, 3]
    assert set(stars["HEALPIX"]) == {fake.HEALPIX}


def test_the_spectra_of_a_catalogue_may_be_compressed(tmp_path: Path, open_desi, catalogue, spectra) -> None:
    path = fake.write(fake.coadd_path(tmp_path), spectra)
    survey = open_desi(catalogue)
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), 1))
    path.unlink()
    blocks, faults = collect(survey, all_stars(survey))
    assert sum(len(block.row) for block in blocks) == 6
    assert not faults
