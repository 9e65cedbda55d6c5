"""Data of the stars for a prediction, in addition to their spectra."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from specdis import rng
from specdis.arrays import Array, Bool, Float64
from specdis.colours import Bands
from specdis.network.mixture import ParallaxInErrors
from specdis.photometry import label_of_magnitude, parallax
from specdis.surveys.base import IDENTIFIER

TARGET_COLUMNS = ("G_0", "A_G_ERR", "PARALLAX_CORRECTED", "PARALLAX_ERROR_USED", "SN", "FEH", "FOLD")
"""Columns of a sample for `Targets.of`, in addition to the identifier."""


class Targets(NamedTuple):
    """Data of stars for a prediction, in addition to their spectra, one row per star.

    Parameters
    ----------
    magnitude, magnitude_error
        Extinction-corrected G magnitude and its error, that of A_G, shape (star,); NaN gives absolute magnitudes alone.
    parallax, error
        Corrected parallax and its error in mas, shape (star,); NaN if missing: no probability of a binary then.
    snr
        S/N of the spectrum, on which the recalibration depends, shape (star,); NaN where unknown.
    feh
        [Fe/H], likewise, dex, shape (star,).
    fold
        Fold that holds each star out, shape (star,); -1 for the mean over all folds.
    keys
        Random keys from `star_keys`, shape (star, 2).
    bands
        Dereddened magnitudes for the colours that the networks see.
    """

    magnitude: Float64
    magnitude_error: Float64
    parallax: Float64
    error: Float64
    snr: Float64
    feh: Float64
    fold: Array
    keys: Array
    bands: Bands

    @classmethod
    def of(cls, stars: Mapping[str, Array], seed: int, bands: Bands) -> Targets:
        """Make the targets from the columns of a sample, and the bands from `Colours.of`."""
        *measured, fold = (stars[name] for name in TARGET_COLUMNS)
        magnitude, error_of_it, parallax, error, snr, feh = (np.asarray(values, np.float64) for values in measured)
        keys = star_keys(seed, *(stars[name] for name in IDENTIFIER))
        return cls(magnitude, error_of_it, parallax, error, snr, feh, fold, keys, bands)

    def take(self, rows: Array | slice) -> Targets:
        """Select some of the stars."""
        return Targets._make(column.take(rows) if isinstance(column, Bands) else column[rows] for column in self)

    def brighter(self, excess: Float64) -> Targets:
        """Return the stars made brighter by this number of mag, at the same distance."""
        return self._replace(magnitude=self.magnitude - excess)

    def with_parallax_of(self, magnitude: Float64) -> Targets:
        """Return the stars with the parallaxes of other absolute magnitudes, shape (star,)."""
        return self._replace(parallax=parallax(label_of_magnitude(magnitude), self.magnitude))

    @property
    def has_parallax(self) -> Bool:
        """Stars with a magnitude, a parallax and its error, shape (star,)."""
        return np.isfinite(self.magnitude) & np.isfinite(self.parallax) & (self.error > 0)

    def parallaxes(self) -> ParallaxInErrors:
        """Return the parallaxes in units of their errors; 0 +- 1 mas at magnitude 20 if missing."""
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
