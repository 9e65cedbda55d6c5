"""The catalogue as FITS: units, UCDs and descriptions in the header, checksums without dates, rows in blocks."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning

from specdis.arrays import Array, native, ranges
from specdis.catalogue.columns import DRAWS, EXTENSION, MIXTURE, Column, Field, columns_among
from specdis.catalogue.header import Cards, Header
from specdis.errors import InputError
from specdis.fitsfiles import opened
from specdis.surveys.base import IDENTIFIER

_BLOCK = 1 << 13  # rows; a multiple of 4, so that a block is a whole number of the checksum's 32-bit words
_UNIT = 2880  # bytes of a FITS block
_ALL_ONES = 0xFFFFFFFF  # the sum of a sound HDU
_CODES = {"i8": "K", "i4": "J", "i2": "I", "f8": "D", "f4": "E", "?": "L"}
_TYPES = {code: dtype for dtype, code in _CODES.items()}
_HALF = "f2"  # which FITS lacks


def write_fits(path: Path, columns: Mapping[str, Array], cards: Cards) -> None:
    """Write the columns as the extensions of a FITS file; equal columns and cards give equal bytes.

    Parameters
    ----------
    path
        The file.
    columns
        `COLUMNS`, shape (star,), and any of `OPTIONAL`, shape (star, number).
    cards
        Keyword to value and comment.
    """
    with path.open("w+b") as file:
        file.write(_sealed(fits.PrimaryHDU().header, 0))
        every = columns_among(columns)
        for extension in dict.fromkeys(column.extension for column in every.values()):
            table = {name: columns[name] for name in columns_of(extension, every)}
            header = _table_header(extension, table, cards)
            start = file.tell()
            file.write(_sealed(header, 0))
            datasum = _write_rows(file, extension, table)
            file.seek(start)
            file.write(_sealed(header, datasum))
            file.seek(0, os.SEEK_END)


def columns_of(extension: str, columns: Mapping[str, Column]) -> dict[str, Column]:
    """Return the columns of a table of the file; every table has the identifier of its rows."""
    return {name: column for name, column in columns.items() if column.extension == extension or name in IDENTIFIER}


def _table_header(extension: str, table: Mapping[str, Array], cards: Cards) -> fits.Header:
    header, described = fits.Header(), columns_of(extension, columns_among(table))
    header["XTENSION"] = ("BINTABLE", "binary table")
    for keyword, value in {
        "BITPIX": 8,
        "NAXIS": 2,
        "NAXIS1": _record(extension, table).itemsize,
        "NAXIS2": len(table["TARGETID"]),
    }.items():
        header[keyword] = value
    for keyword, value in {"PCOUNT": 0, "GCOUNT": 1, "TFIELDS": len(table)}.items():
        header[keyword] = value
    header["EXTNAME"] = extension
    for number, column in enumerate(described.values(), start=1):
        for keyword, field in _column_cards(column, table[column.name].shape[1:]).items():
            header[f"{keyword}{number}"] = field
    for keyword, card in cards.items():
        header[keyword] = card
    return header


def _column_cards(column: Column, shape: tuple[int, ...]) -> dict[str, str | int]:
    form = "".join(map(str, shape)) + _tform("f4" if column.dtype == _HALF else column.dtype)
    cards: dict[str, str | int] = {"TTYPE": column.name, "TFORM": form}
    if column.unit:
        cards["TUNIT"] = column.unit
    if column.null is not None:
        cards["TNULL"] = column.null
    return cards | {"TUCD": column.ucd, "TCOMM": column.description}


def _tform(dtype: str) -> str:
    return f"{dtype[1:]}A" if dtype[0] == "S" else _CODES[dtype]


def _record(extension: str, table: Mapping[str, Array]) -> np.dtype[np.void]:
    """Return the type of a row as FITS stores it: big-endian, logicals as the letters T and F."""
    other = {"?": "S1", _HALF: ">f4"}
    return np.dtype(
        [
            (name, other.get(column.dtype, np.dtype(column.dtype).newbyteorder(">")), table[name].shape[1:])
            for name, column in columns_of(extension, columns_among(table)).items()
        ]
    )


def _write_rows(file: BinaryIO, extension: str, columns: Mapping[str, Array]) -> int:
    """Write the rows, padded to a whole FITS block, and return their checksum."""
    datasum, written, record = 0, 0, _record(extension, columns)
    for block in ranges(len(columns["TARGETID"]), _BLOCK):
        rows = np.empty(block.stop - block.start, dtype=record)
        for name, column in columns_of(extension, columns_among(columns)).items():
            values = columns[name][block]
            rows[name] = np.where(values, b"T", b"F") if column.dtype == "?" else values
        data = rows.tobytes()
        datasum = _checksum(data, datasum)
        written += file.write(data)
    file.write(b"\0" * (-written % _UNIT))
    return datasum


def _sealed(header: fits.Header, datasum: int) -> bytes:
    """Return the header's bytes with DATASUM and CHECKSUM; their length does not depend on the sums.

    astropy and cfitsio write the date of the sum into the comment; equal runs must write equal bytes.
    """
    header["DATASUM"] = (str(datasum), "data unit checksum")
    header["CHECKSUM"] = ("0" * 16, "HDU checksum")
    header["CHECKSUM"] = _encoded(_ALL_ONES - _checksum(header.tostring().encode("ascii"), datasum))
    return bytes(header.tostring().encode("ascii"))


def _checksum(data: bytes, total: int = 0) -> int:
    """Add 32-bit words to a total in ones' complement (FITS standard 4.0, section 4.4.2.7)."""
    words = np.frombuffer(data + b"\0" * (-len(data) % 4), dtype=">u4")
    total += int(words.sum(dtype=np.uint64))
    while total > _ALL_ONES:
        total = (total & _ALL_ONES) + (total >> 32)
    return total


def _encoded(value: int) -> str:
    """Encode a 32-bit number as 16 letters and digits whose checksum is that number (FITS standard, appendix J).

    Each byte becomes four characters with that sum; a pair that contains punctuation is moved apart, at equal sum.
    """
    characters = np.empty((4, 4), dtype=np.uint8)
    for place, byte in enumerate(value.to_bytes(4, "big")):
        quarter, rest = divmod(byte, 4)
        four = [ord("0") + quarter + rest, *[ord("0") + quarter] * 3]
        for pair in (0, 2):
            while not (chr(four[pair]) + chr(four[pair + 1])).isalnum():
                four[pair : pair + 2] = four[pair] + 1, four[pair + 1] - 1
        characters[:, place] = four
    text = characters.tobytes().decode("ascii")
    return text[-1] + text[:-1]


def read_fits_header(path: Path) -> Header:
    """Read the header and the description of the columns."""
    others: dict[str, Field] = {}
    with path.open("rb") as file:  # astropy would read some names as URLs
        header = fits.getheader(file, EXTENSION)
        for extension in (MIXTURE, DRAWS):
            with suppress(KeyError):  # a catalogue of an earlier version has no Gaussians, and few have draws
                others |= _fields(fits.getheader(file, extension))
    fields = _fields(header)
    last = list(header).index(f"TCOMM{len(fields)}") if fields else -1
    cards = {keyword: header[keyword] for keyword in list(header)[last + 1 :] if keyword not in ("DATASUM", "CHECKSUM")}
    return Header(header["NAXIS2"], fields | others, cards)


def _fields(header: fits.Header) -> dict[str, Field]:
    """Return the columns of a table."""
    fields = {}
    for number in range(1, header["TFIELDS"] + 1):
        name, tform = header[f"TTYPE{number}"], header[f"TFORM{number}"]
        fields[name] = Field(
            name,
            _type_of(tform),
            header.get(f"TUNIT{number}", ""),
            header.get(f"TUCD{number}", ""),
            header.get(f"TCOMM{number}", ""),
            header.get(f"TNULL{number}"),
        )
    return fields


def _type_of(tform: str) -> str:
    """Return the type of a column; several numbers of single precision in a row stand for half precision."""
    count, code = tform[:-1], tform[-1:]
    if code == "A":
        return f"S{count}"
    if code == "E" and count.isdigit() and int(count) > 1:
        return _HALF
    return _TYPES.get(tform.removeprefix("1"), tform)


def read_fits_blocks(path: Path, names: Sequence[str], rows: int) -> Iterator[dict[str, Array]]:
    """Yield columns, `rows` stars at a time; missing integers are as stored.

    Raises
    ------
    InputError
        When the rows of two tables belong to different stars.
    """
    known = columns_among(names)
    others = {extension: [name for name in names if _extension(known, name) == extension] for extension in _OTHERS}
    others = {extension: wanted for extension, wanted in others.items() if wanted}
    own = [name for name in names if _extension(known, name) == EXTENSION]
    with opened(path) as file:
        for block in ranges(file[EXTENSION].get_nrows(), rows):
            if not others:
                yield _read(file[EXTENSION], own, block)
                continue
            found = _read(file[EXTENSION], dict.fromkeys([*own, *IDENTIFIER]), block)
            for extension, wanted in others.items():
                more = _read(file[extension], [*IDENTIFIER, *wanted], block)
                _require_equal(f"{path}, {extension}", found, more, block.start)
                found |= {name: more[name].astype(_HALF) if more[name].ndim > 1 else more[name] for name in wanted}
            yield {name: found[name] for name in names}


_OTHERS = (MIXTURE, DRAWS)


def _extension(columns: Mapping[str, Column], name: str) -> str:
    """Return the table that a column is in; one that is not known is in the first."""
    return columns[name].extension if name in columns else EXTENSION


def _read(table: Any, names: Iterable[str], rows: slice) -> dict[str, Array]:
    names = list(names)
    stars = table[names][rows.start : rows.stop]
    return {name: _plain(stars[name]) for name in names}


def _require_equal(place: str, stars: Mapping[str, Array], others: Mapping[str, Array], first: int) -> None:
    """Raise an `InputError` unless both tables have the same stars in the same rows."""
    for name in IDENTIFIER:
        if not np.array_equal(stars[name], others[name]):
            same_length = len(stars[name]) == len(others[name])
            row = first + int(np.argmax(stars[name] != others[name])) if same_length else len(others[name])
            raise InputError(
                f"{place}, {name}",
                expected=f"the rows of {EXTENSION}, star by star",
                found=f"another value in row {row}" if same_length else f"{row} rows from row {first} on",
                remedy="Copy the file again, or run the stage catalogue again.",
            )


def _plain(values: Array) -> Array:
    """Return numbers in native byte order, and strings, which fitsio gives as UCS-4, as ASCII."""
    if values.dtype.kind == "U":
        characters = np.ascontiguousarray(values).view(np.uint32).astype(np.uint8)
        return characters.view(f"S{values.dtype.itemsize // 4}")
    return native(values)


def fits_damage(path: Path) -> list[str]:
    """Return the checksums that do not agree, HDU by HDU."""
    found = []
    with warnings.catch_warnings(), path.open("rb") as file, path.open("rb") as other, fits.open(other) as hdus:
        warnings.simplefilter("ignore", AstropyUserWarning)  # a truncated file: its sums disagree
        for number, hdu in enumerate(hdus):
            where = hdu.fileinfo()
            data = _checksum_of(file, where["datLoc"], where["datLoc"] + where["datSpan"], 0)
            whole = _checksum_of(file, where["hdrLoc"], where["datLoc"], data)
            if hdu.header.get("DATASUM") != str(data):
                found.append(f"DATASUM of HDU {number} to agree")
            if "CHECKSUM" not in hdu.header or whole != _ALL_ONES:
                found.append(f"CHECKSUM of HDU {number} to agree")
    return found


def _checksum_of(file: BinaryIO, start: int, stop: int, total: int) -> int:
    """Add the words of a part of a file to a total."""
    file.seek(start)
    for block in ranges(stop - start, _UNIT << 10):
        total = _checksum(file.read(block.stop - block.start), total)
    return total
