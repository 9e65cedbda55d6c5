"""Tables in text: columns separated by a character or by blanks, ECSV, and the formats of CDS, the AAS and IPAC.

The layout is found from the text: comments, the line of names, lines of units and of dashes, and the first row.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
from astropy import units as u
from astropy.io import ascii as text

from specdis.errors import InputError
from specdis.references.contents import Content, described, of_arrow, of_astropy, units_of, unpacked
from specdis.references.names import NO_NUMBER, SEXAGESIMAL
from specdis.storage import require_bounded

_START = 1 << 20
"""Bytes within which the first row must begin."""

_BYTES_OF_A_LINE = 100
_BYTES_OF_A_LETTER = 4
"""Bytes of an array of strings, all as long as the longest."""

_BYTE_BY_BYTE = "byte-by-byte description"
_ECSV = re.compile(r"#\s*%ECSV")
_DELIMITERS = "\t,;|"
_BLANKS = ""
_TYPE = re.compile(r"\d*[SNM]")  # of a column in an RDB table: string, number or month
_SET_APART = re.compile(f"[{_DELIMITERS}]")
_DASHES = re.compile(rf"[\s{_DELIMITERS}+]*[-=]{{2,}}[-=\s{_DELIMITERS}+]*")
_NUMBER = re.compile(r"[-+\N{MINUS SIGN}]?(\d[\d: ]*\.?\d*|\.\d+)([eEdD][-+]?\d+)?")  # and 15:18:33.2, 15 18 33.2


class _Layout(NamedTuple):
    """Layout of a text table."""

    names: list[str]
    units: list[str]
    delimiter: str
    """`_BLANKS` if columns are separated by any number of blanks."""
    first: int
    """Line of the first row."""
    starts: Sequence[int] = ()
    """Starts of aligned columns, in which blanks are missing values."""


def content(path: Path) -> Content:
    """Return the table in a text; only its start is read at first.

    Raises
    ------
    InputError
        When it is not text, has no column names, or has rows of another number of values.
    """
    with unpacked(path) as stream:
        start = stream.read(_START)
    if b"\0" in start:
        raise InputError(
            path,
            expected="a table in FITS, Parquet, VOTable or text",
            found="another format",
            remedy="Convert it, for instance with TOPCAT or astropy.",
        )
    if not start.strip():
        raise InputError(path, expected="a table", found="an empty file", remedy="Copy or download it again.")
    lines = _lines(start)
    if any(_BYTE_BY_BYTE in line.lower() for line in lines):
        return _machine_readable(path)
    if _is_ipac(lines):
        with _explained(path):
            return of_astropy(text.read(_all_lines(path), format="ipac", guess=False))
    layout = _layout(path, lines)
    if layout is None:
        return _machine_readable(path, _read_me(path))
    units = dict(zip(layout.names, layout.units, strict=True))
    if layout.first == len(lines):
        return Content(units, lambda names: {name: np.empty(0) for name in names})
    load = _load_blanks if layout.delimiter == _BLANKS else _load_delimited
    return Content(units, lambda names: load(path, layout, names))


def _encoding(data: bytes) -> str:
    """Return the encoding of a text or of its start: UTF-8, else that of older archives."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)  # the last character may be incomplete
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def _lines(data: bytes) -> list[str]:
    """Return the lines of a text."""
    return re.split(r"\r\n|\r|\n", data.removeprefix(codecs.BOM_UTF8).decode(_encoding(data), "replace"))


def _all_lines(path: Path) -> list[str]:
    """Return all lines of a file, within the limit of memory."""
    with unpacked(path) as stream:
        data = stream.read()
    require_bounded(path, len(data) + _BYTES_OF_A_LINE * (data.count(b"\n") + data.count(b"\r")))
    return _lines(data)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Convert the libraries' errors about wrong rows to an `InputError`."""
    try:
        yield
    except (ValueError, pa.ArrowInvalid) as error:  # astropy's are ValueErrors
        raise InputError(
            path,
            expected="as many values in every row as there are columns",
            found=" ".join(str(error).split()),
            remedy="Correct the row, or convert the table to FITS or VOTable from its source.",
        ) from error


def _is_ipac(lines: Sequence[str]) -> bool:
    """Tell whether it is an IPAC table: keywords begin with a backslash, names and units stand between bars."""
    said = [line for line in lines if line.strip() and not line.startswith("\\")]
    bars = next((k for k, line in enumerate(said) if not line.startswith("|")), len(said))
    return 0 < bars < len(said) and "|" not in said[bars]


def _machine_readable(path: Path, read_me: Path | None = None) -> Content:
    """Read a table by its byte-by-byte description, in the same file or in a ReadMe."""
    with _explained(path):
        lines = [line for line in _all_lines(path) if line.strip()]
        described_in = None if read_me is None else str(read_me)
        reader = text.get_reader(text.Cds, readme=described_in, fill_values=[("", "0")])  # line ends as in text.read
        reader.data.table_name = path.name.removesuffix(".gz")
        table = reader.read(lines)
    if {"RAh", "RAm", "RAs", "DE-", "DEd", "DEm", "DEs"} <= {*table.colnames}:
        right = zip(table["RAh"], table["RAm"], table["RAs"], strict=True)
        north = zip(table["DE-"], table["DEd"], table["DEm"], table["DEs"], strict=True)
        table["RAJ2000"] = [f"{hours}:{minutes}:{seconds}" for hours, minutes, seconds in right]
        table["DEJ2000"] = [f"{sign}{degrees}:{minutes}:{seconds}" for sign, degrees, minutes, seconds in north]
    return of_astropy(table)


def _read_me(path: Path) -> Path:
    """Return the ReadMe beside a table without names of columns."""
    found = sorted(file for file in path.parent.iterdir() if file.name.lower() in ("readme", "readme.txt"))
    if found:
        return found[0]
    raise InputError(
        path,
        expected="a line with the names of the columns",
        found="rows without one",
        remedy="Put the names into the first line, or the ReadMe that describes the table beside it.",
    )


def _layout(path: Path, lines: Sequence[str]) -> _Layout | None:
    """Find the layout; None if the first line is a row and no comment has a name for each of its values."""
    plain = [k for k, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")]
    if _ECSV.match(lines[0]):
        header = described([line.lstrip()[2:] for line in lines[1 : plain[0] if plain else None]])
        units, delimiter = units_of(header), header.get("delimiter", " ")
        first = plain[1] if len(plain) > 1 else len(lines)
        return _Layout([*units], [*units.values()], _BLANKS if delimiter == " " else delimiter, first)
    while plain and _DASHES.fullmatch(lines[plain[0]]):  # a frame around the names
        plain = plain[1:]
    commented = not plain or _has_number(lines[plain[0]])
    if commented:  # the names are in the last comment that fits
        first = plain[0] if plain else len(lines)
        above = [line.strip().lstrip("# \t") for line in reversed(lines[:first])]
        titles = sorted(above, key=_is_about_columns)
    else:
        first = next((k for k in plain[1:] if not _is_about_columns(lines[k])), len(lines))
        titles, above = [lines[plain[0]]], [lines[k] for k in plain[1:] if k < first]
        ruler = next((line for line in above if _DASHES.fullmatch(line) and not _SET_APART.search(line)), "")
        if len(starts := [match.start() for match in re.finditer(r"\S+", ruler)]) > 1:
            names, *about = (_cut(line, starts) for line in (titles[0], *(line for line in above if line != ruler)))
            return _Layout(_unique(names), _units(about, len(names)), _BLANKS, first, starts)
    row = lines[first] if first < len(lines) else None
    for delimiter in [*(mark for mark in _DELIMITERS if mark in (row or titles[0])), _BLANKS, ","]:
        for title in titles:
            if names := _names(title, delimiter, None if row is None else len(_split(row, delimiter))):
                about = [_split(line, delimiter) for line in above if _is_about_columns(line)]
                return _Layout(_unique(names), _units(about, len(names)), delimiter, first)
    if commented:
        return None
    raise InputError(
        path,
        expected="one name in the first line for each value of a row",
        found=f"'{_short(titles[0])}' above '{_short(row or '')}'",
        remedy="Correct the line of names; quote values that contain blanks.",
    )


def _names(title: str, delimiter: str, width: int | None) -> list[str]:
    """Return the column names in a line, empty if their number differs from that of the values in a row."""
    for mark in (delimiter, "\t", _BLANKS):  # the line may have another separator than the rows
        names = _split(title, mark)
        fits = len(names) == (width or len(names)) and (len(names) > 1 or len(title.split()) == 1)
        if fits and not _has_number(title) and not (len(names) == 1 and _SET_APART.search(title)):
            return names
    return []


def _units(about: Sequence[Sequence[str]], width: int) -> list[str]:
    """Return the units from a line with one for each column, or empty units."""
    for units in about:
        if len(units) == width and not all(_DASHES.fullmatch(unit) or _TYPE.fullmatch(unit) for unit in units):
            return [unit.strip("[]() ") for unit in units]
    return [""] * width


def _cut(line: str, starts: Sequence[int]) -> list[str]:
    """Split a line at the starts of its columns."""
    return [line[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)]


def _unique(names: Sequence[str]) -> list[str]:
    """Append a number to repeated names, from the second on."""
    return [name if name not in names[:k] else f"{name}_{names[:k].count(name) + 1}" for k, name in enumerate(names)]


def _split(line: str, delimiter: str) -> list[str]:
    """Return the values in a line without quotes."""
    words = " ".join(line.split()) if delimiter == _BLANKS else line
    return [word.strip() for word in next(csv.reader([words], delimiter=delimiter or " ", skipinitialspace=True), [])]


def _rough(line: str) -> list[str]:
    """Return the values in a line of unknown layout."""
    return [word.strip(' "') for word in (_SET_APART.split(line) if _SET_APART.search(line) else line.split())]


def _has_number(line: str) -> bool:
    return any(_NUMBER.fullmatch(word) for word in _rough(line))


def _is_about_columns(line: str) -> bool:
    """Tell whether a line has dashes or units: no numbers, and mostly known units."""
    words = [word for word in _rough(line) if word]
    units = sum(_is_unit(word.strip("[]()")) for word in words)
    return bool(_DASHES.fullmatch(line)) or (not _has_number(line) and 2 * units >= len(words))


def _is_unit(word: str) -> bool:
    try:
        return word in SEXAGESIMAL or (bool(word) and u.Unit(word) is not None)
    except (ValueError, TypeError):
        return False


def _short(line: str) -> str:
    return line if len(line) <= 60 else f"{line[:57]}..."


def _load_delimited(path: Path, layout: _Layout, names: Sequence[str]) -> Mapping[str, Any]:
    comments = {"invalid_row_handler": lambda row: "skip" if row.text.startswith("#") else "error"}
    with unpacked(path) as stream, _explained(path):
        encoding = _encoding(stream.read(_START))
        stream.seek(0)
        return of_arrow(
            pa.csv.read_csv(
                stream,
                pa.csv.ReadOptions(skip_rows=layout.first, column_names=layout.names, encoding=encoding),
                pa.csv.ParseOptions(delimiter=layout.delimiter, **comments),
                # An empty field of a number is a missing number; identifiers of nineteen digits stay integers.
                pa.csv.ConvertOptions(
                    include_columns=list(names), null_values=[*pa.csv.ConvertOptions().null_values, *NO_NUMBER]
                ),
            )
        )


def _load_blanks(path: Path, layout: _Layout, names: Sequence[str]) -> Mapping[str, Any]:
    form: dict[str, Any] = {"format": "fast_no_header"}
    if layout.starts:
        ends = [*(start - 1 for start in layout.starts[1:]), None]
        form = {"format": "fixed_width_no_header", "col_starts": layout.starts, "col_ends": ends}
    with _explained(path):
        rows = [line.replace("\N{MINUS SIGN}", "-") for line in _all_lines(path)[layout.first :] if line.strip()]
        rows = [row for row in rows if not row.startswith("#") and not _DASHES.fullmatch(row)]
        require_bounded(path, _BYTES_OF_A_LETTER * len(rows) * max(map(len, rows), default=0))
        if not all(map(str.isascii, rows)):  # the fast reader cannot read these
            form["format"] = form["format"].removeprefix("fast_")
        table = text.read(rows, names=layout.names, guess=False, **form)
        return {name: table[name] for name in names}
