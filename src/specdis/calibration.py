"""Recalibration: corrections of predicted distributions of magnitude that make them agree with parallaxes.

The networks are trained on all stars together; their distributions for one kind of star may be too narrow, too wide,
biased, or too sure of one of several magnitudes. The correction shifts and stretches the distributions and raises the
weights of their components to a power. It maximises the parallax likelihood of Eq. 8 of held-out stars. This accounts
for the parallax errors, and needs no precise parallaxes.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field, PositiveInt
from scipy.optimize import minimize
from scipy.special import expit, logit

from specdis import rng
from specdis.arrays import Bool, Float64, Int64, ranges
from specdis.distances.answers import between_networks
from specdis.jaxed import ArrayLike, jax, jnp
from specdis.log import logger
from specdis.network.mixture import Mixture, ParallaxInErrors, Spurious, log_probabilities
from specdis.settings import Settings

_TILE = 2048
_TYPICAL_SNR = 20.0
_SNR_RANGE = (2.0, 200.0)
_GIANTS_AND_DWARFS = 3.5  # mag
_CLUMP = 0.6, 0.45
"""Magnitude and width of core helium burning, clump and horizontal branch, mag."""
_TYPICAL_FEH, _FEH_SCALE, _FARTHEST_FEH = -1.0, 0.5, 3.0
_TYPICAL_SPREAD = -1.0
"""ln of the spread between networks over the width of the whole, usually; and where there is one network only."""
_FEATURES = 10
_CORRECTIONS = 3 * _FEATURES
_ITERATIONS = 500
"""Steps of the search at most; 4,000 stars need 150."""
_NOTHING = -1e4
"""ln of the weight of a network that does not predict a star, finite so that derivatives are."""
_PRIOR = 0.25
"""Standard deviation of shift (mag), log-stretch and log-power per feature, without data."""
_PRIOR_OF_SPURIOUS = np.array([1.0, 0.5])
"""Standard deviation of ln(share / (1 - share)) and ln(width - 1) of spurious parallaxes about the settings."""
_NO_SPURIOUS = np.array([0.0, 1.0])
_NO_CHANGE = np.zeros(_FEATURES)


class CalibrationSettings(Settings):
    """Section [calibration]: recalibration of the mixture network's distributions on held-out stars."""

    on: bool = True
    """Whether predicted distributions are recalibrated."""
    fraction: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of the held-out stars that it is fitted to; the others are for tests."""
    stars_max: PositiveInt = 40_000
    """Largest number of stars that it is fitted to."""


class Traits(NamedTuple):
    """What the recalibration knows of stars besides their distributions.

    Parameters
    ----------
    snr
        S/N of the spectra, shape (star,); values that are not finite count as 20.
    feh
        [Fe/H] of the survey, dex, shape (star,); values that are not finite count as -1.
    outside
        Whether the spectrum is outside the domain of the model, shape (star,).
    """

    snr: ArrayLike
    feh: ArrayLike
    outside: ArrayLike


class Calibration(NamedTuple):
    """A shift, a stretch and a power of the weights that depend smoothly on S/N and on predicted magnitude.

    Parameters
    ----------
    shift, log_stretch, log_power
        Coefficients of the features 1, x, x^2, g, g x, h, (1 - g) f, g f, s and o; mag, and natural logarithms. Here x
        is ln(S/N / 20), g goes from 0 for dwarf stars to 1 for giants, h is a bump at core helium burning, f is
        ([Fe/H] + 1) / 0.5, s tells the spread between networks relative to the width of the distribution, and o is 1
        for spectra outside the domain.
    share_and_width
        Share of spurious parallaxes, and their scatter over their error; the share is 0 if there are none.
    """

    shift: Float64
    log_stretch: Float64
    log_power: Float64 = _NO_CHANGE
    share_and_width: Float64 = _NO_SPURIOUS

    @classmethod
    def identity(cls, spurious: Spurious | None = None) -> Calibration:
        """Return the recalibration without effect, with these spurious parallaxes."""
        share_and_width = _NO_SPURIOUS if spurious is None else np.array(spurious)
        return cls(_NO_CHANGE, _NO_CHANGE, share_and_width=share_and_width)

    @property
    def spurious(self) -> Spurious | None:
        """Spurious parallaxes as they were fitted; None if there are none."""
        share, width = self.share_and_width
        return Spurious(float(share), float(width)) if share else None

    def corrections(self, mixture: Mixture, traits: Traits) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return the shift in mag, the factor of the widths and the power of the weights, each of shape (star,).

        Parameters
        ----------
        mixture
            Predicted distributions, shape (star, network, component).
        traits
            What else is known of the stars.
        """
        return self._corrections(_features(mixture, traits))

    def _corrections(self, features: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return `corrections` of stars with known features, shape (star, feature)."""
        shift, log_stretch, log_power = (features @ jnp.asarray(values, features.dtype) for values in self[:3])
        return shift, jnp.exp(log_stretch), jnp.exp(log_power)

    def apply(self, mixture: Mixture, traits: Traits) -> Mixture:
        """Return the mixture with new weights, stretched about its mean and shifted; arguments as of `corrections`."""
        return self._apply(mixture, _features(mixture, traits))

    def _apply(self, mixture: Mixture, features: jax.Array) -> Mixture:
        """Return `apply` for stars with known features, shape (star, feature)."""
        shift, stretch, power = (values[:, None, None] for values in self._corrections(features))
        log_weight = power * jnp.maximum(mixture.log_weight, _NOTHING)
        mixture = mixture._replace(log_weight=log_weight - jax.nn.logsumexp(log_weight, axis=(1, 2), keepdims=True))
        centre = _centre(mixture)[:, None, None]
        return mixture._replace(mean=centre + shift + stretch * (mixture.mean - centre), sigma=stretch * mixture.sigma)


def _centre(mixture: Mixture) -> jax.Array:
    """Return the mean magnitude of each distribution, shape (star,)."""
    return mixture.pooled().average


def _features(mixture: Mixture, traits: Traits) -> jax.Array:
    """Return the features of `Calibration`, shape (star, feature)."""
    whole, snr, feh = mixture.pooled(), jnp.asarray(traits.snr), jnp.asarray(traits.feh)
    centre = whole.average
    known = jnp.where(jnp.isfinite(snr) & (snr > 0), snr, _TYPICAL_SNR)
    x = jnp.log(jnp.clip(known, *_SNR_RANGE) / _TYPICAL_SNR).astype(centre.dtype)
    giant = jax.nn.sigmoid(2 * (_GIANTS_AND_DWARFS - centre))
    clump = jnp.exp(-0.5 * ((centre - _CLUMP[0]) / _CLUMP[1]) ** 2)
    metals = (jnp.where(jnp.isfinite(feh), feh, _TYPICAL_FEH) - _TYPICAL_FEH) / _FEH_SCALE
    metals = jnp.clip(metals, -_FARTHEST_FEH, _FARTHEST_FEH).astype(centre.dtype)
    share = jnp.exp(whole.log_weight)
    width = jnp.sqrt((share * (whole.sigma**2 + (whole.mean - centre[:, None]) ** 2)).sum(-1))
    spread = jnp.log(jnp.maximum(jnp.nan_to_num(between_networks(mixture)), 1e-3) / width) - _TYPICAL_SPREAD
    spread = jnp.where(jnp.isfinite(between_networks(mixture)), jnp.clip(spread, -2, 2), 0)
    outside = jnp.asarray(traits.outside).astype(centre.dtype)
    parts = [jnp.ones_like(x), x, x**2, giant, giant * x, clump, (1 - giant) * metals, giant * metals, spread, outside]
    return jnp.stack(parts, axis=-1)


def calibration_stars(fold: Int64, identifier: Int64, settings: CalibrationSettings, seed: int) -> Bool:
    """Tell which stars the recalibration may be fitted to, shape (star,): a hashed share of the held-out ones."""
    chosen = rng.uniform(rng.stream(seed, "calibration"), identifier) < settings.fraction
    return np.asarray(settings.on & (fold >= 0) & chosen)


def fit(mixture: Mixture, data: ParallaxInErrors, traits: Traits, spurious: Spurious | None = None) -> Calibration:
    """Fit the recalibration that maximises the likelihood of the parallaxes.

    Parameters
    ----------
    mixture
        Held-out predictions, shape (star, network, component).
    data
        Their parallaxes, shape (star,).
    traits
        What else is known of them, shape (star,).
    spurious
        Where the fit of share and width of spurious parallaxes starts, and the mean of their prior; None if there are
        none.
    """
    stars = len(mixture.mean)
    features = np.asarray(jax.jit(_features)(mixture, traits))
    tiles = [jax.tree.map(lambda v, rows=rows: v[rows], (mixture, data, features)) for rows in ranges(stars, _TILE)]
    start, prior = np.zeros(_CORRECTIONS), np.full(_CORRECTIONS, _PRIOR)
    if spurious is not None:
        start, prior = np.append(start, _unbounded(spurious)), np.append(prior, _PRIOR_OF_SPURIOUS)
    # Features are correlated; in these units, a tenth for a typical star, their corrections are not.
    unit = np.diag(prior)
    squares = features.T.astype(np.float64) @ features + np.eye(_FEATURES) / _PRIOR**2
    unit[:_CORRECTIONS, :_CORRECTIONS] = np.kron(np.eye(3), 0.1 * np.linalg.cholesky(np.linalg.inv(squares / stars)))

    def surprise(parameters: jax.Array, tile: tuple[Mixture, ParallaxInErrors, jax.Array]) -> jax.Array:
        correction, more = parameters[:_CORRECTIONS].reshape(3, -1), parameters[_CORRECTIONS:]
        moved = Calibration(*correction)._apply(tile[0], tile[2]).pooled()
        bad = None if spurious is None else Spurious(jax.nn.sigmoid(more[0]), 1 + jnp.exp(more[1]))
        found = jax.nn.logsumexp(log_probabilities(moved, tile[1], spurious=bad), axis=-1)
        return -found.sum(dtype=jnp.float64)

    def surprise_of_corrections(parameters: jax.Array) -> jax.Array:
        return 0.5 * (((parameters - start) / prior) ** 2).sum()

    programs = [jax.jit(jax.value_and_grad(part)) for part in (surprise, surprise_of_corrections)]

    def objective(place: Float64) -> tuple[float, Float64]:
        parameters = jnp.asarray(start + unit @ place)
        parts = [programs[0](parameters, tile) for tile in tiles] + [programs[1](parameters)]
        value = sum(float(part[0]) for part in parts)
        slope = np.sum([np.asarray(part[1], np.float64) for part in parts], axis=0)
        return value / stars, unit.T @ slope / stars

    best = minimize(objective, np.zeros_like(start), jac=True, method="L-BFGS-B", options={"maxiter": _ITERATIONS})
    if best.nit >= _ITERATIONS:
        logger.warning("model: the fit of the recalibration stopped after %d steps, before it converged", best.nit)
    found = start + unit @ best.x
    shift, log_stretch, log_power = found[:_CORRECTIONS].reshape(3, -1)
    more = _NO_SPURIOUS if spurious is None else _share_and_width(found[_CORRECTIONS:])
    return Calibration(shift, log_stretch, log_power, more)


def _unbounded(spurious: Spurious) -> Float64:
    """Return ln(share / (1 - share)) and ln(width - 1)."""
    return np.array([logit(spurious.share), np.log(np.asarray(spurious.width) - 1)])


def _share_and_width(unbounded: Float64) -> Float64:
    """Return share and width: the inverse of `_unbounded`."""
    return np.array([expit(unbounded[0]), 1 + np.exp(unbounded[1])])
