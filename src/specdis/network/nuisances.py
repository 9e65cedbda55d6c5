"""What is left of the parallaxes' zero point, and by how much their errors are too small, fitted with the networks.

The published recipes are good to some micro-arcsec and some per cent. Networks that learn from parallaxes with another
zero point take part of it into their magnitudes, and no later fit finds all of it: so both are fitted together. Stars
of one kind are seen at many apparent magnitudes, and that separates the two: an error of their magnitude changes
parallaxes by a factor, an error of the zero point by a number (decision 24).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np

from specdis.anchors import combine
from specdis.arrays import Array, Bool, Float64
from specdis.jaxed import ArrayLike, jax, jnp
from specdis.network.mixture import ParallaxInErrors, Spurious
from specdis.network.mlp import MixtureNetwork

NUISANCE_COLUMNS = (
    *("PHOT_G_MEAN_MAG", "PHOT_BP_MEAN_MAG", "PHOT_RP_MEAN_MAG"),
    *("PARALLAX_ZPC", "PARALLAX_CORRECTED", "PARALLAX_ERROR_USED"),
)
"""Columns of a sample for `Nuisances.applied`."""
TERMS = {"none": 0, "constant": 1, "smooth": 4}
"""Number of terms of zero point and of ln of the inflation, for each value of `photometry.nuisances`."""

_CENTRE, _REACH = (16.0, 1.0), (4.0, 1.0)
"""Of G and of BP-RP, mag; the terms are constant beyond the reach."""
_SHOWN = (13.0, 15.0, 17.0, 19.0)
"""G of the values in the report, at BP-RP = 1."""
_UNITS = np.array([[0.1], [1.0]])
"""Of a parameter: mas, and ln of the inflation. A step of Adam at a learning rate of 0.001 is then 0.1 uas."""
_LOG_ROOT_2PI = float(0.5 * np.log(2 * np.pi))
_PRIOR = np.array([[0.010, 0.003, 0.003, 0.003], [0.2, 0.1, 0.1, 0.1]])
"""Standard deviations of the coefficients, mas, and ln of the inflation (decision 24)."""


def nuisance_terms(stars: Mapping[str, Array], count: int) -> Float64:
    """Return the first terms of 1, x, x^2 and c, shape (star, term).

    Parameters
    ----------
    stars
        G, BP and RP, mag, shape (star,). Here x is (G - 16) / 4 and c is BP-RP - 1, both between -1 and 1, and 0
        where missing.
    count
        Number of terms.
    """
    g, bp, rp = (np.asarray(stars[name], np.float64) for name in NUISANCE_COLUMNS[:3])
    scaled = (np.clip((v - zero) / reach, -1, 1) for v, zero, reach in zip((g, bp - rp), _CENTRE, _REACH, strict=True))
    x, c = (np.nan_to_num(values) for values in scaled)
    return np.stack([np.ones_like(x), x, x**2, c], axis=-1)[:, :count]


class OwnParallaxes(NamedTuple):
    """Parallaxes of training stars, apart from the known distances of anchors.

    Parameters
    ----------
    parallax, error
        Corrected parallax and its error, mas, shape (star,).
    known, known_error
        Parallax of the known distance and its error, mas, shape (star,): 0 and infinite for stars that are no anchors.
    has_zero_point
        Where the zero point is defined, shape (star,); other parallaxes stay as published.
    terms
        From `nuisance_terms`, shape (star, term).
    """

    parallax: Float64
    error: Float64
    known: Float64
    known_error: Float64
    has_zero_point: Bool
    terms: Float64

    def take(self, rows: Array) -> OwnParallaxes:
        """Select some of the stars."""
        return OwnParallaxes._make(column[rows] for column in self)

    def corrected(self, nuisances: Nuisances) -> tuple[Float64, Float64]:
        """Return parallaxes and errors without the nuisances, combined with known distances, mas, shape (star,)."""
        offset, inflation = nuisances.of_terms(self.terms)
        own = self.parallax - np.where(self.has_zero_point, offset, 0), self.error * inflation
        return combine(*own, self.known, self.known_error)


class Nuisances(NamedTuple):
    """Zero point and inflation as the mixture networks found them.

    Parameters
    ----------
    coefficients
        Of zero point (mas) and ln of the inflation, by every network, shape (network, 2, term).
    """

    coefficients: Float64

    @classmethod
    def of_parameters(cls, parameters: jax.Array) -> Nuisances:
        """Return those of trained networks, shape (network, 2, term)."""
        return cls(np.asarray(parameters, np.float64) * _UNITS)

    def of_terms(self, terms: Float64) -> tuple[Float64, Float64]:
        """Return zero points in mas and inflations, shape (star,): the mean of the networks."""
        offset, log_inflation = self.coefficients.mean(0) @ terms.T
        return offset, np.exp(log_inflation)

    def applied(self, stars: Mapping[str, Array]) -> dict[str, Array]:
        """Return zero point, corrected parallax and error of stars, from `NUISANCE_COLUMNS`, shape (star,)."""
        offset, inflation = self.of_terms(nuisance_terms(stars, self.coefficients.shape[-1]))
        return {
            "PARALLAX_ZPC": stars["PARALLAX_ZPC"] + offset,
            "PARALLAX_CORRECTED": stars["PARALLAX_CORRECTED"] - np.where(np.isnan(stars["PARALLAX_ZPC"]), 0, offset),
            "PARALLAX_ERROR_USED": stars["PARALLAX_ERROR_USED"] * inflation,
        }

    def summary(self, terms: Float64) -> dict[str, Any]:
        """Return mean zero point (uas) and inflation of stars, shape (star, term), their spreads, and values by G."""
        typical = {"PHOT_BP_MEAN_MAG": np.ones(len(_SHOWN)), "PHOT_RP_MEAN_MAG": np.zeros(len(_SHOWN))}
        by_g = nuisance_terms({"PHOT_G_MEAN_MAG": np.array(_SHOWN), **typical}, terms.shape[1])
        rows = [{"g": g, **self._at(there)} for g, there in zip(_SHOWN, by_g, strict=True)]
        return {**self._at(terms.mean(0)), "by_g": rows if terms.shape[1] > 1 else []}

    def _at(self, terms: Float64) -> dict[str, float | None]:
        """Return mean and standard deviation between the networks of both nuisances at a star's terms."""
        offset, inflation = 1000 * self.coefficients[:, 0] @ terms, np.exp(self.coefficients[:, 1] @ terms)
        spreads = (float(found.std(ddof=1)) if len(found) > 1 else None for found in (offset, inflation))
        zero_point_spread, inflation_spread = spreads
        return {
            "zero_point_uas": float(offset.mean()),
            "zero_point_spread_uas": zero_point_spread,
            "inflation": float(inflation.mean()),
            "inflation_spread": inflation_spread,
        }

    def arrays(self) -> dict[str, Array]:
        """Return the arrays to save: `of` is the inverse."""
        return self._asdict()

    @classmethod
    def of(cls, arrays: Mapping[str, Array]) -> Nuisances:
        """Return what was saved as `arrays`."""
        return cls(arrays["coefficients"])


class NuisanceData(NamedTuple):
    """What the loss needs of training stars, on the device: `OwnParallaxes`, dereddened G and the combined error."""

    magnitude: jax.Array
    own: OwnParallaxes
    combined_error: jax.Array

    @classmethod
    def of_stars(cls, magnitude: Float64, own: OwnParallaxes) -> NuisanceData:
        """Return the data of training stars."""
        error = combine(own.parallax, own.error, own.known, own.known_error)[1]
        return cls(*jax.tree.map(jnp.asarray, (magnitude, own, error)))


class Joint(eqx.Module):
    """A mixture network and its nuisances, which are trained together.

    Parameters
    ----------
    network
        The network.
    nuisances
        Coefficients of zero point and ln of the inflation, in units of 0.1 mas and 1, shape (2, term).
    """

    network: MixtureNetwork
    nuisances: jax.Array

    def parallaxes(
        self, data: NuisanceData, spurious: Spurious | None, tilt: float
    ) -> tuple[ParallaxInErrors, jax.Array]:
        """Return parallaxes without the nuisances, and ln of what else these make of the likelihood, shape (star,).

        That is the density of a parallax per its published error, and for an anchor the probability of the difference
        between its own parallax and that of its distance.

        Parameters
        ----------
        data
            The stars.
        spurious
            Share and width of spurious parallaxes.
        tilt
            Power of the model's parallax that multiplies the likelihood.
        """
        own: Any = jax.tree.map(jnp.asarray, data.own)
        offset, log_inflation = (self.nuisances.astype(jnp.float64) * _UNITS) @ own.terms.T
        parallax = own.parallax - jnp.where(own.has_zero_point, offset, 0)
        error = own.error * jnp.exp(log_inflation)
        both, both_error = combine(parallax, error, own.known, own.known_error)
        snr = both / both_error
        magnitude = data.magnitude - 10 + 5 * jnp.log10(both_error * jnp.maximum(snr, 1))
        more = (tilt - 1) * jnp.log(both_error / data.combined_error)
        more += _log_agreement(parallax - own.known, error, own.known_error, spurious)
        return ParallaxInErrors(snr.astype(jnp.float32), magnitude.astype(jnp.float32)), more.astype(jnp.float32)

    def log_prior(self) -> jax.Array:
        """Return ln of the prior, up to a constant."""
        scaled = self.nuisances * _UNITS / _PRIOR[:, : self.nuisances.shape[-1]]
        return -0.5 * (scaled**2).sum()


def _log_agreement(
    difference: jax.Array, error: jax.Array, known_error: jax.Array, spurious: Spurious | None
) -> jax.Array:
    """Return ln of the density of an anchor's own minus its known parallax, 0 for other stars, shape (star,)."""
    anchor = jnp.isfinite(known_error)
    known_error = jnp.where(anchor, known_error, 0)

    def log_density(factor: ArrayLike) -> jax.Array:
        sigma = jnp.hypot(factor * error, known_error)
        return -0.5 * (difference / sigma) ** 2 - jnp.log(sigma) - _LOG_ROOT_2PI

    found = log_density(1.0)
    if spurious is not None:
        share = jnp.asarray(spurious.share)
        found = jnp.logaddexp(jnp.log1p(-share) + found, jnp.log(share) + log_density(spurious.width))
    return jnp.where(anchor, found, 0)
