"""The result of every reader: names and units of columns, and a function that loads some of them."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BufferedIOBase, BufferedReader, RawIOBase
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from astropy.table import Table
from astropy.table.meta import get_header_from_yaml

from specdis.arrays import Array
from specdis.storage import require_bounded

_BYTES_OF_A_LETTER = 4
"""Largest ratio of the memory of text columns to the size of their file."""


class Content(NamedTuple):
    """One table of a file."""

    units: Mapping[str, str]
    """Name of each column as the file has it, and its unit; empty where none is given."""
    load: Callable[[Sequence[str]], Mapping[str, Any]]
    """Returns columns by name."""


@contextmanager
def unpacked(path: Path) -> Iterator[BufferedIOBase]:
    """Open a file to read its bytes, unpacked if it is gzip by content.

    Raises
    ------
    InputError
        When its content would take far more memory than the file has bytes.
    """
    with path.open("rb") as stream:
        if stream.read(2) != b"\x1f\x8b":
            stream.seek(0)
            yield stream
            return
    with gzip.open(path) as stream:
        yield BufferedReader(_Bounded(path, stream), _PIECE)


_PIECE = 1 << 18


class _Bounded(RawIOBase):
    """Content of a packed file, up to a limit."""

    def __init__(self, path: Path, stream: gzip.GzipFile) -> None:
        self._path, self._stream = path, stream

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def readinto(self, buffer: Any, /) -> int:
        piece = self._stream.read(len(buffer))
        buffer[: len(piece)] = piece
        require_bounded(self._path, _BYTES_OF_A_LETTER * self._stream.tell())
        return len(piece)


def of_astropy(table: Table) -> Content:
    """Return the content of an astropy table."""
    units = {name: str(table[name].unit or "") for name in table.colnames}
    return Content(units, lambda names: {name: table[name] for name in names})


def of_arrow(table: pa.Table) -> dict[str, Array]:
    """Return the columns of an Arrow table as arrays; integers are masked where they are null."""

    def column(name: str) -> Array:
        values = table[name]
        if pa.types.is_null(values.type):
            return np.full(len(values), np.nan)
        if pa.types.is_integer(values.type) and values.null_count:
            mask = np.asarray(values.is_null().to_numpy(zero_copy_only=False))
            return np.ma.array(values.fill_null(0).to_numpy(zero_copy_only=False), mask=mask)
        return np.asarray(values.to_numpy(zero_copy_only=False))

    return {name: column(name) for name in table.column_names}


def described(lines: Sequence[str]) -> Mapping[str, Any]:
    """Return the header that astropy writes as YAML into ECSV and Parquet."""
    return dict(get_header_from_yaml(lines))


def units_of(header: Mapping[str, Any]) -> dict[str, str]:
    """Return the units that such a header gives to columns."""
    return {column["name"]: str(column.get("unit") or "") for column in header["datatype"]}
