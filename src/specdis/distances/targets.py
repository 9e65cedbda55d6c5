"""What prediction needs of the stars beside their spectra."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from specdis import rng
from specdis.arrays import Array, Bool, Float64
from specdis.network.mixture import ParallaxInErrors
from specdis.photometry import label_of_magnitude, parallax
from specdis.surveys.base import IDENTIFIER

TARGET_COLUMNS = ("G_0", "PARALLAX_CORRECTED", "PARALLAX_ERROR_USED", "SN", "FOLD")
"""Columns of a sample that `Targets.of` reads besides the identifier."""


class Targets(NamedTuple):
    """What predicting needs of stars besides their spectra, one row per star.

    Parameters
    ----------
    magnitude
        Extinction-corrected G magnitude, shape (star,); NaN gives absolute magnitudes alone.
    parallax, error
        Corrected parallax and its error in mas, shape (star,); NaN where there is none: no probability of a binary.
    snr
        S/N of the spectrum, on which the recalibration depends, shape (star,); NaN where it is not known.
    fold
        Fold that holds each star out, shape (star,); -1 for the mean over all folds.
    keys
        Random keys from `star_keys`, shape (star, 2).
    """

    magnitude: Float64
    parallax: Float64
    error: Float64
    snr: Float64
    fold: Array
    keys: Array

    @classmethod
    def of(cls, stars: Mapping[str, Array], seed: int) -> Targets:
        """Return the targets among the columns of a sample."""
        magnitude, parallax, error, snr, fold = (stars[name] for name in TARGET_COLUMNS)
        keys = star_keys(seed, *(stars[name] for name in IDENTIFIER))
        return cls(magnitude, parallax, error, np.asarray(snr, np.float64), fold, keys)

    def take(self, rows: Array | slice) -> Targets:
        """Return some of the stars."""
        return Targets._make(column[rows] for column in self)

    def brighter(self, excess: Float64) -> Targets:
        """Return the stars as they would be so many mag brighter at the same distance."""
        return self._replace(magnitude=self.magnitude - excess)

    def with_parallax_of(self, magnitude: Float64) -> Targets:
        """Return the stars with the parallaxes that other absolute magnitudes, of shape (star,), would give them."""
        return self._replace(parallax=parallax(label_of_magnitude(magnitude), self.magnitude))

    @property
    def has_parallax(self) -> Bool:
        """Which stars have a magnitude and a parallax with an error."""
        return np.isfinite(self.magnitude) & np.isfinite(self.parallax) & (self.error > 0)

    def parallaxes(self) -> ParallaxInErrors:
        """Return the parallaxes in units of their errors; 0 +- 1 mas at magnitude 20 where there is none."""
        there = self.has_parallax
        filled = (
            np.where(there, self.magnitude, 20),
            np.where(there, self.parallax, 0),
            np.where(there, self.error, 1),
        )
        return ParallaxInErrors.of(*filled)


def star_keys(seed: int, *identifier: Array, purpose: str = "noise") -> Array:
    """Return one random key per star, uint32, shape (star, 2), for its Monte-Carlo draws or another purpose."""
    hashed = rng.hash64(rng.stream(seed, purpose), *identifier)
    return np.ascontiguousarray(hashed).view("<u4").reshape(-1, 2)
