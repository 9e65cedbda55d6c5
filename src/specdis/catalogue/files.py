"""The catalogue on disk: specdis.fits, specdis.parquet and SHA256SUMS, written together, read from either."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from astropy.table import Column as TableColumn
from astropy.table import MaskedColumn, Table

from specdis.arrays import Array, Bool
from specdis.catalogue import fits, parquet
from specdis.catalogue.columns import COLUMNS, EXTENSION, Field
from specdis.catalogue.header import Cards, Header, cards
from specdis.errors import InputError
from specdis.flags import Flag
from specdis.storage import Provenance, atomic, file_digest, require_file
from specdis.stores.paths import RunPaths

FITS_NAME: Final = "specdis.fits"
PARQUET_NAME: Final = "specdis.parquet"
SUMS_NAME: Final = "SHA256SUMS"

_BLOCK = 1 << 16  # rows read at a time


class Format(NamedTuple):
    """A file format of the catalogue: its readers."""

    read_header: Callable[[Path], Header]
    read_blocks: Callable[[Path, Sequence[str], int], Iterator[dict[str, Array]]]


FITS = Format(fits.read_fits_header, fits.read_fits_blocks)
PARQUET = Format(parquet.read_parquet_header, parquet.read_parquet_blocks)


def write_catalogue(directory: Path, columns: Mapping[str, Array], provenance: Provenance, header: Cards) -> None:
    """Write the catalogue as a folder: FITS, VOParquet and their SHA-256 sums; equal input, equal bytes.

    The folder appears complete, or stays unchanged.

    Parameters
    ----------
    directory
        The folder, created or replaced.
    columns
        The result of `build`.
    provenance
        Origin of the catalogue.
    header
        Cards besides those of the provenance, EBVSCALE among them: keyword to value and comment.

    Raises
    ------
    InputError
        When the folder cannot be written.
    """
    every = cards(provenance, header)
    with atomic(directory) as temporary:
        temporary.mkdir()
        fits.write_fits(temporary / FITS_NAME, columns, every)
        parquet.write_parquet(temporary / PARQUET_NAME, columns, every)
        sums = [f"{file_digest(temporary / name)}  {name}\n" for name in (FITS_NAME, PARQUET_NAME)]
        (temporary / SUMS_NAME).write_text("".join(sums), encoding="ascii")


def write_file(path: Path, columns: Mapping[str, Array], provenance: Provenance, header: Cards) -> None:
    """Write a catalogue as one file, FITS or VOParquet.

    Parameters
    ----------
    path
        The file: its name ends in .fits or .parquet.
    columns, provenance, header
        As for `write_catalogue`.

    Raises
    ------
    InputError
        When the name has another ending, or the folder cannot be written.
    """
    require_ending(path)
    with atomic(path) as temporary:
        _WRITERS[path.suffix](temporary, columns, cards(provenance, header))


_WRITERS = {".fits": fits.write_fits, ".parquet": parquet.write_parquet}


def require_ending(path: Path) -> None:
    """Raise an `InputError` unless a catalogue can be written under this name."""
    if path.suffix not in _WRITERS:
        raise InputError(path, expected="a name in .fits or .parquet", found=path.name, remedy="Choose another name.")


def read_catalogue(path: str | Path, columns: Sequence[str] | None = None, without: Flag | int = 0) -> Table:
    """Read a catalogue as an astropy table with units, descriptions and masks.

    Parameters
    ----------
    path
        A run, its catalogue folder, or one of the two files.
    columns
        Names of the columns; all by default.
    without
        Bits of FLAGS: rows that have any of them are left out, as in
        ``without=Flag.OUTSIDE_CUTS | Flag.DRAW_NOT_POSITIVE``.

    Returns
    -------
    Table
        One row per spectrum, missing values masked. Each column carries its UCD in `meta`, the table the header.

    Raises
    ------
    InputError
        When there is no catalogue, it cannot be read, or it lacks a column.
    """
    file = locate(Path(path))[-1]  # Parquet if available: it reads single columns
    header = read_header(file)
    names = list(header.fields) if columns is None else list(columns)
    needed = list(dict.fromkeys([*names, "FLAGS"] if without else names))
    for name in needed:
        if name not in header.fields:
            raise _unknown_column(file, name, header)
    blocks = [
        {name: block[name][_kept(block, without)] for name in names} for block in read_blocks(file, needed, _BLOCK)
    ]
    made = [_table_column(header.fields[name], [block.pop(name) for block in blocks]) for name in names]
    return Table(made, names=names, meta=dict(header.cards), copy=False)


def as_table(columns: Mapping[str, Array], header: Cards) -> Table:
    """Convert a catalogue in memory to a table as from `read_catalogue`.

    Parameters
    ----------
    columns
        The result of `build`.
    header
        Cards for the table's `meta`: keyword to value and comment.
    """
    made = [_table_column(COLUMNS[name], [values]) for name, values in columns.items()]
    return Table(made, names=list(columns), meta={name: value for name, (value, _) in header.items()}, copy=False)


def read_columns(path: str | Path, columns: Sequence[str] | None = None) -> dict[str, Array]:
    """Read a catalogue as plain arrays, each of shape (star,), missing floats NaN; arguments as of `read_catalogue`."""
    table = read_catalogue(path, columns)
    return {name: _plain(table[name]) for name in table.colnames}


def _plain(column: Array) -> Array:
    filled = np.ma.filled(column, np.nan) if column.dtype.kind == "f" else np.ma.getdata(column)
    return np.asarray(filled)


def _kept(block: Mapping[str, Array], without: int) -> Bool | slice:
    return (block["FLAGS"] & without) == 0 if without else slice(None)


def _table_column(field: Field, parts: Sequence[Array]) -> TableColumn:
    values = np.concatenate(parts) if parts else np.empty(0, dtype=field.dtype)
    if values.dtype == np.float16:  # to store, not to compute with
        values = values.astype(np.float32)
    described = {"unit": field.unit or None, "description": field.description, "meta": {"ucd": field.ucd}}
    missing = _null_rows(field, values)
    if missing.any():
        return MaskedColumn(values, mask=missing, **described)
    return TableColumn(values, **described)


def _null_rows(field: Field, values: Array) -> Bool:
    """Return True where a value is missing: NaN, or the integer that stands for it."""
    if values.dtype.kind == "f":
        return np.isnan(values)
    return np.zeros(len(values), dtype=bool) if field.null is None else np.asarray(values == field.null)


def locate(path: Path) -> list[Path]:
    """Return the files of a catalogue, FITS before Parquet: of a run, of its catalogue folder, or the file itself.

    Raises
    ------
    InputError
        When there is none.
    """
    if path.is_file():
        return [path]
    for folder in (path, RunPaths(path).catalogue):
        found = [folder / name for name in (FITS_NAME, PARQUET_NAME) if (folder / name).is_file()]
        if found:
            return found
    raise InputError(
        path,
        expected=f"a run, a catalogue folder, {FITS_NAME} or {PARQUET_NAME}",
        found="a folder without a catalogue" if path.is_dir() else "nothing",
        remedy="Give the folder of a run whose stage catalogue is done, or the catalogue itself.",
    )


def read_header(file: Path) -> Header:
    """Read the header of a catalogue file.

    Raises
    ------
    InputError
        When the file is damaged, or is not a catalogue.
    """
    with reading_catalogue(file):
        try:
            return format_of(file).read_header(file)
        except KeyError as error:
            raise InputError(
                file,
                expected=f"a catalogue of specdis: FITS with the table {EXTENSION}, or VOParquet",
                found="another file",
                remedy=f"Give {FITS_NAME} or {PARQUET_NAME} of a run, or what `specdis predict` wrote.",
            ) from error


def read_blocks(file: Path, names: Sequence[str], rows: int) -> Iterator[dict[str, Array]]:
    """Yield columns of a catalogue file, `rows` stars at a time or fewer; missing integers are as in `COLUMNS`.

    Raises
    ------
    InputError
        When the file is damaged.
    """
    with reading_catalogue(file):
        yield from format_of(file).read_blocks(file, names, rows)


@contextmanager
def reading_catalogue(file: Path) -> Iterator[None]:
    """Convert any error inside the block, which reads a catalogue file, to an `InputError`."""
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        raise _unreadable(file, error.strerror or str(error)) from error
    except Exception as error:  # astropy, fitsio, pyarrow and XML raise their own errors for a damaged file
        raise _unreadable(file, str(error.args[0] if error.args else type(error).__name__)) from error


def format_of(file: Path) -> Format:
    """Return the format of a file by its first bytes.

    Raises
    ------
    InputError
        When it is neither.
    """
    try:
        require_file(file)
        with file.open("rb") as stream:
            start = stream.read(6)
    except OSError as error:
        raise _unreadable(file, error.strerror or str(error)) from error
    if start == b"SIMPLE":
        return FITS
    if start.startswith(b"PAR1"):
        return PARQUET
    raise InputError(
        file, expected="FITS or Parquet", found=f"a file that starts with {start!r}", remedy="Give a catalogue."
    )


def _unreadable(file: Path, reason: str) -> InputError:
    return InputError(
        file,
        expected="a catalogue of specdis",
        found=f"a damaged or unreadable file ({' '.join(reason.split())})",
        remedy="Check its permissions; if it was copied, copy it again; else run the stage catalogue again.",
    )


def _unknown_column(file: Path, name: str, header: Header) -> InputError:
    near = get_close_matches(name.upper(), header.fields, n=3, cutoff=0.5)
    return InputError(
        file,
        expected=f"column {name}",
        found=f"{len(header.fields)} columns without it",
        remedy=f"Did you mean {' or '.join(near)}?" if near else "The names are those of specdis.catalogue.COLUMNS.",
    )
