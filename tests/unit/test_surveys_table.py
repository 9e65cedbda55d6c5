"""The spectra table: every form of it that the reader takes, every fault that it names, and air against vacuum."""

from __future__ import annotations

import gzip
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pytest
from astropy.io.fits import table_to_hdu
from astropy.table import Table

from specdis.errors import InputError
from specdis.surveys import Arm, Fault, Spectra, Stars, SurveySettings, fits, open_file, open_survey, table
from specdis.surveys.table import ARM, TableSurvey
from specdis.surveys.wavelengths import air_to_vacuum

N, PIXELS = 5, 40
HEADER = {"WAVEMED": "vacuum", "FRAME": "observed"}


def stars_columns() -> dict[str, Any]:
    return {
        "SOURCE_ID": 2**62 + np.arange(N, dtype=np.int64),
        "VRAD": np.array([0.0, 50, -50, np.nan, 10]),
        "SN": np.array([10.0, 20, 30, 40, 50]),
        "PHOT_G_MEAN_MAG": np.linspace(12, 14, N),
        "NAME": np.array([b"one ", b"two", b"three", b"four", b"five"]),
        "USE": np.array([True, False, True, True, False]),
    }


@pytest.fixture
def content() -> dict[str, Any]:
    """Return a whole table: flux tells star and pixel, and is never 0."""
    flux = 100.0 * np.arange(1, N + 1)[:, None] + np.arange(PIXELS)
    return {
        "STARS": stars_columns(),
        "WAVELENGTH": np.geomspace(4000, 5000, PIXELS),
        "FLUX": flux.astype(np.float32),
        "IVAR": np.full((N, PIXELS), 0.25, np.float32),
        "MASK": np.zeros((N, PIXELS), np.int16),
    }


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write_(content: dict[str, Any], **header: str) -> Path:
        path = tmp_path / "spectra.fits"
        with fitsio.FITS(str(path), "rw", clobber=True) as file:
            for name, values in content.items():
                file.write(values, extname=name, header={**HEADER, **header} if name == "WAVELENGTH" else None)
        return path

    return write_


def all_stars(survey: TableSurvey) -> Stars:
    return Stars.concatenate(list(survey.stars(2)))


def collect(survey: TableSurvey, stars: Stars) -> tuple[list[Spectra], list[Fault]]:
    """Return spectra and faults, having checked that every row comes exactly once."""
    found = list(survey.spectra(stars))
    assert sorted(np.concatenate([part.row for part in found])) == list(range(len(stars)))
    return [part for part in found if isinstance(part, Spectra)], [part for part in found if isinstance(part, Fault)]


def relative(arm: Arm) -> np.ndarray:
    """Return flux and error without the scale that the reader chose."""
    return arm.flux / arm.flux[:, :1]


def test_stars_keep_known_and_unknown_columns(write, content) -> None:
    survey = TableSurvey(write(content))
    stars = all_stars(survey)
    np.testing.assert_array_equal(stars["TARGETID"], 2**62 + np.arange(N))
    np.testing.assert_array_equal(stars["SOURCE_ID"], stars["TARGETID"])
    assert set(stars["SURVEY"]) == {b"table"}
    assert set(stars["PROGRAM"]) == {b""}
    assert set(stars["HEALPIX"]) == {-1}
    assert stars["NAME"].tolist() == [b"one", b"two", b"three", b"four", b"five"]
    assert stars["USE"].tolist() == [True, False, True, True, False]
    assert stars["PHOT_G_MEAN_MAG"].dtype == np.float32
    assert survey.columns == {"TARGETID", "SOURCE_ID", "VRAD", "SN", "PHOT_G_MEAN_MAG"}
    assert survey.predicts_every_row
    assert survey.inputs == [survey.path]


def test_own_identifiers_let_a_star_come_twice(write, content) -> None:
    content["STARS"] |= {"TARGETID": np.arange(N) - 3, "HEALPIX": np.arange(N), "SOURCE_ID": np.full(N, 7)}
    survey = TableSurvey(write(content))
    stars = all_stars(survey)
    assert stars["TARGETID"].tolist() == [-3, -2, -1, 0, 1]
    assert stars["SOURCE_ID"].tolist() == [7] * N
    assert stars["HEALPIX"].tolist() == [0, 1, 2, 3, 4]
    assert len(collect(survey, stars)[0][0]) == N


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"SN": [1, 2, 3, 4, 5], "SN_B": [9] * N, "SN_R": [9] * N}, [1, 2, 3, 4, 5]),
        ({"SN_B": [1, 2, 3, 4, 5], "SN_R": [3, 4, 5, 6, 7], "SN_G": [9] * N}, [2, 3, 4, 5, 6]),
        ({"SN_G": [1, 2, 3, 4, 5], "SN_R": [3, 4, 5, 6, 7]}, [2, 3, 4, 5, 6]),
        ({"SN_R": [3] * N}, None),
    ],
)
def test_signal_to_noise_is_the_first_of_three_forms(write, content, columns, expected) -> None:
    del content["STARS"]["SN"]
    content["STARS"] |= {name: np.array(values, np.float32) for name, values in columns.items()}
    survey = TableSurvey(write(content))
    assert ("SN" in survey.columns) == (expected is not None)
    if expected:
        assert all_stars(survey)["SN"].tolist() == expected


def test_fillers_of_floats_are_missing(write, content) -> None:
    content["STARS"]["PHOT_G_MEAN_MAG"] = np.array([-999, -9999, -120.5, np.nan, -1.4])
    content["STARS"]["PARALLAX"] = np.array([-999, -9999, -120.5, np.nan, -1.4])
    content["STARS"]["PS1_G"] = np.array([-999.0, 1, 2, 3, 4])
    stars = all_stars(TableSurvey(write(content)))
    np.testing.assert_array_equal(stars["PHOT_G_MEAN_MAG"], np.float32([np.nan, np.nan, np.nan, np.nan, -1.4]))
    np.testing.assert_array_equal(stars["PARALLAX"], [np.nan, np.nan, -120.5, np.nan, -1.4])
    assert stars["PS1_G"][0] == -999  # not a column that the pipeline knows: carried along as it is


def test_columns_of_several_values_are_left_out_and_named(write, content, caplog) -> None:
    content["STARS"]["COLOURS"] = np.zeros((N, 3))
    with caplog.at_level(logging.INFO):
        survey = TableSurvey(write(content))
    assert "COLOURS" in caplog.text
    assert "COLOURS" not in all_stars(survey)


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [4, 0, 2], [3]])
def test_spectra_follow_the_stars(write, content, order: list[int]) -> None:
    survey = TableSurvey(write(content))
    stars = all_stars(survey).take(np.array(order))
    [block], faults = collect(survey, stars)
    assert not faults
    assert block.row.tolist() == list(range(len(order)))
    np.testing.assert_array_equal(block.velocity, content["STARS"]["VRAD"][order])
    np.testing.assert_array_equal(block.observed_velocity, block.velocity)
    assert list(block.arms) == [ARM]
    arm = block.arms[ARM]
    np.testing.assert_allclose(relative(arm), content["FLUX"][order] / content["FLUX"][order, :1], rtol=1e-6)
    # Scaling leaves flux over error as it was: 0.5 per unit of flux.
    np.testing.assert_array_equal(arm.flux * np.sqrt(arm.ivar), content["FLUX"][order] * 0.5)
    np.testing.assert_array_equal(arm.wavelength, content["WAVELENGTH"])


def test_no_block_is_larger_than_the_limit(write, content, monkeypatch) -> None:
    monkeypatch.setattr(table, "SPECTRA_AT_ONCE", 2)
    survey = TableSurvey(write(content))
    blocks, _ = collect(survey, all_stars(survey))
    assert [block.row.tolist() for block in blocks] == [[0, 1], [2, 3], [4]]
    joined = np.concatenate([relative(block.arms[ARM]) for block in blocks])
    np.testing.assert_allclose(joined, content["FLUX"] / content["FLUX"][:, :1], rtol=1e-6)


def test_spectra_at_rest_need_no_velocity(write, content) -> None:
    survey = TableSurvey(write(content, FRAME="REST"))
    [block], _ = collect(survey, all_stars(survey))
    assert block.velocity.tolist() == [0] * N
    np.testing.assert_array_equal(block.observed_velocity, content["STARS"]["VRAD"])
    del content["STARS"]["VRAD"]
    survey = TableSurvey(write(content, FRAME="rest"))
    [block], _ = collect(survey, all_stars(survey))
    assert block.velocity.tolist() == [0] * N
    assert np.isnan(block.observed_velocity).all()


def test_bad_pixels_are_masked_not_finite_or_without_positive_variance(write, content, caplog) -> None:
    content["MASK"][0, 1] = -4
    content["FLUX"][1, 2], content["FLUX"][1, 3] = np.nan, -np.inf
    content["IVAR"][2, 4:7] = 0, -1, np.nan
    survey = TableSurvey(write(content))
    with caplog.at_level(logging.WARNING):
        [block], faults = collect(survey, all_stars(survey))
    assert not faults
    arm = block.arms[ARM]
    assert np.argwhere(arm.bad).tolist() == [[0, 1], [1, 2], [1, 3], [2, 4], [2, 5], [2, 6]]
    assert not arm.flux[arm.bad].any()
    assert not arm.ivar[arm.bad].any()
    [message] = [record.message for record in caplog.records]
    assert message.startswith("1 pixels of negative inverse variance")


def test_without_variances_the_error_is_flux_over_signal_to_noise(write, content) -> None:
    del content["IVAR"], content["MASK"]
    content["FLUX"][0, 5] *= -1
    content["FLUX"][0, 6] = 0
    survey = TableSurvey(write(content))
    [block], _ = collect(survey, all_stars(survey))
    arm = block.arms[ARM]
    assert np.argwhere(arm.bad).tolist() == [[0, 6]]  # where there is no flux its error is unknown
    ratio = np.abs(arm.flux) * np.sqrt(arm.ivar)
    np.testing.assert_allclose(ratio[~arm.bad], np.broadcast_to(stars_columns()["SN"][:, None], ratio.shape)[~arm.bad])


def test_stars_without_signal_to_noise_come_without_errors(write, content) -> None:
    del content["IVAR"]
    content["STARS"]["SN"][[1, 4]] = np.nan, 0
    survey = TableSurvey(write(content))
    blocks, faults = collect(survey, all_stars(survey))
    assert not faults
    assert [(block.row.tolist(), block.arms[ARM].ivar is None) for block in blocks] == [
        ([0, 2, 3], False),
        ([1, 4], True),
    ]
    for block in blocks:
        expected = content["FLUX"][block.row] / content["FLUX"][block.row, :1]
        np.testing.assert_allclose(relative(block.arms[ARM]), expected, rtol=1e-6)


def test_without_variances_and_signal_to_noise_there_are_no_errors(write, content) -> None:
    del content["IVAR"], content["STARS"]["SN"]
    survey = TableSurvey(write(content))
    [block], _ = collect(survey, all_stars(survey))
    assert block.arms[ARM].ivar is None


@pytest.mark.parametrize("unit", [1e-30, 1e-17, 1.0, 1e25])
def test_fluxes_in_any_unit_fit_single_precision(write, content, unit: float) -> None:
    content["FLUX"] = content["FLUX"].astype(np.float64) * unit
    content["IVAR"] = content["IVAR"].astype(np.float64) / unit**2
    survey = TableSurvey(write(content))
    [block], faults = collect(survey, all_stars(survey))
    assert not faults
    arm = block.arms[ARM]
    assert not arm.bad.any()
    np.testing.assert_allclose(arm.flux * np.sqrt(arm.ivar), content["FLUX"] / unit * 0.5, rtol=1e-6)


def test_a_spectrum_without_a_good_pixel_is_a_fault(write, content) -> None:
    content["FLUX"][3] = np.nan
    content["IVAR"][4] = 0
    survey = TableSurvey(write(content))
    [block], [fault] = collect(survey, all_stars(survey))
    assert (fault.name, fault.row.tolist()) == ("no-good-pixel", [3, 4])
    assert "spectra.fits" in fault.message
    assert block.row.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(block.velocity, [0, 50, -50])


def test_a_file_that_breaks_while_it_is_read_is_a_fault(write, content) -> None:
    path = write(content)
    survey = TableSurvey(path)
    stars = all_stars(survey)
    path.write_bytes(path.read_bytes()[:-2880])
    blocks, [fault] = collect(survey, stars)
    assert not blocks
    assert fault.name == "unreadable-file"


def test_a_table_that_lost_its_stars_is_refused(write, content) -> None:
    survey = TableSurvey(write(content))
    stars = all_stars(survey).replace(TARGETID=np.arange(N))
    with pytest.raises(InputError, match="no row for 5 of them, the first 0"):
        list(survey.spectra(stars))


def drop_column(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda content: content["STARS"].pop(name)


def set_column(name: str, values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda content: content["STARS"].__setitem__(name, values)


def change(name: str, how: Callable[[np.ndarray], np.ndarray]) -> Callable[[dict[str, Any]], object]:
    return lambda content: content.__setitem__(name, np.ascontiguousarray(how(content[name])))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda content: content.pop("STARS"), "expected an HDU STARS"),
        (lambda content: content.pop("WAVELENGTH"), "expected an HDU WAVELENGTH"),
        (lambda content: content.pop("FLUX"), "expected an HDU FLUX"),
        (lambda content: content.__setitem__("STARS", np.zeros((3, 3))), r"\[STARS\]: expected a binary table"),
        (drop_column("SOURCE_ID"), r"\[STARS\]: expected a column SOURCE_ID"),
        (set_column("vrad", np.zeros(N)), r"\[STARS\]: expected columns of different names.*VRAD and vrad. Rename one"),
        (drop_column("VRAD"), r"\[STARS\]: expected a column VRAD, since FRAME is observed"),
        (set_column("SOURCE_ID", np.arange(N) * 1.0), "column SOURCE_ID: expected integers, one a row, found float64"),
        (set_column("VRAD", np.array([b"1"] * N)), "column VRAD: expected numbers"),
        (set_column("SN", np.ones((N, 2))), r"column SN: expected numbers, one a row, found float64\[2\]"),
        (set_column("SN_G", np.array([b"1"] * N)), "column SN_G: expected numbers"),
        (set_column("SOURCE_ID", np.array([1, 2, 2, 3, 3])), "column SOURCE_ID.*2 that come twice or more: 2, 3"),
        (set_column("TARGETID", np.array([1, 2, 2, 3, 4])), "column TARGETID.*1 that come twice or more: 2"),
        (change("WAVELENGTH", lambda values: values[::-1]), r"\[WAVELENGTH\].*found decreasing ones.*Sort the pixels"),
        (change("WAVELENGTH", lambda values: np.roll(values, 3)), "found unsorted or repeated ones from pixel 3 on"),
        (
            change("WAVELENGTH", lambda values: np.append(values[:-1], values[-2])),
            "unsorted or repeated ones from pixel",
        ),
        (change("WAVELENGTH", lambda values: values * np.nan), "40 that are not finite or not positive"),
        (change("WAVELENGTH", lambda values: np.tile(values, (N, 1))), r"of shape \(5, 40\)\. Bring all .* one grid"),
        (change("FLUX", lambda values: values[:, :-1]), r"\[FLUX\]: expected 5 rows of 40 pixels, found 5 x 39"),
        (change("FLUX", lambda values: values[1:]), r"\[FLUX\]: expected 5 rows of 40 pixels, found 4 x 40"),
        (change("IVAR", lambda values: values.T), r"\[IVAR\]: expected 5 rows of 40 pixels, found 40 x 5"),
        (change("MASK", lambda values: values[0]), r"\[MASK\]: expected 5 rows of 40 pixels, found 40"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(write, content, spoil, message: str) -> None:
    spoil(content)
    with pytest.raises(InputError, match=message):
        TableSurvey(write(content))


@pytest.mark.parametrize(
    ("header", "message"),
    [({"WAVEMED": "water"}, "WAVEMED = 'vacuum' or 'air', found 'water'"), ({"FRAME": ""}, "FRAME = 'rest' or")],
)
def test_medium_and_frame_must_be_said(write, content, header, message: str) -> None:
    with pytest.raises(InputError, match=message):
        TableSurvey(write(content, **header))


def test_a_truncated_table_is_refused(write, content) -> None:
    path = write(content)
    whole = path.read_bytes()
    for size in (100, len(whole) // 3, len(whole) - 10):
        path.write_bytes(whole[:size])
        with pytest.raises(
            InputError, match=r"spectra\.fits: expected a complete FITS file.*Copy or download it again"
        ):
            TableSurvey(path)


def test_a_table_opens_by_settings_and_by_file(write, content) -> None:
    path = write(content)
    assert isinstance(open_survey(SurveySettings(kind="table", spectra=path)), TableSurvey)
    assert isinstance(open_file(path), TableSurvey)


# The D lines of sodium: D. A. Steck, Sodium D Line Data. He takes the index from Edlen's formula, which differs from
# Ciddor's by about 1e-8, or 1e-4 A. The others: the SDSS table of vacuum wavelengths, which gives three digits.
@pytest.mark.parametrize(
    ("air", "vacuum", "tolerance"),
    [
        (5889.950954, 5891.583264, 2e-4),
        (5895.924237, 5897.558147, 2e-4),
        (4861.363, 4862.721, 2e-3),
        (5006.843, 5008.239, 2e-3),
        (6562.801, 6564.614, 2e-3),
    ],
)
def test_vacuum_wavelengths_of_known_lines(air: float, vacuum: float, tolerance: float) -> None:
    assert air_to_vacuum(np.array([air]))[0] == pytest.approx(vacuum, abs=tolerance)


def test_wavelengths_in_air_become_vacuum_ones(write, content) -> None:
    survey = TableSurvey(write(content, WAVEMED="Air"))
    [block], _ = collect(survey, all_stars(survey))
    shift = block.arms[ARM].wavelength - content["WAVELENGTH"]
    # 1.13 A at 4000 A and 1.40 A at 5000 A (refractivity 2.8e-4).
    assert shift[0] == pytest.approx(1.131, abs=2e-3)
    assert shift[-1] == pytest.approx(1.395, abs=2e-3)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"\x1f\x8bno gzip at all", "gzip that cannot be unpacked"),
        (b"PK\x03\x04" + bytes(3000), "one that starts with b'PK"),
        (gzip.compress(bytes(1 << 25), mtime=0), "in a file of 0.0 MiB"),
    ],
)
def test_only_fits_and_gzip_of_a_known_size_are_opened(tmp_path, content, found, monkeypatch):
    monkeypatch.setattr("specdis.storage.UNPACKED_FREE", 1 << 20)
    path = tmp_path / "s.fits"
    path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(found)), fits.reading_fits(path):
        pass


def test_a_table_without_rows_says_so(tmp_path: Path) -> None:
    path = tmp_path / "empty.fits"
    table_to_hdu(Table({"SOURCE_ID": np.zeros(0, np.int64)}, meta={"EXTNAME": "STARS"})).writeto(path)
    with pytest.raises(InputError, match=r"\[STARS\]: expected at least one row, found none"):
        TableSurvey(path)
