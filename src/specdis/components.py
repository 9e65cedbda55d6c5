"""Principal components of all selected spectra in one streaming pass (section 3.1, Eq. 2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from pydantic import PositiveInt
from scipy.linalg import eigh
from scipy.sparse.linalg import eigsh

from specdis import streams
from specdis.accelerator import ArrayLike, jax, jnp
from specdis.arrays import Float32, Float64, ranges
from specdis.errors import InputError
from specdis.settings import Settings
from specdis.spectra import Transform

_TILE = 1024
_BAND = 1024
"""Rows of the matrix of second moments that are summed at a time."""


class ComponentsSettings(Settings):
    """Section [components]: section 3.1 of the paper."""

    kind: Literal["pca", "pixels"] = "pca"
    """How spectra are compressed; `pixels`, for ablation: not at all."""
    n_components: PositiveInt = 100
    """Number of components kept; no part of `pixels`."""
    centre: bool = False
    """Subtract the mean spectrum first; Eq. 2 does not."""


class Basis(NamedTuple):
    """Principal components, in decreasing order of eigenvalue.

    Parameters
    ----------
    vectors
        E of Eq. 2, orthonormal, float32, shape (component, pixel); the largest element of each is positive. None where
        every pixel is a component of its own.
    eigenvalues
        Mean square of each coefficient over the stars, shape (component,).
    mean
        Spectrum subtracted first, shape (pixel,): zeros unless centred.
    total
        Mean sum of squares of the spectra, of which `eigenvalues` is the part explained.
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
    def explained(self) -> float:
        """Fraction of the sum of squares that the components hold."""
        return float(self.eigenvalues.sum() / self.total)

    def project(self, spectra: jax.Array) -> jax.Array:
        """Return C of Eq. 2, shape (star, component), of transformed spectra, shape (star, pixel)."""
        centred = spectra - self.mean
        return centred if self.vectors is None else centred @ self.vectors.T

    def reconstruct(self, coefficients: jax.Array) -> jax.Array:
        """Return sum_j C_ij E_jk of Eq. 2, shape (star, pixel)."""
        return (coefficients if self.vectors is None else coefficients @ self.vectors) + self.mean


class Moments:
    """First and second moments of spectra that come block by block.

    Products are made in float32 in tiles of a fixed number of stars and summed in float64, so that memory is flat in
    the number of stars and the order of blocks matters only in the last digits. The matrix is symmetric: bands of it
    are summed from their diagonal on, which is little more than half the work.

    Parameters
    ----------
    n_pixel
        Length of a spectrum.
    """

    def __init__(self, n_pixel: int) -> None:
        self.n_stars = 0
        self.first = np.zeros(n_pixel)
        self.second = np.zeros((n_pixel, n_pixel))

    def add(self, spectra: Float32) -> None:
        """Add transformed spectra, shape (star, pixel)."""
        for rows in ranges(len(spectra), _TILE):
            tile = np.ascontiguousarray(spectra[rows], np.float32)
            for band in ranges(tile.shape[1], _BAND):
                self.second[band, band.start :] += tile[:, band].T @ tile[:, band.start :]
            self.first += tile.sum(0, dtype=np.float64)
            self.n_stars += len(tile)

    def basis(self, settings: ComponentsSettings) -> Basis:
        """Return the principal components; the moments are used up.

        Raises
        ------
        InputError
            When there are fewer stars or pixels than components; subtracting the mean costs one star.
        """
        wanted, available = settings.n_components, min(self.n_stars - settings.centre, len(self.first))
        if settings.kind == "pca" and available < wanted:
            raise InputError(
                "components.n_components",
                expected=f"at least {wanted} stars with spectra of at least {wanted} pixels",
                found=f"{self.n_stars} stars, {len(self.first)} pixels",
                remedy=f"Set components.n_components to {available} or fewer, or select more stars.",
            )
        for band in ranges(len(self.first), _BAND):
            self.second[band.stop :, band] = self.second[band, band.stop :].T
        covariance, mean = self.second, np.zeros_like(self.first)
        covariance /= self.n_stars
        if settings.centre:
            mean = self.first / self.n_stars
            covariance -= np.outer(mean, mean)
        total = float(np.trace(covariance))
        if settings.kind == "pixels":
            return Basis(None, np.diag(covariance).copy(), mean.astype(np.float32), total)
        eigenvalues, vectors = _leading_eigenvectors(covariance, wanted)
        largest = np.take_along_axis(vectors, np.abs(vectors).argmax(1)[:, None], 1)
        signed = (vectors * np.sign(largest)).astype(np.float32)
        return Basis(signed, np.maximum(eigenvalues, 0), mean.astype(np.float32), total)


def _leading_eigenvectors(matrix: Float64, count: int) -> tuple[Float64, Float64]:
    """Return the largest eigenvalues of a symmetric matrix, (count,), and eigenvectors, (count, pixel), largest first.

    Lanczos iterations to machine precision (ARPACK) are several times faster than a full decomposition of thousands
    of pixels; the fixed start makes them repeatable.
    """
    if 2 * count >= len(matrix):
        eigenvalues, vectors = eigh(matrix, subset_by_index=(len(matrix) - count, len(matrix) - 1))
    else:
        start = streams.generator(0, "lanczos").standard_normal(len(matrix))
        eigenvalues, vectors = eigsh(matrix, count, which="LA", v0=start)
    return eigenvalues[::-1], vectors.T[::-1]


class Encoded(NamedTuple):
    """Coefficients of spectra and how well the components hold them, one row per star.

    Parameters
    ----------
    coefficients
        C of Eq. 2, float32, shape (star, component).
    residual
        Sum of squares of R of Eq. 2, as a fraction of that of the spectrum, shape (star,).
    chi2
        Reduced chi-square of the reconstruction over good pixels, shape (star,); NaN without errors. Pixels of the
        grid are interpolated, so that neighbours share their noise: about 0.7 where noise alone is left.
    """

    coefficients: jax.Array
    residual: jax.Array
    chi2: jax.Array


def encoder(transform: Transform, basis: Basis) -> Callable[[ArrayLike, ArrayLike, ArrayLike], Encoded]:
    """Compile the way from stored pixels (flux, sigma, bad), shape (star, pixel), to coefficients.

    A sigma of NaN or 0 stands for a pixel without an error.
    """

    @jax.jit
    def encode(flux: jax.Array, sigma: jax.Array, bad: jax.Array) -> Encoded:
        spectra = transform(flux, bad)
        coefficients = basis.project(spectra)
        residual = jnp.where(bad[:, transform.kept], 0, spectra - basis.reconstruct(coefficients))
        error = sigma[:, transform.kept].astype(jnp.float32) * transform.slope(flux, bad)
        known = error > 0
        square = jnp.where(known, (residual / jnp.where(known, error, 1)) ** 2, 0).sum(1)
        freedom = known.sum(1) - basis.n_components
        chi2 = jnp.where(freedom > 0, square / jnp.maximum(freedom, 1), jnp.nan)
        return Encoded(coefficients, (residual**2).sum(1) / jnp.maximum((spectra**2).sum(1), 1e-30), chi2)

    return encode
