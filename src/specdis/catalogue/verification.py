"""Verifying a catalogue: checksums, schema, ranges, identifiers, flags against nulls, FITS against Parquet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from specdis.arrays import Array, Bool, Int64
from specdis.catalogue import fits
from specdis.catalogue.columns import COLUMNS, columns_among
from specdis.catalogue.files import (
    FITS,
    FITS_NAME,
    PARQUET_NAME,
    SUMS_NAME,
    format_of,
    locate,
    read_blocks,
    read_header,
    reading_catalogue,
)
from specdis.catalogue.header import Header
from specdis.catalogue.rules import RULES, Rows, Rule
from specdis.errors import InputError
from specdis.flags import Flag
from specdis.rng import hash64
from specdis.storage import file_digest
from specdis.surveys.base import IDENTIFIER

_BLOCK = 1 << 16  # rows
_SHOWN = 5  # rows listed in a problem
_NAMES = (FITS_NAME, PARQUET_NAME, SUMS_NAME)


@dataclass(frozen=True)
class Problem:
    """A violated rule.

    Parameters
    ----------
    file
        Name of the file.
    column
        The column; empty if the rule concerns the file.
    rule
        The expectation, and for a file what was found.
    rows
        Number of rows that violate it; 0 if it does not concern rows.
    first
        The first of these rows, counted from 0.
    warning
        Whether it is unusual rather than wrong.
    """

    file: str
    column: str
    rule: str
    rows: int = 0
    first: tuple[int, ...] = ()
    warning: bool = False

    def __str__(self) -> str:
        place = f"{self.file}, {self.column}" if self.column else self.file
        where = f"; rows broken: {self.rows}, first {', '.join(map(str, self.first))}" if self.rows else ""
        return f"{'warning' if self.warning else 'error'}: {place}: expected {self.rule}{where}"


@dataclass(frozen=True)
class Verification:
    """The result of `verify_catalogue`.

    Parameters
    ----------
    problems
        All violated rules, files first.
    counts
        Number of stars, of those SELECTED and HELD_OUT, of those with finite M_G_NN, M_G_GEO, DIST and DISTERR, and
        of those with each flag.
    """

    problems: tuple[Problem, ...]
    counts: Mapping[str, int]

    @property
    def good(self) -> bool:
        """True without errors; warnings do not count."""
        return all(problem.warning for problem in self.problems)


def verify_catalogue(path: str | Path) -> Verification:
    """Verify a catalogue.

    Parameters
    ----------
    path
        A run or its catalogue folder, which must have both files and SHA256SUMS; or a single file.

    Returns
    -------
    Verification
        Problems and counts. Rows are read in blocks; memory is 16 bytes per row, twice that while sorting.

    Raises
    ------
    InputError
        When there is no catalogue.
    """
    path = Path(path)
    files = locate(path)
    folder = files[0].parent
    problems = [Problem(name, "", "the file") for name in _NAMES if path.is_dir() and not (folder / name).is_file()]
    headers: dict[Path, Header] = {}
    for file in files:
        with _noting(problems):
            problems += _check_sum(file)
            headers[file] = read_header(file)
            problems += _check_bytes(file)
            problems += _check_schema(file, headers[file])
    checks = _RowChecks()
    there = {name for header in headers.values() for name in header.fields}
    names = [name for name in columns_among(there) if all(name in header.fields for header in headers.values())]
    if headers:
        file = next(iter(headers))
        with _noting(problems):
            for block in read_blocks(file, names, _BLOCK):
                checks.add(block)
        problems += checks.problems(file.name)
    if len(headers) == 2:
        for name in sorted(there - {*names} - {*COLUMNS}):
            lacking = next(file for file, header in headers.items() if name not in header.fields)
            problems.append(Problem(lacking.name, name, "the column, which the other file has"))
        with _noting(problems):
            problems += _compare(headers, names)
    return Verification(tuple(problems), dict(checks.counts))


@contextmanager
def _noting(problems: list[Problem]) -> Iterator[None]:
    """Record a file that cannot be read as a problem, and continue."""
    try:
        yield
    except InputError as error:
        problems.append(Problem(Path(error.place).name, "", f"{error.expected}, found {error.found}"))


def _check_sum(file: Path) -> Iterator[Problem]:
    """Check a file against SHA256SUMS in the same folder, if there is one."""
    sums = file.parent / SUMS_NAME
    with reading_catalogue(sums):
        known = sums.read_bytes().splitlines() if sums.is_file() else None
    with reading_catalogue(file):
        found = f"{file_digest(file)}  {file.name}".encode()
    if known is not None and found not in known:
        yield Problem(file.name, "", f"the SHA-256 sum that {SUMS_NAME} gives")


def _check_bytes(file: Path) -> Iterator[Problem]:
    """Check FITS against its own checksums."""
    if format_of(file) is FITS:
        with reading_catalogue(file):
            wrong = fits.fits_damage(file)
        yield from (Problem(file.name, "", expected) for expected in wrong)


def _check_schema(file: Path, header: Header) -> Iterator[Problem]:
    """Compare the columns and their descriptions with `COLUMNS`."""
    for name in COLUMNS:
        if name not in header.fields:
            yield Problem(file.name, name, "the column")
    expected_ones = columns_among(header.fields)
    for name in header.fields:
        if name not in expected_ones:
            yield Problem(file.name, name, "no such column", warning=True)
    known = [name for name in header.fields if name in expected_ones]
    if known != [name for name in expected_ones if name in known]:
        yield Problem(file.name, "", "the columns in the order of Table 1")
    for name in known:
        for quality in ("dtype", "unit", "ucd", "description", "null"):
            expected, found = getattr(expected_ones[name], quality), getattr(header.fields[name], quality)
            if found != expected:
                yield Problem(file.name, name, f"{quality} {expected!r}, found {found!r}")
    if "EBVSCALE" not in header.cards:
        yield Problem(file.name, "", "EBVSCALE in the header, without which EBV cannot be read")


class _RowChecks:
    """All rules for rows, applied block by block."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter(stars=0)
        self._broken: dict[Rule, list[Int64]] = {rule: [] for rule in RULES}
        self._keys: list[Array] = []
        self._sources: list[Array] = []

    def add(self, block: Rows) -> None:
        """Check one block of rows, the next in order."""
        for rule, broken in self._broken.items():
            if _has(block, rule.columns):
                own = {name: block[name] for name in rule.columns}  # a rule cannot be applied without its columns
                with np.errstate(invalid="ignore", divide="ignore"):
                    broken.append(self.counts["stars"] + np.flatnonzero(rule.broken(own)))
        if _has(block, IDENTIFIER):
            self._keys.append(hash64(0, *(block[name] for name in IDENTIFIER)))
        if _has(block, ("SOURCE_ID", "SELECTED")):
            self._sources.append(np.where(block["SELECTED"], block["SOURCE_ID"], 0))
        self._count(block)

    def _count(self, block: Rows) -> None:
        self.counts["stars"] += len(next(iter(block.values())))
        for name in ("SELECTED", "HELD_OUT"):
            self.counts[name] += int(np.count_nonzero(block.get(name, False)))
        for name in ("M_G_NN", "M_G_GEO", "DIST", "DISTERR"):
            self.counts[name] += int(np.count_nonzero(np.isfinite(block.get(name, np.nan))))
        for flag in Flag:
            self.counts[str(flag.name)] += int(np.count_nonzero(block.get("FLAGS", np.int32(0)) & flag))

    def problems(self, file: str) -> Iterator[Problem]:
        """Yield the violated rules of the file with this name."""
        for rule, broken in self._broken.items():
            yield from _problem(file, rule.columns[0], rule.text, _joined(broken), rule.warning)
        identifier = ", ".join(IDENTIFIER)
        yield from _problem(file, "TARGETID", f"one row per {identifier}", _repeated(_joined(self._keys)))
        yield from _problem(file, "SOURCE_ID", "one SELECTED row per SOURCE_ID", _repeated(_joined(self._sources)))


def _compare(headers: Mapping[Path, Header], names: Sequence[str]) -> Iterator[Problem]:
    """Compare two files value by value."""
    (file, header), (other_file, other_header) = headers.items()
    if header.stars != other_header.stars:
        yield Problem(other_file.name, "", f"the {header.stars} rows of {file.name}, found {other_header.stars}")
        return
    broken: dict[str, list[Array]] = {name: [] for name in names}
    start = 0
    for one, other in zip(read_blocks(file, names, _BLOCK), read_blocks(other_file, names, _BLOCK)):
        if len(one[names[0]]) != len(other[names[0]]):
            yield Problem(other_file.name, "", f"row groups of whole blocks, to be compared with {file.name}")
            return
        for name in names:
            broken[name].append(start + np.flatnonzero(_unequal(one[name], other[name])))
        start += len(one[names[0]])
    for name in names:
        yield from _problem(other_file.name, name, f"the values of {file.name}", _joined(broken[name]))


def _unequal(one: Array, other: Array) -> Bool:
    both_missing = np.isnan(one) & np.isnan(other) if one.dtype.kind == "f" else False
    differ = np.asarray((one != other) & ~np.asarray(both_missing))
    return differ if differ.ndim == 1 else np.asarray(differ.any(axis=1))


def _problem(file: str, column: str, rule: str, rows: Array, warning: bool = False) -> Iterator[Problem]:
    if len(rows):
        yield Problem(file, column, rule, len(rows), tuple(rows[:_SHOWN].tolist()), warning)


def _repeated(values: Array) -> Array:
    """Return the rows that repeat the value of an earlier row; 0 means no value."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    return np.sort(order[1:][(ordered[1:] == ordered[:-1]) & (ordered[1:] != 0)])


def _joined(parts: Sequence[Array]) -> Array:
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def _has(block: Rows, names: Iterable[str]) -> bool:
    return all(name in block for name in names)
