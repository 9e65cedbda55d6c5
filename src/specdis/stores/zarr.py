"""Zarr stores of one row per star: checksummed chunks of `BLOCK` stars, each written by one block of work."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec, ZstdCodec
from zarr.core.metadata import ArrayV3Metadata

from specdis.arrays import Array, ranges
from specdis.errors import ProductError
from specdis.storage import Provenance, require_kind

BLOCK = 512
"""Stars in a chunk, and in a block of work of every stage."""

_OPENING = threading.Lock()
_CODECS = (BytesCodec, ZstdCodec, Crc32cCodec)
"""Accepted codecs, in this order: others could run code, or unpack without limit."""
_CHUNK_MAX = 1 << 28
"""Largest size of a chunk, bytes; ours have a few MB."""


def create_array(group: zarr.Group, name: str, shape: tuple[int, ...], dtype: Any) -> zarr.Array[Any]:
    """Make an array of one row per star in checksummed chunks of `BLOCK` stars; equal content gives equal bytes."""
    return group.create_array(
        name,
        shape=shape,
        chunks=(BLOCK, *shape[1:]),
        dtype=dtype,
        compressors=_compressors(),
        overwrite=True,
    )


def keep_array(group: zarr.Group, name: str, values: Array) -> None:
    """Write a small array as one checksummed chunk, in place of one of that name."""
    group.create_array(
        name,
        data=values,
        chunks=(max(1, len(values)),),
        compressors=_compressors(),
        config={"write_empty_chunks": True},  # as in `write_rows`
        overwrite=True,
    )


def _compressors() -> tuple[ZstdCodec, Crc32cCodec]:
    return ZstdCodec(level=1), Crc32cCodec()


def array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """Return an array of a store.

    Raises
    ------
    ProductError
        When it is missing, or was not written by this software.
    """
    try:
        found = group.get(name)
    except Exception as error:
        raise damaged_store(folder_of(group) / name, str(error)) from error
    if not isinstance(found, zarr.Array):
        raise ProductError(f"{group.store_path} lacks the array {name}: remove the store and run again.")
    if not isinstance(found.metadata, ArrayV3Metadata) or tuple(map(type, found.metadata.codecs)) != _CODECS:
        raise damaged_store(folder_of(found), "it has other codecs than bytes, zstd and crc32c")
    if not 0 < _chunk_size(found) <= _CHUNK_MAX:
        raise damaged_store(
            folder_of(found), f"chunks of {_chunk_size(found):,} bytes, expected {_CHUNK_MAX:,} at most"
        )
    return found


def _chunk_size(found: zarr.Array[Any]) -> int:
    """Return the unpacked size of a chunk in bytes, as a Python integer, which does not overflow."""
    return int(np.prod(found.chunks, dtype=object)) * found.dtype.itemsize


def folder_of(found: zarr.Group | zarr.Array[Any]) -> Path:
    """Return the folder of a store or of an array of it."""
    return Path(str(found.store_path).removeprefix("file://"))


def write_rows(group: zarr.Group, name: str, rows: slice, values: Array) -> None:
    """Write rows of an array of a store, chunks of zeros too: a missing chunk is then a lost one.

    Raises
    ------
    ProductError
        When the array is missing or damaged.
    """
    # An opened array takes this option from the library's settings, which threads share; in zarr 3.1.0 nothing else
    # sets it.
    with _OPENING, zarr.config.set({"array.write_empty_chunks": True}):
        found = array(group, name)
    found[rows] = values


def read_store_rows(group: zarr.Group, name: str, rows: slice) -> Array:
    """Read rows of an array of a store.

    Raises
    ------
    ProductError
        When the array or one of its chunks is missing, or a checksum disagrees.
    """
    found = array(group, name)
    place, size = folder_of(found), found.chunks[0]
    for number in range(rows.start // size, -(-rows.stop // size)):
        chunk = place.joinpath("c", str(number), *["0"] * (found.ndim - 1))
        if not chunk.is_file():
            raise damaged_store(place, f"chunk {number} is missing")
        with chunk.open("rb") as packed:
            unpacked = _unpacked_size(packed.read(_HEADER))
        if unpacked != _chunk_size(found):
            raise damaged_store(place, f"chunk {number} unpacks to another size than that of a chunk")
    try:
        return np.asarray(found[rows])
    except Exception as error:
        raise damaged_store(place, f"rows {rows.start} to {rows.stop}: {error}") from error


_ZSTD, _HEADER = b"\x28\xb5\x2f\xfd", 18


def _unpacked_size(start: bytes) -> int | None:
    """Return the content size in a zstd header (RFC 8878, 3.1.1.1), or None."""
    if len(start) < _HEADER // 2 or not start.startswith(_ZSTD):
        return None
    descriptor = start[4]
    single, size = descriptor >> 5 & 1, descriptor >> 6
    length = (single, 2, 4, 8)[size]
    first = 5 + (1 - single) + (0, 1, 2, 4)[descriptor & 3]
    if not length:
        return None
    return int.from_bytes(start[first : first + length], "little") + (256 if length == 2 else 0)


def damaged_store(place: Path, how: str) -> ProductError:
    """Return the error for a damaged store."""
    return ProductError(
        f"{place} is damaged ({how}). Check the disk, delete {place.parent} and run again: dependent stages are "
        "recomputed."
    )


def values(group: zarr.Group, name: str) -> Array:
    """Read a complete array of a store; errors as in `read_store_rows`."""
    return read_store_rows(group, name, slice(0, array(group, name).shape[0]))


def open_group(path: Path, kind: str, *, writable: bool = False) -> zarr.Group:
    """Open a finished store for reading, or an unfinished one for writing.

    Raises
    ------
    ProductError
        When it is missing, damaged, of another kind or of another format version.
    """
    try:
        group = zarr.open_group(path, mode="r+" if writable else "r", zarr_format=3)
        found = Provenance(**group.attrs["provenance"])  # type: ignore[arg-type]
    except Exception as error:
        raise ProductError(f"{path} cannot be read ({error}): remove it and run again.") from error
    require_kind(path, found, kind)
    return group


def store_damage(path: Path, kind: str) -> Iterator[ProductError]:
    """Read every chunk of a store; yield the damage of each array."""
    try:
        group = open_group(path, kind)
    except ProductError as error:
        yield error
        return
    # The library would stop at the first array with damaged metadata.
    for name in sorted(folder.name for folder in path.iterdir() if folder.is_dir()):
        try:
            for rows in ranges(array(group, name).shape[0], BLOCK):
                read_store_rows(group, name, rows)
        except ProductError as error:
            yield error
