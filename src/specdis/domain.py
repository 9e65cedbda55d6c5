"""The domain of a model: the range of spectra that it was trained on.

Four measures find spectra that differ from those of the training: the residual beyond the noise, the excess width or
sharpness of the lines, the strength of the bands of C2, and the distance of the coefficients from those of every
training star. A fifth finds spectra that are consistent with pure noise. None depends on the S/N, because the noise is
measured from the residual of the spectrum itself. So clean training spectra give no narrow limits for noisy ones, and
overestimated errors hide nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from specdis.arrays import Array, Bool, Float32, Float64
from specdis.encoding.encoder import Fit
from specdis.jaxed import jax, jnp
from specdis.settings import Settings

MOST_BAD = 0.25
"""Largest share of bad pixels for a reliable magnitude: an arm is about half of a spectrum."""
_REFERENCES = 2000
"""Largest number of training stars whose coefficients are kept for comparison."""
_STRANGERS = 0.004
"""Share of the training stars beyond each limit: at most 2 per cent for five limits."""
_SIGMAS = 3.0
"""Number of errors by which a measure must exceed its limit."""
_LEAST_SIGNAL = 8.0
"""Number of errors by which the coefficients must differ from those of pure noise."""
_LEAST_BROADENING = 0.25
"""Least tolerance for the squared width of lines, Angstrom^2: 1.2 A (FWHM) in quadrature."""


Parameter = Literal["TEFF", "LOGG", "FEH"]


class DomainLimits(Settings):
    """The limits of a domain. Ranges of parameters exclude one in a thousand training stars on either side."""

    structure: float
    """Structure of the residual, as a fraction of the spectrum's mean square."""
    sharper: float
    """Excess of the lines' squared width over that of the training spectra, Angstrom^2, below which they are too sharp.
    """
    broader: float
    """The same, above which they are too broad."""
    carbon: float
    """Residual along the Swan bands of C2, as a fraction of the spectrum's length."""
    distance: float
    """Squared distance of the direction of the coefficients from that of the second nearest reference star."""
    parameters: dict[Parameter, tuple[float, float]]
    """Ranges of TEFF, LOGG and FEH, if the survey has them."""
    pixel_width: dict[str, float]
    """Median width of a native pixel of each arm, Angstrom."""


@dataclass(frozen=True)
class Domain:
    """The domain of a model.

    Parameters
    ----------
    limits
        DomainLimits that training stars do not exceed.
    reference
        Directions of the coefficients of some training stars, unit vectors, shape (reference star, component).
    """

    limits: DomainLimits
    reference: Float32

    def outside(self, coefficients: Array, fit: Fit) -> Bool:
        """Tell which spectra are outside the domain, shape (star,).

        A measure of NaN counts as outside.
        """
        limits = self.limits
        structure, broadening, sharpening, carbon, distance = _excesses(coefficients, fit, self.reference)
        inside = (structure <= limits.structure) & (broadening <= limits.broader) & (sharpening <= -limits.sharper)
        inside &= (carbon <= limits.carbon) & (distance <= limits.distance)
        return ~(inside & (_signal(coefficients, fit) >= _LEAST_SIGNAL))


def reference_directions(coefficients: Float32, chance: Float64) -> Float32:
    """Return the directions of the coefficients of the training stars with the least `chance`, (star,)."""
    chosen = np.sort(np.argsort(chance, kind="stable")[:_REFERENCES])
    return _direction(coefficients[chosen])[0]


def measure_domain(
    coefficients: Float32,
    fit: Fit,
    reference: Float32,
    parameters: dict[Parameter, tuple[float, float]],
    pixel_width: dict[str, float],
) -> DomainLimits:
    """Find limits that include all but a few training stars.

    Parameters
    ----------
    coefficients, fit
        Of the training stars, shape (star, component) and (star,).
    reference
        Reference stars for comparison.
    parameters, pixel_width
        As in `DomainLimits`.
    """
    found = _excesses(coefficients, fit, reference)
    structure, broader, sharper, carbon, distance = (
        float(np.quantile(values[np.isfinite(values)], 1 - _STRANGERS)) if np.isfinite(values).any() else 0.0
        for values in found
    )
    return DomainLimits(
        structure=structure,
        broader=max(broader, _LEAST_BROADENING),
        sharper=-max(sharper, _LEAST_BROADENING),
        carbon=carbon,
        distance=distance,
        parameters=parameters,
        pixel_width=pixel_width,
    )


def _excesses(coefficients: Array, fit: Fit, reference: Float32) -> tuple[Float64, ...]:
    """Return structure, broadening, sharpening, carbon and distance, less several times their errors, (star,)."""
    values: dict[str, Any] = {name: np.asarray(column, np.float64) for name, column in fit._asdict().items()}
    broadening, error = values["broadening"], _SIGMAS * values["broadening_error"]
    directions, length = _direction(coefficients)
    noise = values["noise"] / np.maximum(length, 1e-30) ** 2
    n_component = coefficients.shape[1]
    square = np.asarray(_second_nearest(jnp.asarray(directions), jnp.asarray(reference)), np.float64)
    distance = square - n_component * noise
    far = _SIGMAS * (np.sqrt(2 * n_component) * noise + 2 * np.sqrt(np.maximum(distance, 0) * noise))
    return (
        values["structure"] - _SIGMAS * values["structure_error"],
        broadening - error,
        -broadening - error,
        values["carbon"] - _SIGMAS * values["carbon_error"],
        distance - far,
    )


def _signal(coefficients: Array, fit: Fit) -> Float64:
    """Return the significance of the coefficients against pure noise, in errors, shape (star,)."""
    square = (np.asarray(coefficients, np.float64) ** 2).sum(1)
    noise, count = np.asarray(fit.noise, np.float64), coefficients.shape[1]
    return np.asarray((square - count * noise) / np.maximum(np.sqrt(2 * count) * noise, 1e-30))


def _direction(coefficients: Array) -> tuple[Float32, Float64]:
    """Return unit vectors along coefficients, (star, component), and the lengths of the coefficients, (star,)."""
    values = np.asarray(coefficients, np.float32)
    length = np.linalg.norm(values, axis=1)
    return values / np.maximum(length, 1e-30)[:, None], length.astype(np.float64)


@jax.jit
def _second_nearest(directions: jax.Array, reference: jax.Array) -> jax.Array:
    """Return the squared distance to the second nearest reference, (star,): a training star is its own nearest."""
    nearest, _ = jax.lax.top_k(directions @ reference.T, min(2, len(reference)))
    return 2 - 2 * nearest[:, -1]
