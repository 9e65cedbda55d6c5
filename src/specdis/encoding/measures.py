"""Measures of the residual of a spectrum, for the domain."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from specdis.arrays import Float64, Int64
from specdis.components import Basis
from specdis.encoding.completion import SHARED
from specdis.jaxed import jax, jnp
from specdis.spectra.grid import PixelGrid
from specdis.spectra.normalise import running_mean
from specdis.spectra.transform import Transform
from specdis.surveys.wavelengths import air_to_vacuum

LAGS = ((3.0, 3.0), (3.0, 9.0))
"""Ranges of separation of pixels whose residuals are multiplied, Angstrom: beyond the shared noise of native pixels
up to 1.5 A wide. The first is sensitive to features as wide as lines, the second to broader ones."""
_SWAN = (
    ((4382.5, 0.5),),
    ((4737.1, 1.0), (4715.2, 0.5), (4697.6, 0.3)),
    ((5165.2, 1.0), (5129.3, 0.5)),
    ((5635.5, 1.0), (5585.5, 0.5), (5540.7, 0.3)),
    ((6191.2, 0.3), (6122.1, 0.2)),
)
"""Heads of the Swan bands of C2 by sequence, Angstrom in air (Pearse & Gaydon 1976), with rough relative depths."""
_SWAN_LENGTH = 80.0
"""Scale over which a band fades by e to the violet of its head, Angstrom: rotational lines at a few thousand kelvin."""
_SWAN_EDGE = 1.5
"""Width of the rise of a head, Angstrom: the resolution of a survey."""
_BEND = 1.5
"""Separation of the pixels for the second derivative, Angstrom."""


def structure_of(residual: jax.Array, missing: jax.Array, beyond: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """Return the mean product of residuals and its error, shape (2,)."""
    products = residual * beyond(residual)
    pairs = jnp.maximum(jnp.where(missing, 0, beyond((~missing).astype(residual.dtype))).sum(), 1)
    return jnp.stack([products.sum(), jnp.sqrt((products**2).sum() / SHARED)]) / pairs


def sums_beyond(transform: Transform, least: int, most: int) -> Callable[[jax.Array], jax.Array]:
    """Return a function that sums values of kept pixels, (pixel,), over a range of pixels beyond each."""
    kept = np.asarray(transform.kept)
    first, last = (np.searchsorted(kept, kept + pixels) for pixels in (least, most + 1))

    def sums(values: jax.Array) -> jax.Array:
        total = jnp.concatenate([jnp.zeros(1, values.dtype), jnp.cumsum(values)])
        return jnp.asarray(total[last] - total[first])

    return sums


def _pairs(transform: Transform, lag: int) -> Int64:
    """Return the indices of kept pixels that have another kept pixel `lag` pixels and `lag` indices after them."""
    kept = np.asarray(transform.kept)
    return np.flatnonzero(kept[lag:] - kept[:-lag] == lag)


def curvature(transform: Transform, basis: Basis, grid: PixelGrid, rebuilt: jax.Array, missing: jax.Array) -> jax.Array:
    """Return the derivative of a spectrum with the squared width of its lines, per square Angstrom, (pixel,).

    A Gaussian of sigma s convolved with a spectrum x changes it by s^2/2 times its second derivative. The
    projection on the components is subtracted, as in the residual.
    """
    step = grid.pixels(_BEND)
    middle = np.intersect1d(_pairs(transform, step), _pairs(transform, step) + step)
    weight = jnp.ones_like(rebuilt) if transform.weight is None else jnp.asarray(transform.weight)
    plain = rebuilt / weight
    bend = (plain[middle - step] - 2 * plain[middle] + plain[middle + step]) / (step * grid.step) ** 2
    curve = jnp.where(missing, 0, jnp.zeros_like(rebuilt).at[middle].set(bend / 2) * weight)
    if basis.vectors is None:
        return curve
    return jnp.where(missing, 0, curve - (curve @ basis.vectors.T) @ basis.vectors)


def swan_bands(transform: Transform, basis: Basis, grid: PixelGrid, half: int) -> Float64:
    """Return the change of a transformed spectrum by weak Swan bands of C2, (kept pixel,), up to a factor.

    Flux over continuum is close to 1, so that the change is the optical depth minus its running mean, arm by arm. The
    projection on the components is subtracted.

    Parameters
    ----------
    half
        Pixels of the running mean on either side of its centre.
    """
    change = np.zeros(len(grid.wavelength))
    for arm in grid.arms:
        wide = grid.widened(arm, half)
        depth, covered = swan_depth(wide), (wide >= arm.native[0]) & (wide <= arm.native[-1])
        mean, _ = running_mean(depth[None], half, covered[None])
        change[arm.start : arm.stop] = mean[0] - depth[half : len(wide) - half]
    change = change[transform.kept] * (1.0 if transform.weight is None else transform.weight)
    if basis.vectors is None:
        return change
    return np.asarray(change - (basis.vectors @ change) @ basis.vectors)


def swan_depth(wavelength: Float64) -> Float64:
    """Return the optical depth of the Swan bands of C2 at vacuum wavelengths in Angstrom, (pixel,), up to a factor."""
    heads, strengths = np.array([band for sequence in _SWAN for band in sequence]).T
    redward = wavelength - air_to_vacuum(heads)[:, None]
    fading = np.exp(np.minimum(redward, 0) / _SWAN_LENGTH)
    return np.asarray(strengths @ (fading / (1 + np.exp(np.clip(redward / _SWAN_EDGE, -30, 30)))))
