"""Recalibration: shift and stretch of predicted distributions of magnitude that make them agree with parallaxes.

The networks are trained on all stars together; their distributions for one kind of star may be too narrow, too wide or
biased. The correction maximises the parallax likelihood of Eq. 8 of held-out stars, with shifted and stretched
distributions. This accounts for the parallax errors, and needs no precise parallaxes.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field, PositiveInt
from scipy.optimize import minimize

from specdis import rng
from specdis.arrays import Bool, Float64, Int64, ranges
from specdis.jaxed import jax, jnp
from specdis.network.mixture import Mixture, ParallaxInErrors, Spurious, log_probabilities
from specdis.settings import Settings

_TILE = 2048
_TYPICAL_SNR = 20.0
_SNR_RANGE = (2.0, 200.0)
_GIANTS_AND_DWARFS = 3.5  # mag
_FEATURES = 5
_PRIOR = 0.5
"""Standard deviation of shift (mag) and log-stretch per feature, without data."""


class CalibrationSettings(Settings):
    """Section [calibration]: recalibration of the mixture network's distributions on held-out stars."""

    on: bool = True
    """Whether predicted distributions are recalibrated."""
    fraction: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of the held-out stars that it is fitted to; the others are for tests."""
    stars_max: PositiveInt = 40_000
    """Largest number of stars that it is fitted to."""


class Calibration(NamedTuple):
    """A shift and a stretch that depend smoothly on S/N and on predicted magnitude.

    Parameters
    ----------
    shift, log_stretch
        Coefficients of the features 1, x, x^2, g and g x, where x is ln(S/N / 20) and g goes from 0 for dwarf
        stars to 1 for giants; mag, and natural logarithm.
    """

    shift: Float64
    log_stretch: Float64

    @classmethod
    def identity(cls) -> Calibration:
        """Return the recalibration without effect."""
        return cls(np.zeros(_FEATURES), np.zeros(_FEATURES))

    def corrections(self, mixture: Mixture, snr: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the shift in mag and the factor by which each distribution is widened, both of shape (star,).

        Parameters
        ----------
        mixture
            Predicted distributions, shape (star, network, component).
        snr
            S/N of the spectra, shape (star,); values that are not finite count as 20.
        """
        features = _features(_centre(mixture), snr)
        shift, log_stretch = (features @ jnp.asarray(values, features.dtype) for values in self)
        return shift, jnp.exp(log_stretch)

    def apply(self, mixture: Mixture, snr: jax.Array) -> Mixture:
        """Return the mixture shifted, and stretched about its mean; arguments as of `corrections`."""
        shift, stretch = (values[:, None, None] for values in self.corrections(mixture, snr))
        centre = _centre(mixture)[:, None, None]
        return mixture._replace(mean=centre + shift + stretch * (mixture.mean - centre), sigma=stretch * mixture.sigma)


def _centre(mixture: Mixture) -> jax.Array:
    """Return the mean magnitude of each distribution, shape (star,)."""
    return mixture.pooled().average


def _features(centre: jax.Array, snr: jax.Array) -> jax.Array:
    known = jnp.where(jnp.isfinite(snr) & (snr > 0), snr, _TYPICAL_SNR)
    x = jnp.log(jnp.clip(known, *_SNR_RANGE) / _TYPICAL_SNR).astype(centre.dtype)
    giant = jax.nn.sigmoid(2 * (_GIANTS_AND_DWARFS - centre))
    return jnp.stack([jnp.ones_like(x), x, x**2, giant, giant * x], axis=-1)


def calibration_stars(fold: Int64, identifier: Int64, settings: CalibrationSettings, seed: int) -> Bool:
    """Tell which stars the recalibration may be fitted to, shape (star,): a hashed share of the held-out ones."""
    chosen = rng.uniform(rng.stream(seed, "calibration"), identifier) < settings.fraction
    return np.asarray(settings.on & (fold >= 0) & chosen)


def fit(mixture: Mixture, data: ParallaxInErrors, snr: Float64, spurious: Spurious | None = None) -> Calibration:
    """Fit the recalibration that maximises the likelihood of the parallaxes.

    Parameters
    ----------
    mixture
        Held-out predictions, shape (star, network, component).
    data
        Their parallaxes, shape (star,).
    snr
        S/N of their spectra, shape (star,).
    spurious
        Share and width of spurious parallaxes; None if there are none.
    """
    tiles = [jax.tree.map(lambda v, rows=rows: v[rows], (mixture, data, snr)) for rows in ranges(len(snr), _TILE)]

    @jax.jit
    def surprise(parameters: jax.Array, tile: tuple[Mixture, ParallaxInErrors, jax.Array]) -> jax.Array:
        moved = Calibration(*parameters.reshape(2, -1)).apply(tile[0], tile[2]).pooled()
        found = jax.nn.logsumexp(log_probabilities(moved, tile[1], spurious=spurious), axis=-1)
        return -found.sum(dtype=jnp.float64)

    gradient = jax.jit(jax.value_and_grad(surprise))

    def objective(parameters: Float64) -> tuple[float, Float64]:
        parts = [gradient(jnp.asarray(parameters), tile) for tile in tiles]
        value = sum(float(part[0]) for part in parts) + 0.5 * float(((parameters / _PRIOR) ** 2).sum())
        slope = np.sum([np.asarray(part[1], np.float64) for part in parts], axis=0) + parameters / _PRIOR**2
        return value / len(snr), slope / len(snr)

    start = np.zeros(2 * _FEATURES)
    best = minimize(
        objective, start, jac=True, method="L-BFGS-B", bounds=[(-3, 3)] * len(start), options={"maxiter": 60}
    )
    return Calibration(*best.x.reshape(2, -1))
