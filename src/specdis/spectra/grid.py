"""The pixel grid in the rest frame, and the positions of its pixels among the native ones (section 2.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from specdis.arrays import Float64
from specdis.errors import InputError
from specdis.spectra.settings import SpectraSettings

GRID_ORIGIN = 3579.2
"""A pixel of the rest-frame grid of the survey's own normalised spectra, vacuum Angstrom."""


class ArmPixels(NamedTuple):
    """One arm's part of the grid: its native wavelengths and the pixels `start` to `stop` that it fills."""

    name: str
    native: Float64
    start: int
    stop: int


@dataclass(frozen=True)
class PixelGrid:
    """The common rest-frame grid and the arms that fill its pixels.

    Parameters
    ----------
    wavelength
        Vacuum rest-frame wavelength in Angstrom, shape (pixel,).
    arms
        The arms in order of wavelength.
    step
        Width of a pixel in Angstrom.
    """

    wavelength: Float64
    arms: tuple[ArmPixels, ...]
    step: float

    @classmethod
    def of(cls, native: Mapping[str, Float64], settings: SpectraSettings) -> PixelGrid:
        """Make the grid for the arms' native wavelengths, trimmed to the data (0.5 A: 4,360 + 3,680 pixels in DESI).

        Raises
        ------
        InputError
            When no pixel of the grid lies inside the data.
        """
        named = sorted(native.items(), key=lambda item: item[1][0])
        step, join = settings.grid.step, settings.join
        pieces, arms, filled = [], [], 0
        for number, (name, wavelength) in enumerate(named):
            low = max(wavelength[0], settings.grid.start or 0.0)
            high = min(wavelength[-1], settings.grid.stop or np.inf)
            pixels = _lattice(low, high, step)
            if join != "none" and len(named) > 1:
                lower, upper = (-np.inf, join) if number == 0 else (join, np.inf)
                pixels = pixels[(pixels >= lower) & (pixels < upper)]
            if len(pixels):
                pieces.append(pixels)
                arms.append(ArmPixels(name, wavelength, filled, filled + len(pixels)))
                filled += len(pixels)
        if filled == 0:
            raise InputError(
                "spectra.grid",
                expected="pixels inside the data",
                found=f"none between {settings.grid.start} and {settings.grid.stop} A",
                remedy="Correct spectra.grid.start, spectra.grid.stop and spectra.join.",
            )
        return cls(np.concatenate(pieces), tuple(arms), step)

    def pixels(self, width: float) -> int:
        """Return the number of pixels, at least one, nearest to a width in Angstrom."""
        return max(1, round(width / self.step))

    def widened(self, arm: ArmPixels, pixels: int) -> Float64:
        """Return an arm's part of the grid, widened by a number of pixels on either side."""
        beyond = self.step * np.arange(1, pixels + 1)
        part = self.wavelength[arm.start : arm.stop]
        return np.concatenate([part[0] - beyond[::-1], part, part[-1] + beyond])


def _lattice(low: float, high: float, step: float) -> Float64:
    """Return the wavelengths GRID_ORIGIN + k step inside [low, high]."""
    first, last = np.ceil((low - GRID_ORIGIN) / step - 1e-9), np.floor((high - GRID_ORIGIN) / step + 1e-9)
    return np.asarray(np.round(GRID_ORIGIN + step * np.arange(first, last + 1), 9))


SPECTRA_TILE = 32  # all intermediate arrays stay in the processor's cache
ROUNDING = 1e-6
"""Fraction of a native pixel within which two wavelengths count as equal."""


def native_position(native: Float64, wavelength: Float64) -> Float64:
    """Return the fractional pixel numbers of wavelengths among native pixels; below 0 or above n-1 outside.

    Parameters
    ----------
    native
        Increasing wavelengths, shape (native pixel,).
    wavelength
        Wavelengths to place, any shape.
    """
    step = uniform_step(native)
    if step is not None:
        return np.asarray((wavelength - native[0]) / step)
    return np.asarray(np.interp(wavelength, with_ends(native), np.arange(-1.0, len(native) + 1)))


def uniform_step(native: Float64) -> float | None:
    """Return the width of native pixels, None if they differ."""
    steps = np.diff(native)
    return float(steps.mean()) if np.ptp(steps) < 1e-6 * steps[0] else None


def with_ends(native: Float64) -> Float64:
    """Return native wavelengths with one more at either end, at the distance of the last step."""
    return np.concatenate([[2 * native[0] - native[1]], native, [2 * native[-1] - native[-2]]])


def among_native(count: Any, position: Any) -> Any:
    """Tell which positions, from `native_position`, lie between the first and the last of `count` native pixels."""
    return (position > -ROUNDING) & (position < count - 1 + ROUNDING)
