"""Perturbed versions of a spectrum, for the Monte-Carlo error (section 3.3.1).

The paper draws noise independently at every pixel of the grid. The noise of a real spectrum belongs to its native
pixels, which are wider: interpolated to the grid it is shared by neighbours, and it enters the running mean by which
the spectrum was divided. Both are reproduced here from what is stored, flux and sigma over continuum on the grid.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from specdis.accelerator import ArrayLike, jax, jnp
from specdis.arrays import Array, Float32, Float64
from specdis.spectra import SPEED_OF_LIGHT, PixelGrid, native_position

Noise = Literal["native", "paper"]


class NativePlaces(NamedTuple):
    """Where the pixels of the grid lie among the native pixels of all arms, laid end to end.

    Parameters
    ----------
    lower
        Native pixel below each pixel of the grid, int32, shape (star, pixel).
    weight
        Share of the native pixel above it, float32, shape (star, pixel).
    """

    lower: Array
    weight: Float32


def native_places(grid: PixelGrid, velocity: Float64) -> NativePlaces:
    """Place the grid among the native pixels of stars whose rest frame was reached with `velocity`, km/s, (star,)."""
    shift = 1 - np.nan_to_num(velocity)[:, None] / SPEED_OF_LIGHT
    lower, weight, first = [], [], 0
    for arm in grid.arms:
        last = len(arm.native) - 1
        position = np.clip(native_position(arm.native, grid.wavelength[arm.start : arm.stop] / shift), 0, last)
        below = np.minimum(position.astype(np.int32), last - 1)
        lower.append(below + first)
        weight.append((position - below).astype(np.float32))
        first += len(arm.native)
    return NativePlaces(np.concatenate(lower, 1), np.concatenate(weight, 1))


def perturber(
    grid: PixelGrid, continuum_width: float, n_draws: int, noise: Noise
) -> Callable[[ArrayLike, ArrayLike, ArrayLike, NativePlaces, ArrayLike], jax.Array]:
    """Compile the drawing of perturbed spectra.

    Parameters
    ----------
    grid
        The grid and its arms.
    continuum_width
        Width of the running mean in Angstrom.
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
    half = round((continuum_width / grid.step - 1) / 2)

    def one(flux: jax.Array, sigma: jax.Array, bad: jax.Array, places: NativePlaces, key: jax.Array) -> jax.Array:
        random = jax.random.wrap_key_data(key, impl="threefry2x32")
        scale = jnp.where(bad | ~jnp.isfinite(sigma), 0, sigma).astype(jnp.float32)
        flux = flux.astype(jnp.float32)
        if noise == "paper":
            return flux + scale * jax.random.normal(random, (n_draws, len(grid.wavelength)), jnp.float32)
        native = jax.random.normal(random, (n_draws, n_native), jnp.float32)
        below, above = native[:, places.lower], native[:, places.lower + 1]
        change = scale * (below + places.weight * (above - below))
        return (flux + change) / (1 + _continuum_change(change, grid, half))

    return jax.jit(jax.vmap(one))


def _continuum_change(change: jax.Array, grid: PixelGrid, half: int) -> jax.Array:
    """Return the relative change of the running mean, arm by arm, shape (draw, pixel)."""
    parts = []
    for arm in grid.arms:
        padded = jnp.pad(change[:, arm.start : arm.stop], ((0, 0), (half + 1, half)), mode="edge")
        sums = jnp.cumsum(padded, axis=1)
        sums = sums - sums[:, :1]
        parts.append((sums[:, 2 * half + 1 :] - sums[:, : -2 * half - 1]) / (2 * half + 1))
    return jnp.concatenate(parts, axis=1)
