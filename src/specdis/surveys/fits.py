"""FITS files read by name and in row ranges; errors name the place and a remedy."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import fitsio
import numpy as np

from specdis.arrays import Array, Float64, Int, Int64, native
from specdis.errors import InputError
from specdis.fitsfiles import opened
from specdis.log import logger
from specdis.storage import require_bounded
from specdis.surveys.base import STAR_COLUMNS
from specdis.surveys.values import converted, without_nulls
from specdis.surveys.wavelengths import wavelengths

# Up to this many unneeded rows are cheaper to read than to skip.
_GAP = 8

_GZIP = b"\x1f\x8b"
_PIECE = 1 << 24

_KINDS = {"i": ("integers", "iu"), "f": ("numbers", "fiu"), "S": ("strings", "SU"), "b": ("logicals", "b")}


class FileError(InputError):
    """An unusable file, with the name of its `Fault` for runs where other files are good."""

    def __init__(self, fault: str, place: str | Path, *, expected: str, found: str, remedy: str) -> None:
        self.fault = fault
        super().__init__(place, expected=expected, found=found, remedy=remedy)


@contextmanager
def reading_fits(path: Path) -> Iterator[fitsio.FITS]:
    """Open a complete FITS file; errors of the library inside the block become a `FileError`.

    Raises
    ------
    FileError
        `missing-file`; `closed-file` without permission; `unreadable-file` when it is not FITS, or is truncated.
    """
    _require_fits(path)
    try:
        with opened(path) as file:
            _require_whole(path, file)
            yield file
    # UnicodeError: bytes that are not text, also in the library's messages.
    except (OSError, UnicodeDecodeError, fitsio.FITSFormatError) as error:
        # The first line says what is wrong; the following ones hold the library's own name of the file.
        reason = (str(error).splitlines() or [type(error).__name__])[0].strip()
        raise _unreadable(path, f"one that cannot be read ({reason})") from error


def _require_fits(path: Path) -> None:
    """Refuse anything but FITS and gzipped FITS, and gzip that would fill the memory when the library unpacks it.

    By the first bytes the library would also open other formats, whatever the name of the file.
    """
    try:
        if path.is_file():
            with path.open("rb") as stream:
                start = stream.read(9)
            if start.startswith(_GZIP):
                _require_bounded_gzip(path)
            if start.startswith((b"SIMPLE", _GZIP)):
                return
            found = f"one that starts with {start!r}" if start else "an empty one"
            raise _unreadable(path, found, "Copy or download it again, or write what it holds as a spectra table.")
        found = "a folder" if path.is_dir() else "a device or a pipe" if path.exists() else "none"
    except PermissionError as error:
        raise FileError(
            "closed-file",
            path,
            expected="a readable file",
            found="permission denied for it or its folder",
            remedy="Change its permissions, or those of the folders above it.",
        ) from error
    except OSError as error:
        raise _unreadable(path, f"an unreadable file ({error.strerror})") from error
    raise FileError(
        "missing-file", path, expected="a file", found=found, remedy="Copy or download it, or correct the path."
    )


def _require_bounded_gzip(path: Path) -> None:
    try:
        with gzip.open(path) as content:
            size = 0
            while piece := content.read(_PIECE):
                size += len(piece)
                require_bounded(path, size)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, f"gzip that cannot be unpacked ({error})") from error


def _unreadable(path: Path, found: str, remedy: str = "Copy or download it again.") -> FileError:
    return FileError("unreadable-file", path, expected="a complete FITS file", found=found, remedy=remedy)


def _require_whole(path: Path, file: fitsio.FITS) -> None:
    """Compare the size of the file with its headers; a truncated file opens without an error."""
    if path.suffix == ".gz":
        return
    end, size = max(hdu.get_offsets()["data_end"] for hdu in file), path.stat().st_size
    if size < end:
        raise _unreadable(path, f"one cut short: {size:,} of at least {end:,} bytes")
    if size > end:
        raise _unreadable(path, f"{size - end:,} bytes after the last HDU that can be read")


def require(path: Path, file: fitsio.FITS, name: str) -> fitsio.hdu.base.HDUBase:
    """Return an HDU by its EXTNAME.

    Raises
    ------
    FileError
        `missing-hdu`; or `empty-file`, when the file holds an empty primary HDU and nothing else.
    """
    if name in file:
        return file[name]
    empty = len(file) == 1 and not file[0].has_data()
    names = ", ".join(hdu.get_extname() for hdu in file if hdu.get_extname())
    raise FileError(
        "empty-file" if empty else "missing-hdu",
        path,
        expected=f"an HDU {name}",
        found="only an empty primary HDU" if empty else f"the HDUs {names or 'without names'}",
        remedy="This file has no results of processing: leave it out."
        if empty
        else "Check that this is the right file, and that it is complete.",
    )


class Table:
    """A binary table, its columns by name in capitals.

    Parameters
    ----------
    path
        The file, for messages.
    file
        The open file.
    name
        EXTNAME of the table.
    """

    def __init__(self, path: Path, file: fitsio.FITS, name: str) -> None:
        self.place = f"{path}[{name}]"
        self._hdu = require(path, file, name)
        if self._hdu.get_exttype() != "BINARY_TBL":
            raise FileError(
                "missing-hdu", self.place, expected="a binary table", found="an image", remedy="Correct the EXTNAME."
            )
        found = [column for column in self._hdu.get_colnames() if column]
        first = {column.upper(): column for column in reversed(found)}
        if twice := [column for column in found if found.count(column) > 1 or first[column.upper()] != column]:
            raise FileError(
                "unreadable-file",
                self.place,
                expected="columns of different names, whatever their case",
                found=f"{first[twice[0].upper()]} and {twice[0]}",
                remedy="Rename one of them.",
            )
        record, *_ = self._hdu.get_rec_dtype()
        named = [column for column in record.names if column in self._hdu.get_colnames()]  # numpy names the unnamed
        self._names = {column.upper(): column for column in named}
        self._dtypes = {column.upper(): record[column] for column in named}

    def __len__(self) -> int:
        return int(self._hdu.get_nrows())

    def __contains__(self, column: object) -> bool:
        return column in self._names

    @property
    def names(self) -> tuple[str, ...]:
        """All columns, in file order."""
        return tuple(self._names)

    @property
    def scalars(self) -> tuple[str, ...]:
        """Columns with one number, string or logical per row, in file order."""
        return tuple(name for name, dtype in self._dtypes.items() if dtype.shape == () and dtype.kind in "iufSUb")

    def require(self, columns: Iterable[str]) -> None:
        """Raise a `FileError`, `missing-column`, unless the table has all of these."""
        for name in columns:
            if name not in self:
                raise FileError(
                    "missing-column",
                    self.place,
                    expected=f"a column {name}",
                    found="none of that name",
                    remedy=f"Add {name}, or check that this is the right file.",
                )

    def present(self, columns: Iterable[str]) -> tuple[str, ...]:
        """Return the `columns` that the table has, their types checked by `STAR_COLUMNS`; others must be numbers.

        Raises
        ------
        FileError
            `wrong-type`: for instance identifiers stored as floats, which lose digits.
        """
        found = tuple(name for name in columns if name in self)
        for name in found:
            self.check_kind(name, np.dtype(STAR_COLUMNS[name].dtype if name in STAR_COLUMNS else "f8").kind)
        return found

    def check_kind(self, name: str, kind: str) -> None:
        """Raise a `FileError` unless the column holds one value per row of a numpy kind: `i`, `f`, `S` or `b`."""
        dtype, (expected, kinds) = self._dtypes[name], _KINDS[kind]
        if dtype.shape != () or dtype.kind not in kinds:
            raise FileError(
                "wrong-type",
                f"{self.place}, column {name}",
                expected=f"{expected}, one a row",
                found=f"{dtype.base.name}{list(dtype.shape) or ''}",
                remedy="Write the column again from its source in the right type.",
            )

    @cached_property
    def _header(self) -> fitsio.FITSHDR:
        return self._hdu.read_header()

    def _described(self, key: str, column: str) -> Any:
        """Return the TNULL or TUNIT of a column, or None."""
        return self._header.get(f"{key}{self._hdu.get_colnames().index(self._names[column]) + 1}")

    def read(self, columns: Iterable[str], rows: slice | Int64 | None = None) -> dict[str, Array]:
        """Read columns for a range of rows or increasing row numbers.

        They are in native byte order, strings stripped; in the units of `STAR_COLUMNS`, by the unit that the file gives
        (TUNIT); null integers (TNULL) are missing, as in `without_nulls`.

        Raises
        ------
        InputError
            When the unit of a column cannot be converted.
        """
        names = {name: self._names[name] for name in columns}
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        if not names or not len(self):
            return {name: np.empty(0, self._dtypes[name]) for name in names}
        record = self._hdu.read(columns=list(names.values()), rows=rows)
        return {name: self._meant(name, native_column(record[column])) for name, column in names.items()}

    def _meant(self, name: str, values: Array) -> Array:
        """Convert a column to the unit of `STAR_COLUMNS`; null integers become missing values."""
        values = without_nulls(name, values, self._described("TNULL", name))
        return converted(name, values, self._described("TUNIT", name), self.place)


def native_column(values: Array) -> Array:
    """Return a column in native byte order, strings as bytes without trailing blanks."""
    if values.dtype.kind == "U":
        # The library decodes to 32-bit characters; narrowing the array is ten times faster than encoding each string.
        values = np.ascontiguousarray(values).view(np.uint32).astype(np.uint8).view(f"S{values.itemsize // 4}")
    return np.strings.strip(values, b" \0") if values.dtype.kind == "S" else native(values)


def canonical(columns: Mapping[str, Array]) -> dict[str, Array]:
    """Cast columns to the types of `STAR_COLUMNS`; other columns stay as they are."""
    return {
        name: _cast(values, STAR_COLUMNS[name].dtype) if name in STAR_COLUMNS else values
        for name, values in columns.items()
    }


def _cast(values: Array, dtype: str) -> Array:
    if values.dtype.kind == "S" and len(values):
        # Longer strings than DESI's are kept whole: a shortened one could equal the name of another star or survey.
        dtype = f"S{max(np.dtype(dtype).itemsize, int(np.strings.str_len(values).max()))}"
    with np.errstate(over="ignore"):
        return values.astype(dtype)


class NegativeVariances:
    """Counts pixels of negative inverse variance, which are bad, to log them once instead of for every file."""

    def __init__(self) -> None:
        self._pixels, self._place = 0, ""

    def add(self, place: str, ivar: Array) -> None:
        """Count the pixels of one image."""
        pixels = int(np.count_nonzero(ivar < 0))
        self._place = self._place or (place if pixels else "")
        self._pixels += pixels

    def log(self) -> None:
        """Log their number and the first place."""
        if self._pixels:
            logger.warning(
                f"{self._pixels:,} pixels of negative inverse variance are taken as bad, the first in {self._place}"
            )


def read_image_rows(hdu: fitsio.hdu.ImageHDU, rows: Int) -> Array:
    """Return rows of a two-dimensional image, in any order and with repetitions, shape (row, pixel).

    Runs of neighbouring rows are read at once; an image is not read whole for a few stars.
    """
    order = np.argsort(rows, kind="stable")
    runs = np.split(order, np.flatnonzero(np.diff(rows[order]) > _GAP) + 1)
    values: Array = np.empty((len(rows), hdu.get_dims()[1]), hdu[0:1, 0:1].dtype.newbyteorder("="))
    for run in runs:
        first, last = int(rows[run[0]]), int(rows[run[-1]])
        values[run] = hdu[first : last + 1, :][rows[run] - first]
    return values


def require_shape(place: str, found: Sequence[int], expected: tuple[int, int]) -> None:
    """Raise a `FileError`, `wrong-shape`, unless an image has the rows of its table and the pixels of its grid."""
    if tuple(found) != expected:
        raise FileError(
            "wrong-shape",
            place,
            expected=f"{expected[0]} rows of {expected[1]} pixels",
            found=" x ".join(map(str, found)),
            remedy="Write the image again with one row per row of the table and one pixel per wavelength.",
        )


def read_wavelength(path: Path, file: fitsio.FITS, name: str) -> Float64:
    """Return the wavelengths of an image HDU, increasing, in Angstrom by its BUNIT or CUNIT1, shape (pixel,).

    Raises
    ------
    FileError
        `bad-wavelength` unless they are one row of finite, positive, strictly increasing numbers in Angstrom or in a
        unit that can be converted.
    """
    hdu, place = require(path, file, name), f"{path}[{name}]"
    header = hdu.read_header()
    shape = tuple(map(int, hdu.get_dims())) if hdu.get_exttype() == "IMAGE_HDU" else None
    if shape is None or len(shape) != 1:
        raise FileError(
            "bad-wavelength",
            place,
            expected="one wavelength grid for all spectra, an image of shape (pixel,)",
            found="a table" if shape is None else f"an array of shape {shape}",
            remedy="Bring all spectra to one grid, and write its wavelengths once.",
        )
    try:
        unit = header.get("BUNIT") or header.get("CUNIT1")
        wavelength = wavelengths(native(np.asarray(hdu.read(), dtype=np.float64)), unit, place)
    except InputError as error:
        raise FileError(
            "bad-wavelength", error.place, expected=error.expected, found=error.found, remedy=error.remedy
        ) from error
    if len(wavelength) < 2:
        found = f"{len(wavelength)} of them"
    elif not np.all(np.isfinite(wavelength) & (wavelength > 0)):
        found = f"{np.sum(~(wavelength > 0) | ~np.isfinite(wavelength))} that are not finite or not positive"
    elif np.all(np.diff(wavelength) < 0):
        found = "decreasing ones"
    elif not np.all(np.diff(wavelength) > 0):
        found = f"unsorted or repeated ones from pixel {int(np.argmax(np.diff(wavelength) <= 0)) + 1} on"
    else:
        return wavelength
    raise FileError(
        "bad-wavelength",
        place,
        expected="finite, positive, strictly increasing wavelengths in Angstrom",
        found=found,
        remedy="Sort the pixels of every image HDU by wavelength, and drop repeated ones.",
    )
