"""From native pixels to unit vectors on one rest-frame grid (section 2.4, Eq. 1).

`normalise` is block-wise numpy: rest frame, running-mean continuum, bad pixels, joined arms. What it returns is
stored. `transform` is pure JAX and does the rest; the components, the Monte-Carlo draws and every prediction go
through it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field, PositiveFloat
from scipy.ndimage import percentile_filter

from specdis.accelerator import ArrayLike, in_tiles, jax, jnp
from specdis.arrays import Array, Bool, Float, Float32, Float64, Int64, ranges
from specdis.errors import InputError
from specdis.settings import Settings, departs
from specdis.surveys.base import Arm, Spectra

SPEED_OF_LIGHT = 299_792.458
"""km/s, exact by definition of the metre."""

GRID_ORIGIN = 3579.2
"""A pixel of the rest-frame grid of the survey's own normalised spectra, vacuum Angstrom."""


class GridSettings(Settings):
    """The common rest-frame grid, vacuum Angstrom."""

    start: PositiveFloat | None = None
    """First wavelength; without it, where the data start."""
    stop: PositiveFloat | None = None
    """Last wavelength; without it, where the data end."""
    step: Annotated[float, Field(ge=0.01, le=100)] = 0.5
    """Width of a pixel; the grid holds 3579.2 A plus or minus whole steps."""


class SpectraSettings(Settings):
    """Section [spectra]: section 2.4 of the paper."""

    grid: GridSettings = GridSettings()
    """The common rest-frame grid."""
    continuum_width: Annotated[float, Field(gt=0, le=10_000)] = 250.5
    """Width of the running mean, Angstrom."""
    missing: Literal["estimated", "zeros"] = departs("estimated", paper="zeros")
    """Pixels without data: estimated from those that have data, or zeros in the running mean and in the components, as
    in the paper and in the survey's own recipe."""
    weights: Literal["noise", "none"] = departs("noise", paper="none")
    """Divide every pixel by its typical noise before the norm, or treat all pixels alike, as the paper does."""
    sky_windows: Literal["auto", "none"] | tuple[tuple[float, float], ...] = "auto"
    """Observed-frame windows of sky lines, vacuum Angstrom: found from the stacked errors, none, or a list."""
    sky_threshold: PositiveFloat = 1.5
    """A sky line is where the stacked error exceeds its running median by this factor."""
    join: PositiveFloat | Literal["none"] = 5780.0
    """Where the B arm ends and the R arm begins, rest-frame Angstrom; `none` keeps every arm whole."""
    bad_fraction_max: Annotated[float, Field(ge=0, le=1)] = 0.10
    """A pixel that is bad in more than this fraction of the stars is removed for all."""
    subtract_mean: bool = True
    """Subtract each spectrum's own mean over its good pixels."""
    signed_log: bool = True
    """Apply Eq. 1."""
    unit_norm: bool = True
    """Divide by the root of the sum of squares."""

    @property
    def continuum_half(self) -> int:
        """Pixels of the grid in the running mean on either side of its centre."""
        return round((self.continuum_width / self.grid.step - 1) / 2)


class ArmPixels(NamedTuple):
    """One arm's part of the grid: its native wavelengths and the pixels `start` to `stop` that it fills."""

    name: str
    native: Float64
    start: int
    stop: int


@dataclass(frozen=True)
class PixelGrid:
    """The common rest-frame grid and which arm fills which of its pixels.

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
        """Lay the grid over the arms' native wavelengths, trimmed to the data (0.5 A: 4,360 + 3,680 pixels in DESI).

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
        """Return how many pixels, one at least, come nearest to a width in Angstrom."""
        return max(1, round(width / self.step))

    def widened(self, arm: ArmPixels, pixels: int) -> Float64:
        """Return an arm's part of the grid with so many pixels more on either side."""
        beyond = self.step * np.arange(1, pixels + 1)
        part = self.wavelength[arm.start : arm.stop]
        return np.concatenate([part[0] - beyond[::-1], part, part[-1] + beyond])


def _lattice(low: float, high: float, step: float) -> Float64:
    """Return the wavelengths GRID_ORIGIN + k step inside [low, high]."""
    first, last = np.ceil((low - GRID_ORIGIN) / step - 1e-9), np.floor((high - GRID_ORIGIN) / step + 1e-9)
    return np.asarray(np.round(GRID_ORIGIN + step * np.arange(first, last + 1), 9))


class Normalised(NamedTuple):
    """Flux over continuum, its sigma and the bad pixels on the grid, shape (star, pixel); flux and sigma 0 where bad.

    `sigma` is None where the survey has no errors.
    """

    flux: Float32
    sigma: Float32 | None
    bad: Bool


_TILE = 32  # of which all intermediate arrays stay in the processor's cache
_LEAST_WINDOW = 0.5
"""Share of the window of a running mean, from the first to the last good pixel, of which the pixels must be good."""
_MOST_LEAN = 0.03
"""How far their mean position may lie from that of the whole window, in units of its width: 7.5 A."""
_ROUNDING = 1e-6
"""Fraction of a native pixel within which two wavelengths are the same."""


def normalise(
    spectra: Spectra, grid: PixelGrid, settings: SpectraSettings, sky: Sequence[tuple[float, float]] = ()
) -> Normalised:
    """Bring spectra to the rest frame, divide them by their running mean and join their arms (section 2.4).

    Flux and sigma are interpolated linearly at wavelength (1 - v/c) and divided by a centred unweighted running mean
    per arm. The mean is that of the good pixels in the window, of which there are fewer at the ends of an arm. In the
    survey's own recipe (`missing = "zeros"`) bad pixels are zeros in it and beyond the ends the last pixel is repeated.

    Parameters
    ----------
    spectra
        Native pixels of a block of stars.
    grid
        Where to put them.
    settings
        Width of the running mean, and what becomes of missing pixels.
    sky
        Observed-frame windows in vacuum Angstrom, masked in every star whatever its velocity.

    Returns
    -------
    Normalised
        A grid pixel is bad where a bad native pixel enters it, where it lies outside the data, where the
        continuum is not positive or, if missing pixels are estimated, rests on one side of its window, and everywhere
        when the velocity is not finite.
    """
    shape = (len(spectra), len(grid.wavelength))
    with_errors = all(arm.ivar is not None for arm in spectra.arms.values())
    flux, bad = np.zeros(shape, np.float32), np.ones(shape, bool)
    sigma = np.zeros(shape, np.float32) if with_errors else None
    for part in grid.arms:
        if part.name not in spectra.arms:
            continue
        arm, columns = spectra.arms[part.name], slice(part.start, part.stop)
        half = 0 if spectra.normalised else settings.continuum_half
        rest = grid.widened(part, half)
        for rows in ranges(len(spectra), _TILE):
            tile = _normalise_arm(arm, spectra, rows, rest, half, settings.missing == "zeros", sky)
            flux[rows, columns], bad[rows, columns] = tile.flux, tile.bad
            if sigma is not None and tile.sigma is not None:
                sigma[rows, columns] = tile.sigma
    return Normalised(flux, sigma, bad)


def _normalise_arm(
    arm: Arm,
    spectra: Spectra,
    rows: slice,
    rest: Float64,
    half: int,
    zeros: bool,
    sky: Sequence[tuple[float, float]],
) -> Normalised:
    """Do the work of `normalise` for one arm of a few stars: `rest` is its part of the grid, widened by `half`."""
    velocity = spectra.velocity[rows]
    places = _Places.of(arm.wavelength, rest / (1 - np.nan_to_num(velocity)[:, None] / SPEED_OF_LIGHT))
    native_bad = arm.bad[rows] | _inside(arm.wavelength, spectra, rows, sky)
    flux = places.interpolate(np.where(arm.bad[rows], 0, arm.flux[rows]))
    inside = slice(half, len(rest) - half)
    bad = places.outside | places.touch(native_bad)
    continuum: Float = np.ones((1, 1))
    if not spectra.normalised and zeros:
        continuum, _ = running_mean(flux, half)
    elif not spectra.normalised:
        continuum, count = running_mean(flux, half, ~bad)
        bad[:, inside] |= _one_sided(~bad, count, half)
    bad = bad[:, inside] | ~(continuum > 0) | ~np.isfinite(velocity)[:, None]
    inverse = np.where(bad, 0, 1 / np.where(bad, 1, continuum))
    sigma = None
    if arm.ivar is not None:
        native_sigma = np.where(native_bad, 0, 1 / np.sqrt(np.where(native_bad, 1, arm.ivar[rows])))
        sigma = (places.within(inside).interpolate(native_sigma) * inverse).astype(np.float32)
    return Normalised((flux[:, inside] * inverse).astype(np.float32), sigma, bad)


class _Places(NamedTuple):
    """Where pixels lie among the native pixels of their stars, constant beyond the ends; shape (star, pixel).

    Parameters
    ----------
    below
        Place of the native pixel below in the flattened array (star, native pixel).
    weight
        Share of the native pixel above it.
    outside
        Which pixels lie beyond the data.
    """

    below: Int64
    weight: Float64
    outside: Bool

    @classmethod
    def of(cls, native: Float64, wavelength: Float64) -> _Places:
        """Place wavelengths, shape (star, pixel), among native ones, shape (native pixel,)."""
        exact = native_position(native, wavelength)
        last = len(native) - 1
        position = np.clip(exact, 0, last)
        below = np.minimum(position.astype(np.int64), last - 1)
        weight = position - below
        below += len(native) * np.arange(len(below))[:, None]
        return cls(below, weight, ~among_native(len(native), exact))

    def within(self, pixels: slice) -> _Places:
        """Return some of the pixels."""
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
        """Tell which pixels take a share of a native pixel that is marked."""
        flat = native.ravel()
        lower, upper = (flat.take(place, mode="clip") for place in (self.below, self.below + 1))
        return np.asarray((lower & (self.weight < 1 - _ROUNDING)) | (upper & (self.weight > _ROUNDING)))


def native_position(native: Float64, wavelength: Float64) -> Float64:
    """Return where wavelengths lie among native pixels, as a fractional pixel number; below 0 or above n-1 outside.

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
    """Return the width of native pixels, None where they differ."""
    steps = np.diff(native)
    return float(steps.mean()) if np.ptp(steps) < 1e-6 * steps[0] else None


def with_ends(native: Float64) -> Float64:
    """Return native wavelengths with one more at either end, as far away as the neighbour."""
    return np.concatenate([[2 * native[0] - native[1]], native, [2 * native[-1] - native[-2]]])


def among_native(count: Any, position: Any) -> Any:
    """Tell which positions, from `native_position`, lie between the first and the last of `count` native pixels."""
    return (position > -_ROUNDING) & (position < count - 1 + _ROUNDING)


def running_mean(values: Float, half: int, weight: Bool | None = None) -> tuple[Float64, Float64]:
    """Return the mean over 2 half + 1 pixels around each pixel that has so many neighbours, and how many count in it.

    Parameters
    ----------
    values
        Shape (star, pixel + 2 half).
    half
        Pixels on either side.
    weight
        Pixels that count, shape of `values`; all of them by default. A window without any gives 0.

    Returns
    -------
    mean, count : ndarray, float64, shape (star, pixel)
    """
    if weight is None:
        sums = _window_sums(values, half)
        return sums / (2 * half + 1), np.full(sums.shape, 2.0 * half + 1)
    count = _window_sums(weight, half)
    return _window_sums(np.where(weight, values, 0), half) / np.maximum(count, 1), count


def _one_sided(good: Bool, count: Float64, half: int) -> Bool:
    """Tell where the good pixels in the window of a running mean lean to one side, or are too few, (star, pixel).

    Beside a long gap a mean over one side is not that of the middle. What lies before the first good pixel and after
    the last is no gap but the end of the data, where the window is that of every star.

    Parameters
    ----------
    good
        Good pixels, shape (star, pixel + 2 half).
    count
        How many are in each window, shape (star, pixel).
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


def _observed(native: Float64, spectra: Spectra, rows: slice) -> Float64:
    """Return the observed-frame wavelengths of native pixels, shape (star or 1, native pixel)."""
    applied = np.nan_to_num(spectra.observed_velocity[rows] - spectra.velocity[rows])
    if not applied.any():
        return native[None, :]
    return native[None, :] / (1 - applied[:, None] / SPEED_OF_LIGHT)


def _inside(native: Float64, spectra: Spectra, rows: slice, windows: Sequence[tuple[float, float]]) -> Bool:
    """Return which native pixels fall into observed-frame windows, ends included, shape (star or 1, native pixel)."""
    low, high = np.asarray(windows, np.float64).reshape(-1, 2).T
    observed = _observed(native, spectra, rows)
    begun, over = np.searchsorted(np.sort(low), observed, "right"), np.searchsorted(np.sort(high), observed, "left")
    return np.asarray(begun > over)


class ErrorStack:
    """The mean logarithm of the errors of many stars over observed wavelength (Fig. 1), from which sky lines show.

    Each star's errors are divided by their own median, so that bright and faint stars weigh the same.
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
            for block in ranges(len(rows), _TILE):
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

        The surroundings are the lower quartile over 200 A, which follows the rise to the blue end and is not lifted
        by a forest of lines. Windows are one native pixel wider on either side than what exceeds.
        """
        found: list[tuple[float, float]] = []
        for wavelength, level in self._levels():
            level = np.nan_to_num(level)
            width = max(3, round(200 / np.median(np.diff(wavelength))))
            high = level - percentile_filter(level, 25, size=width, mode="nearest") > np.log10(threshold)
            found += _runs(wavelength, high)
        return merge(found)

    def spectrum(self) -> tuple[Float64, Float64]:
        """Return observed wavelength and error over the star's own median error, arm after arm, both (pixel,)."""
        levels = list(self._levels()) or [(np.zeros(0), np.zeros(0))]
        return np.concatenate([arm for arm, _ in levels]), 10 ** np.concatenate([level for _, level in levels])

    def _levels(self) -> Iterator[tuple[Float64, Float64]]:
        """Yield each arm's wavelength and mean logarithm of the error, NaN where no star has one."""
        for wavelength, total, count in self._sums.values():
            yield wavelength, np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def _runs(wavelength: Float64, high: Bool) -> list[tuple[float, float]]:
    """Return the ranges of wavelength over which `high` holds, one pixel wider on either side."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], high, [False]]).astype(np.int8)))
    starts, stops = np.maximum(edges[::2] - 1, 0), np.minimum(edges[1::2], len(wavelength) - 1)
    return [(float(wavelength[start]), float(wavelength[stop])) for start, stop in zip(starts, stops, strict=True)]


def merge(windows: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return windows in order, overlapping ones made one."""
    merged: list[tuple[float, float]] = []
    for low, high in sorted(windows):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged


class Transform(NamedTuple):
    """The steps from stored pixels to unit vectors, and the pixels that take part in them.

    Parameters
    ----------
    kept
        Indices of the pixels not removed for all stars, shape (kept pixel,).
    subtract_mean, signed_log, unit_norm
        The steps of section 2.4, each of which can be switched off.
    weight
        What each pixel is multiplied by after Eq. 1, shape (kept pixel,): one over its typical noise. None for pixels
        that are all alike.
    """

    kept: Array
    subtract_mean: bool = True
    signed_log: bool = True
    unit_norm: bool = True
    weight: Array | None = None

    def __call__(self, flux: ArrayLike, bad: ArrayLike) -> jax.Array:
        """Transform spectra: pure, differentiable, and the only road from pixels to components.

        Parameters
        ----------
        flux
            Flux over continuum, shape (star, pixel).
        bad
            Bad pixels, shape (star, pixel); they are 0 throughout, and `encoding.Completion` says what is there.

        Returns
        -------
        Array, float32, shape (star, kept pixel)
            Unit vectors, or zeros for a star without a good pixel.
        """
        transformed: jax.Array = in_tiles(self.one)(jnp.asarray(flux), jnp.asarray(bad))
        return transformed

    def one(self, flux: jax.Array, bad: jax.Array) -> jax.Array:
        """Transform one spectrum, flux and bad of shape (pixel,), to (kept pixel,)."""
        return self._unit(flux[self.kept], bad[self.kept])

    def versions(self, flux: jax.Array, bad: jax.Array) -> jax.Array:
        """Transform versions of one spectrum, flux of shape (pixel, draw) and bad (pixel,), to (kept pixel, draw)."""
        return jax.vmap(self._unit, in_axes=(1, None), out_axes=1)(flux[self.kept], bad[self.kept])

    def slope(self, flux: jax.Array, bad: jax.Array) -> jax.Array:
        """Return the change of each transformed pixel of one spectrum with its own flux, (kept pixel,), 0 where bad.

        The change through the mean and through the norm, 1/pixel of it, is left out.
        """
        kept = bad[self.kept]
        values = self._contrast(flux[self.kept], kept)
        slope = 1 / (1 + jnp.abs(values)) if self.signed_log else jnp.ones_like(values)
        slope = slope if self.weight is None else slope * self.weight
        if self.unit_norm:
            slope = slope / jnp.maximum(jnp.sqrt((self._scaled(values) ** 2).sum()), 1e-30)
        return jnp.where(kept, 0, slope)

    def _unit(self, flux: jax.Array, bad: jax.Array) -> jax.Array:
        """Transform the kept pixels of one spectrum, shape (kept pixel,)."""
        values = self._scaled(self._contrast(flux, bad))
        if self.unit_norm:
            square = (values**2).sum()
            values = values * jnp.where(square > 0, jax.lax.rsqrt(jnp.where(square > 0, square, 1)), 0)
        return values

    def _scaled(self, contrast: jax.Array) -> jax.Array:
        """Apply Eq. 1 and the weights."""
        values = jnp.sign(contrast) * jnp.log1p(jnp.abs(contrast)) if self.signed_log else contrast
        return values if self.weight is None else values * self.weight

    def _contrast(self, flux: jax.Array, bad: jax.Array) -> jax.Array:
        """Return L of Eq. 1: the kept pixels less their own mean over good pixels, 0 where bad."""
        values = flux.astype(jnp.float32)
        if self.subtract_mean:
            count = jnp.maximum((~bad).sum(), 1)
            values = values - jnp.where(bad, 0, values).sum() / count.astype(jnp.float32)
        return jnp.where(bad, 0, values)


def noise_sums(transform: Transform) -> Callable[[ArrayLike, ArrayLike, ArrayLike, ArrayLike], tuple[Any, Any]]:
    """Compile what sums the variance of the noise of each transformed pixel over stars.

    Returns
    -------
    callable
        Takes flux, sigma, bad (star, pixel) and the stars to use (star,); returns the sum of the variances and the
        number of stars that have one, both (kept pixel,).
    """

    @jax.jit
    def sums(flux: jax.Array, sigma: jax.Array, bad: jax.Array, use: jax.Array) -> tuple[jax.Array, jax.Array]:
        slope = in_tiles(transform.slope)(flux, bad)
        variance = (sigma[:, transform.kept].astype(jnp.float32) * slope) ** 2
        variance = jnp.where(use[:, None] & jnp.isfinite(variance), variance, 0)
        return variance.sum(0, dtype=jnp.float64), (variance > 0).sum(0)

    return sums
