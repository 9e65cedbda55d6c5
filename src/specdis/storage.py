"""Names on disk, atomic writing, hashes and provenance.

Everything is written to a temporary name and renamed, so that a killed run leaves no half-written product. No date
and no path goes into a product: equal runs write equal bytes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from specdis import __version__
from specdis.arrays import Array
from specdis.errors import InputError, ProductError, SpecdisError

FORMAT_VERSION = 8

UNPACKED_RATIO, UNPACKED_FREE = 50, 1 << 30
"""A file may take this multiple of its size in memory, and this number of bytes whatever its size: real data are not
compressed further, and a small file that fills the memory is an attack or an accident."""

_UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR, errno.EISDIR)


@dataclass(frozen=True)
class Provenance:
    """Origin of an artefact.

    Parameters
    ----------
    kind
        Kind of artefact: `sample`, `pixels`, `basis`, `model`, `catalogue`, ...
    key
        Hash of the configuration, the inputs and the software that made it: equal keys, equal products.
    seed
        Random seed of the run.
    """

    kind: str
    key: str
    seed: int
    format_version: int = FORMAT_VERSION
    software: str = f"specdis {__version__}"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)


def require_kind(path: Path, found: Provenance, kind: str) -> None:
    """Raise a `ProductError` if an artefact is of another kind or of another format version."""
    if (found.kind, found.format_version) != (kind, FORMAT_VERSION):
        raise ProductError(
            f"{path} is a {found.kind} of format {found.format_version} ({found.software}), expected a {kind} of "
            f"format {FORMAT_VERSION}. Run again with this version. If you downloaded it, install the version that "
            "made it."
        )


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` for a new file or folder; rename it after success.

    Raises
    ------
    InputError
        When the folder cannot be written, or something else is in its place.
    """
    temporary = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove(temporary)
        yield temporary
        _replace(temporary, path)
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        raise InputError(
            path,
            expected="a name in a writable folder",
            found=str(error.strerror),
            remedy="Choose another folder (run.directory or -o), change its permissions, or move the file away.",
        ) from error


def _replace(new: Path, path: Path) -> None:
    """Rename safely: the old folder exists until the new one does, and the name survives a power failure."""
    old = path.with_name(f".{path.name}.old")
    remove(old)
    if path.is_dir() and not path.is_symlink():  # a rename cannot replace a folder that is not empty
        os.rename(path, old)
    try:
        _sync(new)
        os.replace(new, path)
    except OSError:
        if old.exists():
            os.rename(old, path)
        raise
    _sync(path.parent)
    remove(old)


def _sync(path: Path) -> None:
    """Flush the content of a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # file systems without this for folders
            raise
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Delete a file or a folder if it exists; of a symbolic link, only the link."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def require_plain(directory: Path) -> None:
    """Refuse a folder that holds anything but files and folders, at any depth.

    A folder from another user may contain symbolic links, through which files would be written elsewhere, and named
    pipes, which would block.

    Raises
    ------
    InputError
        Names the first other object.
    """
    waiting = [str(directory)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif not entry.is_file(follow_symlinks=False):
                    raise InputError(
                        entry.path,
                        expected="a file or a folder of the run",
                        found=_kind_of(entry.stat(follow_symlinks=False).st_mode),
                        remedy="It is neither read nor written. Replace it by the file itself, or delete it.",
                    )


def require_file(path: Path) -> None:
    """Refuse anything but a regular file before it is opened: a named pipe would block, a device never end.

    Raises
    ------
    InputError
        When it is a folder, a pipe or a device.
    OSError
        When it does not exist, or access is denied.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise InputError(
            path, expected="a file", found=_kind_of(mode), remedy="Correct the path, or put the file there."
        )


def _kind_of(mode: int) -> str:
    """Describe an object that is not a file."""
    kinds = {stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def require_bounded(path: Path, unpacked: int) -> None:
    """Refuse a file whose content takes far more memory than its size, before any is allocated.

    Parameters
    ----------
    path
        The file.
    unpacked
        Size of its content in memory, bytes.

    Raises
    ------
    InputError
        When it exceeds both `UNPACKED_RATIO` times the size of the file and `UNPACKED_FREE`.
    """
    size = path.stat().st_size
    if unpacked > max(UNPACKED_FREE, UNPACKED_RATIO * size):
        raise InputError(
            path,
            expected=f"at most {UNPACKED_FREE >> 30} GiB in memory, or {UNPACKED_RATIO} times the size of the file",
            found=f"{unpacked / 2**30:.1f} GiB or more in a file of {size / 2**20:.1f} MiB",
            remedy="Copy or download it again; if it is correct, unpack it or leave out columns.",
        )


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically; NaN becomes null, because JSON has none."""
    write_text(path, json.dumps(as_json(content), indent=2, allow_nan=False) + "\n")


def as_json(content: Any) -> Any:
    """Return content as JSON would: plain containers and numbers, None for numbers that are not finite."""
    if isinstance(content, Mapping):
        return {str(key): as_json(value) for key, value in content.items()}
    if isinstance(content, np.ndarray | list | tuple):
        return [as_json(value) for value in content]
    if isinstance(content, np.generic):
        content = content.item()
    if isinstance(content, float) and not np.isfinite(content):
        return None
    return content


def read_json(path: Path) -> Any:
    """Read a JSON product."""
    with _reading(path):
        content = json.loads(path.read_text(encoding="utf-8"))
        json.dumps(content, ensure_ascii=False).encode()  # JSON can contain lone surrogates, which text cannot
        return content


def write_arrays(path: Path, provenance: Provenance, arrays: Mapping[str, Array]) -> None:
    """Write named arrays as npz, without pickle; the provenance is a separate array."""
    with atomic(path) as temporary, temporary.open("wb") as file:
        header = np.frombuffer(json.dumps(provenance.to_dict()).encode(), dtype=np.uint8)
        np.savez(file, allow_pickle=False, provenance=header, **arrays)


def read_arrays(path: Path, kind: str) -> tuple[Provenance, dict[str, Array]]:
    """Read a file of `write_arrays`.

    Raises
    ------
    ProductError
        When the file is missing, damaged, of another kind or of another format version.
    """
    with _reading(path):
        with zipfile.ZipFile(path) as archive:
            require_bounded(path, sum(member.file_size for member in archive.infolist()))
        with path.open("rb") as content, np.load(content, allow_pickle=False) as file:
            # JAX accepts only native byte order.
            arrays = {name: _of_this_machine(file[name]) for name in file.files}
        provenance = Provenance(**json.loads(bytes(arrays.pop("provenance"))))
    require_kind(path, provenance, kind)
    return provenance, arrays


def _of_this_machine(values: Array) -> Array:
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def write_table(path: Path, provenance: Provenance, columns: Mapping[str, Array]) -> None:
    """Write columns of one length as Parquet, provenance in its metadata."""
    table = pa.table({name: _to_arrow(values) for name, values in columns.items()})
    table = table.replace_schema_metadata({"specdis": json.dumps(provenance.to_dict())})
    with atomic(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def _to_arrow(values: Array) -> pa.Array:
    if values.dtype.kind in "SU":  # few distinct values: as separate objects each would take 60 bytes
        words, place = np.unique(values, return_inverse=True)
        words = np.char.decode(words, "utf-8") if words.dtype.kind == "S" else words
        return pa.array(words, type=pa.string()).take(pa.array(place))
    return pa.array(values)


def column_names(path: Path) -> list[str]:
    """Return the names of a Parquet table's columns.

    Raises
    ------
    ProductError
        When the file is missing or damaged.
    """
    with _reading(path):
        return list(pq.read_schema(path).names)


def read_table(path: Path, columns: Sequence[str] | None = None) -> dict[str, Array]:
    """Read columns of a Parquet product; strings are bytes, as when written.

    Raises
    ------
    ProductError
        When the file is missing or damaged, or lacks a column.
    """
    present = column_names(path)
    if lacking := [name for name in columns or () if name not in present]:
        raise ProductError(f"{path} lacks column {', '.join(lacking)}: run the stage that writes it again.")
    with _reading(path):
        require_bounded(path, table_size(path, present if columns is None else columns))
        table = pq.read_table(path, columns=None if columns is None else list(columns), page_checksum_verification=True)
    return {name: _from_arrow(table[name]) for name in table.column_names}


def table_size(path: Path, columns: Sequence[str]) -> int:
    """Return the least memory of columns of a Parquet file, in bytes, without compression."""
    return int(pq.read_metadata(path).num_rows) * len(columns) * _ENTRY


_ENTRY = 8
"""Bytes of an entry: a number, or the offset of a string."""


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Convert errors for missing and damaged products to a `ProductError`."""
    try:
        require_file(path)
        yield
    except FileNotFoundError:
        raise ProductError(f"{path} is missing: run the stage that writes it.") from None
    except SpecdisError:
        raise
    except Exception as error:  # JSON, zip, numpy and Arrow raise their own errors for a damaged file
        raise ProductError(f"{path} cannot be read ({error}): remove it and run again.") from error


def _from_arrow(column: pa.ChunkedArray) -> Array:
    if not pa.types.is_string(column.type):
        return np.asarray(column.to_numpy(zero_copy_only=False))
    words = column.combine_chunks().dictionary_encode()
    return np.asarray(
        np.char.encode(words.dictionary.to_numpy(zero_copy_only=False).astype("U"), "utf-8")[words.indices]
    )


def digest(content: Any) -> str:
    """Return a short hash of plain values, equal on all machines."""
    text = json.dumps(as_json(content), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_digest(path: Path) -> str:
    """Return the SHA-256 of a product: of a file, or of the names and files in a folder.

    Chunks of array stores, most of the output of a run, are left out: each has a checksum.
    """
    if path.is_file():
        return file_digest(path)
    names = sorted(file.relative_to(path) for file in path.rglob("*") if file.is_file())
    return digest([(str(name), file_digest(path / name)) for name in names if "c" not in name.parts])
