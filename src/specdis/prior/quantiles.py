"""Posterior distances: predicted distributions times the prior."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from specdis.arrays import Array, Columns, Float64, ranges
from specdis.distances.columns import FARTHEST, LEVELS
from specdis.jaxed import jax, jnp
from specdis.network.mixture import Mixture, ParallaxInErrors, Points, Spurious, points, points_with_parallax
from specdis.network.settings import MIXTURE_PARTS, RELEASED
from specdis.photometry import distance_of_modulus
from specdis.prior.population import Prior


def weighted(distribution: Points, magnitude: jax.Array, direction: jax.Array, prior: Prior) -> Points:
    """Return the posterior of predicted distributions.

    Parameters
    ----------
    distribution
        Of the absolute magnitude, shape (star, node).
    magnitude
        Extinction-corrected G magnitude, shape (star,).
    direction
        Galactic unit vectors, shape (star, 3).
    prior
        The prior.

    Returns
    -------
    Points
        At the same magnitudes; NaN for a star to which the prior leaves nothing, or without a magnitude.
    """
    volume = jnp.asarray(prior.magnitude, jnp.float32), jnp.asarray(prior.log_volume, jnp.float32)
    # Beyond the magnitudes of the fit, where no star is, the tail of a wide distribution keeps the weight of the end.
    nodes = jnp.clip(distribution.magnitude, volume[0][0], volume[0][-1])
    log_weight = prior.density(magnitude[:, None] - nodes, direction) - jnp.interp(nodes, *volume)
    peak = jnp.max(jnp.where(distribution.mass > 0, log_weight, -jnp.inf), axis=-1, keepdims=True)
    mass = distribution.mass * jnp.exp(log_weight - jnp.where(jnp.isfinite(peak), peak, 0))
    return Points(distribution.magnitude, mass / mass.sum(-1, keepdims=True))


def mixture_of(columns: Columns, magnitude_error: Array) -> Mixture:
    """Return the Gaussians of the columns MIX_WEIGHT_1 and so on, shape (star, component).

    They are wider by the error of A_G, in mag, shape (star,): of G minus the distance modulus instead of M_G.
    """
    weight, mean, sigma = (
        np.stack([columns[f"{name}_{number}"] for number in range(1, RELEASED + 1)], axis=1).astype(np.float32)
        for name in MIXTURE_PARTS
    )
    with np.errstate(divide="ignore"):
        wider = np.hypot(sigma, magnitude_error[:, None]).astype(np.float32)
        return Mixture(jnp.asarray(np.log(weight)), jnp.asarray(mean), jnp.asarray(wider))


@dataclass(frozen=True)
class Posterior:
    """Posterior distances under a prior, compiled once.

    Parameters
    ----------
    prior
        The prior.
    spurious
        Spurious parallaxes, where the stars' own are taken in; None if there are none.
    """

    prior: Prior
    spurious: Spurious | None = None

    def columns(
        self, mixture: Mixture, magnitude: Float64, direction: Float64, own: Own | None = None
    ) -> dict[str, Array]:
        """Return the posterior distances of stars.

        Parameters
        ----------
        mixture
            Predicted distributions, shape (star, component); NaN without a spectrum.
        magnitude
            Extinction-corrected G magnitude, shape (star,); NaN if missing.
        direction
            Galactic unit vectors, shape (star, 3).
        own
            The stars' own parallaxes, if the posterior takes them in.

        Returns
        -------
        dict
            `POSTERIOR_COLUMNS`, shape (star,): median, half of the range from 16 to 84 per cent, and quantiles, kpc.
            NaN without a spectrum, a magnitude or, for a law, a position, and where the prior leaves nothing.
        """
        stars = (mixture, magnitude, direction, own)
        parts = [self._of_tile(_rows(stars, rows)) for rows in ranges(len(magnitude), _TILE)]
        absolute = np.concatenate(parts, axis=1) if parts else np.empty((len(LEVELS), 0))
        kpc = distance_of_modulus(magnitude - absolute)
        kpc = np.where(kpc > FARTHEST, np.nan, kpc)
        error = (0.5 * (kpc[3] - kpc[1])).astype(np.float32)
        return dict(zip(POSTERIOR_COLUMNS, (kpc[2], error, *kpc[[0, 1, 3, 4]]), strict=True))

    def _of_tile(self, stars: tuple[Any, ...]) -> Float64:
        """Return the magnitudes at `LEVELS` of some stars, computed in a tile of full size."""
        count = len(stars[1])
        filled = jax.tree.map(lambda some: np.concatenate([some, np.repeat(some[:1], _TILE - count, axis=0)]), stars)
        return np.asarray(self._quantiles(*filled), np.float64)[:, :count]

    @cached_property
    def _quantiles(self) -> Callable[..., jax.Array]:
        """Magnitudes at `LEVELS`, shape (level, star), compiled."""

        @jax.jit
        def quantiles(mixture: Mixture, magnitude: jax.Array, direction: jax.Array, own: Own | None) -> jax.Array:
            levels = 1 - jnp.asarray(LEVELS, jnp.float32)

            def of(distribution: Points) -> jax.Array:
                found = weighted(distribution, magnitude, direction, self.prior)
                return jnp.where(jnp.isfinite(found.mass[:, 0]), found.quantiles(levels), jnp.nan)

            if own is None:
                return of(points(mixture))
            data, there = own
            return jnp.where(there, of(points_with_parallax(mixture, data, self.spurious)), of(points(mixture)))

        return quantiles


def _rows(stars: tuple[Any, ...], rows: slice) -> tuple[Any, ...]:
    part: tuple[Any, ...] = jax.tree.map(lambda values: np.asarray(values)[rows], stars)
    return part


Own = tuple[ParallaxInErrors, Array]
"""Parallaxes of stars, and whether each has one."""
POSTERIOR_COLUMNS = ("DIST_POST", "DISTERR_POST", "DIST_POST_05", "DIST_POST_16", "DIST_POST_84", "DIST_POST_95")
_TILE = 512
