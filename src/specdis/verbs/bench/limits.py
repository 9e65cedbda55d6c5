"""Limits of this machine: matrix products, bytes through memory, bytes from disk."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from specdis import machine
from specdis.jaxed import jax, jnp
from specdis.workers import Workers

_SIDE = 4096  # of the matrices
_COPIED = 1 << 26  # bytes: more than any cache holds
_ROUNDS = 5
_FILE = 1 << 28


class Work(NamedTuple):
    """Least cost of one star.

    Parameters
    ----------
    flops
        Additions and multiplications in single precision.
    memory
        Bytes in and out, each once.
    disk
        Bytes read from files.
    """

    flops: float
    memory: float = 0.0
    disk: float = 0.0


class MachineLimits(NamedTuple):
    """Rates of this machine with all its cores."""

    flops: float
    memory: float
    disk: float

    def rate(self, work: Work) -> tuple[float, str]:
        """Return the possible stars per second, and the name of the limit."""
        shares = {name: getattr(work, name) / getattr(self, name) for name in self._fields}
        most = max(shares, key=lambda name: shares[name])
        return 1 / shares[most], {"flops": "products", "memory": "memory", "disk": "disk"}[most]


def measure_machine(folder: Path, workers: Workers) -> MachineLimits:
    """Measure the machine; the folder is on the disk to be measured."""
    return MachineLimits(_products(), _bandwidth(workers), _disk(folder))


def _products() -> float:
    """Return the rate of products of large matrices, flops per second."""
    one = jnp.ones((_SIDE, _SIDE), jnp.float32)
    product = jax.jit(jnp.matmul)
    product(one, one).block_until_ready()
    start = time.perf_counter()
    for _ in range(_ROUNDS):
        product(one, one).block_until_ready()
    return float(2.0 * _SIDE**3 * _ROUNDS / (time.perf_counter() - start))


def _copy(_: int) -> float:
    """Copy an array back and forth, and return the bytes moved per second."""
    one, other = np.ones(_COPIED, np.uint8), np.ones(_COPIED, np.uint8)
    start = time.perf_counter()
    for _ in range(4 * _ROUNDS):
        np.copyto(other, one)
    return 2.0 * _COPIED * 4 * _ROUNDS / (time.perf_counter() - start)


def _bandwidth(workers: Workers) -> float:
    """Return the bytes per second that all processes together read and write."""
    n = machine.cores()
    return float(sum(rate for _, rate in workers.each(_copy, range(n))))


def _disk(folder: Path) -> float:
    """Return the bytes per second read from a file that is dropped from the system's cache."""
    path = folder / "read"
    path.write_bytes(os.urandom(1 << 20) * (_FILE >> 20))
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        start = time.perf_counter()
        while file.read(1 << 22):
            pass
        seconds = time.perf_counter() - start
    path.unlink()
    return _FILE / seconds
