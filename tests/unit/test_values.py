"""What a number means: missing and impossible values, units, absurd pixels; one rule whatever the reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from astropy import units as u
from astropy.table import Column, MaskedColumn, Table
from astropy.utils.masked import Masked
from hypothesis import given
from hypothesis import strategies as st

import desi_files as fake
from specdis.errors import InputError
from specdis.photometry import PhotometrySettings
from specdis.references import match_rival
from specdis.references.matching import SurveyStars
from specdis.references.names import NO_NUMBER
from specdis.references.quantities import Quantities
from specdis.references.settings import ReferenceFile
from specdis.references.tables import ReferenceTable
from specdis.sample import SampleSettings, select
from specdis.surveys import Fault, Stars
from specdis.surveys.base import FLUX_LIMIT, STAR_COLUMNS, Arm, Missing
from specdis.surveys.desi import CoaddSurvey, DesiSurvey
from specdis.surveys.table import TableSurvey
from specdis.surveys.values import LIMITS, cleaned, converted, plain_argument
from specdis.surveys.wavelengths import wavelengths

FLOATS = [name for name, column in STAR_COLUMNS.items() if np.dtype(column.dtype).kind == "f"]
INTEGERS = [name for name, column in STAR_COLUMNS.items() if np.dtype(column.dtype).kind == "i"]
N, PIXELS = 5, 40

ANYWHERE = (-999.0, -9999.0, np.inf, -np.inf, 1e20, -1e20)
SENTINELS = [
    *((name, value) for name in FLOATS if name not in ("RA", "DEC") for value in ANYWHERE),
    *((name, value) for name in ("RA", "DEC") for value in (-999.0, -9999.0, np.inf, -np.inf)),
    *((f"PHOT_{band}_MEAN_MAG", value) for band in ("G", "BP", "RP") for value in (0.0, 99.0, -99.0, 99.99)),
    *(("EBV", value) for value in (-1.0, -99.0, -0.3, -0.051, 99.0)),
    *((name, value) for name in ("PARALLAX_ERROR", "PMRA_ERROR", "PMDEC_ERROR", "RUWE") for value in (0.0, -1.0)),
    *(("VRAD", value) for value in (3000.1, -5000.0, 299792.0)),
    *(("TEFF", value) for value in (0.0, -1.0, 3.76, 999_999.0)),
    *(("LOGG", value) for value in (-9.99, 99.0)),
    *(("FEH", value) for value in (-9.99, 99.0)),
]
GOOD = {  # values that no rule may touch, the ends of what is real among them
    "RA": [0.0, 266.4, 359.99],
    "DEC": [-90.0, 0.0, 90.0],
    "PARALLAX": [-187.0, 0.0, 768.07],
    "PARALLAX_ERROR": [0.007, 4.0, 0.1],
    "PHOT_G_MEAN_MAG": [-1.46, 1.0, 21.5],
    "EBV": [0.0, 0.5, 40.0],
    "VRAD": [-1755.0, 0.0, 2200.0],
    "TEFF": [2300.0, 5772.0, 180_000.0],
    "LOGG": [-0.5, 4.44, 9.4],
    "FEH": [-6.2, 0.0, 0.6],
    "RUWE": [0.5, 1.0, 40.0],
    "PSEUDOCOLOUR": [-2.5, 1.5, 7.0],
    "SN": [-2.0, 0.0, 1e4],
}


# The table and the rule


def test_the_table_has_every_column_of_floats() -> None:
    assert set(LIMITS) == set(FLOATS)


@pytest.mark.parametrize(("name", "value"), SENTINELS)
def test_what_no_star_has_is_missing_and_counted(name: str, value: float) -> None:
    good = GOOD.get(name, [1.0])[-1]
    found, missing = cleaned({name: np.array([good, value, np.nan])}, "f.fits[STARS]")
    np.testing.assert_array_equal(found[name], [good, np.nan, np.nan])
    [(kind, count)] = missing.items()
    assert (kind.place, kind.column, count) == ("f.fits[STARS]", name, 1)  # NaN needs no mention


@pytest.mark.parametrize("name", GOOD)
def test_what_stars_have_stays(name: str) -> None:
    found, missing = cleaned({name: np.array(GOOD[name]), f"{name}_ERROR": np.full(3, 0.1)}, "f")
    np.testing.assert_array_equal(found[name], GOOD[name])
    assert not missing


@given(name=st.sampled_from(FLOATS), value=st.floats(allow_nan=True, allow_infinity=True))
def test_every_number_is_inside_its_limits_or_missing(name: str, value: float) -> None:
    try:
        found = cleaned({name: np.array([value])}, "f").columns[name][0]
    except InputError:
        assert name in ("RA", "DEC")
        return
    low, high, zero = LIMITS[name]
    assert np.isnan(found) or (max(low, 0.0 if name in ("RA", "EBV") else low) <= found <= high)
    assert zero or found != 0


def test_reddening_below_zero_by_the_noise_of_a_map_is_none() -> None:
    assert cleaned({"EBV": np.array([-0.02, 0.0, 0.02])}, "f").columns["EBV"].tolist() == [0.0, 0.0, 0.02]


def test_right_ascensions_from_minus_180_are_wrapped() -> None:
    assert cleaned({"RA": np.array([-180.0, -0.5, 0.0, 359.0])}, "f").columns["RA"].tolist() == [180, 359.5, 0, 359]


@pytest.mark.parametrize(("name", "value"), [("DEC", 95.0), ("DEC", -90.1), ("RA", 361.0), ("RA", -181.0)])
def test_positions_beyond_the_sky_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"f.fits, column {name}: expected degrees from .* found 1 beyond"):
        cleaned({name: np.array([10.0, value])}, "f.fits")


@pytest.mark.parametrize("error", [0.0, -1.0, np.nan])
@pytest.mark.parametrize("name", ["PARALLAX", "PMRA", "PMDEC"])
def test_zero_without_an_error_is_missing(name: str, error: float) -> None:
    values = {name: np.array([0.0, 0.0, 2.0]), f"{name}_ERROR": np.array([error, 0.1, error])}
    np.testing.assert_array_equal(cleaned(values, "f").columns[name], [np.nan, 0.0, 2.0])


# Every reader


def spectra_table(path: Path, stars: Any, wavelength: Any = None, **header: Any) -> Path:
    """Write a spectra table; `stars` is what fitsio writes, or a table of astropy with its units and masks."""
    wavelength = np.geomspace(4000, 5000, PIXELS) if wavelength is None else wavelength
    if isinstance(stars, Table):
        stars.meta["EXTNAME"] = "STARS"
        stars.write(path, overwrite=True)
    else:
        fitsio.write(str(path), stars, extname="STARS", clobber=True)
    with fitsio.FITS(str(path), "rw") as file:
        file.write(wavelength, extname="WAVELENGTH", header={"WAVEMED": "vacuum", "FRAME": "rest", **header})
        file.write(np.ones((N, len(wavelength)), np.float32), extname="FLUX")
    return path


def of_table(tmp_path: Path, name: str, values: np.ndarray) -> Stars:
    path = spectra_table(tmp_path / "s.fits", {"TARGETID": np.arange(1, N + 1), name: values})
    return TableSurvey(path).part(slice(0, N))


def of_desi(tmp_path: Path, name: str, values: np.ndarray) -> Stars:
    hdus = fake.catalogue(N)
    homes = [hdu for hdu in ("RVTAB", "GAIA", "FIBERMAP") if name in hdus[hdu].dtype.names]
    rows = slice(1, 4) if name in ("RA", "DEC") else slice(None)  # those of the targets tell whether tables are aligned
    for home in homes:
        hdus[home][name][rows] = values[rows]
    (tmp_path / "healpix").mkdir()
    return DesiSurvey(fake.write(tmp_path / "mwsall.fits", hdus), tmp_path).part(slice(0, N))


def of_coadd(tmp_path: Path, name: str, values: np.ndarray) -> Stars:
    ids = fake.targets(N)
    hdus, velocities = fake.coadd(ids), fake.rvtab(ids, np.full(N, 10.0))
    own = {"RA": "TARGET_RA", "DEC": "TARGET_DEC"}.get(name, f"GAIA_{name}" if name.startswith("PHOT") else name)
    fibermap, rv = hdus["FIBERMAP"], velocities["RVTAB"]
    table = rv if own in ("VRAD", "TEFF", "LOGG", "FEH", "ALPHAFE") else fibermap
    table[own] = values
    fake.write(tmp_path / "rvtab_coadd-main-bright-1.fits", velocities)
    return CoaddSurvey(fake.write(tmp_path / "coadd-main-bright-1.fits", hdus)).part(slice(0, N))


NOT_DESI = ("J_M", "H_M", "KS_M", "J_MSIGCOM", "H_MSIGCOM", "KS_MSIGCOM")
IN_COADDS = (
    "RA",
    "DEC",
    "PHOT_G_MEAN_MAG",
    "PHOT_BP_MEAN_MAG",
    "PHOT_RP_MEAN_MAG",
    "EBV",
    "VRAD",
    "TEFF",
    "LOGG",
    "FEH",
)
READ = [
    *((of_table, name) for name in FLOATS),
    *((of_desi, name) for name in FLOATS if name != "SN" and name not in NOT_DESI),
    *((of_coadd, name) for name in IN_COADDS),
]


@pytest.mark.parametrize(("reader", "name"), READ)
def test_every_reader_has_the_same_rule(tmp_path: Path, reader: Any, name: str) -> None:
    good = GOOD.get(name, [1.0])[-1]
    stars = reader(tmp_path, name, np.array([good, -999.0, -9999.0, np.nan, good]))
    assert np.isfinite(stars[name]).tolist() == [True, False, False, False, True]
    [(kind, count)] = [(kind, count) for kind, count in stars.missing.items() if kind.column == name]
    if name != "EBV" or reader is of_table:
        assert (count, kind.reason) == (2, "-999 or -9999")


def test_negative_reddening_of_desi_is_counted_too(tmp_path: Path) -> None:
    hdus = fake.catalogue(N)
    hdus["FIBERMAP"]["EBV"], hdus["GAIA"]["EBV"] = [-1, 0.1, 0, -1, 0], [-1, 0.3, 0, 0.3, 0.3]
    (tmp_path / "healpix").mkdir()
    stars = DesiSurvey(fake.write(tmp_path / "mwsall.fits", hdus), tmp_path).part(slice(0, N))
    np.testing.assert_allclose(stars["EBV"], [np.nan, 0.1, np.nan, 0.3, 0.3], rtol=1e-6)
    assert sum(count for kind, count in stars.missing.items() if kind.column == "EBV") == 1


@pytest.mark.parametrize("null", [999_999, -9999, 0, 7])
@pytest.mark.parametrize("name", ["TEFF", "PARALLAX", "PHOT_G_MEAN_MAG", "VRAD", "EBV", "SN", "SOURCE_ID", "RVS_WARN"])
def test_null_integers_are_missing_whatever_the_column(tmp_path: Path, name: str, null: int) -> None:
    good = 5000 if name == "TEFF" else 20
    values = np.array([good, null, good, null, good])
    path = spectra_table(tmp_path / "s.fits", {"TARGETID": np.arange(1, N + 1), name: values})
    with fitsio.FITS(str(path), "rw") as file:
        file["STARS"].write_key("TNULL2", null)
    found = TableSurvey(path).part(slice(0, N))[name]
    if name in FLOATS:
        assert np.isnan(found).tolist() == [False, True] * 2 + [False]
    else:
        assert found.tolist() == [good, STAR_COLUMNS[name].missing] * 2 + [good]


def test_null_integers_of_unknown_columns_are_negative(tmp_path: Path) -> None:
    stars = {"TARGETID": np.arange(1, N + 1), "MYFOLD": np.array([0, 1, 99, 1, 0], np.uint8)}
    path = spectra_table(tmp_path / "s.fits", stars)
    with fitsio.FITS(str(path), "rw") as file:
        file["STARS"].write_key("TNULL2", 99)
    assert TableSurvey(path).part(slice(0, N))["MYFOLD"].tolist() == [0, 1, -1, 1, 0]


@pytest.mark.parametrize("value", [999_999, -9999, -(2**63), 0])
def test_no_source_is_no_source_in_every_reader(tmp_path: Path, value: int) -> None:
    sources = 2**60 + 128 * np.arange(N)
    sources[[1, 3]] = value
    for reader in (of_table, of_desi):
        (folder := tmp_path / reader.__name__).mkdir()
        found = reader(folder, "SOURCE_ID", sources)
        assert found["SOURCE_ID"].tolist() == [0 if k in (1, 3) else sources[k] for k in range(N)]
    rival = tmp_path / "rival.fits"
    fitsio.write(str(rival), {"source_id": sources})
    assert (Quantities(ReferenceTable.open(rival)).read("SOURCE_ID")["SOURCE_ID"] == 0).tolist() == [
        k in (1, 3) for k in range(N)
    ]


def test_identifiers_beyond_those_of_gaia_are_no_sources() -> None:
    found = cleaned({"SOURCE_ID": np.array([2**63 + 5, 2**63 - 1, 2**64 - 1], np.uint64)}, "f")
    assert found.columns["SOURCE_ID"].tolist() == [0, 2**63 - 1, 0]
    assert list(found.missing.values()) == [2]


def test_a_table_without_identifiers_says_what_it_needs(tmp_path: Path) -> None:
    path = spectra_table(tmp_path / "s.fits", {"SOURCE_ID": np.array([5, 999_999, 6, -1, 7])})
    with pytest.raises(InputError, match=r"column SOURCE_ID: .* found 2 rows without one .* Add a column TARGETID"):
        TableSurvey(path)


def test_counts_stand_in_the_cut_flow_and_the_star_does_not_train(tmp_path: Path, caplog: Any) -> None:
    stars = {
        "TARGETID": np.arange(1, N + 1),
        "PHOT_G_MEAN_MAG": np.array([15.0, 0.0, 15.0, 15.0, 15.0]),
        "PARALLAX": np.array([1.0, 1.0, 0.0, 1.0, 1.0]),
        "PARALLAX_ERROR": np.array([0.1, 0.1, 0.0, 0.1, 0.1]),
        "EBV": np.array([0.1, 0.1, 0.1, -1.0, -0.01]),
    }
    survey = TableSurvey(spectra_table(tmp_path / "s.fits", stars))
    settings, photometry = SampleSettings(n_folds=2, surveys="none", programs="none"), PhotometrySettings()
    sample = select(survey.stars(2), survey.columns, settings, photometry, 1, True)
    assert sample.stars["TRAINABLE"].tolist() == [True, False, False, False, True]
    assert sample.stars["CUT"].tolist() == [b"", b"no-g-magnitude", b"no-parallax", b"ebv-missing", b""]
    assert (sample.stars["A_G"] >= 0).all()
    counts = {(kind["column"], kind["reason"]): kind["stars"] for kind in sample.cutflow.summary["missing_values"]}
    assert counts == {
        ("PHOT_G_MEAN_MAG", "0"): 1,
        ("PARALLAX_ERROR", "0"): 1,
        ("PARALLAX", "0 without an error"): 1,
        ("EBV", "outside -0.05 to 50 mag"): 1,
    }
    assert all(kind["place"] == f"{survey.path}[STARS]" for kind in sample.cutflow.summary["missing_values"])


def test_counts_add_up_over_blocks_and_choices_have_none() -> None:
    kind = Missing("f", "EBV", "0")
    parts = [Stars({"EBV": np.zeros(2)}, {kind: 2}), Stars({"EBV": np.zeros(1)}, {kind: 1})]
    assert Stars.concatenate(parts).missing == {kind: 3}
    assert parts[0].replace(EBV=np.ones(2)).missing == {kind: 2}
    assert not parts[0].take(slice(0, 1)).missing


# Units

KNOWN = [
    ("PARALLAX", "arcsec", 1000.0),
    ("PARALLAX", "deg", 3.6e6),
    ("PARALLAX", "milliarcsec", 1.0),
    ("PARALLAX_ERROR", "uas", 0.001),
    ("PMRA", "arcsec/yr", 1000.0),
    ("PMDEC", "mas.yr**-1", 1.0),
    ("VRAD", "m/s", 0.001),
    ("VRAD", "KM/S", 1.0),
    ("VRAD", "kms-1", 1.0),
    ("VRAD", "cm s-1", 1e-5),
    ("EBV", "mmag", 0.001),
    ("PHOT_G_MEAN_MAG", "mag(Vega)", 1.0),
    ("RA", "rad", 180 / np.pi),
    ("RA", "hourangle", 15.0),
    ("DEC", "arcsec", 1 / 3600),
    ("TEFF", "kK", 1000.0),
    ("NU_EFF_USED_IN_ASTROMETRY", "nm-1", 1000.0),
    ("LOGG", "log(cm.s**-2)", 1.0),
    ("LOGG", "[cm/s2]", 1.0),
    ("FEH", "dex", 1.0),
    ("RUWE", "", 1.0),
    ("SOURCE_ID", "whatever", 1.0),
]
REFUSED = [
    ("PARALLAX", "kpc"),
    ("PARALLAX", "mag"),
    ("PARALLAX", "nonsense"),
    ("VRAD", "mas"),
    ("VRAD", "Hz"),
    ("EBV", "dex"),
    ("PHOT_G_MEAN_MAG", "nanomaggy"),
    ("PHOT_G_MEAN_MAG", "Jy"),
    ("TEFF", "[K]"),
    ("TEFF", "dex(K)"),
    ("TEFF", "eV"),
    ("LOGG", "cm/s2"),
    ("RA", "h"),
]


@pytest.mark.parametrize(("name", "unit", "factor"), KNOWN)
def test_known_units_are_converted(name: str, unit: str, factor: float) -> None:
    np.testing.assert_allclose(converted(name, np.array([1.0, 2.0]), unit, "f"), [factor, 2 * factor], rtol=1e-12)


@pytest.mark.parametrize(("name", "unit"), REFUSED)
def test_other_units_are_refused_by_name(name: str, unit: str) -> None:
    with pytest.raises(InputError, match=rf"f.fits, column {name}: expected .* found '{unit}'".replace("[K]", r"\[K\]")
                       .replace("dex(K)", r"dex\(K\)")):  # fmt: skip
        converted(name, np.ones(2), unit, "f.fits")


def test_units_of_tables_are_those_of_the_header(tmp_path: Path) -> None:
    plainly = {"PARALLAX": np.linspace(-1, 2, N), "VRAD": np.linspace(-300, 300, N), "EBV": np.full(N, 0.1)}
    others = {"PARALLAX": (u.arcsec, 1e-3), "VRAD": (u.m / u.s, 1e3), "EBV": (u.mmag, 1e3)}
    table = Table({"SOURCE_ID": np.arange(1, N + 1)})
    for name, (unit, factor) in others.items():
        table[name] = Column(plainly[name] * factor, unit=unit)
    found = TableSurvey(spectra_table(tmp_path / "s.fits", table)).part(slice(0, N))
    for name, values in plainly.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-6)
    table["PARALLAX"].unit = u.kpc
    with pytest.raises(InputError, match=r"s.fits\[STARS\], column PARALLAX: .* converted to mas, found 'kpc'"):
        TableSurvey(spectra_table(tmp_path / "s.fits", table)).part(slice(0, N))


def test_quantities_masks_and_columns_become_plain_arrays() -> None:
    np.testing.assert_allclose(plain_argument("VRAD", [1000.0, -2000.0] * u.m / u.s, "predict"), [1.0, -2.0])
    np.testing.assert_allclose(plain_argument("PARALLAX", 2 * u.arcsec, "predict"), 2000.0)
    masked = np.ma.array([15.0, 0.0], mask=[False, True])
    np.testing.assert_array_equal(plain_argument("PHOT_G_MEAN_MAG", masked, "predict"), [15.0, np.nan])
    column = MaskedColumn([1.0, 5.0], mask=[True, False], unit="arcsec")
    np.testing.assert_allclose(plain_argument("PARALLAX", column, "predict"), [np.nan, 5000.0])
    both = Masked([1.0, 5.0] * u.arcsec, mask=[True, False])
    np.testing.assert_allclose(plain_argument("PARALLAX", both, "predict"), [np.nan, 5000.0])
    assert plain_argument("SOURCE_ID", MaskedColumn([5, 2**60 + 1], mask=[True, False]), "predict").tolist() == [
        0,
        2**60 + 1,
    ]
    assert plain_argument("TEFF", [5000, 6000], "predict").dtype == np.float64
    with pytest.raises(InputError, match=r"predict, column VRAD: .* found 'mas'"):
        plain_argument("VRAD", 3 * u.mas, "predict")
    with pytest.raises(InputError, match="predict, VRAD: expected numbers"):
        plain_argument("VRAD", ["fast"], "predict")


# Wavelengths

OTHERS = {
    "nm": lambda angstrom: angstrom / 10,
    "micron": lambda angstrom: angstrom / 1e4,
    "the logarithm of Angstrom": np.log10,
    "metres": lambda angstrom: angstrom * 1e-10,
    "Hz": lambda angstrom: 2.99792458e18 / angstrom[::-1],
}


@given(start=st.floats(3000, 7500), width=st.floats(200, 3500))
@pytest.mark.parametrize("unit", OTHERS)
def test_numbers_that_cannot_be_angstrom_are_refused_and_named(unit: str, start: float, width: float) -> None:
    angstrom = np.linspace(start, start + width, 50)
    np.testing.assert_array_equal(wavelengths(angstrom, None, "f"), angstrom)
    with pytest.raises(InputError, match=f"expected wavelengths in Angstrom, .* which look like {unit}"):
        wavelengths(OTHERS[unit](angstrom), None, "f")


@pytest.mark.parametrize(("unit", "name"), [("nm", "nm"), ("micron", "micron"), ("metres", "m")])
@pytest.mark.parametrize("key", ["BUNIT", "CUNIT1"])
def test_wavelengths_in_a_known_unit_are_converted(tmp_path: Path, unit: str, name: str, key: str) -> None:
    angstrom = np.geomspace(4000, 5000, PIXELS)
    path = spectra_table(tmp_path / "s.fits", {"SOURCE_ID": np.arange(1, N + 1)}, OTHERS[unit](angstrom), **{key: name})
    np.testing.assert_allclose(TableSurvey(path).wavelength, angstrom, rtol=1e-12)


@pytest.mark.parametrize("unit", ["Hz", "log(Angstrom)", "pixel", "km/s", "nonsense"])
def test_wavelengths_in_other_units_are_refused_by_name(tmp_path: Path, unit: str) -> None:
    path = spectra_table(tmp_path / "s.fits", {"SOURCE_ID": np.arange(1, N + 1)}, BUNIT=unit)
    with pytest.raises(InputError, match=r"s.fits\[WAVELENGTH\]: .* converted to Angstrom, found '") as error:
        TableSurvey(path)
    assert unit in str(error.value)


def test_wavelengths_of_a_coadd_follow_the_same_rule(tmp_path: Path) -> None:
    ids = fake.targets(N)
    hdus = fake.coadd(ids)
    for arm in "BR":
        hdus[f"{arm}_WAVELENGTH"] = hdus[f"{arm}_WAVELENGTH"] / 10
    path = tmp_path / "coadd-main-bright-1.fits"
    [fault] = CoaddSurvey(fake.write(path, hdus)).spectra(Stars({"TARGETID": ids, "VRAD": np.zeros(N)}))
    assert isinstance(fault, Fault)
    assert fault.name == "bad-wavelength"
    assert "look like nm" in fault.message
    with fitsio.FITS(str(path), "rw") as file:
        for arm in "BR":
            file[f"{arm}_WAVELENGTH"].write_key("BUNIT", "nm")
    [found] = CoaddSurvey(path).spectra(Stars({"TARGETID": ids, "VRAD": np.zeros(N)}))
    assert found.arms["B"].wavelength[0] == pytest.approx(3600.0)


# Pixels


def arm(flux: np.ndarray, ivar: np.ndarray | None = None) -> Arm:
    wavelength = np.linspace(4000, 5000, flux.shape[1])
    return Arm.cleaned(wavelength, flux, ivar, np.zeros(flux.shape, bool))


@given(
    seed=st.integers(0, 2**32 - 1),
    value=st.sampled_from([1e20, -1e20, 1e30, 3e38, 1e6, -1e6]),
    share=st.floats(0.001, 0.35),
    scale=st.sampled_from([1e-3, 1.0, 1e4]),
)
def test_absurd_pixels_are_bad_and_no_others(seed: int, value: float, share: float, scale: float) -> None:
    random = np.random.default_rng(seed)
    # From a red star with strong lines to one of noise alone.
    signal = np.geomspace(0.05, 3, 500) * random.uniform(0.1, 1, 500) * random.choice([0, 1, 30])
    flux = (scale * (signal + random.normal(0, 1, 500))).astype(np.float32)[None]
    ivar = np.full(flux.shape, scale**-2, np.float32)
    assert not arm(flux, ivar).bad.any()
    absurd = random.random(flux.shape) < share
    spoilt = np.where(absurd, np.float32(np.clip(value * scale, -3e38, 3e38)), flux)
    found = arm(spoilt, ivar)
    np.testing.assert_array_equal(found.bad, absurd)
    assert np.isfinite((found.flux**2 * found.ivar).sum())


def test_an_absurd_error_is_bad_too() -> None:
    flux, ivar = np.ones((1, 50), np.float32), np.full((1, 50), 100, np.float32)
    ivar[0, 3], ivar[0, 5] = 1e-20, 0.01  # an error of 1e10, and one of ten times the flux
    assert np.flatnonzero(arm(flux, ivar).bad).tolist() == [3]


def test_the_limit_is_a_thousand_times_the_median() -> None:
    flux = np.full((1, 51), 2.0, np.float32)
    flux[0, :2] = 0.999 * FLUX_LIMIT * 2, 1.001 * FLUX_LIMIT * 2
    assert np.flatnonzero(arm(flux).bad).tolist() == [1]


def test_a_spectrum_of_zeros_alone_is_no_reason_to_complain() -> None:
    flux = np.zeros((1, 20), np.float32)
    assert not arm(flux, np.ones_like(flux)).bad.any()


# Fibres


@pytest.mark.parametrize(
    ("column", "value", "lost"),
    [
        ("OBJTYPE", b"BAD", True),
        ("OBJTYPE", b"SKY", True),
        ("OBJTYPE", b"NON", True),
        *(("COADD_FIBERSTATUS", 1 << bit, True) for bit in (2, 8, 9, 16, 17, 18, 19, 20, 21)),
        # A stuck or restricted positioner may still be on its target, and one 30 microns off is.
        *(("COADD_FIBERSTATUS", 1 << bit, False) for bit in (1, 3, 10)),
    ],
)
def test_fibres_that_hold_no_spectrum_of_their_target_are_named(
    tmp_path: Path, column: str, value: Any, lost: bool
) -> None:
    ids = fake.targets(N)
    hdus = fake.coadd(ids)
    hdus["FIBERMAP"][column][1:3] = value
    path = fake.write(tmp_path / "healpix/main/bright/108/10813/coadd-main-bright-10813.fits", hdus)
    survey = DesiSurvey(fake.write(tmp_path / "mwsall.fits", fake.catalogue(N)), tmp_path)
    found = list(survey.spectra(survey.part(slice(0, N))))
    faults = [part for part in found if isinstance(part, Fault)]
    assert [(fault.name, fault.row.tolist()) for fault in faults] == ([("bad-fibre", [1, 2])] if lost else [])
    assert sorted(np.concatenate([part.row for part in found])) == list(range(N))
    alone = CoaddSurvey(path)
    assert len(alone.part(slice(0, N))) == (N - 2 if lost and column == "OBJTYPE" else N)


# Lists and rivals


def rival(tmp_path: Path, columns: dict[str, Any], units: dict[str, str] | None = None) -> Quantities:
    data = {"source_id": 2**60 + 128 * np.arange(N) + 1, **columns}
    written = [(units or {}).get(name, "") for name in data]
    fitsio.write(str(tmp_path / "rival.fits"), data, units=written, clobber=True)
    return Quantities(ReferenceTable.open(tmp_path / "rival.fits"))


@pytest.mark.parametrize(
    ("unit", "kpc"), [("", 2.0), ("kpc", 2.0), ("pc", 0.002), ("Mpc", 2000.0), ("lyr", 2 / 3261.5638), ("10 pc", 0.02)]
)
def test_distances_are_converted_by_their_unit(tmp_path: Path, unit: str, kpc: float) -> None:
    found = rival(tmp_path, {"dist": np.full(N, 2.0)}, {"dist": unit} if unit else {})
    if kpc > 1000:  # which no catalogue of stars reaches in the median
        with pytest.raises(InputError, match="a median of 2,000"):
            found.distance()
    else:
        np.testing.assert_allclose(found.distance()[0], kpc, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "unit"),
    [("DIST", "deg"), ("dist", "arcsec"), ("mu", "mas/yr"), ("mu", ""), ("Mg", "dex"), ("mg", ""), ("dm", "pc cm-3")],
)
def test_columns_that_are_no_distances_are_passed_over(tmp_path: Path, name: str, unit: str, caplog: Any) -> None:
    units = {name: unit} if unit else {}
    other = rival(tmp_path, {name: np.linspace(0.1, 1, N), "r_med_geo": np.full(N, 5000.0)}, units)
    np.testing.assert_allclose(other.distance(np.full(N, 15.0))[0], 5.0)
    alone = rival(tmp_path, {name: np.linspace(0.1, 1, N)}, units)
    with pytest.raises(InputError, match="expected a distance, a distance modulus or an absolute G magnitude"):
        alone.distance(np.full(N, 15.0))
    assert f"the column {name.lower()}" in caplog.text.lower()


def test_a_column_that_the_user_names_in_another_unit_is_refused(tmp_path: Path) -> None:
    table = rival(tmp_path, {"sep": np.ones(N)}, {"sep": "deg"}).table
    with pytest.raises(
        InputError, match="column sep: expected DIST in a unit that can be converted to kpc, found 'deg'"
    ):
        Quantities(table, {"DIST": "sep"}).distance()


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("dist", [-999.0, -9999.0, 0.0, np.inf]),
        ("r_med_geo", [-999.0, -9999.0, 0.0, np.inf]),
        ("distmod", [-999.0, -9999.0, 0.0, 99.0]),
        ("M_G", [-999.0, -9999.0, 99.0, np.inf]),
    ],
)
def test_missing_distances_of_lists_are_missing(tmp_path: Path, name: str, missing: list[float]) -> None:
    distance, _ = rival(tmp_path, {name: np.array([8.0, *missing])}).distance(np.full(N, 15.0))
    assert np.isfinite(distance).tolist() == [True, False, False, False, False]


def test_missing_errors_and_magnitudes_of_lists_are_missing(tmp_path: Path) -> None:
    columns = {"dist": np.full(N, 8.0), "disterr": np.array([1.0, -999.0, -1.0, np.inf, 0.5])}
    _, error = rival(tmp_path, columns).distance()
    np.testing.assert_array_equal(error, [1.0, np.nan, np.nan, np.nan, 0.5])
    found = rival(tmp_path, {"g_mag": np.array([15.0, 99.0, 0.0, -999.0, 14.0])}).read("PHOT_G_MEAN_MAG")
    np.testing.assert_array_equal(found["PHOT_G_MEAN_MAG"], [15.0, np.nan, np.nan, np.nan, 14.0])


def test_probabilities_in_per_cent_are_probabilities(tmp_path: Path) -> None:
    share = np.array([0.1, 0.89, 0.91, 1.0, np.nan])
    for column in (share, 100 * share):
        found = rival(tmp_path, {"memberprob": column}).read("PROBABILITY")["PROBABILITY"]
        np.testing.assert_allclose(found, share)


@pytest.mark.parametrize("form", ["fits", "parquet", "csv", "ecsv", "vot"])
def test_stars_without_an_identifier_match_on_the_sky_in_every_format(tmp_path: Path, form: str) -> None:
    n = 30
    ra, dec, source = 200.0 + 0.1 * np.arange(n), np.full(n, 20.0), 2**60 + 128 * np.arange(n) + 1
    none = np.arange(n) % 10 == 0
    table = Table({"source_id": MaskedColumn(source, mask=none), "ra": ra, "dec": dec, "dist": np.full(n, 5.0)})
    table["vrad"] = MaskedColumn(np.full(n, 30), mask=none)
    path = tmp_path / f"rival.{form}"
    if form == "parquet":
        columns = {name: np.ma.asarray(table[name]) for name in table.colnames}
        nullable = {name: pa.array(values.data, mask=np.ma.getmaskarray(values)) for name, values in columns.items()}
        pa.parquet.write_table(pa.table(nullable), path)
    else:
        table.write(path, format={"vot": "votable", "csv": "ascii.csv", "ecsv": "ascii.ecsv"}.get(form, form))
    ours = {"TARGETID": np.arange(1, n + 1), "SOURCE_ID": source, "RA": ra, "DEC": dec}
    ours |= {name: np.zeros(n) for name in ("PMRA", "PMDEC", "PHOT_G_MEAN_MAG", "A_G")}
    assert match_rival(ReferenceFile(path=path), ours, SurveyStars(ours, "dr3"), 1.0)["ROW"].tolist() == list(range(n))
    np.testing.assert_array_equal(np.isnan(Quantities(ReferenceTable.open(path)).read("VRAD")["VRAD"]), none)


@pytest.mark.parametrize("word", NO_NUMBER)
@pytest.mark.parametrize("rows", [1, N])
def test_words_for_missing_numbers_in_text(tmp_path: Path, word: str, rows: int) -> None:
    lines = [f"{2**60 + k},{word if k < rows else 2.5}" for k in range(N)]
    (tmp_path / "rival.csv").write_text("source_id,vrad\n" + "\n".join(lines) + "\n")
    found = Quantities(ReferenceTable.open(tmp_path / "rival.csv")).read("SOURCE_ID", "VRAD")
    assert np.isnan(found["VRAD"]).tolist() == [k < rows for k in range(N)]
    assert found["SOURCE_ID"].tolist() == [2**60 + k for k in range(N)]
