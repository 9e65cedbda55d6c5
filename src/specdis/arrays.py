"""Array types, and the few array operations that every layer needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]
Bool = NDArray[np.bool_]
Float = NDArray[np.floating[Any]]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int = NDArray[np.integer[Any]]
Int64 = NDArray[np.int64]
Columns = Mapping[str, Array]
"""A table in memory: arrays of one length by name."""


def native(values: Array) -> Array:
    """Return the array in the machine's byte order; FITS arrays come big-endian."""
    return values if values.dtype.isnative else values.astype(values.dtype.newbyteorder("="))


def ranges(total: int, size: int) -> Iterator[slice]:
    """Yield the slices that cut `total` rows into blocks of `size`, the last one shorter."""
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))


def aligned_empty(shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Return an uninitialised array, aligned to 64 bytes, so that JAX on a CPU uses it without a copy."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    first = -memory.ctypes.data % _ALIGNMENT
    return memory[first : first + size].view(dtype).reshape(shape)


_ALIGNMENT = 64
