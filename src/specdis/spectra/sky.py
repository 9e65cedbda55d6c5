"""Sky lines: windows in the observed frame, found from stacked errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from scipy.ndimage import percentile_filter

from specdis.arrays import Bool, Float64, ranges
from specdis.spectra.grid import ROUNDING, SPECTRA_TILE, native_position
from specdis.surveys.base import Spectra
from specdis.surveys.wavelengths import SPEED_OF_LIGHT


def _observed(native: Float64, spectra: Spectra, rows: slice) -> Float64:
    """Return the observed-frame wavelengths of native pixels, shape (star or 1, native pixel)."""
    applied = np.nan_to_num(spectra.observed_velocity[rows] - spectra.velocity[rows])
    if not applied.any():
        return native[None, :]
    return native[None, :] / (1 - applied[:, None] / SPEED_OF_LIGHT)


def inside_windows(native: Float64, spectra: Spectra, rows: slice, windows: Sequence[tuple[float, float]]) -> Bool:
    """Tell which native pixels lie in observed-frame windows, inclusive, shape (star or 1, native pixel).

    Windows end at native pixels, whose wavelengths may have been rounded since, as by a change of units.
    """
    low, high = np.asarray(windows, np.float64).reshape(-1, 2).T
    rounding = ROUNDING * float(np.median(np.diff(native)))
    low, high = low - rounding, high + rounding
    observed = _observed(native, spectra, rows)
    begun, over = np.searchsorted(np.sort(low), observed, "right"), np.searchsorted(np.sort(high), observed, "left")
    return np.asarray(begun > over)


class ErrorStack:
    """The mean logarithm of the errors of many stars by observed wavelength (Fig. 1), in which sky lines are visible.

    Each star's errors are divided by their own median, so that bright and faint stars have equal weight.
    """

    def __init__(self) -> None:
        self._sums: dict[str, tuple[Float64, Float64, Float64]] = {}

    def add(self, spectra: Spectra) -> None:
        """Add a block of stars."""
        for name, arm in spectra.arms.items():
            if arm.ivar is None:
                continue
            bins, total, count = self._sums.get(name, (arm.wavelength, *np.zeros((2, len(arm.wavelength)))))
            rows = np.flatnonzero(np.isfinite(spectra.observed_velocity) & (~arm.bad).any(1))
            for block in ranges(len(rows), SPECTRA_TILE):
                chosen = rows[block]
                shift = spectra.observed_velocity[chosen] - spectra.velocity[chosen]
                position = native_position(arm.wavelength, bins * (1 - shift[:, None] / SPEED_OF_LIGHT))
                nearest = np.clip(np.rint(position), 0, len(arm.wavelength) - 1).astype(np.int64)
                good = ~arm.bad[chosen]
                with np.errstate(divide="ignore"):
                    logarithm = np.where(good, -0.5 * np.log10(arm.ivar[chosen]), np.nan)
                logarithm -= np.nanmedian(logarithm, axis=1, keepdims=True)
                values = np.take_along_axis(logarithm, nearest, 1)
                total, count = total + np.nansum(values, 0), count + np.isfinite(values).sum(0)
            self._sums[name] = (bins, total, count)

    def merge(self, other: ErrorStack) -> None:
        """Add the stars of another stack."""
        for name, (wavelength, total, count) in other._sums.items():
            bins, summed, counted = self._sums.get(name, (wavelength, *np.zeros((2, len(wavelength)))))
            if len(bins) == len(wavelength):
                self._sums[name] = (bins, summed + total, counted + count)

    def windows(self, threshold: float) -> list[tuple[float, float]]:
        """Return the windows where the stacked error exceeds its surroundings by the factor `threshold`.

        The surroundings are the lower quartile over 200 A, which follows the rise to the blue end and is not raised by
        dense lines. Windows extend one native pixel beyond the excess on either side.
        """
        found: list[tuple[float, float]] = []
        for wavelength, level in self._levels():
            level = np.nan_to_num(level)
            width = max(3, round(200 / np.median(np.diff(wavelength))))
            high = level - percentile_filter(level, 25, size=width, mode="nearest") > np.log10(threshold)
            found += _runs(wavelength, high)
        return merge_windows(found)

    def spectrum(self) -> tuple[Float64, Float64]:
        """Return observed wavelength and error over the star's own median error, arm after arm, both (pixel,)."""
        levels = list(self._levels()) or [(np.zeros(0), np.zeros(0))]
        return np.concatenate([arm for arm, _ in levels]), 10 ** np.concatenate([level for _, level in levels])

    def _levels(self) -> Iterator[tuple[Float64, Float64]]:
        """Yield each arm's wavelength and mean logarithm of the error, NaN without stars."""
        for wavelength, total, count in self._sums.values():
            yield wavelength, np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def _runs(wavelength: Float64, high: Bool) -> list[tuple[float, float]]:
    """Return the ranges of wavelength with `high`, widened by one pixel on either side."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], high, [False]]).astype(np.int8)))
    starts, stops = np.maximum(edges[::2] - 1, 0), np.minimum(edges[1::2], len(wavelength) - 1)
    return [(float(wavelength[start]), float(wavelength[stop])) for start, stop in zip(starts, stops, strict=True)]


def merge_windows(windows: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return sorted windows, with overlapping ones merged."""
    merged: list[tuple[float, float]] = []
    for low, high in sorted(windows):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged
