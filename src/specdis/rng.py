"""Named rng streams: the random numbers of a star depend on the star, never on its neighbours.

Every number is a hash of (run seed, purpose, identifier), so a star's side of a split and its noise are the same
whatever the block size, the order of the rows or the number of workers.
"""

from __future__ import annotations

import hashlib

import numpy as np

from specdis.arrays import Array, Float64

_GAMMA = np.uint64(0x9E3779B97F4A7C15)


def _mix(state: Array) -> Array:
    """Finalise splitmix64 (Steele et al. 2014): a bijection of uint64 that scatters every bit."""
    with np.errstate(over="ignore"):
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(state ^ (state >> np.uint64(31)))


def stream(seed: int, purpose: str) -> int:
    """Return the 64-bit key of one purpose within one run."""
    digest = hashlib.blake2b(f"{seed}/{purpose}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def hash64(key: int, *identifiers: Array) -> Array:
    """Hash identifiers to uint64.

    Parameters
    ----------
    key
        A key from `stream`.
    *identifiers
        Integer or byte-string arrays of one length; several form a compound identifier.

    Returns
    -------
    ndarray of uint64, shape (star,)
    """
    length = len(identifiers[0])
    state = np.full(length, np.uint64(key), dtype=np.uint64)
    for identifier in identifiers:
        with np.errstate(over="ignore"):
            state = _mix(state + _GAMMA + _word(identifier))
    return state


def _word(identifier: Array) -> Array:
    """Return an identifier column as uint64; strings count by content, not by the width of the column."""
    if identifier.dtype.kind != "S":
        return identifier.astype(np.int64).view(np.uint64)
    width = -(-identifier.dtype.itemsize // 8) * 8
    padded = np.ascontiguousarray(identifier.astype(f"S{width}"))
    word, *others = padded.view("<u8").reshape(len(identifier), -1).T
    for other in others:
        with np.errstate(over="ignore"):
            word = np.where(other > 0, _mix(word + _GAMMA) + other, word)
    return word


def uniform(key: int, *identifiers: Array) -> Float64:
    """Return one number in [0, 1) per identifier, float64, shape (star,)."""
    return (hash64(key, *identifiers) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def generator(seed: int, purpose: str, number: int = 0) -> np.random.Generator:
    """Return numpy's generator for a purpose without stars: a bootstrap, a random subset."""
    return np.random.Generator(np.random.Philox(key=[stream(seed, purpose), number]))
