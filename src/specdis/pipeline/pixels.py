"""The store of normalised pixels: flux, sigma and bad pixels of every star, in chunks that one block of work writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from pydantic import PositiveFloat, ValidationError
from zarr.codecs import BytesCodec, Crc32cCodec, ZstdCodec
from zarr.core.metadata import ArrayV3Metadata

from specdis.arrays import Array, Bool, Float64, Int64, ranges
from specdis.errors import ProductError
from specdis.model import transform_of
from specdis.settings import Settings
from specdis.spectra import (
    ArmPixels,
    ErrorStack,
    Normalised,
    PixelGrid,
    SpectraSettings,
    Transform,
    noise_sums,
)
from specdis.storage import FORMAT_VERSION, Provenance

BLOCK = 512
"""Stars in a chunk, and in a block of work of every stage."""

zarr.config.set({"array.write_empty_chunks": True})  # a chunk that is not there is then one that got lost

_WEIGHED = 32
"""Blocks of stars that show the typical noise of the pixels."""
_LARGEST = float(np.finfo(np.float16).max)
_CODECS = (BytesCodec, ZstdCodec, Crc32cCodec)
"""What a store is read with, in this order: others may run code of their own, or unpack to anything."""
_CHUNK_MAX = 1 << 28
"""Bytes of a chunk at most; ours have some MB."""


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
    """Put a small array into a store as one checksummed chunk, over one of that name."""
    group.create_array(name, data=values, chunks=(max(1, len(values)),), compressors=_compressors(), overwrite=True)


def _compressors() -> tuple[ZstdCodec, Crc32cCodec]:
    return ZstdCodec(level=1), Crc32cCodec()


def array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """Return an array of a store.

    Raises
    ------
    ProductError
        When it is not there, or is none that this software writes.
    """
    try:
        found = group.get(name)
    except Exception as error:
        raise _damaged(_folder(group) / name, str(error)) from error
    if not isinstance(found, zarr.Array):
        raise ProductError(f"{group.store_path} lacks the array {name}: remove the store and run again.")
    if not isinstance(found.metadata, ArrayV3Metadata) or tuple(map(type, found.metadata.codecs)) != _CODECS:
        raise _damaged(_folder(found), "it has other codecs than bytes, zstd and crc32c")
    if not 0 < _chunk_size(found) <= _CHUNK_MAX:
        raise _damaged(_folder(found), f"chunks of {_chunk_size(found):,} bytes, expected {_CHUNK_MAX:,} at most")
    return found


def _chunk_size(found: zarr.Array[Any]) -> int:
    """Return how many bytes a chunk has when it is unpacked; Python's integers do not overflow."""
    return int(np.prod(found.chunks, dtype=object)) * found.dtype.itemsize


def _folder(found: zarr.Group | zarr.Array[Any]) -> Path:
    return Path(str(found.store_path).removeprefix("file://"))


def read_rows(group: zarr.Group, name: str, rows: slice) -> Array:
    """Read rows of an array of a store.

    Raises
    ------
    ProductError
        When the array or a chunk of it is missing, or a chunk does not fit its checksum.
    """
    found = array(group, name)
    place, size = _folder(found), found.chunks[0]
    for number in range(rows.start // size, -(-rows.stop // size)):
        chunk = place.joinpath("c", str(number), *["0"] * (found.ndim - 1))
        if not chunk.is_file():
            raise _damaged(place, f"chunk {number} is missing")
        with chunk.open("rb") as packed:
            unpacked = _unpacked_size(packed.read(_HEADER))
        if unpacked != _chunk_size(found):
            raise _damaged(place, f"chunk {number} unpacks to another size than that of a chunk")
    try:
        return np.asarray(found[rows])
    except Exception as error:
        raise _damaged(place, f"rows {rows.start} to {rows.stop}: {error}") from error


_ZSTD, _HEADER = b"\x28\xb5\x2f\xfd", 18


def _unpacked_size(start: bytes) -> int | None:
    """Return the size of the content that a header of zstd gives (RFC 8878, 3.1.1.1), None where there is none."""
    if len(start) < _HEADER // 2 or not start.startswith(_ZSTD):
        return None
    descriptor = start[4]
    single, size = descriptor >> 5 & 1, descriptor >> 6
    length = (single, 2, 4, 8)[size]
    first = 5 + (1 - single) + (0, 1, 2, 4)[descriptor & 3]
    if not length:
        return None
    return int.from_bytes(start[first : first + length], "little") + (256 if length == 2 else 0)


def _damaged(place: Path, how: str) -> ProductError:
    return ProductError(
        f"{place} is damaged ({how}). Look after the disk, remove {place.parent} and run again: what needs it is made "
        "anew."
    )


def values(group: zarr.Group, name: str) -> Array:
    """Return an array of a store as a whole; errors as in `read_rows`."""
    return read_rows(group, name, slice(0, array(group, name).shape[0]))


def open_group(path: Path, kind: str, *, writable: bool = False) -> zarr.Group:
    """Open a store: a finished one for reading, or one that is being made for writing.

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
    if (found.kind, found.format_version) != (kind, FORMAT_VERSION):
        raise ProductError(
            f"{path} is a {found.kind} of format {found.format_version}, expected a {kind} of format {FORMAT_VERSION}: "
            "run again with this version."
        )
    return group


def damage(path: Path, kind: str) -> Iterator[ProductError]:
    """Read every chunk of a store; yield what is wrong with each array."""
    try:
        group = open_group(path, kind)
    except ProductError as error:
        yield error
        return
    # Not by the library, which stops at the first whose metadata are damaged.
    for name in sorted(folder.name for folder in path.iterdir() if folder.is_dir()):
        try:
            for rows in ranges(array(group, name).shape[0], BLOCK):
                read_rows(group, name, rows)
        except ProductError as error:
            yield error


class _Attributes(Settings):
    """What a store of pixels says of them beside its arrays."""

    provenance: dict[str, Any]
    arms: tuple[tuple[str, int, int], ...]
    step: PositiveFloat
    sky_windows: tuple[tuple[float, float], ...]


class PixelStore:
    """Stored pixels of a run.

    Flux and sigma over continuum are in half precision: its steps, 0.05 % of the continuum, are a tenth of the noise
    at an S/N of 200 a pixel.

    Parameters
    ----------
    group
        The open store.
    """

    def __init__(self, group: zarr.Group) -> None:
        self._group = group

    @classmethod
    def create(
        cls,
        path: Path,
        stars: int,
        grid: PixelGrid,
        sky: Sequence[tuple[float, float]],
        stack: ErrorStack,
        provenance: Provenance,
    ) -> PixelStore:
        """Make an empty store; every star is without a spectrum until it is written."""
        group = zarr.create_group(path, overwrite=True)
        pixels = len(grid.wavelength)
        create_array(group, "flux", (stars, pixels), np.float16)
        create_array(group, "sigma", (stars, pixels), np.float16)
        create_array(group, "bad", (stars, pixels), np.bool_)
        create_array(group, "velocity", (stars,), np.float64)
        keep_array(group, "wavelength", grid.wavelength)
        for name, column in zip(("stack_wavelength", "stack_error"), stack.spectrum(), strict=True):
            keep_array(group, name, column)
        for arm in grid.arms:
            keep_array(group, f"native_{arm.name}", arm.native)
        group.attrs.update(
            {
                "provenance": provenance.to_dict(),
                "arms": [[arm.name, arm.start, arm.stop] for arm in grid.arms],
                "step": grid.step,
                "sky_windows": [list(window) for window in sky],
            }
        )
        return cls(group)

    @classmethod
    def open(cls, path: Path, *, writable: bool = False) -> PixelStore:
        """Open a store: a finished one, or one that an interrupted run began."""
        return cls(open_group(path, "pixels", writable=writable))

    def write(self, rows: slice, pixels: Normalised, velocity: Float64) -> None:
        """Write one block of stars, `rows` being one chunk."""
        self._array("flux")[rows] = np.clip(pixels.flux, -_LARGEST, _LARGEST).astype(np.float16)
        sigma = np.zeros_like(pixels.flux) if pixels.sigma is None else pixels.sigma
        self._array("sigma")[rows] = np.clip(sigma, 0, _LARGEST).astype(np.float16)
        self._array("bad")[rows] = pixels.bad
        self._array("velocity")[rows] = velocity

    def keep(self, selected: Bool, bad_fraction_max: float) -> Int64:
        """Find the pixels that are bad in too many of the selected stars that have a spectrum, and keep the others."""
        count, stars = np.zeros(len(self.grid.wavelength), np.int64), 0
        for rows in self.blocks():
            bad = read_rows(self._group, "bad", rows)[selected[rows]]
            bad = bad[~bad.all(1)]
            count, stars = count + bad.sum(0), stars + len(bad)
        kept = np.flatnonzero(count <= bad_fraction_max * stars) if stars else np.arange(0)
        keep_array(self._group, "kept", kept)
        return kept

    def weigh(self, selected: Bool, settings: SpectraSettings) -> None:
        """Find the typical noise of the pixels kept, over selected stars in blocks spread over the store.

        The noise of a star is that of its unit vector, so that each counts as it does in the components. Without
        errors, and where the settings do not ask for it, all pixels stay alike.
        """
        if settings.weights == "none":
            return
        sums, (total, count) = noise_sums(self.transform(settings)), np.zeros((2, len(self._values("kept"))))
        every = list(self.blocks())
        for number in np.unique(np.linspace(0, len(every) - 1, min(len(every), _WEIGHED)).astype(int)):
            rows = every[number]
            variance, known = sums(*self.read(rows), selected[rows])
            total, count = total + np.asarray(variance), count + np.asarray(known)
        if (count > 0).all():
            weight = np.sqrt(count / total)
            keep_array(self._group, "weight", (weight / weight.mean()).astype(np.float32))

    def __len__(self) -> int:
        return int(self._array("velocity").shape[0])

    def blocks(self) -> Iterator[slice]:
        """Yield the slices of rows that the chunks hold."""
        return ranges(len(self), BLOCK)

    def read_flux(self, rows: slice) -> tuple[Array, Bool]:
        """Read flux and bad pixels of a block of stars."""
        flux, bad = (read_rows(self._group, name, rows) for name in ("flux", "bad"))
        return flux, bad

    def read(self, rows: slice) -> tuple[Array, Array, Bool]:
        """Read flux, sigma and bad pixels of a block of stars; sigma is 0 where there is none."""
        flux, bad = self.read_flux(rows)
        return flux, read_rows(self._group, "sigma", rows), bad

    def read_stars(self, rows: Int64) -> tuple[Array, Bool]:
        """Read flux and bad pixels of some stars, in increasing order, as they are stored: a block at a time."""
        flux = np.empty((len(rows), len(self.grid.wavelength)), np.float16)
        bad = np.empty(flux.shape, np.bool_)
        for block in self.blocks():
            mine = slice(*np.searchsorted(rows, (block.start, block.stop)))
            if mine.start < mine.stop:
                flux[mine], bad[mine] = (values[rows[mine] - block.start] for values in self.read_flux(block))
        return flux, bad

    @property
    def velocity(self) -> Float64:
        """Velocity between the native pixels and the rest frame, km/s, shape (star,)."""
        return self._values("velocity")

    @property
    def grid(self) -> PixelGrid:
        """The grid."""
        said = self._attributes
        arms = [ArmPixels(name, self._values(f"native_{name}"), *span) for name, *span in said.arms]
        return PixelGrid(self._values("wavelength"), tuple(arms), said.step)

    @property
    def sky(self) -> tuple[tuple[float, float], ...]:
        """Observed-frame windows that were masked."""
        return self._attributes.sky_windows

    @property
    def _attributes(self) -> _Attributes:
        try:
            return _Attributes.model_validate(self._group.attrs.asdict())
        except ValidationError as error:
            raise _damaged(
                _folder(self._group) / "zarr.json", f"{error.errors()[0]['loc']}: {error.errors()[0]['msg']}"
            ) from error

    @property
    def error_stack(self) -> tuple[Float64, Float64]:
        """Observed wavelength and error over the star's own median error, by which the sky windows were found."""
        return self._values("stack_wavelength"), self._values("stack_error")

    def transform(self, settings: SpectraSettings) -> Transform:
        """Return what is done to the stored pixels."""
        weight = self._values("weight") if (_folder(self._group) / "weight").exists() else None
        return transform_of(settings, self._values("kept"), weight)

    def _array(self, name: str) -> zarr.Array[Any]:
        return array(self._group, name)

    def _values(self, name: str) -> Array:
        return values(self._group, name)
