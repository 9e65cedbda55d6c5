"""Principal components of all selected spectra in one streaming pass (section 3.1, Eq. 2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import PositiveInt
from scipy.linalg import eigh
from scipy.sparse.linalg import eigsh

from specdis import rng
from specdis.arrays import Array, Float32, Float64, ranges
from specdis.errors import InputError
from specdis.jaxed import ArrayLike, jax, jnp
from specdis.settings import Settings
from specdis.spectra.pixels import Pixels
from specdis.spectra.transform import Transform

_BAND = 1024
"""Rows of the matrix of second moments summed at a time."""
_QUANTA = 2.0**24


class ComponentsSettings(Settings):
    """Section [components]: section 3.1 of the paper."""

    kind: Literal["pca", "pixels"] = "pca"
    """Compression of the spectra; `pixels`, for ablation, means none."""
    n_components: PositiveInt = 100
    """Number of components; without effect for `pixels`."""
    centre: bool = False
    """Whether to subtract the mean spectrum first, unlike Eq. 2."""
    stars_max: PositiveInt | None = None
    """Largest number of stars used to find the components, in evenly spaced blocks of 2,048, at least one; without it,
    all selected stars."""


class Basis(NamedTuple):
    """Principal components, in decreasing order of eigenvalue.

    Parameters
    ----------
    vectors
        E of Eq. 2, orthonormal, float32, shape (component, pixel); the largest element of each is positive. None if
        every pixel is a component.
    eigenvalues
        Mean square of each coefficient over the stars, shape (component,).
    mean
        Spectrum subtracted first, shape (pixel,): zeros unless centred.
    total
        Mean sum of squares of the spectra; `eigenvalues` is the explained part.
    """

    vectors: Float32 | None
    eigenvalues: Float64
    mean: Float32
    total: float

    @property
    def n_components(self) -> int:
        """Length of the coefficients of a star."""
        return len(self.eigenvalues)

    @property
    def scale(self) -> float:
        """The one number by which all coefficients are divided before networks see them: their root mean square."""
        return float(np.sqrt(self.eigenvalues.mean()))

    def arrays(self) -> dict[str, Array]:
        """Return what is saved: `of` is the inverse."""
        return {name: np.asarray(values) for name, values in self._asdict().items() if values is not None}

    @classmethod
    def of(cls, arrays: Mapping[str, Array]) -> Basis:
        """Return a basis that was saved as `arrays`."""
        return cls(arrays.get("vectors"), arrays["eigenvalues"], arrays["mean"], float(arrays["total"]))

    @property
    def explained(self) -> float:
        """Fraction of the sum of squares that the components hold."""
        return float(self.eigenvalues.sum() / self.total)

    def project(self, spectra: jax.Array) -> jax.Array:
        """Return C of Eq. 2, shape (..., component), of transformed spectra, shape (..., pixel)."""
        centred = spectra - self.mean
        return centred if self.vectors is None else centred @ self.vectors.T

    def reconstruct(self, coefficients: jax.Array) -> jax.Array:
        """Return sum_j C_ij E_jk of Eq. 2, shape (..., pixel)."""
        return (coefficients if self.vectors is None else coefficients @ self.vectors) + self.mean


class Sums(NamedTuple):
    """Number of spectra, their sum and the sum of their products, float64: (), (pixel,) and (pixel, pixel).

    Below the diagonal the products are incomplete, since the matrix is symmetric.
    """

    stars: Any
    first: Any
    second: Any

    @classmethod
    def zero(cls, n_pixel: int) -> Sums:
        """Return empty sums."""
        return cls(*(jnp.zeros(shape, jnp.float64) for shape in ((), n_pixel, (n_pixel, n_pixel))))


class Vectors(NamedTuple):
    """Unit vectors of the spectra in a block, (star, pixel), zeros for ignored ones, and the number of the others."""

    spectra: jax.Array
    stars: jax.Array


def vectors_of(transform: Transform) -> Callable[[Pixels, ArrayLike], Vectors]:
    """Compile the step from pixels and the stars to use (star,) to the vectors to sum."""

    @jax.jit
    def vectors(pixels: Pixels, use: jax.Array) -> Vectors:
        use = use & ~pixels.bad[:, transform.kept].all(1)
        return Vectors(jnp.where(use[:, None], transform(pixels.flux, pixels.bad), 0), use.sum())

    return vectors


@partial(jax.jit, donate_argnums=0)
def add_moments(sums: Sums, vectors: Vectors) -> Sums:
    """Add the moments of a block to the sums, whose memory is reused.

    Products are computed in float32 and summed in float64, so that memory is flat in the number of stars. Only bands
    from the diagonal on are computed, little more than half of the symmetric matrix. The products of a block are
    rounded to 2^-24 of a unit vector, the precision of float32: float64 adds such numbers exactly, so sums do not
    depend on the order of the blocks or on the workers.
    """
    spectra, second = vectors.spectra, jnp.asarray(sums.second)

    def exact(products: jax.Array) -> jax.Array:
        return jnp.round(products.astype(jnp.float64) * _QUANTA) / _QUANTA

    for band in ranges(spectra.shape[1], _BAND):
        second = second.at[band, band.start :].add(exact(spectra[:, band].T @ spectra[:, band.start :]))
    return Sums(sums.stars + vectors.stars, sums.first + exact(spectra.sum(0, dtype=jnp.float64)), second)


def basis_of_moments(sums: Sums, settings: ComponentsSettings) -> Basis:
    """Return the principal components of the summed spectra; the memory of the sums is reused.

    Raises
    ------
    InputError
        When there are fewer stars or pixels than components; subtracting the mean costs one star.
    """
    n_stars, n_pixel = int(sums.stars), len(sums.first)
    wanted, available = settings.n_components, min(n_stars - settings.centre, n_pixel)
    if settings.kind == "pca" and available < wanted:
        raise InputError(
            "components.n_components",
            expected=f"at least {wanted} stars with spectra of at least {wanted} pixels",
            found=f"{n_stars} stars, {n_pixel} pixels",
            remedy=f"Set components.n_components to {available} or fewer, or select more stars.",
        )
    mean = np.asarray(sums.first) / n_stars if settings.centre else np.zeros(n_pixel)
    covariance = np.asarray(_covariance(jnp.asarray(sums.second), n_stars, jnp.asarray(mean)))
    total = float(np.trace(covariance))
    if settings.kind == "pixels":
        return Basis(None, np.diag(covariance).copy(), mean.astype(np.float32), total)
    eigenvalues, vectors = _leading_eigenvectors(covariance, wanted)
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(1)[:, None], 1)
    signed = (vectors * np.sign(largest)).astype(np.float32)
    return Basis(signed, np.maximum(eigenvalues, 0), mean.astype(np.float32), total)


@partial(jax.jit, donate_argnums=0)
def _covariance(second: jax.Array, n_stars: ArrayLike, mean: jax.Array) -> jax.Array:
    """Return the covariance matrix from its upper-triangular sums."""
    return (jnp.triu(second) + jnp.triu(second, 1).T) / n_stars - jnp.outer(mean, mean)


def _leading_eigenvectors(matrix: Float64, count: int) -> tuple[Float64, Float64]:
    """Return the largest eigenvalues of a symmetric matrix, (count,), and eigenvectors, (count, pixel), largest first.

    Lanczos iterations to machine precision (ARPACK) are several times faster than a full decomposition of thousands
    of pixels; the fixed start makes them repeatable.
    """
    if 2 * count >= len(matrix):
        eigenvalues, vectors = eigh(matrix, subset_by_index=(len(matrix) - count, len(matrix) - 1))
    else:
        start = rng.generator(0, "lanczos").standard_normal(len(matrix))
        eigenvalues, vectors = eigsh(matrix, count, which="LA", v0=start)
    return eigenvalues[::-1], vectors.T[::-1]
