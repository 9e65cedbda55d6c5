"""From the sample and the predictions to the columns of the catalogue, joined by identifier."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from specdis.arrays import Array, Int, Int64
from specdis.catalogue.columns import COLUMNS, Column
from specdis.errors import InputError
from specdis.flags import Flag
from specdis.photometry import ExtinctionSource, geometric_magnitude
from specdis.rng import hash64
from specdis.surveys.base import IDENTIFIER


def _taken_from(table: str) -> tuple[str, ...]:
    prefix = f"{table}."
    return tuple(column.source.removeprefix(prefix) for column in COLUMNS.values() if column.source.startswith(prefix))


SAMPLE_COLUMNS = (
    *_taken_from("sample"),
    *("G_0", "PARALLAX_CORRECTED", "A_G_SOURCE", "CUT_FLAGS", "INSIDE_DUST_WITHIN"),
)
"""Columns of the sample that the catalogue reads."""

DISTANCES_COLUMNS = (*IDENTIFIER, *_taken_from("distances"), "FLAGS")
"""Columns of the predictions that the catalogue reads."""

BINARIES_COLUMNS = (*IDENTIFIER, *_taken_from("binaries"), "FLAGS")
"""Columns of the binaries that the catalogue reads."""


def build(
    sample: Mapping[str, Array], distances: Mapping[str, Array], binaries: Mapping[str, Array]
) -> dict[str, Array]:
    """Join the sample, its predictions and its binaries into the columns of the catalogue (Table 1).

    Unchanged arrays are shared with the input.

    Parameters
    ----------
    sample
        `SAMPLE_COLUMNS`, shape (star,).
    distances
        `DISTANCES_COLUMNS` of the same stars in any order, shape (star,).
    binaries
        `BINARIES_COLUMNS`, likewise.

    Returns
    -------
    dict
        `COLUMNS`, in their order and types, in the order of the sample.

    Raises
    ------
    InputError
        When a column is missing, an identifier is repeated or is in one table only, or a string is too long.
    """
    _require("the sample", sample, SAMPLE_COLUMNS)
    _require("the predictions", distances, DISTANCES_COLUMNS)
    _require("the binaries", binaries, BINARIES_COLUMNS)
    tables = {"distances": distances, "binaries": binaries}
    rows = {name: _matching_rows(sample, table) for name, table in tables.items()}
    magnitude, error = _geometric_magnitude(sample)
    inside_dust = distances["DIST"][rows["distances"]] < sample["INSIDE_DUST_WITHIN"]
    values = {
        "M_G_GEO": magnitude,
        "M_G_GEO_ERR": error,
        "FLAGS": _flags(sample)
        | np.where(inside_dust, np.int32(Flag.INSIDE_DUST), np.int32(0))
        | distances["FLAGS"][rows["distances"]]
        | binaries["FLAGS"][rows["binaries"]],
    }
    for name, column in COLUMNS.items():
        table, _, source = column.source.partition(".")
        if table == "sample":
            values[name] = sample[source]
        elif table:
            values[name] = tables[table][source][rows[table]]
    return {name: _typed(column, values[name]) for name, column in COLUMNS.items()}


def _geometric_magnitude(sample: Mapping[str, Array]) -> tuple[Array, Array]:
    """Return M_G,geo and its error in mag, the latter NaN unless the parallax error is positive."""
    error = sample["PARALLAX_ERROR_USED"]
    return geometric_magnitude(sample["PARALLAX_CORRECTED"], np.where(error > 0, error, np.nan), sample["G_0"])


def _flags(sample: Mapping[str, Array]) -> Int:
    """Return the bits that depend on the sample alone: those of the cuts and of missing values."""
    source = sample["A_G_SOURCE"]
    reasons = {
        Flag.NO_MAGNITUDE: np.isnan(sample["PHOT_G_MEAN_MAG"]),
        Flag.A_G_FALLBACK: (source == ExtinctionSource.COLOUR) | (source == ExtinctionSource.CONSTANT),
        Flag.NO_ZERO_POINT: np.isnan(sample["PARALLAX_ZPC"]) & ~np.isnan(sample["PARALLAX"]),
        Flag.NO_EBV: source == ExtinctionSource.NO_EBV,
    }
    flags = sample["CUT_FLAGS"].astype(np.int32)
    for flag, rows in reasons.items():
        flags[rows] |= flag
    return flags


def _matching_rows(sample: Mapping[str, Array], distances: Mapping[str, Array]) -> Int64 | slice:
    """Return the row of `distances` for each row of `sample`; a full slice if the order agrees."""
    wanted, found = (_keys(place, table) for place, table in (("the sample", sample), ("the predictions", distances)))
    if np.array_equal(wanted, found):
        return slice(None)
    for place, keys, others, table in (
        ("the predictions", wanted, found, sample),
        ("the sample", found, wanted, distances),
    ):
        absent = np.flatnonzero(~np.isin(keys, others))
        if len(absent):
            raise InputError(
                place,
                expected="the same stars as the other table of the run",
                found=f"{len(absent)} absent, first {_identifier(table, absent[0])}",
                remedy="The two come from different runs: run the stage distances again.",
            )
    order = np.argsort(found)
    return np.asarray(order[np.searchsorted(found, wanted, sorter=order)], dtype=np.int64)


def _keys(place: str, table: Mapping[str, Array]) -> Array:
    """Return one hash per identifier, after checking that all differ."""
    keys = hash64(0, *(_typed(COLUMNS[name], table[name]) for name in IDENTIFIER))
    kept, counts = np.unique(keys, return_counts=True)
    if len(kept) < len(keys):
        repeated = np.flatnonzero(np.isin(keys, kept[counts > 1]))
        raise InputError(
            place,
            expected=f"one row per {', '.join(IDENTIFIER)}",
            found=f"{len(repeated)} rows that share theirs, first {_identifier(table, repeated[0])}",
            remedy="Run the stage that wrote it again.",
        )
    return keys


def _identifier(table: Mapping[str, Array], row: int) -> str:
    return ", ".join(f"{name} {_readable(table[name][row])}" for name in IDENTIFIER)


def _readable(value: object) -> object:
    return value.decode() if isinstance(value, bytes) else value


def _require(place: str, table: Mapping[str, Array], names: tuple[str, ...]) -> None:
    absent = [name for name in names if name not in table]
    if absent:
        raise InputError(
            place,
            expected=f"columns {', '.join(absent)}",
            found="none of these names",
            remedy="Run the stage that writes it again.",
        )


def _typed(column: Column, values: Array) -> Array:
    """Return the values in the type of the column, without a copy if they have it."""
    typed = values.astype(column.dtype, copy=False)
    if typed.dtype.kind == "S" and not np.array_equal(typed, values):
        raise InputError(
            column.name,
            expected=f"at most {typed.dtype.itemsize} characters",
            found=str(_readable(max(values, key=len))),
            remedy="Give the survey a shorter name for it.",
        )
    return typed
