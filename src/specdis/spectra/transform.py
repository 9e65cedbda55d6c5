"""The transform of stored pixels: mean, signed logarithm (Eq. 1), unit norm and weights, in JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from specdis.arrays import Array
from specdis.jaxed import ArrayLike, in_tiles, jax, jnp
from specdis.spectra.settings import SpectraSettings


class Transform(NamedTuple):
    """The steps from stored pixels to unit vectors, with the pixel mask.

    Parameters
    ----------
    kept
        Indices of the pixels not removed for all stars, shape (kept pixel,).
    subtract_mean, signed_log, unit_norm
        The steps of section 2.4; each can be switched off.
    weight
        Weight of each pixel after Eq. 1, the inverse of its typical noise, shape (kept pixel,). None for equal weights.
    """

    kept: Array
    subtract_mean: bool = True
    signed_log: bool = True
    unit_norm: bool = True
    weight: Array | None = None

    @classmethod
    def of(cls, settings: SpectraSettings, kept: Array, weight: Array | None = None) -> Transform:
        """Make the transform of a configuration, for the kept pixels and their weights."""
        return cls(kept, settings.subtract_mean, settings.signed_log, settings.unit_norm, weight)

    def __call__(self, flux: ArrayLike, bad: ArrayLike) -> jax.Array:
        """Transform spectra; this function is pure, differentiable, and the only way from pixels to components.

        Parameters
        ----------
        flux
            Flux over continuum, shape (star, pixel).
        bad
            Bad pixels, shape (star, pixel), which are 0 in the result; `encoding.completion.Completion` estimates them.

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

        The change through the mean and the norm, smaller by the number of pixels, is neglected.
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
        """Return L of Eq. 1: the kept pixels minus their own mean over good pixels, 0 where bad."""
        values = flux.astype(jnp.float32)
        if self.subtract_mean:
            count = jnp.maximum((~bad).sum(), 1)
            values = values - jnp.where(bad, 0, values).sum() / count.astype(jnp.float32)
        return jnp.where(bad, 0, values)


def noise_sums(transform: Transform) -> Callable[[ArrayLike, ArrayLike, ArrayLike, ArrayLike], tuple[Any, Any]]:
    """Compile a function that sums the noise variance of each transformed pixel over stars.

    Returns
    -------
    callable
        Takes flux, sigma, bad (star, pixel) and the stars to use (star,); returns the sum of the variances and their
        number, both (kept pixel,).
    """

    @jax.jit
    def sums(flux: jax.Array, sigma: jax.Array, bad: jax.Array, use: jax.Array) -> tuple[jax.Array, jax.Array]:
        slope = in_tiles(transform.slope)(flux, bad)
        variance = (sigma[:, transform.kept].astype(jnp.float32) * slope) ** 2
        variance = jnp.where(use[:, None] & jnp.isfinite(variance), variance, 0)
        return variance.sum(0, dtype=jnp.float64), (variance > 0).sum(0)

    return sums
