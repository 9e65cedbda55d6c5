"""Random numbers of the mock: each depends on seed, purpose and star only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from specdis.arrays import Array, Float32, Float64
from specdis.rng import hash64, stream, uniform

_HALF_STEP = 2.0**-54


@dataclass(frozen=True)
class Draws:
    """Random numbers for the stars with the given identifiers.

    Parameters
    ----------
    seed
        Seed of the universe.
    identifiers
        Integer columns that together name a star or a spectrum, each of shape (star,).
    """

    seed: int
    identifiers: tuple[Array, ...]

    def uniform(self, purpose: str) -> Float64:
        """Return one number in (0, 1) per star; equal purposes give equal numbers."""
        return uniform(stream(self.seed, f"mock/{purpose}"), *self.identifiers) + _HALF_STEP

    def normal(self, purpose: str) -> Float64:
        """Return one number per star from the normal distribution of unit width."""
        return np.asarray(ndtri(self.uniform(purpose)))

    def pixel_normal(self, purpose: str, pixels: int) -> Float32:
        """Return unit normal numbers for the pixels of each star, shape (star, pixel)."""
        key = stream(self.seed, f"mock/{purpose}")
        counter = hash64(key, *self.identifiers)[:, None] + np.arange(pixels, dtype=np.uint64)
        number = uniform(key, counter.view(np.int64).ravel()) + _HALF_STEP
        return np.asarray(ndtri(number), np.float32).reshape(counter.shape)
