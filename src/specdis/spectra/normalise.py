"""Rest frame, common grid and continuum: spectra become flux over continuum (section 2.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from specdis.arrays import Array, Bool, Float, Float64, Int64, ranges
from specdis.spectra.grid import ROUNDING, SPECTRA_TILE, PixelGrid, among_native, native_position
from specdis.spectra.pixels import Pixels
from specdis.spectra.settings import SpectraSettings
from specdis.spectra.sky import inside_windows
from specdis.surveys.base import Arm, Spectra
from specdis.surveys.wavelengths import SPEED_OF_LIGHT

_LEAST_WINDOW = 0.5
"""Least share of good pixels in the window of a running mean, between the first and the last good pixel."""
_MOST_LEAN = 0.03
"""Largest distance of their mean position from that of the whole window, in units of its width: 7.5 A."""


def normalise(
    spectra: Spectra, grid: PixelGrid, settings: SpectraSettings, sky: Sequence[tuple[float, float]] = ()
) -> Pixels:
    """Bring spectra to the rest frame, divide them by their running mean and join their arms (section 2.4).

    Flux and sigma are interpolated linearly at wavelength (1 - v/c) and divided by a centred unweighted running mean
    per arm. The mean is that of the good pixels in the window, which are fewer at the ends of an arm. In the survey's
    own recipe (`missing = "zeros"`) bad pixels count as zeros, and beyond the ends the last pixel is repeated.

    Parameters
    ----------
    spectra
        Native pixels of a block of stars.
    grid
        The target grid.
    settings
        Width of the running mean, and treatment of missing pixels.
    sky
        Observed-frame windows in vacuum Angstrom, masked in every star at any velocity.

    Returns
    -------
    Pixels
        A grid pixel is bad if a bad native pixel contributes to it, if it lies outside the data, if the continuum is
        not positive or, with estimated missing pixels, one-sided, and if the velocity is not finite.
    """
    shape = (len(spectra), len(grid.wavelength))
    with_errors = all(arm.ivar is not None for arm in spectra.arms.values())
    flux, bad = np.zeros(shape, np.float32), np.ones(shape, bool)
    sigma = np.zeros(shape, np.float32) if with_errors else None
    for part in grid.arms:
        if part.name not in spectra.arms:
            continue
        arm, columns = spectra.arms[part.name], slice(part.start, part.stop)
        rest = grid.widened(part, _half(spectra, settings))
        for rows in ranges(len(spectra), SPECTRA_TILE):
            tile = _normalise_arm(arm, spectra, rows, rest, settings, sky)
            flux[rows, columns], bad[rows, columns] = tile.flux, tile.bad
            if sigma is not None and tile.sigma is not None:
                sigma[rows, columns] = tile.sigma
    return Pixels(flux, sigma, bad, spectra.native_velocity)


def _half(spectra: Spectra, settings: SpectraSettings) -> int:
    """Return half the width of the running mean in pixels; 0 for spectra that the survey has normalised."""
    return 0 if spectra.normalised else settings.continuum_half


def _normalise_arm(
    arm: Arm,
    spectra: Spectra,
    rows: slice,
    rest: Float64,
    settings: SpectraSettings,
    sky: Sequence[tuple[float, float]],
) -> Pixels:
    """Do the work of `normalise` for one arm of a few stars: `rest` is its part of the grid, widened by `_half`."""
    half = _half(spectra, settings)
    velocity = spectra.velocity[rows]
    places = _Places.of(arm.wavelength, rest / (1 - np.nan_to_num(velocity)[:, None] / SPEED_OF_LIGHT))
    native_bad = arm.bad[rows] | inside_windows(arm.wavelength, spectra, rows, sky)
    flux = places.interpolate(np.where(arm.bad[rows], 0, arm.flux[rows]))
    inside = slice(half, len(rest) - half)
    bad = places.outside | places.touch(native_bad)
    sigma: Float | None = None
    if arm.ivar is not None:
        native_sigma = np.where(native_bad, 0, 1 / np.sqrt(np.where(native_bad, 1, arm.ivar[rows])))
        sigma = places.within(inside).interpolate(native_sigma)
    continuum: Float = np.ones((1, 1))
    if not spectra.normalised and settings.missing == "zeros":
        continuum, _ = running_mean(flux, half)
    elif not spectra.normalised:
        continuum, count = running_mean(flux, half, ~bad)
        if sigma is not None and settings.noise_max is not None:
            bad[:, inside] |= sigma > settings.noise_max * continuum
            continuum, count = running_mean(flux, half, ~bad)
        bad[:, inside] |= one_sided(~bad, count, half)
    bad = bad[:, inside] | ~(continuum > 0) | ~np.isfinite(velocity)[:, None]
    inverse = np.where(bad, 0, 1 / np.where(bad, 1, continuum))
    if sigma is not None:
        sigma = (sigma * inverse).astype(np.float32)
    return Pixels((flux[:, inside] * inverse).astype(np.float32), sigma, bad, velocity)


class _Places(NamedTuple):
    """Positions of pixels among the native pixels of their stars, constant beyond the ends; shape (star, pixel).

    Parameters
    ----------
    below
        Index of the native pixel below in the flattened array (star, native pixel).
    weight
        Weight of the native pixel above it.
    outside
        Pixels beyond the data.
    """

    below: Int64
    weight: Float64
    outside: Bool

    @classmethod
    def of(cls, native: Float64, wavelength: Float64) -> _Places:
        """Find wavelengths, shape (star, pixel), among native ones, shape (native pixel,)."""
        exact = native_position(native, wavelength)
        last = len(native) - 1
        position = np.clip(exact, 0, last)
        below = np.minimum(position.astype(np.int64), last - 1)
        weight = position - below
        below += len(native) * np.arange(len(below))[:, None]
        return cls(below, weight, ~among_native(len(native), exact))

    def within(self, pixels: slice) -> _Places:
        """Select some of the pixels."""
        return _Places._make(column[:, pixels] for column in self)

    def interpolate(self, values: Array) -> Float64:
        """Interpolate (star, native pixel) linearly."""
        flat = values.ravel()
        lower, upper = (flat.take(place, mode="clip").astype(np.float64) for place in (self.below, self.below + 1))
        upper -= lower
        upper *= self.weight
        upper += lower
        return np.asarray(upper)

    def touch(self, native: Bool) -> Bool:
        """Tell which pixels have a contribution from a marked native pixel."""
        flat = native.ravel()
        lower, upper = (flat.take(place, mode="clip") for place in (self.below, self.below + 1))
        return np.asarray((lower & (self.weight < 1 - ROUNDING)) | (upper & (self.weight > ROUNDING)))


def running_mean(values: Float, half: int, weight: Bool | None = None) -> tuple[Float64, Float64]:
    """Return the running mean over 2 half + 1 pixels, and the number of pixels that count in it.

    Parameters
    ----------
    values
        Shape (star, pixel + 2 half).
    half
        Pixels on either side.
    weight
        Pixels that count, shape of `values`; all by default. A window without any gives 0.

    Returns
    -------
    mean, count : ndarray, float64, shape (star, pixel)
    """
    if weight is None:
        sums = _window_sums(values, half)
        return sums / (2 * half + 1), np.full(sums.shape, 2.0 * half + 1)
    count = _window_sums(weight, half)
    return _window_sums(np.where(weight, values, 0), half) / np.maximum(count, 1), count


def one_sided(good: Bool, count: Float64, half: int) -> Bool:
    """Tell where the good pixels in the window of a running mean are one-sided or too few, (star, pixel).

    Beside a long gap, the mean over one side differs from that of the whole window. Before the first good pixel and
    after the last there is no gap, but the end of the data, where the window is equal for all stars.

    Parameters
    ----------
    good
        Good pixels, shape (star, pixel + 2 half).
    count
        Number of good pixels in each window, shape (star, pixel).
    """
    length = good.shape[1]
    place = np.arange(length, dtype=np.float64)
    first, last = good.argmax(1)[:, None], length - 1 - good[:, ::-1].argmax(1)[:, None]
    start = np.maximum(np.arange(length - 2 * half), first)
    stop = np.minimum(np.arange(2 * half, length), last)
    lean = _window_sums(np.where(good, place, 0), half) / np.maximum(count, 1) - (start + stop) / 2
    few = count < _LEAST_WINDOW * (stop - start + 1)
    return np.asarray(few | (np.abs(lean) > _MOST_LEAN * (2 * half + 1)))


def _window_sums(values: Array, half: int) -> Float64:
    sums = np.zeros((values.shape[0], values.shape[1] + 1))
    np.cumsum(values, axis=1, dtype=np.float64, out=sums[:, 1:])
    width = 2 * half + 1
    return np.asarray(sums[:, width:] - sums[:, :-width])
