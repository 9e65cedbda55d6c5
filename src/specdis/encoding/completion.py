"""Missing pixels: estimated from good ones with the components as prior."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from specdis.components import Basis
from specdis.jaxed import jax, jnp

SHARED = 0.6
"""Independent values per pixel of the grid: neighbours share the noise of native pixels."""
UNHELD = 0.3
"""See `Completer`: chosen so that spectra of which pixels are masked differ from whole ones as they are said to."""


class Completion(NamedTuple):
    """What the pixels that a spectrum has say of its coefficients, with those that it lacks estimated from them.

    A spectrum x is taken for the components times coefficients z of variances `eigenvalues`, plus a noise that is alike
    in all pixels (probabilistic principal components, Tipping & Bishop 1999). The missing pixels are then expected at
    E_b z, where z is the least-squares solution on the good pixels with the eigenvalues as prior, and the coefficients
    of the completed spectrum are E_g x_g + E_b E_b^T z. Of a spectrum without missing pixels they are those of Eq. 2.

    Parameters
    ----------
    hidden
        H = E_b E_b^T of the missing pixels, shape (component, component): the share of each component that is not seen.
    root
        W, lower triangular, shape (component, component): s^2 W^T W is the covariance of z. In double precision: what
        is hardly seen of a component is a difference of large numbers.
    noise
        s^2, the variance that noise gives a coefficient: that of a pixel over its share of independent values, and what
        the components do not hold.
    mean
        E_b times the missing pixels of the subtracted mean spectrum, (component,).
    square
        Their sum of squares, and that of the noise and of what is not known of the missing pixels.
    pixel_noise
        Variance of the noise of a pixel.
    shrink
        What the norm multiplies the completed spectrum by.
    """

    hidden: jax.Array
    root: jax.Array
    noise: jax.Array
    pixel_noise: jax.Array
    mean: jax.Array
    square: jax.Array
    shrink: jax.Array

    def solve(self, seen: jax.Array) -> jax.Array:
        """Return z of the good pixels' part of the coefficients, both of shape (..., component)."""
        return (seen @ self.root.T) @ self.root

    def complete(self, seen: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the coefficients of completed spectra and the expected sum of squares of the missing pixels.

        Parameters
        ----------
        seen
            E_g times the good pixels less their mean, shape (..., component).
        """
        z = self.solve(seen)
        hidden = z @ self.hidden
        added = (hidden * z).sum(-1) + 2 * z @ self.mean + self.square
        return (seen + hidden).astype(jnp.float32), added.astype(jnp.float32)

    def spread(self, slopes: jax.Array) -> jax.Array:
        """Return the variance of answers that is due to what is not known of the missing pixels, shape (...).

        Their own noise is not part of it, and the norm is held fixed.

        Parameters
        ----------
        slopes
            Derivatives of the answers with the coefficients, shape (..., component).
        """
        unknown = (((slopes @ self.hidden) @ self.root.T) ** 2).sum(-1)
        return (self.shrink**2 * self.noise * unknown).astype(jnp.float32)

    def widening(self, slopes: jax.Array) -> jax.Array:
        """Return what an answer for whole spectra gains in variance where pixels are missing, shape (...).

        The answer for a spectrum that lacks pixels is the mean of those for all spectra that it can be part of. These
        differ by what is not known of the missing pixels and by the noise that the pixels would have had.

        Parameters
        ----------
        slopes
            As in `spread`.
        """
        own = self.shrink**2 * self.noise * ((slopes @ self.hidden) * slopes).sum(-1)
        return self.spread(slopes) + own.astype(jnp.float32)

    def versions(self, normal: jax.Array) -> jax.Array:
        """Turn normal numbers into equally likely deviations of the coefficients, both of shape (..., component).

        Their covariance is that of `spread`.
        """
        return (self.shrink * jnp.sqrt(self.noise) * ((normal @ self.root) @ self.hidden)).astype(jnp.float32)


class Completer(NamedTuple):
    """The way from transformed spectra that lack pixels to the coefficients that they would have with them.

    Parameters
    ----------
    basis
        The components.
    estimated
        Whether missing pixels are estimated; otherwise they are the zeros that the transform left there.
    unit_norm
        Whether spectra are unit vectors: then the completed ones are, too.
    independent
        Independent values of noise per pixel.
    unheld
        Variance of a coefficient by what the components do not hold of spectra, in units of the least eigenvalue. It
        is no noise of single pixels: whole features are missing.
    """

    basis: Basis
    estimated: bool
    unit_norm: bool
    independent: float = SHARED
    unheld: float = UNHELD

    @property
    def completes(self) -> bool:
        """Whether missing pixels can be and are estimated."""
        return self.estimated and self.basis.vectors is not None

    def completion(self, spectrum: jax.Array, bad: jax.Array) -> Completion | None:
        """Return what completes one spectrum, shape (pixel,), of which `bad` pixels, (pixel,), are missing.

        The noise is found from the residual of the good pixels, whatever errors are claimed.
        """
        basis = self.basis
        if not self.completes or basis.vectors is None:
            return None
        hidden, seen = sum_of_products(jnp.asarray(basis.vectors.T), bad), self.seen(spectrum, bad)
        square = (jnp.where(bad, 0, spectrum - basis.mean) ** 2).sum()
        freedom = jnp.maximum((~bad).sum() - basis.n_components, 1).astype(jnp.float32)
        left = max(basis.total - basis.eigenvalues.sum(), basis.total * 1e-6)
        typical = jnp.float64(left / len(basis.mean))

        def refine(pixel: jax.Array, _: None) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
            root = self._root(hidden, pixel)
            z = (seen @ root.T) @ root
            residual = square - 2 * z @ seen + z @ z - z @ (hidden @ z)
            return jnp.maximum(residual / freedom, 1e-3 * typical), (pixel, root)

        # Once with typical noise, once with the noise that is found so: a loop, so that it is compiled once.
        _, (pixels, roots) = jax.lax.scan(refine, typical, None, length=2)
        found = self._completion(bad, hidden, roots[-1], pixels[-1])
        return found._replace(shrink=self._shrink(found.complete(seen)[1]))

    def again(self, bad: jax.Array, pixel_noise: jax.Array, shrink: jax.Array) -> Completion:
        """Return the completion of which `pixel_noise` and `shrink` are known, without the spectrum; `bad` as above."""
        assert self.basis.vectors is not None
        hidden = sum_of_products(jnp.asarray(self.basis.vectors.T), bad)
        return self._completion(bad, hidden, self._root(hidden, pixel_noise), pixel_noise)._replace(shrink=shrink)

    def _shared(self, pixel: jax.Array) -> jax.Array:
        """Return the variance that noise gives a coefficient."""
        return jnp.asarray(pixel / self.independent + self.unheld * self.basis.eigenvalues[-1])

    def _root(self, hidden: jax.Array, pixel: jax.Array) -> jax.Array:
        """Return the root of `Completion`, in double precision.

        Components that are not seen at all have next to no precision but that of their prior.
        """
        least = self.basis.eigenvalues[0] * _LEAST_EIGENVALUE
        prior = jnp.asarray(1 / np.maximum(self.basis.eigenvalues, least), jnp.float32)
        precision = (1 + _ROUNDING) * jnp.eye(len(prior)) - hidden + jnp.diag(self._shared(pixel) * prior)
        return inverse_of_triangle(jnp.linalg.cholesky(precision))

    def _completion(self, bad: jax.Array, hidden: jax.Array, root: jax.Array, pixel: jax.Array) -> Completion:
        """Return the completion before the norm."""
        assert self.basis.vectors is not None
        missing, noise = jnp.where(bad, jnp.asarray(self.basis.mean), 0), self._shared(pixel)
        square = (missing**2).sum() + pixel * bad.sum() + noise * ((root @ hidden) * root).sum()
        of_mean = missing @ jnp.asarray(self.basis.vectors.T)
        return Completion(hidden, root, noise, pixel, of_mean, square, jnp.ones(()))

    def seen(self, spectra: jax.Array, bad: jax.Array) -> jax.Array:
        """Return E_g times the good pixels less their mean, (..., component), of spectra, (..., pixel)."""
        if self.basis.vectors is None:
            return jnp.asarray(jnp.where(bad, 0, spectra - self.basis.mean))
        return jnp.asarray(spectra @ self.basis.vectors.T - self._of_mean(bad))

    def _of_mean(self, bad: jax.Array) -> jax.Array:
        """Return the part of the coefficients, (component,), that is due to the good pixels of the mean spectrum."""
        if self.basis.vectors is None or not self.basis.mean.any():
            return jnp.zeros((), jnp.float32)
        return jnp.asarray(jnp.where(bad, 0, self.basis.mean) @ self.basis.vectors.T)

    def coefficients(self, spectra: jax.Array, bad: jax.Array, completion: Completion | None) -> jax.Array:
        """Return the coefficients of spectra that lack the same pixels.

        Parameters
        ----------
        spectra
            Of the transform, 0 where bad, shape (..., pixel).
        bad
            Missing pixels, shape (pixel,).
        completion
            What completes them.

        Returns
        -------
        Array, shape (..., component)
        """
        if completion is None:
            return self.basis.project(spectra)
        found, added = completion.complete(self.seen(spectra, bad))
        if not self.unit_norm:
            return found
        offset = self._of_mean(jnp.zeros_like(bad))
        return self._shrink(added)[..., None] * (found + offset) - offset

    def _shrink(self, added: jax.Array) -> jax.Array:
        """Return the factor that normalises completed spectra, from the sum of squares of their estimated pixels."""
        return jax.lax.rsqrt(1 + jnp.maximum(added, 0)) if self.unit_norm else jnp.ones_like(added)


_LEAST_EIGENVALUE = 1e-7
"""Of the largest one: less is rounding."""
_ROUNDING = 2e-6
"""What single precision leaves of one in the sum of products over all pixels."""
_ROWS = 64
"""Pixels whose products are summed at once."""


def sum_of_products(vectors: jax.Array, chosen: jax.Array) -> jax.Array:
    """Return the sum of v v^T over the chosen rows of (pixel, component); it costs what the chosen ones cost."""
    n_pixel, n_component = vectors.shape
    padded = -(-n_pixel // _ROWS) * _ROWS
    place = jnp.where(chosen, jnp.cumsum(chosen) - 1, padded)
    index = jnp.full(padded, n_pixel, jnp.int32).at[place].set(jnp.arange(n_pixel, dtype=jnp.int32), mode="drop")
    filled = jnp.concatenate([vectors, jnp.zeros((1, n_component), vectors.dtype)])

    def add(step: jax.Array, total: jax.Array) -> jax.Array:
        rows = filled[jax.lax.dynamic_slice_in_dim(index, step * _ROWS, _ROWS)]
        return total + rows.T @ rows

    steps = -(-chosen.sum() // _ROWS)
    total: jax.Array = jax.lax.fori_loop(0, steps, add, jnp.zeros((n_component, n_component), vectors.dtype))
    return total


def inverse_of_triangle(lower: jax.Array) -> jax.Array:
    """Return the inverse of a lower triangular matrix.

    Inverses of the blocks on the diagonal grow from single elements, all blocks of a size at once: on a CPU a hundred
    times as fast as the library's solver, which is made for large matrices.
    """
    length = len(lower)
    size = 1 << (length - 1).bit_length()
    full = jnp.eye(size, dtype=lower.dtype).at[:length, :length].set(lower)
    blocks = 1 / jnp.diag(full)[:, None, None]
    while len(blocks) > 1:
        count, side = len(blocks) // 2, blocks.shape[1]
        numbers = np.arange(count)
        pairs = full.reshape(count, 2 * side, count, 2 * side)[numbers, :, numbers, :]
        above, below = blocks[0::2], blocks[1::2]
        corner = -below @ pairs[:, side:, :side] @ above
        upper = jnp.concatenate([above, jnp.zeros_like(above)], axis=2)
        blocks = jnp.concatenate([upper, jnp.concatenate([corner, below], axis=2)], axis=1)
    return blocks[0, :length, :length]
