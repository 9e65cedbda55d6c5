"""The formats in which tables are published, told by what is in a file and not by how it is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from xml.etree.ElementTree import iterparse

import numpy as np
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
"""Endings of files that are taken for tables, with or without .gz behind."""


def tables(path: Path) -> list[Content]:
    """Return the tables that a file holds, at least one.

    Raises
    ------
    InputError
        When the file is in no format that is read, or is one of text that cannot be understood.
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
            remedy="Download it again, and look at what the page says.",
        )
    if start.startswith(b"<"):
        return _votable(path)
    return [texts.content(path)]


def _fits(path: Path) -> list[Content]:
    """Return the tables of a FITS file; those with as many rows are one, because DESI splits its tables over HDUs."""
    with fits.reading(path) as file:
        rows = [hdu.get_nrows() for hdu in file if hdu.get_exttype() == "BINARY_TBL"]
        text = [hdu.get_extnum() for hdu in file if hdu.get_exttype() == "ASCII_TBL"]
    if not rows and not text:
        raise InputError(path, expected="a table", found="no HDU with one", remedy="Give a file with a table.")
    # The other library reads integers of text through floats: an identifier of Gaia would lose its last digits.
    read = [of_astropy(Table.read(path, hdu=number)) for number in text]
    return [_binary(path, count) for count in dict.fromkeys(rows)] + read


def _binary(path: Path, rows: int) -> Content:
    """Return the columns of all binary tables that have so many rows."""
    home: dict[str, tuple[int, int]] = {}
    units: dict[str, str] = {}
    nulls: dict[str, int | None] = {}
    with fits.reading(path) as file:
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
        with fits.reading(path) as file:
            found: dict[str, Array] = {}
            for place in dict.fromkeys(home[name][0] for name in names):
                here = [name for name in names if home[name][0] == place]
                if rows == 0:
                    found |= {name: np.empty(0) for name in here}
                    continue
                # By number, because names are looked up without regard to case.
                record = file[place].read(columns=[home[name][1] for name in here])
                found |= {name: _with_null(fits.plain(record[name]), nulls[name]) for name in here}
            return found

    return Content(units, load)


def _with_null(values: Array, null: int | None) -> Array:
    """Return integers masked where they are the one that marks missing values."""
    return values if null is None or values.dtype.kind not in "iu" else np.ma.masked_equal(values, null)


def _parquet(path: Path) -> Content:
    schema = pyarrow.parquet.read_schema(path)
    units = dict.fromkeys(schema.names, "")
    if header := (schema.metadata or {}).get(b"table_meta_yaml"):
        known = units_of(described(header.decode().split("\n")))
        units |= {name: unit for name, unit in known.items() if name in units}

    def load(names: Sequence[str]) -> Mapping[str, Array]:
        require_bounded(path, table_size(path, names))
        return of_arrow(pyarrow.parquet.read_table(path, columns=list(names)))

    return Content(units, load)


def _votable(path: Path) -> list[Content]:
    with unpacked(path) as stream:
        data = stream.read()
    for _, element in iterparse(BytesIO(data), events=("start",)):
        if element.tag.rpartition("}")[2] == "STREAM" and "href" in element.attrib:
            raise InputError(
                path,
                expected="a VOTable that holds its data",
                found=f"a link to them (STREAM href='{element.attrib['href']}')",
                remedy="No other file is read: save the table with its data inside, as TABLEDATA, BINARY or BINARY2.",
            )
    found = [table for table in votable.parse(BytesIO(data), verify="ignore").iter_tables() if table.fields]
    if not found:
        raise InputError(
            path,
            expected="a VOTable with a table",
            found="none, as where a query has failed",
            remedy="Read what the file says of the query, and repeat it.",
        )
    return [of_astropy(table.to_table(use_names_over_ids=True)) for table in found]
