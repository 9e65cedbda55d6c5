"""Spectra of the mock's stars, interpolated in a grid of LTE model atmospheres in the package.

The grid (`tools/spectra_grid` computes it) holds principal components of ln(flux) at the resolution of DESI, a Gaussian
of 1.8 Angstrom FWHM, in vacuum and at rest. Their coefficients are splines of Teff, log g, [Fe/H] and [alpha/Fe].
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from scipy.interpolate import BSpline, make_interp_spline
from scipy.ndimage import spline_filter1d
from scipy.sparse import csr_array

from specdis.arrays import Array, Float32, Float64, ranges
from specdis.errors import InputError

LIGHT_SPEED = 299_792.458  # km/s
_STARS_PER_BLOCK = 64  # keeps a block of spectra within the processor's cache


def spectra(
    teff: Array,
    logg: Array,
    feh: Array,
    alphafe: Array,
    wavelength: Float64,
    velocity: Array | None = None,
) -> Float32:
    """Return the spectra of stars, as an instrument of DESI's resolution would see them without noise.

    Parameters
    ----------
    teff, logg, feh, alphafe
        Effective temperature in K, log10 of the gravity in cm s^-2, [Fe/H] and [alpha/Fe], each of shape (star,).
        Values outside the grid are clipped to it: 3500-12,000 K, log g from a floor that rises from 0 at 3500 K to
        2.5 at 12,000 K up to 5, [Fe/H] from -3 to 0.5 and [alpha/Fe] from 0 to 0.4.
    wavelength
        Observed wavelengths in vacuum, Angstrom, shape (pixel,).
    velocity
        Radial velocity in km/s, shape (star,): a line of rest wavelength w is at w (1 + v / c). Default: at rest.

    Returns
    -------
    ndarray of float32, shape (star, pixel)
        Flux per Angstrom, relative: the geometric mean over 5450-5550 Angstrom at rest is 1.

    Raises
    ------
    InputError
        If a wavelength at rest lies outside the grid, 3551-7678 Angstrom, or a parameter is not finite.
    """
    grid = load_grid()
    coefficients = grid.coefficients(teff, logg, feh, alphafe)
    log_wavelength = np.log(np.asarray(wavelength, dtype=np.float64))[None, :]
    if velocity is None:
        components = evaluate_spline(grid.splines, grid.position(log_wavelength))
        return np.asarray(np.exp(coefficients @ components[1:] + components[0]), dtype=np.float32)
    doppler = np.log1p(np.asarray(velocity, dtype=np.float64) / LIGHT_SPEED)
    flux = np.empty((len(coefficients), log_wavelength.size), dtype=np.float32)
    for block in ranges(len(flux), _STARS_PER_BLOCK):
        position = grid.position(log_wavelength - doppler[block, None])
        first, last = int(position.min()) - 1, int(position.max()) + 3
        window = grid.splines[:, first:last]
        # a fixed number of rows, on which the last digits of a product depend
        tile = np.zeros((_STARS_PER_BLOCK, coefficients.shape[1]), np.float32)
        tile[: len(position)] = coefficients[block]
        knots = (tile @ window[1:])[: len(position)] + window[0]
        flux[block] = np.exp(evaluate_spline(knots, position - first))
    return flux


@dataclass(frozen=True)
class SpectralGrid:
    """The grid in a form for fast evaluation.

    Parameters
    ----------
    axes
        Nodes of ln(Teff), gravity fraction, [Fe/H] and [alpha/Fe]. The gravity fraction is 0 at the lowest log g of
        a Teff and 1 at the highest.
    logg_floor
        Lowest log g at each node of Teff.
    logg_top
        Highest log g.
    weights
        Coefficients of the tensor-product spline, shape (node, component).
    log_start, log_step
        ln(wavelength) of the first pixel, and its step.
    splines
        Coefficients of cubic B-splines in ln(wavelength) of the mean ln(flux) and of its components, shape
        (1 + component, pixel).
    resolution
        Full width at half maximum of the spectra's Gaussian line spread, in Angstrom.
    """

    axes: tuple[Float64, ...]
    logg_floor: Float64
    logg_top: float
    weights: Float32
    log_start: float
    log_step: float
    splines: Float32
    resolution: float

    def coefficients(self, teff: Array, logg: Array, feh: Array, alphafe: Array) -> Float32:
        """Return the components' coefficients of stars, shape (star, component)."""
        log_teff = np.clip(np.log(teff, dtype=np.float64), self.axes[0][0], self.axes[0][-1])
        floor = np.interp(np.exp(log_teff), np.exp(self.axes[0]), self.logg_floor)
        gravity = (logg - floor) / (self.logg_top - floor)
        values = [log_teff, gravity, np.asarray(feh), np.asarray(alphafe)]
        if not all(np.isfinite(value).all() for value in values):
            raise InputError(
                "parameters of the mock's stars",
                expected="finite Teff, log g, [Fe/H] and [alpha/Fe]",
                found="NaN or infinity",
                remedy="Leave such stars out.",
            )
        coefficients = np.empty((len(log_teff), self.weights.shape[1]), dtype=np.float32)
        for block in ranges(len(coefficients), 1024):
            coefficients[block] = self._tensor_spline([value[block] for value in values]) @ self.weights
        return coefficients

    def _tensor_spline(self, values: list[Array]) -> csr_array:
        """Return the weight of every node for every star, shape (star, node), non-zero for neighbouring nodes only."""
        stars = len(values[0])
        column = np.zeros((stars, 1), dtype=np.int32)
        weight = np.ones((stars, 1), dtype=np.float32)
        for nodes, value in zip(self.axes, values, strict=True):
            degree = _degree(nodes)
            knots = make_interp_spline(nodes, nodes, k=degree).t
            one = BSpline.design_matrix(np.clip(value, nodes[0], nodes[-1]).astype(np.float64), knots, degree)
            neighbour = one.indices.reshape(stars, 1, degree + 1).astype(np.int32)
            column = (column[:, :, None] * len(nodes) + neighbour).reshape(stars, -1)
            share = one.data.reshape(stars, 1, degree + 1).astype(np.float32)
            weight = (weight[:, :, None] * share).reshape(stars, -1)
        rows = np.arange(stars + 1) * column.shape[1]
        return csr_array((weight.ravel(), column.ravel(), rows), shape=(stars, len(self.weights)))

    def position(self, log_wavelength: Float64) -> Float64:
        """Return the fractional pixels of ln(wavelength) at rest; a wavelength beyond the grid is an InputError."""
        position = (log_wavelength - self.log_start) / self.log_step
        last = self.splines.shape[1] - 3
        if position.min() >= 1.0 and position.max() < last:
            return position
        ends = np.exp(self.log_start + self.log_step * np.array([1, last, position.min(), position.max()]))
        raise InputError(
            "wavelengths of the mock's spectra",
            expected=f"{ends[0]:.0f} to {ends[1]:.0f} Angstrom at rest",
            found=f"{ends[2]:.0f} to {ends[3]:.0f}",
            remedy="Ask for fewer pixels or lower velocities.",
        )


@cache
def load_grid() -> SpectralGrid:
    """Read the grid from the package, once."""
    with (files("specdis") / "data" / "spectra_grid.npz").open("rb") as file, np.load(file) as stored:
        arrays = {name: stored[name] for name in stored.files}
    axes = (np.log(arrays["teff"]), arrays["gravity"], arrays["feh"], arrays["alphafe"])
    weights = arrays["coefficients"] * (arrays["coefficient_step"] * arrays["component_step"])
    for axis, nodes in enumerate(axes):
        weights = np.moveaxis(make_interp_spline(nodes, weights, k=_degree(nodes), axis=axis).c, 0, axis)
    rows = np.concatenate([arrays["mean"][None, :], arrays["components"].astype(np.float64)])
    log_start, log_step = arrays["log_wavelength"]
    return SpectralGrid(
        axes=axes,
        logg_floor=arrays["logg_floor"],
        logg_top=float(arrays["logg_top"]),
        weights=np.ascontiguousarray(weights.reshape(-1, weights.shape[-1]), dtype=np.float32),
        log_start=float(log_start),
        log_step=float(log_step),
        splines=spline_filter1d(rows, order=3, axis=1, mode="mirror").astype(np.float32),
        resolution=float(arrays["resolution"]),
    )


def _degree(nodes: Float64) -> int:
    return min(3, len(nodes) - 1)


def evaluate_spline(coefficients: Float32, position: Float64) -> Float32:
    """Evaluate cubic B-splines on unit knots, shape (row, knot), at positions of shape (row or 1, pixel)."""
    index = position.astype(np.int32)
    after = (position - index).astype(np.float32)
    before = 1.0 - after
    outer = before * before * before / 6.0, after * after * after / 6.0
    inner = 2.0 / 3.0 - after * after * (1.0 - 0.5 * after), 2.0 / 3.0 - before * before * (1.0 - 0.5 * before)
    first = index - 1 + np.arange(len(coefficients), dtype=np.int32)[:, None] * coefficients.shape[1]
    flat = coefficients.ravel()
    total: Float32 = outer[0] * flat.take(first)
    total += inner[0] * flat.take(first + 1)
    total += inner[1] * flat.take(first + 2)
    total += outer[1] * flat.take(first + 3)
    return total
