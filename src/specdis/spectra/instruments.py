"""Stored spectra as other instruments would see them: with their resolution, calibration, noise and missing pixels.

Networks that learn from such copies of a clean library can be used on spectra of other telescopes (decision 25).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.special import ndtri

from specdis.arrays import Bool, Float, Float64
from specdis.spectra.grid import PixelGrid
from specdis.spectra.normalise import one_sided, running_mean
from specdis.spectra.pixels import Pixels
from specdis.spectra.settings import InstrumentSettings, SpectraSettings
from specdis.surveys.wavelengths import SPEED_OF_LIGHT

Chance = Callable[[str], Float64]
"""Returns a number from 0 to 1 for each star, independent for every purpose, shape (star,)."""

FWHM = 2 * np.sqrt(2 * np.log(2))
"""Full width at half maximum of a Gaussian of sigma 1."""
_PERIODS = (2000.0, 1000.0, 500.0, 250.0, 125.0, 60.0)
"""Periods of the waves of calibration errors, Angstrom; their amplitudes go as the root of the period."""
_SLOPES = (-1.0, 6.0)
"""Power of 1 / wavelength with which the noise over the continuum rises to the blue: stars are red, detectors too."""
_LOST = 0.5
"""Share of copies that lack the pixels of least S/N, and of those that lack pieces and ends."""
_LEAST_SNR = (0.3, 5.0)
"""S/N of a pixel below which such copies lack it."""
_PIECES = 4
"""Largest number of pieces that a copy lacks."""
_PIECE = (3.0, 100.0)
"""Their widths, Angstrom."""
_ENDS = (0.08, 0.06)
"""Largest share of the spectrum that is missing at the blue and at the red end."""


class Instruments(NamedTuple):
    """Turns stored spectra into copies seen by other instruments, each star's by one of its own.

    Parameters
    ----------
    settings
        How far other instruments differ.
    spectra
        The running mean by which the spectra were divided, and whether missing pixels are estimated.
    grid
        The pixels.
    """

    settings: InstrumentSettings
    spectra: SpectraSettings
    grid: PixelGrid

    def see(self, pixels: Pixels, factor: Float64, chance: Chance) -> Pixels:
        """Return the spectra as other instruments see them, before the noise that is still to be added.

        Parameters
        ----------
        pixels
            Spectra with errors.
        factor
            What their noise will be multiplied by, shape (star,).
        chance
            Random numbers of the stars.

        Returns
        -------
        Pixels
            Flux over the continuum that such an instrument's spectrum has; the errors still lack `factor`.
        """
        known = ~pixels.bad
        flux = self._blurred(np.asarray(pixels.flux, np.float64), known, chance)
        flux = self._shifted(flux, chance) * (1 + self._calibration(chance))
        sigma = self._noise(np.asarray(pixels.sigma, np.float64), known, chance)
        noise = sigma * factor[:, None]
        bad = pixels.bad | self._lost(flux, noise, chance) | (noise > (self.spectra.noise_max or np.inf))
        ratio = np.ones_like(flux)
        for arm in self.grid.arms:
            part = slice(arm.start, arm.stop)
            before, _ = self._mean(pixels.flux[:, part], known[:, part])
            after, sided = self._mean(flux[:, part], ~bad[:, part])
            bad[:, part] |= sided | ~(after > 0) | ~(before > 0)
            ratio[:, part] = np.where(bad[:, part], 1, after) / np.where(bad[:, part], 1, before)
        flux, sigma = (np.where(bad, 0, values / ratio) for values in (flux, sigma))
        return Pixels(flux.astype(np.float32), sigma.astype(np.float32), bad, pixels.velocity)

    def _blurred(self, flux: Float64, known: Bool, chance: Chance) -> Float64:
        """Broaden lines by a Gaussian whose variance goes linearly with wavelength, from blue to red end."""
        if not self.settings.fwhm:
            return flux
        most = self.settings.fwhm / FWHM / self.grid.step
        weight, red = np.asarray(known, np.float64), np.linspace(0, 1, flux.shape[1])
        blue, far = (
            _blur(flux * weight, sigma, most) / np.maximum(_blur(weight, sigma, most), 1e-3)
            for sigma in (most * np.sqrt(chance(f"blur {end}")) for end in ("blue", "red"))
        )
        return np.where(known, blue + red * (far - blue), 0)

    def _shifted(self, flux: Float64, chance: Chance) -> Float64:
        """Move spectra by errors of wavelength and velocity."""
        if not self.settings.velocity:
            return flux
        error = self.settings.velocity * ndtri(chance("velocity")) / SPEED_OF_LIGHT
        place = np.arange(flux.shape[1]) - self.grid.wavelength * error[:, None] / self.grid.step
        place = np.clip(place, 0, flux.shape[1] - 1)
        below = np.minimum(place.astype(np.int64), flux.shape[1] - 2)
        lower, upper = (np.take_along_axis(flux, below + k, 1) for k in (0, 1))
        return np.asarray(lower + (place - below) * (upper - lower))

    def _calibration(self, chance: Chance) -> Float64:
        """Return the relative error of the flux calibration, waves of many lengths, shape (star, pixel)."""
        if not self.settings.calibration:
            return np.zeros((1, 1))
        weight = np.sqrt(np.asarray(_PERIODS) / np.sum(_PERIODS)) * np.sqrt(2)
        total = np.zeros((1, 1))
        for period, share in zip(_PERIODS, weight, strict=True):
            height = self.settings.calibration * share * chance("calibration") * ndtri(chance(f"wave {period:g}"))
            phase = self.grid.wavelength / period + chance(f"phase {period:g}")[:, None]
            total = total + height[:, None] * np.cos(2 * np.pi * phase)
        return np.clip(total, -0.9, 0.9)

    def _noise(self, sigma: Float64, known: Bool, chance: Chance) -> Float64:
        """Return errors of which a part is that of the sky, and which rise to the blue; their median stays."""
        if not self.settings.noise:
            return sigma
        sky, (low, high) = chance("sky")[:, None], _SLOPES
        parts = (slice(arm.start, arm.stop) for arm in self.grid.arms)
        level = np.concatenate([self._mean(sigma[:, part], known[:, part])[0] for part in parts], axis=1)
        middle = np.sqrt(self.grid.wavelength[0] * self.grid.wavelength[-1])
        rise = (middle / self.grid.wavelength) ** (low + (high - low) * chance("slope")[:, None])
        return np.asarray(np.sqrt((1 - sky) * sigma**2 + sky * level**2) * rise)

    def _lost(self, flux: Float64, sigma: Float64, chance: Chance) -> Bool:
        """Return the pixels that an instrument lacks: pieces, ends, and those of least S/N."""
        if not self.settings.missing:
            return np.zeros(flux.shape, np.bool_)
        x, length = self.grid.wavelength, np.ptp(self.grid.wavelength)
        broken = (chance("broken") < _LOST)[:, None]
        lost = np.zeros(flux.shape, np.bool_)
        for number in range(_PIECES):
            there = broken & (chance("pieces")[:, None] > number / _PIECES)
            centre = x[0] + length * chance(f"place {number}")[:, None]
            width = _PIECE[0] * (_PIECE[1] / _PIECE[0]) ** chance(f"width {number}")[:, None]
            lost |= there & (np.abs(x - centre) < width / 2)
        cut = (chance("cut") < _LOST)[:, None]
        blue, red = (length * most * chance(f"end {most}")[:, None] for most in _ENDS)
        lost |= cut & ((x < x[0] + blue) | (x > x[-1] - red))
        least = _LEAST_SNR[0] * (_LEAST_SNR[1] / _LEAST_SNR[0]) ** chance("least")[:, None]
        return lost | ((chance("faint") < _LOST)[:, None] & (flux < least * sigma))

    def _mean(self, values: Float, good: Bool) -> tuple[Float64, Bool]:
        """Return the running mean over the good pixels of an arm, and where they are on one side, (star, pixel)."""
        half = self.spectra.continuum_half
        aside = ((0, 0), (half, half))
        padded, counted = np.pad(np.where(good, values, 0).astype(np.float64), aside), np.pad(good, aside)
        if self.spectra.missing == "zeros":
            return running_mean(padded, half)[0], np.zeros(good.shape, np.bool_)
        mean, count = running_mean(padded, half, counted)
        return mean, one_sided(counted, count, half)


def _blur(values: Float64, sigma: Float64, most: float) -> Float64:
    """Convolve rows with Gaussians of these sigmas in pixels, (star,), at most `most`; the ends are mirrored."""
    pixels = values.shape[1]
    margin = min(pixels - 1, int(4 * most) + 1)
    padded = np.pad(values, ((0, 0), (margin, margin)), mode="reflect")
    length = next_fast_len(padded.shape[1], real=True)
    frequency = np.arange(length // 2 + 1) / length
    filtered = rfft(padded, length) * np.exp(-2 * (np.pi * sigma[:, None] * frequency) ** 2)
    return np.asarray(irfft(filtered, length))[:, margin : margin + pixels]
