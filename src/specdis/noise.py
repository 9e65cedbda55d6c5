"""Perturbed versions of a spectrum, for the Monte-Carlo error (section 3.3.1) and to train on.

The paper draws noise independently at every pixel of the grid. The noise of a real spectrum belongs to its native
pixels, which are wider: interpolated to the grid it is shared by neighbours, and it enters the running mean by which
the spectrum was divided. Both are reproduced here from what is stored, flux and sigma over continuum on the grid.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from specdis.accelerator import ArrayLike, jax, jnp
from specdis.arrays import Array, Bool, Float32, Float64
from specdis.spectra import SPEED_OF_LIGHT, PixelGrid, SpectraSettings, among_native, native_position

Noise = Literal["native", "paper"]

NOISIER = (1.3, 4.0)
"""How many times as noisy as their spectra the copies for training are, least and most (decision 10)."""


class NativePlaces(NamedTuple):
    """Where the pixels of the grid lie among the native pixels of all arms, laid end to end.

    Every arm is widened on either side by half a running mean; beyond the data its last native pixel is repeated, as
    the running mean does.

    Parameters
    ----------
    lower
        Native pixel below each pixel, int32, shape (star, widened pixel).
    weight
        Share of the native pixel above it, float32, shape (star, widened pixel).
    inside
        False beyond the data, shape (star, widened pixel).
    """

    lower: Array
    weight: Float32
    inside: Bool


def native_places(grid: PixelGrid, velocity: Float64, half: int) -> NativePlaces:
    """Place the grid among the native pixels of stars.

    Parameters
    ----------
    grid
        The grid and its arms.
    velocity
        Velocity in km/s with which the stars were brought to rest, shape (star,).
    half
        Pixels by which every arm is widened.
    """
    to_rest = 1 - np.nan_to_num(velocity)[:, None] / SPEED_OF_LIGHT
    lower, weight, inside, first = [], [], [], 0
    for arm in grid.arms:
        last = len(arm.native) - 1
        exact = native_position(arm.native, grid.widened(arm, half) / to_rest)
        position = np.clip(exact, 0, last)
        below = np.minimum(position.astype(np.int32), last - 1)
        lower.append(below + first)
        weight.append((position - below).astype(np.float32))
        inside.append(among_native(arm.native, exact))
        first += len(arm.native)
    return NativePlaces(np.concatenate(lower, 1), np.concatenate(weight, 1), np.concatenate(inside, 1))


def perturber(
    grid: PixelGrid, settings: SpectraSettings, n_draws: int, noise: Noise
) -> Callable[[ArrayLike, ArrayLike, ArrayLike, NativePlaces, ArrayLike], jax.Array]:
    """Compile the drawing of perturbed spectra.

    Parameters
    ----------
    grid
        The grid and its arms.
    settings
        The running mean by which the spectra were divided.
    n_draws
        Versions of each spectrum.
    noise
        `native` for noise at the native pixels, `paper` for independent noise at the pixels of the grid.

    Returns
    -------
    callable
        Takes flux, sigma, bad (star, pixel), the places, and one random key per star (uint32, (star, 2)); returns
        perturbed flux, shape (star, draw, pixel). Bad pixels stay as they are.
    """
    n_native = sum(len(arm.native) for arm in grid.arms)
    half = settings.continuum_half

    def one(
        flux: jax.Array, sigma: jax.Array, bad: jax.Array, places: tuple[jax.Array, ...], key: jax.Array
    ) -> jax.Array:
        random = jax.random.wrap_key_data(key, impl="threefry2x32")
        scale = jnp.where(bad | ~jnp.isfinite(sigma), 0, sigma).astype(jnp.float32)
        flux = flux.astype(jnp.float32)
        if noise == "paper":
            return flux + scale * jax.random.normal(random, (n_draws, len(grid.wavelength)), jnp.float32)
        native = jax.random.normal(random, (n_draws, n_native), jnp.float32)
        parts, first = [], 0
        for arm in grid.arms:
            pixels, stop = slice(arm.start, arm.stop), first + arm.stop - arm.start + 2 * half
            lower, weight, inside = (column[first:stop] for column in places)
            below, above = native[:, lower], native[:, lower + 1]
            drawn = below + weight * (above - below)
            parts.append(perturbed_arm(flux[pixels], scale[pixels], bad[pixels], drawn, inside))
            first = stop
        return jnp.concatenate(parts, axis=1)

    def perturbed_arm(
        flux: jax.Array, scale: jax.Array, bad: jax.Array, drawn: jax.Array, inside: jax.Array
    ) -> jax.Array:
        """Add the drawn noise, shape (draw, widened pixel), to an arm and to its running mean."""
        arm = slice(half, half + len(flux))
        first, last = jnp.argmax(inside[arm]), len(flux) - 1 - jnp.argmax(inside[arm][::-1])
        # Beyond what is stored sigma is that of the last pixel of the data.
        nearest = jnp.clip(jnp.arange(-half, len(flux) + half), first, last)
        counted = inside & ~bad[nearest] if settings.continuum_masked else jnp.ones_like(inside)
        share = jnp.where(counted, scale[nearest], 0)
        change = _window_sums(share * drawn, half) / jnp.maximum(_window_sums(counted, half), 1)
        return (flux + scale * drawn[:, arm]) / (1 + change)

    return jax.jit(jax.vmap(one))


def noisier(
    grid: PixelGrid, settings: SpectraSettings
) -> Callable[[ArrayLike, ArrayLike, ArrayLike, NativePlaces, ArrayLike, ArrayLike], jax.Array]:
    """Compile the making of copies of spectra with more noise than these have.

    Parameters
    ----------
    grid, settings
        As in `perturber`.

    Returns
    -------
    callable
        Takes what the one of `perturber` takes, and places between 0 and 1 in the logarithm of the range `NOISIER`,
        shape (star,); returns flux, shape (star, pixel).
    """
    perturb = perturber(grid, settings, 1, "native")
    least, most = NOISIER

    @jax.jit
    def copies(
        flux: jax.Array, sigma: jax.Array, bad: jax.Array, places: NativePlaces, keys: jax.Array, chance: jax.Array
    ) -> jax.Array:
        factor = least * (most / least) ** chance.astype(jnp.float32)
        added = sigma.astype(jnp.float32) * jnp.sqrt(factor**2 - 1)[:, None]
        return perturb(flux, added, bad, places, keys)[:, 0]

    return copies


def _window_sums(values: jax.Array, half: int) -> jax.Array:
    """Return sums over 2 half + 1 neighbours along the last axis, which gets shorter by 2 half."""
    sums = jnp.cumsum(values.astype(jnp.float32), axis=-1)
    sums = jnp.concatenate([jnp.zeros_like(sums[..., :1]), sums], axis=-1)
    width = 2 * half + 1
    return sums[..., width:] - sums[..., :-width]
