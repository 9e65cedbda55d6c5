"""What is done to stored pixels: mean, signed logarithm (Eq. 1), unit norm and weights, in JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from specdis.arrays import Array
from specdis.jaxed import ArrayLike, in_tiles, jax, jnp
from specdis.spectra.settings import SpectraSettings


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

    @classmethod
    def of(cls, settings: SpectraSettings, kept: Array, weight: Array | None = None) -> Transform:
        """Return the transform that a configuration asks for, on the pixels that were kept, with their weights."""
        return cls(kept, settings.subtract_mean, settings.signed_log, settings.unit_norm, weight)

    def __call__(self, flux: ArrayLike, bad: ArrayLike) -> jax.Array:
        """Transform spectra: pure, differentiable, and the only road from pixels to components.

        Parameters
        ----------
        flux
            Flux over continuum, shape (star, pixel).
        bad
            Bad pixels, shape (star, pixel); they are 0 throughout; `encoding.completion.Completion` estimates them.

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
