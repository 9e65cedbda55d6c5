"""The formats in which tables are published, recognised by content and not by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from xml.parsers import expat

import numpy as np
import pyarrow
import pyarrow.parquet
from astropy.io import votable
from astropy.table import Table

from specdis.arrays import Array
from specdis.errors import InputError
from specdis.references import texts
from specdis.references.contents import Content, described, of_arrow, of_astropy, units_of, unpacked
from specdis.storage import require_bounded, table_size
from specdis.surveys import fits

SUFFIXES = (
    *(".fits", ".fit", ".parquet", ".csv", ".ecsv", ".txt", ".dat", ".tab", ".tsv", ".mrt", ".tbl", ".rdb", ".asc"),
    *(".vot", ".votable", ".xml"),
)
"""Endings of files that are taken for tables, with or without .gz."""


_BYTES_OF_AN_ELEMENT = 200
"""Memory of a row and of a value while the library reads a VOTable, bytes."""


def tables(path: Path) -> list[Content]:
    """Return the tables that a file holds, at least one.

    Raises
    ------
    InputError
        When the file is in an unknown format, or is text that cannot be parsed.
    """
    with unpacked(path) as stream:
        start = stream.read(1024).removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"SIMPLE") or path.name.lower().removesuffix(".gz").endswith((".fits", ".fit")):
        return _fits(path)
    if start.startswith(b"PAR1"):
        return [_parquet(path)]
    if (start[:9].lower() == b"<!doctype" and b"html" in start[:32].lower()) or start[:5].lower() == b"<html":
        raise InputError(
            path,
            expected="a table",
            found="a web page, as servers send it in place of a file",
            remedy="Read the page for the reason, and download the file again.",
        )
    if start.startswith(b"<"):
        return _votable(path)
    return [texts.content(path)]


def _fits(path: Path) -> list[Content]:
    """Return the tables of a FITS file; HDUs of equal length form one, because DESI splits its tables."""
    with fits.reading_fits(path) as file:
        rows = [hdu.get_nrows() for hdu in file if hdu.get_exttype() == "BINARY_TBL"]
        text = [hdu.get_extnum() for hdu in file if hdu.get_exttype() == "ASCII_TBL"]
    if not rows and not text:
        raise InputError(path, expected="a table", found="no HDU with one", remedy="Give a file with a table.")
    # fitsio reads integers of text tables through floats: Gaia identifiers would lose digits.
    read = [of_astropy(Table.read(path, hdu=number)) for number in text]
    return [_binary(path, count) for count in dict.fromkeys(rows)] + read


def _binary(path: Path, rows: int) -> Content:
    """Return the columns of all binary tables with this number of rows."""
    home: dict[str, tuple[int, int]] = {}
    units: dict[str, str] = {}
    nulls: dict[str, int | None] = {}
    with fits.reading_fits(path) as file:
        for hdu in file:
            if hdu.get_exttype() != "BINARY_TBL" or hdu.get_nrows() != rows:
                continue
            header = hdu.read_header()
            for number, name in enumerate(hdu.get_colnames()):
                if name not in home:
                    home[name] = (hdu.get_extnum(), number)
                    units[name] = str(header.get(f"TUNIT{number + 1}", "")).strip()
                    nulls[name] = header.get(f"TNULL{number + 1}")

    def load(names: Sequence[str]) -> Mapping[str, Array]:
        with fits.reading_fits(path) as file:
            found: dict[str, Array] = {}
            for place in dict.fromkeys(home[name][0] for name in names):
                here = [name for name in names if home[name][0] == place]
                if rows == 0:
                    found |= {name: np.empty(0) for name in here}
                    continue
                # By number, because lookup by name ignores case.
                record = file[place].read(columns=[home[name][1] for name in here])
                found |= {name: _with_null(fits.native_column(record[name]), nulls[name]) for name in here}
            return found

    return Content(units, load)


def _with_null(values: Array, null: int | None) -> Array:
    """Mask the integer that stands for missing values."""
    return values if null is None or values.dtype.kind not in "iu" else np.ma.masked_equal(values, null)


def _parquet(path: Path) -> Content:
    schema = pyarrow.parquet.read_schema(path)
    units = dict.fromkeys(schema.names, "")
    if header := (schema.metadata or {}).get(b"table_meta_yaml"):
        known = units_of(described(header.decode().split("\n")))
        units |= {name: unit for name, unit in known.items() if name in units}

    def load(names: Sequence[str]) -> Mapping[str, Array]:
        require_bounded(path, table_size(path, names))
        # Repeated long words are stored once.
        words = [field.name for field in schema if pyarrow.types.is_string(field.type)]
        return of_arrow(pyarrow.parquet.read_table(path, columns=list(names), read_dictionary=words))

    return Content(units, load)


def _votable(path: Path) -> list[Content]:
    with unpacked(path) as stream:
        data = stream.read()
    _require_no_links(path, data)
    found = [table for table in votable.parse(BytesIO(data), verify="ignore").iter_tables() if table.fields]
    if not found:
        raise InputError(
            path,
            expected="a VOTable with a table",
            found="none, as after a failed query",
            remedy="Read the status of the query in the file, and repeat it.",
        )
    return [of_astropy(table.to_table(use_names_over_ids=True)) for table in found]


def _require_no_links(path: Path, data: bytes) -> None:
    """Refuse links to other data and definitions of entities, without keeping the elements."""
    rows = values = 0

    def start(name: str, attributes: Mapping[str, str]) -> None:
        nonlocal rows, values
        name = name.rpartition(":")[2]
        rows, values = rows + (name == "TR"), values + (name == "TD")
        if name == "STREAM" and "href" in attributes:
            raise InputError(
                path,
                expected="a VOTable that contains its data",
                found=f"a link to them (STREAM href='{attributes['href']}')",
                remedy="No other file is read: save the table with its data inside, as TABLEDATA, BINARY or BINARY2.",
            )

    def entity(name: str, *_: object) -> None:
        raise InputError(
            path,
            expected="a VOTable without entity definitions",
            found=f"a definition of &{name};",
            remedy="Save the table again, for instance with TOPCAT or astropy.",
        )

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EntityDeclHandler = start, entity
    parser.Parse(data, True)
    require_bounded(path, _BYTES_OF_AN_ELEMENT * (rows + values))
