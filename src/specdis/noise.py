"""The effect of noise on a spectrum: perturbed versions (section 3.3.1), and their variance to first order.

The paper draws noise independently at every pixel of the grid. The noise of a real spectrum is that of its native
pixels, which are wider: after interpolation to the grid neighbours share it, and it enters the running mean by which
the spectrum was divided. Both effects are reproduced from the stored flux and sigma over continuum on the grid.

Functions of one star work on arrays of pixels and draws, pixels first: the draws of a star share their look-ups, and
every operation on them is a vector operation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol

import numpy as np

from specdis import rng
from specdis.arrays import Array, Float32, Float64
from specdis.jaxed import jax, jnp
from specdis.spectra.grid import PixelGrid, among_native, uniform_step, with_ends
from specdis.spectra.pixels import Pixels
from specdis.spectra.settings import SpectraSettings
from specdis.surveys.wavelengths import SPEED_OF_LIGHT

NoiseKind = Literal["native", "paper"]

_WINDOWS = 1 << 15
"""Number of rows of the table of normals at which a star may start."""
_SHORTEST = 1024
"""Least length of arrays of native pixels, else the next power of two."""
_STEPS = 16
"""Elements of a prefix sum that are added in sequence; pieces of this length are added in parallel."""

NOISIER = (1.3, 4.0)
"""Least and largest factor of the noise of noisier copies (decision 10)."""
NOISIEST = 5.0
"""S/N down to which noisier copies of cleaner spectra go, beyond that factor if necessary (decision 14)."""


def noise_factor(snr: Float64, chance: Float64) -> Float64:
    """Return the factor of the noise of each noisier copy, shape (star,).

    Parameters
    ----------
    snr
        S/N of the spectra, shape (star,); NaN where unknown.
    chance
        Position from 0 to 1 in the logarithm of the range, shape (star,).
    """
    least, usual = NOISIER
    most = np.maximum(usual, np.nan_to_num(snr / NOISIEST))
    return np.asarray(least * (most / least) ** chance)


class Noise(Protocol):
    """The noise of one spectrum, whose `Pixels` have shape (pixel,) and the velocity that brought it to rest."""

    def perturbed(self, pixels: Pixels, key: jax.Array, n_draws: int, native: NativePixels) -> jax.Array:
        """Return perturbed versions of one spectrum.

        Normal numbers come from a fixed table, one column per draw. A star's key chooses one of 32,768 rows to start
        at, so that the draws of a star are independent of each other and, except by chance, of those of other stars.

        Parameters
        ----------
        pixels
            The spectrum.
        key
            Random key of the star, uint32, shape (2,).
        n_draws
            Number of versions.
        native
            Its native pixels.

        Returns
        -------
        Array, shape (pixel, draw)
            Flux; bad pixels stay unchanged.
        """
        ...

    def variances(self, pixels: Pixels, slopes: jax.Array, native: NativePixels) -> jax.Array:
        """Return the variances of some answers, shape (answer,): the effect of `perturbed` to first order.

        Parameters
        ----------
        pixels, native
            As above.
        slopes
            Derivatives of the answers with the flux of every pixel, shape (answer, pixel).
        """
        ...


@dataclass(frozen=True)
class GridNoise:
    """Noise that is independent at the pixels of the grid, as in the paper."""

    def perturbed(self, pixels: Pixels, key: jax.Array, n_draws: int, native: NativePixels) -> jax.Array:
        """As in `Noise`, whatever the native pixels."""
        del native
        flux, scale = pixels.flux.astype(jnp.float32), _scale(pixels)
        numbers = jnp.asarray(_normal_numbers(len(flux), n_draws))
        drawn: jax.Array = jax.lax.dynamic_slice_in_dim(numbers, _start(key), len(flux))
        return jnp.asarray(flux[:, None] + scale[:, None] * drawn)

    def variances(self, pixels: Pixels, slopes: jax.Array, native: NativePixels) -> jax.Array:
        """As in `Noise`, whatever the native pixels."""
        del native
        return ((_scale(pixels) * slopes) ** 2).sum(1)


@dataclass(frozen=True)
class NativeNoise:
    """Noise that is independent at the native pixels of a spectrum.

    Parameters
    ----------
    grid
        The grid and its arms.
    settings
        The running mean by which the spectra were divided.
    """

    grid: PixelGrid
    settings: SpectraSettings

    def perturbed(self, pixels: Pixels, key: jax.Array, n_draws: int, native: NativePixels) -> jax.Array:
        """As in `Noise`."""
        numbers, start, parts = jnp.asarray(_normal_numbers(_room(native), n_draws)), _start(key), []
        for arm in self._arms(pixels, native):
            below, above = (numbers.at[start + arm.lower + k].get(mode="promise_in_bounds") for k in (0, 1))
            drawn = arm.share[:, None] * (below + arm.weight[:, None] * (above - below))
            change = _window_sums(drawn, arm.half) / arm.counted[:, None]
            own = (arm.scale > 0).astype(jnp.float32)[:, None] * drawn[arm.inner]
            parts.append((arm.flux[:, None] + own) / (1 + change))
        return jnp.concatenate(parts)

    def variances(self, pixels: Pixels, slopes: jax.Array, native: NativePixels) -> jax.Array:
        """As in `Noise`."""
        through_native = jnp.zeros((len(slopes), _room(native)), jnp.float32)
        for arm in self._arms(pixels, native):
            own, aside = slopes[:, arm.pixels], ((0, 0), (arm.half, arm.half))
            means = jnp.pad(own * (arm.flux / arm.counted), [(0, 0), (2 * arm.half, 2 * arm.half)])
            through_mean = _window_sums(means.T, arm.half).T
            shares = jnp.pad(arm.scale * own, aside) - arm.share * through_mean
            through_native = through_native.at[:, arm.lower].add(shares * (1 - arm.weight))
            through_native = through_native.at[:, arm.lower + 1].add(shares * arm.weight)
        return (through_native**2).sum(1)

    def noisier(self, pixels: Pixels, key: jax.Array, factor: jax.Array, native: NativePixels) -> jax.Array:
        """Return the flux of a noisier copy of one spectrum, shape (pixel,).

        Parameters
        ----------
        pixels, key, native
            As in `Noise.perturbed`.
        factor
            What its noise is multiplied by.
        """
        assert pixels.sigma is not None
        added = pixels.sigma.astype(jnp.float32) * jnp.sqrt(factor.astype(jnp.float32) ** 2 - 1)
        return self.perturbed(pixels._replace(sigma=added), key, 1, native)[:, 0]

    def _arms(self, pixels: Pixels, native: NativePixels) -> Iterator[_Arm]:
        flux = pixels.flux.astype(jnp.float32)
        return _arms(self.grid, native, self.settings, pixels._replace(flux=flux, sigma=_scale(pixels)))


def noise_of(kind: NoiseKind, grid: PixelGrid, settings: SpectraSettings) -> Noise:
    """Return the noise of a kind: `native` at the native pixels, `paper` at those of the grid."""
    return GridNoise() if kind == "paper" else NativeNoise(grid, settings)


@lru_cache(maxsize=4)
def _normal_numbers(rows: int, n_draws: int) -> Float32:
    """Return the table with a number of rows to read from every start; a longer one begins with the same numbers."""
    return rng.generator(0, "noise").standard_normal((_WINDOWS + rows, n_draws), np.float32)


def _start(key: jax.Array) -> jax.Array:
    """Return the row of the table at which a star starts."""
    return ((key[0] ^ key[1]) % _WINDOWS).astype(jnp.int32)


class ArmPlaces(NamedTuple):
    """Native pixels of one arm as arrays, so that one compiled program serves every grid.

    Parameters
    ----------
    wavelength
        Native wavelengths with one more at either end, Angstrom, padded by increasing values to one of a few lengths.
    pixels
        Number of native pixels.
    step
        Width of a native pixel if all are equal; else 0.
    """

    wavelength: Array | jax.Array
    pixels: Array | jax.Array
    step: Array | jax.Array

    @classmethod
    def of(cls, native: Float64) -> ArmPlaces:
        """Make the arrays from native wavelengths."""
        ends = with_ends(native)
        length = max(_SHORTEST, 1 << int(np.ceil(np.log2(len(ends)))))
        beyond = ends[-1] + np.arange(1, length - len(ends) + 1)
        return cls(
            np.concatenate([ends, beyond]), np.asarray(len(native), np.int32), np.asarray(uniform_step(native) or 0.0)
        )

    def position(self, wavelength: jax.Array) -> jax.Array:
        """Return the result of `native_position`."""

        def search(wavelength: jax.Array) -> jax.Array:
            number = jnp.minimum(jnp.arange(-1.0, len(self.wavelength) - 1), self.pixels)
            return jnp.interp(wavelength, self.wavelength, number)

        def divide(wavelength: jax.Array) -> jax.Array:
            return (wavelength - self.wavelength[1]) / self.step

        return jnp.asarray(jax.lax.cond(jnp.asarray(self.step > 0), divide, search, wavelength))


NativePixels = tuple[ArmPlaces, ...]
"""The native pixels of all arms, in the order of the grid's."""


def native_pixels(grid: PixelGrid, other: Mapping[str, Float64] = MappingProxyType({})) -> NativePixels:
    """Return the native pixels of a grid, with those of some arms replaced, in Angstrom."""
    return tuple(ArmPlaces.of(other.get(arm.name, arm.native)) for arm in grid.arms)


def _room(native: NativePixels) -> int:
    """Return the padded number of native pixels."""
    return sum(len(arm.wavelength) for arm in native)


class _Arm(NamedTuple):
    """One arm of one star, the pixels of the grid in it, and half a running mean of pixels on either side.

    Parameters
    ----------
    pixels
        The arm's part of the grid.
    inner
        The same pixels among the widened ones.
    half
        Pixels on either side.
    flux, scale
        Flux and noise over continuum, shape (pixel,).
    lower, weight
        Native pixel below each pixel, counted through all arms, and the weight of the one above it; shape (widened
        pixel,). Beyond the data the last native pixel is repeated, as in the running mean.
    share
        Noise of each pixel that counts in the running mean, shape (widened pixel,). Beyond the stored pixels it is that
        of the last pixel of the data.
    counted
        Pixels in the running mean, shape (pixel,).
    """

    pixels: slice
    inner: slice
    half: int
    flux: jax.Array
    scale: jax.Array
    lower: jax.Array
    weight: jax.Array
    share: jax.Array
    counted: jax.Array


def _arms(
    grid: PixelGrid,
    native: NativePixels,
    settings: SpectraSettings,
    star: Pixels,
) -> Iterator[_Arm]:
    """Yield the arms of one star, whose sigma is `_scale`."""
    flux, scale, bad, velocity = star
    half, first_pixel = settings.continuum_half, jnp.int32(0)
    to_rest = 1 - jnp.nan_to_num(velocity) / SPEED_OF_LIGHT
    for part, places in zip(grid.arms, native, strict=True):
        pixels, length = slice(part.start, part.stop), part.stop - part.start
        inner, end = slice(half, half + length), places.pixels - 1
        exact = places.position(jnp.asarray(grid.widened(part, half)) / to_rest)
        position = jnp.clip(exact, 0, end)
        lower = jnp.minimum(position.astype(jnp.int32), end - 1)
        weight, inside = (position - lower).astype(jnp.float32), among_native(places.pixels, exact)
        before, after = (~inside[inner] & beyond[inner] for beyond in (exact < 0, exact > end))
        first, last = before.sum(), length - 1 - after.sum()
        share, count = _repeated(scale[pixels], first, last, half), jnp.full(length, 2 * half + 1, jnp.float32)
        if settings.missing == "estimated":
            counted = inside & ~_repeated(bad[pixels], first, last, half)
            share = jnp.where(counted, share, 0)
            count = jnp.maximum(_window_sums(counted[:, None].astype(jnp.float32), half)[:, 0], 1)
        yield _Arm(
            pixels,
            inner,
            half,
            flux[pixels],
            scale[pixels],
            first_pixel + lower,
            weight,
            share,
            count,
        )
        first_pixel += places.pixels


def _repeated(values: jax.Array, first: jax.Array, last: jax.Array, half: int) -> jax.Array:
    """Pad values of pixels by `half` on either side; those outside first to last repeat the nearest."""
    place = jnp.arange(-half, len(values) + half)
    inner = jnp.pad(values, half)
    return jnp.where(place < first, values[first], jnp.where(place > last, values[last], inner))


def _scale(pixels: Pixels) -> jax.Array:
    """Return the noise of each pixel, 0 if it is bad or has no error."""
    return jnp.where(pixels.bad | ~jnp.isfinite(pixels.sigma), 0, pixels.sigma).astype(jnp.float32)


def _window_sums(values: jax.Array, half: int) -> jax.Array:
    """Return sums over 2 half + 1 neighbours along the first axis, which shortens by 2 half."""
    sums = jnp.concatenate([jnp.zeros_like(values[:1]), _prefix_sums(values)])
    width = 2 * half + 1
    return sums[width:] - sums[:-width]


def _prefix_sums(values: jax.Array) -> jax.Array:
    """Return cumulative sums along the first axis of an array of two.

    Pieces are summed in parallel, then their totals: on a CPU several times faster than `jax.numpy.cumsum`, which makes
    a dozen passes.
    """
    length = len(values)
    if length <= _STEPS:
        return jnp.cumsum(values, axis=0)
    pieces = jnp.pad(values, ((0, -length % _STEPS), (0, 0))).reshape(-1, _STEPS, values.shape[1])
    totals, within = jax.lax.scan(
        lambda before, row: (before + row, before + row), jnp.zeros_like(pieces[:, 0]), pieces.swapaxes(0, 1)
    )
    before = jnp.concatenate([jnp.zeros_like(totals[:1]), _prefix_sums(totals)[:-1]])
    return (within.swapaxes(0, 1) + before[:, None]).reshape(-1, values.shape[1])[:length]
