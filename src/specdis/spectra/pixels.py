"""The record that every step from normalisation to the draws passes on."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from specdis.arrays import Array, Bool


class Pixels(NamedTuple):
    """Spectra on the grid; numpy or JAX arrays, one row per star. JAX sees through it.

    Parameters
    ----------
    flux
        Flux over continuum, shape (star, pixel); 0 where bad.
    sigma
        Its standard deviation, shape (star, pixel); 0 where bad or without an error, None where no pixel has one.
    bad
        Bad pixels, shape (star, pixel).
    velocity
        Velocity between the native pixels and the rest frame, km/s, shape (star,).
    """

    flux: Any
    sigma: Any
    bad: Any
    velocity: Any

    def take(self, rows: Array | slice) -> Pixels:
        """Return some of the stars."""
        sigma = None if self.sigma is None else self.sigma[rows]
        return Pixels(self.flux[rows], sigma, self.bad[rows], self.velocity[rows])

    @property
    def has_errors(self) -> Bool:
        """Which stars have a good pixel with an error, shape (star,)."""
        return np.zeros(len(self.bad), np.bool_) if self.sigma is None else ((self.sigma > 0) & ~self.bad).any(1)
