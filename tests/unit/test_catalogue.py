"""The catalogue: joined by identifier, written twice alike, read back with units, verified against planted faults."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from io import BytesIO
from pathlib import Path

import fitsio
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units
from astropy.io import fits
from astropy.io.votable import parse_single_table, ucd
from astropy.table import Table

from specdis.arrays import Array, ranges
from specdis.catalogue import (
    COLUMNS,
    DISTANCES_COLUMNS,
    OPTIONAL,
    SAMPLE_COLUMNS,
    build,
    read_catalogue,
    verify_catalogue,
    write_catalogue,
    write_file,
)
from specdis.catalogue.files import read_blocks
from specdis.catalogue.header import cards
from specdis.catalogue.parquet import write_parquet
from specdis.catalogue.rules import RULES
from specdis.errors import InputError
from specdis.flags import DESCRIPTIONS, Flag
from specdis.storage import Provenance
from specdis.surveys.base import IDENTIFIER, STAR_COLUMNS

STARS = 40
PROVENANCE = Provenance(kind="catalogue", key="0123456789abcdef", seed=7)
HEADER = {"EBVSCALE": (0.86, "EBV over the survey's E(B-V)")}
DOCUMENTATION = Path(__file__).parents[2] / "docs" / "columns.md"

UNBOUND, NO_LABEL, NO_G, NO_EBV, NO_ZERO_POINT, NO_SPECTRUM, CUT, NEGATIVE, NO_GAIA, NO_ERRORS, UNTRAINABLE = range(11)
DUSTY = STARS - 2
_IDENTIFIED = ("TARGETID", "SURVEY", "PROGRAM", "HEALPIX")
"""Rows of the made-up stars that lack something; the others lack nothing."""


def made_up_sample() -> dict[str, Array]:
    """Return stars of G = 14 to 18 with M_G = 4.5; the special rows as named above."""
    random = np.random.default_rng(1)
    columns = {name: np.full(STARS, column.missing, dtype=column.dtype) for name, column in STAR_COLUMNS.items()}
    floats = [name for name, column in STAR_COLUMNS.items() if column.dtype[0] == "f"]
    columns |= {name: random.uniform(0.5, 5.0, STARS).astype(STAR_COLUMNS[name].dtype) for name in floats}
    columns["TARGETID"] = np.arange(STARS)[::-1] - 5
    columns["SOURCE_ID"] = 2**60 + np.arange(STARS) * 2**47
    columns["HEALPIX"] = columns["SOURCE_ID"] >> 47
    columns["SURVEY"] = np.where(np.arange(STARS) % 2, b"main", b"special")
    columns["PROGRAM"] = np.where(np.arange(STARS) % 3, b"bright", b"dark")
    columns["ASTROMETRIC_PARAMS_SOLVED"] = np.full(STARS, 31, dtype="i2")
    columns["PHOT_G_MEAN_MAG"] = random.uniform(14, 18, STARS).astype("f4")
    columns["EBV"][NO_EBV] = np.nan
    columns["PHOT_G_MEAN_MAG"][NO_G] = np.nan
    columns["SOURCE_ID"][NO_GAIA] = 0
    columns["ASTROMETRIC_PARAMS_SOLVED"][NO_GAIA] = 0
    columns["PARALLAX"][NEGATIVE] = -0.3
    a_g = np.where(np.isnan(columns["EBV"]), 0.0, 2.6 * 0.86 * columns["EBV"])
    zero_point = np.where(np.arange(STARS) == NO_ZERO_POINT, np.nan, -0.04)
    row = np.arange(STARS)
    return columns | {
        "EBV_SCALED": (0.86 * columns["EBV"]).astype("f4"),
        "A_G": a_g.astype("f4"),
        "A_G_ERR": (0.16 * a_g).astype("f4"),
        "INSIDE_DUST_WITHIN": np.where(row == DUSTY, 1e6, 0.0).astype("f4"),
        "A_G_SOURCE": np.where(row == NO_EBV, 3, np.where(row == CUT, 2, 0)).astype("u1"),
        "PARALLAX_ZPC": zero_point,
        "PARALLAX_CORRECTED": columns["PARALLAX"] - np.nan_to_num(zero_point),
        "PARALLAX_ERROR_USED": 1.1 * columns["PARALLAX_ERROR"].astype("f8"),
        "G_0": columns["PHOT_G_MEAN_MAG"] - a_g,
        "SELECTED": ~np.isin(row, (CUT, UNTRAINABLE)),
        "CUT_FLAGS": np.select(
            [row == CUT, row == UNTRAINABLE], [Flag.OUTSIDE_CUTS | Flag.NOT_TRAINABLE, Flag.NOT_TRAINABLE], 0
        ).astype("i4"),
        "HELD_OUT": row % 4 == 0,
    }


def made_up_distances(sample: dict[str, Array]) -> dict[str, Array]:
    """Return predictions of M_G = 4.5 with an error of 0.2 mag for the stars of a sample."""
    row = np.arange(STARS)
    magnitude = np.where((row == NO_LABEL) | (row == NO_SPECTRUM), np.nan, 4.5)
    distance = 10 ** ((sample["G_0"] - magnitude) / 5 - 2)
    no_draws = (row == NO_ERRORS) | (row == NO_SPECTRUM)
    unbound = np.where(no_draws, np.nan, np.where((row == UNBOUND) | (row == NO_LABEL), 0.25, 0.0))
    error = np.where(no_draws | (unbound > 0), np.nan, 0.2)
    flags = np.zeros(STARS, dtype="i4")
    flags[NO_LABEL] = Flag.LABEL_NOT_POSITIVE
    flags[unbound > 0] |= Flag.DRAW_NOT_POSITIVE
    flags[no_draws] |= Flag.NO_ERROR_SPECTRUM
    flags[NO_SPECTRUM] |= Flag.NO_SPECTRUM
    factors = {"05": 0.84, "16": 0.9, "50": 1.0, "84": 1.1, "95": 1.16}
    quantiles = {f"DIST_{level}": np.where(no_draws, np.nan, f * distance) for level, f in factors.items()}
    quantiles["DIST_84"][UNBOUND] = quantiles["DIST_95"][UNBOUND] = np.inf
    no_spectrum = row == NO_SPECTRUM
    by_kind = {
        "DIST_LABEL": distance,
        "DISTERR_LABEL": (0.1 * distance * error / 0.2).astype("f4"),
        "M_G_NN_LABEL": magnitude,
        "M_G_NN_ERR_LABEL": error.astype("f4"),
        "DIST_MIX": np.where(no_spectrum, np.nan, 10 ** ((sample["G_0"] - 4.4) / 5 - 2)),
        "DISTERR_MIX": np.where(no_spectrum | (row == NO_G), np.nan, 0.2).astype("f4"),
        "M_G_NN_MIX": np.where(no_spectrum, np.nan, 4.4),
        "M_G_NN_ERR_MIX": np.where(no_spectrum, np.nan, 0.15).astype("f4"),
        "MIX_SHIFT": np.where(no_spectrum, np.nan, 0.01).astype("f4"),
        "MIX_STRETCH": np.where(no_spectrum, np.nan, 1.1).astype("f4"),
        "PROB_GIANT": np.where(no_spectrum, np.nan, 0.01).astype("f4"),
    }
    gaussians = {
        f"{part}_{number}": np.where(no_spectrum, np.nan, value).astype("f4")
        for part, values in {
            "MIX_WEIGHT": (0.1, 0.4, 0.4, 0.1, 0.0),
            "MIX_M_G": (4.0, 4.3, 4.5, 4.8, 4.8),
            "MIX_SIGMA": (0.3, 0.1, 0.1, 0.3, 0.3),
        }.items()
        for number, value in enumerate(values, start=1)
    }
    levels = {"_05": 0.8, "_16": 0.85, "": 1.05, "_84": 1.2, "_95": 1.3}
    posterior = {f"DIST_POST{level}": by_kind["DIST_MIX"] * factor for level, factor in levels.items()}
    return {name: sample[name] for name in (*IDENTIFIER, "SOURCE_ID")} | {
        "LABEL": 10 ** (magnitude / 5),
        "M_G_NN": magnitude,
        "M_G_NN_ERR": error.astype("f4"),
        "M_G_NN_ERR_NOISE": (0.8 * error).astype("f4"),
        "M_G_NN_ERR_TRAINING": np.where(np.isnan(magnitude), np.nan, 0.6 * 0.2).astype("f4"),
        "DIST": distance,
        "DISTERR": (0.1 * distance * error / 0.2).astype("f4"),
        **quantiles,
        **by_kind,
        **gaussians,
        **posterior,
        "DISTERR_POST": by_kind["DISTERR_MIX"],
        "CALIBRATION": row % 8 == 0,
        "DISTMOD": 5 * np.log10(distance) + 10,
        "DISTMOD_ERR": np.where(np.isnan(distance), np.nan, error).astype("f4"),
        "FRACTION_UNBOUND": unbound.astype("f4"),
        "CHI2_RECONSTRUCTION": np.where(no_draws, np.nan, 1.0).astype("f4"),
        "FRACTION_BAD": np.where(row == NO_SPECTRUM, np.nan, 0.02).astype("f4"),
        "FLAGS": flags,
    }


def made_up_binaries(sample: dict[str, Array]) -> dict[str, Array]:
    """Return what the stage of binaries would say of the stars: every ninth is one."""
    row = np.arange(STARS)
    known = (row != NO_SPECTRUM) & np.isfinite(sample["PARALLAX"])
    return {name: sample[name] for name in (*IDENTIFIER, "SOURCE_ID")} | {
        "BINARY_FLAG": np.where(known, (row % 9 != 0).astype("i2"), -1).astype("i2"),
        "BINARY_POSSIBILITY": np.where(known, np.where(row % 9 == 0, 0.9, 0.1), np.nan).astype("f4"),
        "FLAGS": np.where(row == STARS - 1, int(Flag.BINARY_OUTSIDE_DOMAIN), 0).astype("i4"),
    }


@pytest.fixture(scope="module")
def sample() -> dict[str, Array]:
    return made_up_sample()


@pytest.fixture(scope="module")
def columns(sample: dict[str, Array]) -> dict[str, Array]:
    return build(sample, made_up_distances(sample), made_up_binaries(sample))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, columns: dict[str, Array]) -> Path:
    """Return a run directory that holds a good catalogue."""
    directory = tmp_path_factory.mktemp("run")
    write_catalogue(directory / "catalogue", columns, PROVENANCE, HEADER)
    return directory


@pytest.fixture(scope="module", params=["specdis.fits", "specdis.parquet"])
def file(request: pytest.FixtureRequest, run: Path) -> Path:
    return run / "catalogue" / str(request.param)


# The column table


def test_columns_begin_with_table_1_of_the_paper() -> None:
    paper = (
        "TARGETID SOURCE_ID RA DEC PMRA PMRA_ERR PMDEC PMDEC_ERR VRAD DIST DISTERR M_G_NN M_G_GEO PARALLAX PARALLAX_ERR"
        " PARALLAX_ZPC EBV A_G RUWE APS NEUIA P_COLOUR ECL_LAT BINARY_FLAG BINARY_POSSIBILITY"
    )
    assert list(COLUMNS)[:25] == paper.split()


@pytest.mark.parametrize("column", COLUMNS.values(), ids=str)
def test_column_has_valid_unit_ucd_and_description(column) -> None:
    ucd.parse_ucd(column.ucd, check_controlled_vocabulary=True)
    units.Unit(column.unit, format="fits")  # raises for what FITS does not know
    assert column.description
    assert column.description.isascii()
    assert "  " not in column.description
    assert (column.null is not None) <= (column.dtype[0] == "i")


def test_sources_name_columns_of_the_sample_with_its_types() -> None:
    for column in COLUMNS.values():
        name = column.source.removeprefix("sample.")
        if column.source.startswith("sample.") and name in STAR_COLUMNS:
            assert column.dtype == STAR_COLUMNS[name].dtype, name


def documented_columns() -> list[str]:
    """Return the rows of the table in docs/columns.md."""

    def kind(column) -> str:
        return f"char({column.dtype[1:]})" if column.dtype[0] == "S" else np.dtype(column.dtype).name

    def missing(column) -> str:
        value = "" if column.null is None else f" ({column.null})"
        return f"{column.missing}{value}" if column.missing else ""

    return [
        "| " + " | ".join((c.name, kind(c), c.unit, c.ucd, c.description, missing(c), c.range)) + " |"
        for c in (*COLUMNS.values(), *OPTIONAL.values())
    ]


def test_documentation_lists_columns_and_flags() -> None:
    lines = [*DOCUMENTATION.read_text(encoding="utf-8").splitlines(), ""]
    flags = [f"| {f.bit_length() - 1} | {f.value} | {f.name} | {text} |" for f, text in DESCRIPTIONS.items()]
    for expected in (documented_columns(), flags):
        first = lines.index(expected[0])
        assert lines[first : first + len(expected)] == expected
        assert lines[first + len(expected)] == ""


# build


def test_build_gives_every_column_in_order_and_type(columns: dict[str, Array]) -> None:
    assert list(columns) == list(COLUMNS)
    assert {name: values.dtype.str[1:].replace("b1", "?") for name, values in columns.items()} == {
        name: column.dtype for name, column in COLUMNS.items()
    }
    assert {len(values) for values in columns.values()} == {STARS}


def test_build_computes_geometric_magnitude_from_corrected_parallax(
    sample: dict[str, Array], columns: dict[str, Array]
) -> None:
    row = STARS - 1
    parallax = sample["PARALLAX"][row] + 0.04  # PARALLAX - PARALLAX_ZPC
    magnitude = sample["PHOT_G_MEAN_MAG"][row] - sample["A_G"][row] + 5 * np.log10(parallax / 100)
    # A_G is stored in single precision: 1e-6 mag.
    np.testing.assert_allclose(columns["M_G_GEO"][row], magnitude, atol=1e-5)
    error = 5 / np.log(10) * 1.1 * sample["PARALLAX_ERROR"][row] / parallax
    np.testing.assert_allclose(columns["M_G_GEO_ERR"][row], error, rtol=1e-6)
    assert np.isnan(columns["M_G_GEO"][NEGATIVE])


def test_build_combines_flags(columns: dict[str, Array]) -> None:
    expected = {
        UNBOUND: Flag.DRAW_NOT_POSITIVE,
        NO_LABEL: Flag.LABEL_NOT_POSITIVE | Flag.DRAW_NOT_POSITIVE,
        NO_G: Flag.NO_MAGNITUDE,
        NO_EBV: Flag.NO_EBV,
        NO_ZERO_POINT: Flag.NO_ZERO_POINT,
        NO_SPECTRUM: Flag.NO_SPECTRUM | Flag.NO_ERROR_SPECTRUM,
        CUT: Flag.OUTSIDE_CUTS | Flag.NOT_TRAINABLE | Flag.A_G_FALLBACK,
        NO_ERRORS: Flag.NO_ERROR_SPECTRUM,
        UNTRAINABLE: Flag.NOT_TRAINABLE,
        DUSTY: Flag.INSIDE_DUST,
        STARS - 1: Flag.BINARY_OUTSIDE_DOMAIN,
    }
    assert {row: Flag(int(flags)) for row, flags in enumerate(columns["FLAGS"]) if flags} == expected


def test_a_star_without_a_parallax_lacks_no_zero_point(sample: dict[str, Array]) -> None:
    without = sample | {
        "PARALLAX": np.where(np.arange(STARS) == NO_ZERO_POINT, np.nan, sample["PARALLAX"]),
        "PARALLAX_CORRECTED": np.where(np.arange(STARS) == NO_ZERO_POINT, np.nan, sample["PARALLAX_CORRECTED"]),
    }
    columns = build(without, made_up_distances(without), made_up_binaries(without))
    assert not (columns["FLAGS"] & Flag.NO_ZERO_POINT).any()
    assert not any(rule.broken(columns).any() for rule in RULES if "PARALLAX_ZPC" in rule.columns)


def test_build_takes_binaries_by_identifier(sample: dict[str, Array], columns: dict[str, Array]) -> None:
    assert columns["BINARY_FLAG"][[1, 9, NO_SPECTRUM]].tolist() == [1, 0, -1]
    assert np.isnan(columns["BINARY_POSSIBILITY"][NO_SPECTRUM])
    backwards = {name: values[::-1] for name, values in made_up_binaries(sample).items()}
    again = build(sample, made_up_distances(sample), backwards)
    for name in ("BINARY_FLAG", "BINARY_POSSIBILITY", "FLAGS"):
        np.testing.assert_array_equal(again[name], columns[name], err_msg=name)


def test_build_joins_by_identifier(sample: dict[str, Array], columns: dict[str, Array]) -> None:
    order = np.random.default_rng(2).permutation(STARS)
    shuffled = {name: values[order] for name, values in made_up_distances(sample).items()}
    again = build(sample, shuffled, made_up_binaries(sample))
    for name in COLUMNS:
        np.testing.assert_array_equal(again[name], columns[name], err_msg=name)


def test_build_joins_by_all_four_names_of_the_identifier(sample: dict[str, Array]) -> None:
    row = np.arange(STARS)
    names = {"SURVEY": np.where(row % 2, b"main", b"sv1"), "PROGRAM": np.where(row // 2 % 2, b"bright", b"dark")}
    sample = sample | names | {"HEALPIX": row // 4 % 5, "TARGETID": row // 20}
    order = np.random.default_rng(3).permutation(STARS)
    shuffled = {name: values[order] for name, values in made_up_distances(sample).items()}
    np.testing.assert_array_equal(
        build(sample, shuffled, made_up_binaries(sample))["DIST"], made_up_distances(sample)["DIST"]
    )


def test_build_shares_columns_that_need_no_change(sample: dict[str, Array], columns: dict[str, Array]) -> None:
    assert columns["RA"] is sample["RA"]


@pytest.mark.parametrize("name", [*SAMPLE_COLUMNS])
def test_build_names_a_missing_column_of_the_sample(sample: dict[str, Array], name: str) -> None:
    less = {key: values for key, values in sample.items() if key != name}
    with pytest.raises(InputError, match=rf"sample: expected columns {name}, found"):
        build(less, made_up_distances(sample), made_up_binaries(sample))


@pytest.mark.parametrize("name", [*DISTANCES_COLUMNS])
def test_build_names_a_missing_column_of_the_predictions(sample: dict[str, Array], name: str) -> None:
    distances = made_up_distances(sample)
    del distances[name]
    with pytest.raises(InputError, match=rf"predictions: expected columns {name}, found"):
        build(sample, distances, made_up_binaries(sample))


def test_build_refuses_stars_without_prediction(sample: dict[str, Array]) -> None:
    distances = {name: values[1:] for name, values in made_up_distances(sample).items()}
    with pytest.raises(InputError, match=r"the predictions: .* 1 absent, first TARGETID 34, SURVEY special"):
        build(sample, distances, made_up_binaries(sample))


def test_build_refuses_predictions_without_star(sample: dict[str, Array]) -> None:
    fewer = {name: values[:-2] for name, values in sample.items()}
    with pytest.raises(InputError, match=r"the sample: .* 2 absent, first TARGETID -4"):
        build(fewer, made_up_distances(sample), made_up_binaries(sample))


def test_build_refuses_repeated_identifiers(sample: dict[str, Array]) -> None:
    twice = np.r_[np.arange(STARS), 3]
    distances = {name: values[twice] for name, values in made_up_distances(sample).items()}
    with pytest.raises(InputError, match=r"the predictions: .* 2 rows that share theirs, first TARGETID 31"):
        build(sample, distances, made_up_binaries(sample))


def test_build_refuses_strings_that_do_not_fit(sample: dict[str, Array]) -> None:
    longer = sample | {"SURVEY": np.full(STARS, b"very-long-name")}
    with pytest.raises(InputError, match="SURVEY: expected at most 7 characters, found very-long-name"):
        build(longer, made_up_distances(longer), made_up_binaries(longer))


# write and read_catalogue


def test_writing_twice_gives_equal_bytes(run: Path, tmp_path: Path, columns: dict[str, Array]) -> None:
    write_catalogue(tmp_path / "catalogue", columns, PROVENANCE, HEADER)
    names = sorted(path.name for path in (run / "catalogue").iterdir())
    assert names == ["SHA256SUMS", "specdis.fits", "specdis.parquet"]
    for name in names:
        assert (tmp_path / "catalogue" / name).read_bytes() == (run / "catalogue" / name).read_bytes(), name


def test_blocks_do_not_change_the_files(
    run: Path, tmp_path: Path, columns: dict[str, Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("specdis.catalogue.fits.ranges", lambda rows, _: ranges(rows, 12))
    write_catalogue(tmp_path / "catalogue", columns, PROVENANCE, HEADER)
    assert (tmp_path / "catalogue/specdis.fits").read_bytes() == (run / "catalogue/specdis.fits").read_bytes()


def test_sums_are_those_of_sha256sum(run: Path) -> None:
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=run / "catalogue", check=True)


def test_writing_replaces_the_folder_as_a_whole(tmp_path: Path, columns: dict[str, Array]) -> None:
    write_catalogue(tmp_path / "catalogue", columns, PROVENANCE, HEADER)
    before = (tmp_path / "catalogue/SHA256SUMS").read_text()
    with pytest.raises(KeyError):
        write_catalogue(tmp_path / "catalogue", {"TARGETID": columns["TARGETID"]}, PROVENANCE, HEADER)
    assert (tmp_path / "catalogue/SHA256SUMS").read_text() == before
    write_catalogue(tmp_path / "catalogue", columns, PROVENANCE, {"EBVSCALE": (1.0, "")})
    assert (tmp_path / "catalogue/SHA256SUMS").read_text() != before
    assert verify_catalogue(tmp_path / "catalogue").good


@pytest.mark.parametrize("ending", ["fits", "parquet"])
def test_one_file_is_that_of_the_folder(ending: str, run: Path, tmp_path: Path, columns: dict[str, Array]) -> None:
    write_file(tmp_path / f"stars.{ending}", columns, PROVENANCE, HEADER)
    assert [path.name for path in tmp_path.iterdir()] == [f"stars.{ending}"]
    folder = run / "catalogue"
    assert (tmp_path / f"stars.{ending}").read_bytes() == (folder / f"specdis.{ending}").read_bytes()


def test_one_file_of_another_kind_is_refused(tmp_path: Path, columns: dict[str, Array]) -> None:
    with pytest.raises(InputError, match=r"expected a name in .fits or .parquet, found stars.csv"):
        write_file(tmp_path / "stars.csv", columns, PROVENANCE, HEADER)


def test_round_trip(file: Path, columns: dict[str, Array]) -> None:
    table = read_catalogue(file)
    assert table.colnames == list(COLUMNS)
    for name, column in COLUMNS.items():
        stored = np.asarray(table[name])
        assert stored.dtype == columns[name].dtype, name
        np.testing.assert_array_equal(stored, columns[name], err_msg=name)
        assert table[name].unit == (units.Unit(column.unit) if column.unit else None), name
        assert table[name].description == column.description
        assert table[name].meta["ucd"] == column.ucd


def test_missing_values_are_masked(file: Path) -> None:
    table = read_catalogue(file)
    for name, row in (
        ("BINARY_FLAG", NO_SPECTRUM),
        ("SOURCE_ID", NO_GAIA),
        ("APS", NO_GAIA),
        ("DIST", NO_LABEL),
        ("EBV", NO_EBV),
    ):
        assert table[name].mask[row], name
        assert not table[name].mask[STARS - 1], name
    assert not hasattr(table["TARGETID"], "mask")


def test_the_two_files_read_alike(run: Path) -> None:
    one, other = (read_catalogue(run / "catalogue" / name) for name in ("specdis.fits", "specdis.parquet"))
    assert one.meta == other.meta
    for name in COLUMNS:
        assert type(one[name]) is type(other[name])
        np.testing.assert_array_equal(np.ma.getmaskarray(one[name]), np.ma.getmaskarray(other[name]))


def test_header_says_provenance_scale_and_bits(file: Path) -> None:
    meta = read_catalogue(file, ["TARGETID"]).meta
    assert {key: meta[key] for key in ("KIND", "RUNKEY", "SEED", "SOFTWARE", "EBVSCALE")} == {
        "KIND": "catalogue",
        "RUNKEY": "0123456789abcdef",
        "SEED": 7,
        "SOFTWARE": PROVENANCE.software,
        "EBVSCALE": 0.86,
    }
    for flag, description in DESCRIPTIONS.items():
        assert meta[f"FLAG{flag.bit_length() - 1}"] == f"{flag.name} ({flag.value}): {description}"


def test_run_folder_and_columns_can_be_given(run: Path, columns: dict[str, Array]) -> None:
    for place in (run, run / "catalogue", str(run)):
        table = read_catalogue(place, ["DIST", "TARGETID"])
        assert table.colnames == ["DIST", "TARGETID"]
        np.testing.assert_array_equal(np.asarray(table["DIST"]), columns["DIST"])


def test_flagged_rows_can_be_left_out(file: Path, columns: dict[str, Array]) -> None:
    table = read_catalogue(file, ["TARGETID"], without=Flag.OUTSIDE_CUTS | Flag.NO_SPECTRUM)
    assert table.colnames == ["TARGETID"]
    kept = ~np.isin(np.arange(STARS), (CUT, NO_SPECTRUM))
    np.testing.assert_array_equal(np.asarray(table["TARGETID"]), columns["TARGETID"][kept])


def test_blocks_are_read_in_order(file: Path, columns: dict[str, Array], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("specdis.catalogue.files.read_blocks", lambda file, names, _: read_blocks(file, names, 7))
    np.testing.assert_array_equal(np.asarray(read_catalogue(file, ["TARGETID"])["TARGETID"]), columns["TARGETID"])


def test_catalogue_without_stars(tmp_path: Path, columns: dict[str, Array]) -> None:
    write_catalogue(tmp_path, {name: values[:0] for name, values in columns.items()}, PROVENANCE, HEADER)
    for name in ("specdis.fits", "specdis.parquet"):
        table = read_catalogue(tmp_path / name)
        assert len(table) == 0
        assert table.colnames == list(COLUMNS)
    assert verify_catalogue(tmp_path).good


def test_unknown_column_names_the_nearest(file: Path) -> None:
    with pytest.raises(InputError, match=r"expected column M_G_NNERR.*Did you mean M_G_NN_ERR"):
        read_catalogue(file, ["M_G_NNERR"])


def test_no_catalogue_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found a folder without a catalogue"):
        read_catalogue(tmp_path)
    with pytest.raises(InputError, match="found nothing"):
        read_catalogue(tmp_path / "absent")
    (tmp_path / "notes.txt").write_text("not a table")
    with pytest.raises(InputError, match="expected FITS or Parquet, found a file that starts with b'not a '"):
        read_catalogue(tmp_path / "notes.txt")


def test_other_tables_are_refused(tmp_path: Path) -> None:
    fits.BinTableHDU(Table({"DIST": [1.0]}), name="OTHER").writeto(tmp_path / "other.fits")
    pq.write_table(pa.table({"DIST": [1.0]}), tmp_path / "other.parquet")
    for name in ("other.fits", "other.parquet"):
        with pytest.raises(InputError, match="expected a catalogue of specdis"):
            read_catalogue(tmp_path / name)


@pytest.mark.parametrize("name", ["theirs.fits", "theirs.parquet"])
def test_a_table_of_somebody_else_is_said_without_the_names_of_exceptions(name: str, tmp_path: Path) -> None:
    Table({"source_id": np.arange(3), "dist": np.full(3, 5.0)}).write(tmp_path / name)
    (problem, *_) = verify_catalogue(tmp_path / name).problems
    assert str(problem).startswith(f"error: {name}: expected a catalogue of specdis: ")
    assert "Error:" not in str(problem)


def test_truncated_file_is_said(file: Path, tmp_path: Path) -> None:
    short = tmp_path / file.name
    short.write_bytes(file.read_bytes()[:9000])
    with pytest.raises(InputError, match="if it was copied, copy it again"):
        read_catalogue(short)


# What other software reads


def test_fits_keywords_as_fitsio_reads_them(run: Path) -> None:
    of_mixture = [name for name, column in COLUMNS.items() if column.extension == "MIXTURE"]
    assert len(of_mixture) == 15
    tables = {"SPECDIS": [name for name in COLUMNS if name not in of_mixture], "MIXTURE": [*_IDENTIFIED, *of_mixture]}
    for extension, names in tables.items():
        header = fitsio.read_header(run / "catalogue/specdis.fits", extension)
        assert header["TFIELDS"] == len(names)
        for number, name in enumerate(names, start=1):
            column = COLUMNS[name]
            assert header[f"TTYPE{number}"] == name
            assert header.get(f"TUNIT{number}", "").strip() == column.unit
            assert header[f"TUCD{number}"] == column.ucd
            assert header[f"TCOMM{number}"] == column.description
            assert header.get(f"TNULL{number}") == column.null


def test_fits_table_as_astropy_reads_it(run: Path, columns: dict[str, Array]) -> None:
    table = Table.read(run / "catalogue/specdis.fits", hdu="SPECDIS")
    assert table["PMRA"].unit == units.mas / units.yr
    np.testing.assert_array_equal(
        np.flatnonzero(table["BINARY_FLAG"].mask), np.flatnonzero(columns["BINARY_FLAG"] == -1)
    )
    np.testing.assert_array_equal(table["SELECTED"], columns["SELECTED"])
    np.testing.assert_array_equal(table["SURVEY"], columns["SURVEY"].astype(str))


def test_fits_sums_hold_no_date_and_agree_with_cfitsio_and_astropy(run: Path) -> None:
    path = run / "catalogue/specdis.fits"
    with fitsio.FITS(path) as file:
        for hdu in file:
            hdu.verify_checksum()  # raises where a sum does not agree
    with fits.open(path, checksum=True) as hdus:
        for hdu in hdus:
            assert hdu.header.comments["CHECKSUM"] == "HDU checksum"
            assert hdu.header.comments["DATASUM"] == "data unit checksum"


def test_parquet_is_voparquet(run: Path, tmp_path: Path) -> None:
    path = run / "catalogue/specdis.parquet"
    schema = pq.read_schema(path)
    assert schema.metadata[b"IVOA.VOTable-Parquet.version"] == b"1.0"
    (tmp_path / "metadata.vot").write_bytes(schema.metadata[b"IVOA.VOTable-Parquet.content"])
    described = parse_single_table(tmp_path / "metadata.vot", verify="exception")
    assert [field.name for field in described.fields] == list(COLUMNS)
    assert {field.name: (field.ucd, field.description) for field in described.fields} == {
        name: (column.ucd, column.description) for name, column in COLUMNS.items()
    }
    units_of = {field.name: field.unit for field in described.fields}
    assert units_of == {name: units.Unit(c.unit) if c.unit else None for name, c in COLUMNS.items()}


def test_parquet_nulls_are_those_of_integers(run: Path, columns: dict[str, Array]) -> None:
    table = pq.read_table(run / "catalogue/specdis.parquet")
    nulls = {name: table[name].null_count for name in table.column_names if table[name].null_count}
    assert nulls == {"SOURCE_ID": 1, "APS": 1, "BINARY_FLAG": int((columns["BINARY_FLAG"] == -1).sum())}


# verify


def test_good_catalogue_verifies(run: Path) -> None:
    found = verify_catalogue(run)
    assert found.problems == ()
    assert found.counts["stars"] == STARS
    assert found.counts["SELECTED"] == STARS - 2
    assert found.counts["HELD_OUT"] == STARS // 4
    assert found.counts["DIST"] == STARS - 3
    assert found.counts["DISTERR"] == STARS - 5
    assert found.counts["DRAW_NOT_POSITIVE"] == 2


def test_a_catalogue_of_the_mixture_verifies(tmp_path: Path, columns: dict[str, Array]) -> None:
    """Where the label is not positive the mixture still has a distance, and the flag says why _LABEL has none."""
    mixture = {name: columns[f"{name}_MIX"] for name in ("DIST", "DISTERR", "M_G_NN", "M_G_NN_ERR")}
    mixture["DISTMOD"] = 5 * np.log10(mixture["DIST"]) + 10
    write_parquet(tmp_path / "one.parquet", columns | mixture, cards(PROVENANCE, HEADER))
    found = verify_catalogue(tmp_path / "one.parquet")
    assert found.problems == ()
    assert np.isfinite(mixture["DIST"][NO_LABEL])
    assert found.counts["LABEL_NOT_POSITIVE"] == 1


def test_each_file_verifies_alone(file: Path, tmp_path: Path) -> None:
    shutil.copy(file, tmp_path)
    assert verify_catalogue(tmp_path / file.name).problems == ()


FAULTS = {
    "distance not positive": ("DIST", 20, -1.0, "DIST", "DIST > 0"),
    "distance against magnitude": ("DIST", 20, 3.0, "DIST", "DIST = 10^"),
    "distance without magnitude": ("DIST", NO_LABEL, 3.0, "DIST", "DIST = 10^"),
    "negative error": ("DISTERR", 20, -0.1, "DISTERR", "DISTERR >= 0"),
    "declination": ("DEC", 20, 90.5, "DEC", "DEC from -90 to 90"),
    "ruwe": ("RUWE", 20, 0.0, "RUWE", "RUWE > 0"),
    "probability": ("FRACTION_UNBOUND", UNBOUND, 1.5, "FRACTION_UNBOUND", "FRACTION_UNBOUND from 0 to 1"),
    "binary flag": ("BINARY_FLAG", 20, 2, "BINARY_FLAG", "BINARY_FLAG from 0 to 1"),
    "unknown flag": ("FLAGS", 20, 1 << 20, "FLAGS", f"FLAGS from 0 to {2 * max(Flag) - 1}"),
    "insane magnitude": ("M_G_NN", 20, 99.0, "M_G_NN", "M_G_NN from -30 to 30"),
    "insane geometric magnitude": ("M_G_GEO", 20, -40.0, "M_G_GEO", "M_G_GEO from -30 to 30"),
    "geometric magnitude": ("M_G_GEO", 20, 1.0, "M_G_GEO", "M_G_GEO = "),
    "geometric magnitude of a negative parallax": ("M_G_GEO", NEGATIVE, 1.0, "M_G_GEO", "M_G_GEO = "),
    "parallax error": ("PARALLAX_ERR", 20, 0.0, "PARALLAX_ERR", "PARALLAX_ERR > 0"),
    "missing extinction": ("A_G", 20, np.nan, "A_G", "A_G is never missing"),
    "distance modulus": ("DISTMOD", 20, 1.0, "DISTMOD", "DISTMOD = 5 log10(DIST) + 10"),
    "quantiles": ("DIST_16", 20, 1e3, "DIST_16", "DIST_16 <= DIST_50 <= DIST_84"),
    "prediction lost without flag": ("M_G_NN_LABEL", 20, np.nan, "M_G_NN_LABEL", "M_G_NN_LABEL is missing where"),
    "mixture lost without flag": ("M_G_NN_MIX", 20, np.nan, "M_G_NN_MIX", "M_G_NN_MIX is missing where"),
    "prediction of neither network": ("M_G_NN", 20, np.nan, "M_G_NN", "DIST, DISTERR, M_G_NN and M_G_NN_ERR equal"),
    "error lost without flag": ("DISTERR_LABEL", 20, np.nan, "DISTERR_LABEL", "DISTERR_LABEL is missing without DIST"),
    "error in spite of flag": ("DISTERR_LABEL", UNBOUND, 1.0, "DISTERR_LABEL", "DISTERR_LABEL is missing without DIST"),
    "label flag": ("FLAGS", 20, Flag.LABEL_NOT_POSITIVE, "M_G_NN_LABEL", "M_G_NN_LABEL is missing where"),
    "label flag lost": ("FLAGS", NO_LABEL, Flag.DRAW_NOT_POSITIVE, "M_G_NN_LABEL", "M_G_NN_LABEL is missing where"),
    "draw flag": ("FLAGS", 20, Flag.DRAW_NOT_POSITIVE, "FLAGS", "DRAW_NOT_POSITIVE where"),
    "magnitude flag": ("FLAGS", NO_G, 0, "FLAGS", "NO_MAGNITUDE where"),
    "reddening flag": ("FLAGS", 20, Flag.NO_EBV, "FLAGS", "NO_EBV where"),
    "zero-point flag": ("FLAGS", NO_ZERO_POINT, 0, "FLAGS", "NO_ZERO_POINT where"),
    "cut flag": ("SELECTED", 20, False, "FLAGS", "OUTSIDE_CUTS or NOT_TRAINABLE where"),
    "training flag lost": ("FLAGS", UNTRAINABLE, 0, "FLAGS", "OUTSIDE_CUTS or NOT_TRAINABLE where"),
    "posterior quantiles": ("DIST_POST_16", 20, 1e3, "DIST_POST", "DIST_POST_05 <= DIST_POST_16"),
    "weight": ("MIX_WEIGHT_2", 20, 0.3, "MIX_WEIGHT_1", "MIX_WEIGHT_1, ... add up to 1"),
    "weight lost": ("MIX_WEIGHT_2", 20, np.nan, "M_G_NN_MIX", "M_G_NN_MIX between the 35 and the 65 per cent"),
    "mean": ("MIX_M_G_2", 20, 14.3, "M_G_NN_MIX", "M_G_NN_MIX between the 35 and the 65 per cent"),
    "another pixel": ("HEALPIX", 20, 5, "HEALPIX", "HEALPIX = SOURCE_ID >> 47"),
    "draws lost": ("DISTMOD_POST_DRAWS", 20, np.nan, "DISTMOD_POST_DRAWS", "DISTMOD_POST_DRAWS is missing where"),
}


def drawn(columns: dict[str, Array]) -> dict[str, Array]:
    """Return the columns with four random moduli of each star."""
    modulus = 5 * np.log10(columns["DIST_POST"]) + 10
    return columns | {"DISTMOD_POST_DRAWS": (modulus[:, None] + [-0.3, 0.1, 0.0, 0.2]).astype(np.float16)}


def test_a_distance_beyond_reach_is_missing_with_its_flag_alone(tmp_path: Path, columns: dict[str, Array]) -> None:
    far = {name: values.copy() for name, values in columns.items()}
    both = [f"{name}_{kind}" for name in ("DIST", "DISTERR") for kind in ("LABEL", "MIX")]
    for name in ("DIST", "DISTERR", "DISTMOD", "DISTMOD_ERR", "DIST_16", "DIST_50", "DIST_84", *both):
        far[name][20] = np.nan
    for flag, rules in ((Flag.BEYOND_REACH, []), (0, ["DIST"])):
        far["FLAGS"][20] = flag
        write_parquet(tmp_path / "one.parquet", far, cards(PROVENANCE, HEADER))
        assert [problem.column for problem in verify_catalogue(tmp_path / "one.parquet").problems] == rules


@pytest.mark.parametrize("fault", FAULTS)
def test_verify_finds_a_planted_value(fault: str, tmp_path: Path, columns: dict[str, Array]) -> None:
    name, row, value, column, rule = FAULTS[fault]
    every = columns if name in columns else drawn(columns)
    values = every[name].copy()
    values[row] = value
    write_parquet(tmp_path / "one.parquet", every | {name: values}, cards(PROVENANCE, HEADER))
    problems = verify_catalogue(tmp_path / "one.parquet").problems
    found = [problem for problem in problems if problem.column == column and rule in problem.rule]
    assert [(problem.rows, problem.first) for problem in found] == [(1, (row,))]
    assert f"one.parquet, {column}: expected " in str(found[0])
    assert str(found[0]).endswith(f"; rows broken: 1, first {row}")


def test_planted_values_break_every_rule() -> None:
    """No rule is without a fault that shows that it can fail; of the ranges each kind has one."""
    ranges = {f"{column.name} {column.range}" for column in COLUMNS.values()}
    rules = [rule.text for rule in RULES if rule.text not in ranges]
    assert [text for text in rules if not any(fault[4] in text for fault in FAULTS.values())] == []


def test_odd_values_are_warnings(tmp_path: Path, columns: dict[str, Array]) -> None:
    values = columns["HEALPIX"].copy()
    values[20] = 5
    write_catalogue(tmp_path, columns | {"HEALPIX": values}, PROVENANCE, HEADER)
    found = verify_catalogue(tmp_path)
    assert found.good
    assert [problem.warning for problem in found.problems] == [True]
    assert str(found.problems[0]).startswith("warning: specdis.fits, HEALPIX: ")


def test_verify_finds_repeated_identifiers(tmp_path: Path, columns: dict[str, Array]) -> None:
    rows = np.r_[np.arange(STARS), 25, 22]
    write_catalogue(tmp_path, {name: values[rows] for name, values in columns.items()}, PROVENANCE, HEADER)
    found = {problem.column: (problem.rows, problem.first) for problem in verify_catalogue(tmp_path).problems}
    assert found == {"TARGETID": (2, (STARS, STARS + 1)), "SOURCE_ID": (2, (STARS, STARS + 1))}


def test_stars_outside_the_sample_may_share_a_source(tmp_path: Path, columns: dict[str, Array]) -> None:
    values = columns["SOURCE_ID"].copy()
    values[CUT] = values[20]
    pixels = columns["HEALPIX"].copy()
    pixels[CUT] = pixels[20]
    write_catalogue(tmp_path, columns | {"SOURCE_ID": values, "HEALPIX": pixels}, PROVENANCE, HEADER)
    assert verify_catalogue(tmp_path).problems == ()


@pytest.mark.parametrize("number", [1, 2])
def test_verify_checks_the_sums(number: int, run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "catalogue", tmp_path / "catalogue")
    path = tmp_path / "catalogue/specdis.fits"
    with fits.open(path) as hdus:
        place = hdus[number].fileinfo()["datLoc"]
    data = bytearray(path.read_bytes())
    data[place + 100] ^= 1
    path.write_bytes(data)
    rules = [problem.rule for problem in verify_catalogue(path.parent).problems if problem.file == path.name]
    assert rules[:3] == [
        "the SHA-256 sum that SHA256SUMS gives",
        f"DATASUM of HDU {number} to agree",
        f"CHECKSUM of HDU {number} to agree",
    ]


def test_verify_misses_no_file(run: Path, tmp_path: Path) -> None:
    for name in ("specdis.fits", "specdis.parquet", "SHA256SUMS"):
        folder = tmp_path / f"without-{name}"
        shutil.copytree(run / "catalogue", folder)
        (folder / name).unlink()
        assert [(p.file, p.rule) for p in verify_catalogue(folder).problems] == [(name, "the file")]


@pytest.mark.parametrize("name", ["specdis.fits", "specdis.parquet"])
@pytest.mark.parametrize("length", [0, 9000, -100])
def test_verify_reports_a_truncated_file(name: str, length: int, run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "catalogue", tmp_path / "catalogue")
    path = tmp_path / "catalogue" / name
    path.write_bytes(path.read_bytes()[:length])
    found = verify_catalogue(path.parent)
    assert not found.good
    assert {problem.file for problem in found.problems} == {name}
    expected = {0: "expected FITS or Parquet, found", 9000: "expected a catalogue of specdis, found", -100: "SHA-256"}
    assert any(expected[length] in str(problem) for problem in found.problems)


def test_verify_compares_the_two_files(tmp_path: Path, columns: dict[str, Array]) -> None:
    other = columns["VRAD"].copy()
    other[[3, 9]] += 1
    write_catalogue(tmp_path / "one", columns, PROVENANCE, HEADER)
    write_catalogue(tmp_path / "two", columns | {"VRAD": other}, PROVENANCE, HEADER)
    path = tmp_path / "one/specdis.parquet"
    shutil.copy(tmp_path / "two/specdis.parquet", path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    sums = (tmp_path / "one/SHA256SUMS").read_text().splitlines()
    (tmp_path / "one/SHA256SUMS").write_text(f"{sums[0]}\n{digest}  specdis.parquet\n")
    found = [(p.file, p.column, p.rule, p.rows, p.first) for p in verify_catalogue(tmp_path / "one").problems]
    assert found == [("specdis.parquet", "VRAD", "the values of specdis.fits", 2, (3, 9))]


def test_verify_says_when_the_two_files_cannot_be_compared(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "catalogue", tmp_path / "catalogue")
    path = tmp_path / "catalogue/specdis.parquet"
    table = pq.read_table(path)
    pq.write_table(table, path, row_group_size=7)
    assert "row groups of whole blocks, to be compared with specdis.fits" in [
        p.rule for p in verify_catalogue(path.parent).problems
    ]
    pq.write_table(table[1:], path)
    assert f"the {STARS} rows of specdis.fits, found {STARS - 1}" in [
        p.rule for p in verify_catalogue(path.parent).problems
    ]


SCHEMA_FAULTS = {
    "TUNIT10": ("pc", "DIST", "unit 'kpc', found 'pc'"),
    "TCOMM10": ("How far", "DIST", "description 'Heliocentric distance"),
    "TUCD10": ("pos.eq.ra", "DIST", "ucd 'pos.distance"),
    "TNULL24": (0, "BINARY_FLAG", "null -1, found 0"),
    "TTYPE10": ("DISTANCE", "DIST", "the column"),
    "EBVSCALE": (None, "", "EBVSCALE in the header"),
}


@pytest.mark.parametrize("keyword", SCHEMA_FAULTS)
def test_verify_checks_what_fits_says_of_its_columns(keyword: str, run: Path, tmp_path: Path) -> None:
    value, column, rule = SCHEMA_FAULTS[keyword]
    path = tmp_path / "specdis.fits"
    shutil.copy(run / "catalogue/specdis.fits", path)
    with fits.open(path, mode="update") as hdus:
        if value is None:
            del hdus[1].header[keyword]
        else:
            hdus[1].header[keyword] = value
    found = verify_catalogue(path).problems
    assert any(problem.column == column and problem.rule.startswith(rule) for problem in found), found


def _swapped(gaussians: Array) -> Array:
    return gaussians[np.r_[1, 0, 2 : len(gaussians)]]


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (_swapped, "the rows of SPECDIS, star by star, found another value in row 0"),
        (lambda gaussians: gaussians[:-1], f"the rows of SPECDIS, star by star, found {STARS - 1} rows"),
    ],
)
def test_gaussians_of_other_stars_are_refused(spoil, rule: str, run: Path, tmp_path: Path) -> None:
    path = tmp_path / "specdis.fits"
    with fits.open(run / "catalogue/specdis.fits") as hdus:
        hdus[2].data = spoil(hdus[2].data)
        hdus.writeto(path, checksum=True)
    with pytest.raises(InputError, match="MIXTURE, TARGETID: expected the rows of SPECDIS"):
        read_catalogue(path)
    assert len(read_catalogue(path, ["DIST"])) == STARS
    assert any(rule in problem.rule for problem in verify_catalogue(path).problems)


def test_draws_are_written_to_both_files_and_read_back(tmp_path: Path, columns: dict[str, Array]) -> None:
    every = drawn(columns)
    write_catalogue(tmp_path, every, PROVENANCE, HEADER)
    assert verify_catalogue(tmp_path).problems == ()
    for name in ("specdis.fits", "specdis.parquet"):
        table = read_catalogue(tmp_path / name)
        assert table.colnames == [*COLUMNS, *OPTIONAL]
        column = table["DISTMOD_POST_DRAWS"]
        assert (column.dtype, column.shape, column.unit) == (np.float32, (STARS, 4), "mag")
        np.testing.assert_array_equal(np.ma.filled(column, np.nan), every["DISTMOD_POST_DRAWS"])
        assert column.mask[NO_G].all()
        alone = read_catalogue(tmp_path / name, ["DISTMOD_POST_DRAWS", "DIST"], without=Flag.NO_MAGNITUDE)
        assert alone["DISTMOD_POST_DRAWS"].shape == (STARS - 1, 4)
    data = fits.getdata(tmp_path / "specdis.fits", "DRAWS")
    np.testing.assert_array_equal(data["DISTMOD_POST_DRAWS"], every["DISTMOD_POST_DRAWS"].astype("f4"))
    field = parse_votable(tmp_path / "specdis.parquet").get_field_by_id_or_name("DISTMOD_POST_DRAWS")
    assert (field.datatype, field.arraysize) == ("float", "4")


def test_draws_that_differ_or_are_in_one_file_only_are_found(tmp_path: Path, columns: dict[str, Array]) -> None:
    every = drawn(columns)
    write_catalogue(tmp_path, every, PROVENANCE, HEADER)
    draws = every["DISTMOD_POST_DRAWS"].copy()
    draws[20, 3] += 1
    for other, rule in ((every | {"DISTMOD_POST_DRAWS": draws}, "the values of"), (columns, "the column, which the")):
        write_parquet(tmp_path / "specdis.parquet", other, cards(PROVENANCE, HEADER))
        found = verify_catalogue(tmp_path).problems
        assert [p.rule for p in found if p.column == "DISTMOD_POST_DRAWS" and p.rule.startswith(rule)]
        assert not verify_catalogue(tmp_path).good


def parse_votable(path: Path):
    """Return the table that the metadata of a Parquet file describe."""
    text = pq.read_schema(path).metadata[b"IVOA.VOTable-Parquet.content"]
    return parse_single_table(BytesIO(text))


def test_a_catalogue_without_gaussians_can_be_read(run: Path, tmp_path: Path) -> None:
    """One of an earlier version has none."""
    path = tmp_path / "old.fits"
    with fits.open(run / "catalogue/specdis.fits") as hdus:
        fits.HDUList(hdus[:2]).writeto(path)
    assert len(read_catalogue(path)) == STARS
    assert "MIX_WEIGHT_1" in {problem.column for problem in verify_catalogue(path).problems}


@pytest.mark.parametrize("name", COLUMNS)
def test_verify_names_a_column_that_is_not_there(name: str, run: Path, tmp_path: Path) -> None:
    table = pq.read_table(run / "catalogue" / "specdis.parquet")
    pq.write_table(table.drop_columns([name]), tmp_path / "specdis.parquet")
    found = verify_catalogue(tmp_path / "specdis.parquet")
    assert name in {problem.column for problem in found.problems}


def test_verify_checks_types_and_order(run: Path, tmp_path: Path) -> None:
    table = pq.read_table(run / "catalogue/specdis.parquet")
    position = table.column_names.index("DIST")
    single = table.set_column(position, "DIST", table["DIST"].cast(pa.float32()))
    pq.write_table(single, tmp_path / "specdis.parquet")
    assert "dtype 'f8', found 'f4'" in [p.rule for p in verify_catalogue(tmp_path / "specdis.parquet").problems]
    pq.write_table(table.select(["DIST", *COLUMNS][::-1][:-1]), tmp_path / "specdis.parquet")
    assert [p.rule for p in verify_catalogue(tmp_path / "specdis.parquet").problems] == [
        "the columns in the order of Table 1"
    ]


def _with_rows(path: Path) -> None:
    content = path.read_bytes()
    place = content.index(b"NAXIS2  =")
    path.write_bytes(content[: place + 10] + b"%20d" % 10**12 + content[place + 30 :])


def _of_somebody_else(path: Path) -> None:
    Table({"source_id": [1, 2], "dist": [5.0, 6.0]}).write(path, overwrite=True)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b"SIMPLE"),
        lambda path: path.write_bytes(path.read_bytes()[:500]),
        _with_rows,
        _of_somebody_else,
        lambda path: path.with_name("SHA256SUMS").write_bytes(b"\xff\xfe\0"),
    ],
)
def test_verify_reports_whatever_stands_in_place_of_a_catalogue(spoil, run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "catalogue", tmp_path / "catalogue")
    spoil(tmp_path / "catalogue/specdis.fits")
    for path in (tmp_path / "catalogue", tmp_path / "catalogue/specdis.fits"):
        found = verify_catalogue(path)
        assert not found.good
        assert not any("Error" in str(problem) for problem in found.problems)


@pytest.mark.parametrize("name", ["specdis.fits", "specdis.parquet", "SHA256SUMS"])
def test_verify_reports_a_file_that_may_not_be_read(name: str, run: Path, tmp_path: Path, monkeypatch) -> None:
    shutil.copytree(run / "catalogue", tmp_path / "catalogue")
    open_ = Path.open

    def refuse(self, *arguments, **options):
        if self.name == name:
            raise PermissionError(13, "Permission denied", str(self))
        return open_(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    found = [str(problem) for problem in verify_catalogue(tmp_path / "catalogue").problems]
    assert any(f"{name}: expected" in said and "(Permission denied)" in said for said in found)
