"""Tables of other people, in FITS, Parquet, CSV, ECSV or plain text, read column by column."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from astropy.io import ascii as text
from astropy.table import Table

from specdis.arrays import Array
from specdis.errors import InputError
from specdis.storage import require_bounded, table_size
from specdis.surveys import fits

Columns = dict[str, Array]

SUFFIXES = (".fits", ".fit", ".parquet", ".csv", ".ecsv", ".txt", ".dat", ".tab", ".tsv", ".vot", ".xml")
"""Endings of files that are taken for tables, with or without .gz behind."""


NO_NUMBER = ("", "nan", "null", "none", "masked", "n/a", "na", "-", "--", "---", "...")
"""What writers of text leave for a missing number, in lower case."""


def is_table(path: Path) -> bool:
    """Return True for a file whose name ends as that of a table does."""
    return path.is_file() and Path(path.name.removesuffix(".gz")).suffix.lower() in SUFFIXES


class ReferenceTable:
    """A table on disk, whose columns are found by name, without regard to case where no name is the same.

    Parameters
    ----------
    path
        The file.
    units
        Name of each column as the file has it, and its unit; empty where none is given.
    load
        Returns columns by these names.
    """

    def __init__(
        self, path: Path, units: Mapping[str, str], load: Callable[[Sequence[str]], Mapping[str, Any]]
    ) -> None:
        self.path = path
        self._units = dict(units)
        self._load = load
        self._names = {name.lower(): name for name in reversed(list(units))}

    @classmethod
    def open(cls, path: Path) -> ReferenceTable:
        """Open a table, its format told by its first bytes and its name.

        Raises
        ------
        InputError
            When there is no such file, or it is no table.
        """
        if not path.is_file():
            raise InputError(path, expected="a table", found="no file", remedy="Correct the path.")
        try:
            return _open(path)
        except InputError:
            raise
        except Exception as error:  # each library has its own for a damaged file
            raise _unreadable(path, error) from error

    @property
    def names(self) -> tuple[str, ...]:
        """Columns as the file has them."""
        return tuple(self._units)

    def has(self, name: str) -> bool:
        """Return True where the table has a column of this name, in any case."""
        return name in self._units or name.lower() in self._names

    def unit(self, name: str) -> str:
        """Return the unit of a column as the file gives it."""
        return self._units[self._name(name)]

    def read(self, names: Iterable[str], required: Iterable[str] = ()) -> Columns:
        """Return columns by the names asked for; floats are NaN where they are missing, others are masked.

        Raises
        ------
        InputError
            When a required column is missing or the file is damaged.
        """
        for name in required:
            if not self.has(name):
                raise InputError(
                    self.path,
                    expected=f"a column {name}",
                    found=", ".join(self.names[:12]) + (", ..." if len(self.names) > 12 else ""),
                    remedy="Name the column in the section's `columns`, or check that this is the right file.",
                )
        asked = {name: self._name(name) for name in names}
        try:
            loaded = self._load(list(dict.fromkeys(asked.values())))
            return {name: _filled(loaded[theirs]) for name, theirs in asked.items()}
        except InputError:
            raise
        except Exception as error:
            raise _unreadable(self.path, error) from error

    def _name(self, name: str) -> str:
        """Return a name as the file has it: VizieR tells b_rgeo from B_rgeo by nothing but case."""
        return name if name in self._units else self._names[name.lower()]


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return InputError(
        path, expected="a table", found=f"one that cannot be read ({reason})", remedy="Copy or download it again."
    )


def _filled(values: Any) -> Array:
    masked = np.ma.asarray(values)
    if masked.dtype.kind == "O":
        masked = np.ma.asarray(masked.astype(str))
    if not np.ma.getmaskarray(masked).any():
        return np.asarray(masked)
    return np.asarray(np.ma.filled(masked, np.nan)) if masked.dtype.kind == "f" else masked


def _open(path: Path) -> ReferenceTable:
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    with path.open("rb") as stream:
        start = stream.read(9)
    if start.startswith(b"SIMPLE") or suffix in (".fits", ".fit"):
        return _open_fits(path)
    if start.startswith(b"PAR1") or suffix == ".parquet":
        return _open_parquet(path)
    if suffix == ".csv":
        return _open_csv(path)
    return _open_text(path, suffix)


def _open_fits(path: Path) -> ReferenceTable:
    """Open the columns of all binary tables that have as many rows as the first: DESI splits one table over HDUs."""
    with fits.reading(path) as file:
        tables = [hdu for hdu in file if hdu.get_exttype() == "BINARY_TBL"]
        if not tables:
            raise InputError(path, expected="a binary table", found="none", remedy="Give a file with a table.")
        home: dict[str, tuple[int, str]] = {}
        units: dict[str, str] = {}
        nulls: dict[str, int | None] = {}
        for hdu in tables:
            if hdu.get_nrows() != tables[0].get_nrows():
                continue
            header = hdu.read_header()
            for number, name in enumerate(hdu.get_colnames(), start=1):
                if name not in home:
                    home[name] = (hdu.get_extnum(), name)
                    units[name] = str(header.get(f"TUNIT{number}", "")).strip()
                    nulls[name] = header.get(f"TNULL{number}")

    def load(names: Sequence[str]) -> Columns:
        with fits.reading(path) as file:
            found: Columns = {}
            for place in dict.fromkeys(home[name][0] for name in names):
                here = [name for name in names if home[name][0] == place]
                if file[place].get_nrows() == 0:
                    found |= {name: np.empty(0) for name in here}
                    continue
                record = file[place].read(columns=here)
                found |= {name: _with_null(fits.plain(record[name]), nulls[name]) for name in here}
            return found

    return ReferenceTable(path, units, load)


def _with_null(values: Array, null: int | None) -> Array:
    """Return integers masked where they are the one that marks missing values."""
    return values if null is None or values.dtype.kind not in "iu" else np.ma.masked_equal(values, null)


def _open_parquet(path: Path) -> ReferenceTable:
    names = pa.parquet.read_schema(path).names

    def load(wanted: Sequence[str]) -> Columns:
        require_bounded(path, table_size(path, wanted))
        return _arrow(pa.parquet.read_table(path, columns=list(wanted)))

    return ReferenceTable(path, dict.fromkeys(names, ""), load)


def _open_csv(path: Path) -> ReferenceTable:
    with pa.csv.open_csv(path) as reader:
        names = reader.schema.names

    def load(wanted: Sequence[str]) -> Columns:
        # An empty field of a number is a missing number; identifiers of nineteen digits stay integers.
        words = [*pa.csv.ConvertOptions().null_values, *NO_NUMBER]
        options = pa.csv.ConvertOptions(include_columns=list(wanted), null_values=words)
        return _arrow(pa.csv.read_csv(path, convert_options=options))

    return ReferenceTable(path, dict.fromkeys(names, ""), load)


def _arrow(table: pa.Table) -> Columns:
    def column(name: str) -> Array:
        values = table[name]
        if pa.types.is_null(values.type):
            return np.full(len(values), np.nan)
        if pa.types.is_integer(values.type) and values.null_count:
            mask = np.asarray(values.is_null().to_numpy(zero_copy_only=False))
            return np.ma.array(values.fill_null(0).to_numpy(zero_copy_only=False), mask=mask)
        return np.asarray(values.to_numpy(zero_copy_only=False))

    return {name: column(name) for name in table.column_names}


def _open_text(path: Path, suffix: str) -> ReferenceTable:
    if suffix in (".vot", ".xml"):
        table = Table.read(path, format="votable")
    elif suffix == ".ecsv":
        table = Table.read(path, format="ascii.ecsv")
    else:
        table = text.read(path, format=_text_format(path), guess=False)
        table.rename_column(table.colnames[0], table.colnames[0].lstrip("# "))
    units = {name: str(table[name].unit or "") for name in table.colnames}
    return ReferenceTable(path, units, lambda names: {name: table[name] for name in names})


def _text_format(path: Path) -> str:
    """Tell tab-separated columns, a commented header and plain blanks apart by the first line."""
    with path.open("rb") as stream:
        first = stream.readline()
    if first.startswith(b"\x1f\x8b"):
        return "fast_basic"
    if b"\t" in first:
        return "fast_tab"
    return "fast_commented_header" if first.lstrip().startswith(b"#") else "fast_basic"
