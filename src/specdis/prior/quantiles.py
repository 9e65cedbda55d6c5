"""Posterior distances: predicted distributions times the prior."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from specdis.arrays import Array, Columns, Float64, ranges
from specdis.distances.columns import FARTHEST, LEVELS
from specdis.jaxed import jax, jnp
from specdis.network.mixture import Mixture, ParallaxInErrors, Points, Spurious, points, points_with_parallax
from specdis.network.settings import MIXTURE_PARTS, RELEASED
from specdis.photometry import distance_modulus, distance_of_modulus
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


class Observed(NamedTuple):
    """What was observed of stars, without a prior.

    Parameters
    ----------
    mixture
        Predicted distributions of G minus the distance modulus, shape (star, component); NaN without a spectrum.
    magnitude
        Extinction-corrected G magnitude, shape (star,); NaN if missing.
    direction
        Galactic unit vectors, shape (star, 3).
    own
        The stars' own parallaxes, if the posterior takes them in.
    """

    mixture: Mixture
    magnitude: Float64
    direction: Float64
    own: Own | None = None

    def take(self, rows: slice) -> Observed:
        """Select some of the stars."""
        part: Observed = _rows(self, rows)
        return part


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

    def columns(self, stars: Observed) -> dict[str, Array]:
        """Return the posterior distances of stars.

        Returns
        -------
        dict
            `POSTERIOR_COLUMNS`, shape (star,): median, half of the range from 16 to 84 per cent, and quantiles, kpc.
            NaN without a spectrum, a magnitude or, for a law, a position, and where the prior leaves nothing.
        """
        levels = np.broadcast_to(np.asarray(LEVELS, np.float32), (len(stars.magnitude), len(LEVELS)))
        kpc = distance_of_modulus(self.moduli(stars, levels).T)
        kpc = np.where(kpc > FARTHEST, np.nan, kpc)
        error = (0.5 * (kpc[3] - kpc[1])).astype(np.float32)
        return dict(zip(POSTERIOR_COLUMNS, (kpc[2], error, *kpc[[0, 1, 3, 4]]), strict=True))

    def moduli(self, stars: Observed, levels: Array) -> Float64:
        """Return the distance moduli below which given fractions of the posterior lie, mag, shape (star, level).

        Parameters
        ----------
        stars
            The stars.
        levels
            The fractions, shape (star, level).
        """
        return stars.magnitude[:, None] - self._in_tiles(self._quantiles, stars, 1 - levels)

    def below(self, stars: Observed, kpc: Array) -> Float64:
        """Return the probability of a distance below a given one for each star, kpc, shape (star,)."""
        brightest = stars.magnitude - distance_modulus(kpc)
        return 1 - self._in_tiles(self._shares, stars, brightest[:, None])[:, 0]

    def _in_tiles(self, measure: Callable[..., jax.Array], stars: Observed, at: Array) -> Float64:
        """Return what is measured at given points, shape (star, point), star by star in tiles of full size."""
        every = stars, at.astype(np.float32)
        parts = [_of_tile(measure, _rows(every, rows)) for rows in ranges(len(at), _TILE)]
        return np.concatenate(parts) if parts else np.empty(at.shape)

    @cached_property
    def _quantiles(self) -> Callable[..., jax.Array]:
        return self._measured(lambda found, at: found.quantiles(at).T)

    @cached_property
    def _shares(self) -> Callable[..., jax.Array]:
        return self._measured(lambda found, at: found.below(at[:, 0])[:, None])

    def _measured(self, measure: Callable[[Points, jax.Array], jax.Array]) -> Callable[..., jax.Array]:
        """Return a measure of the posterior, shape (star, point), compiled; NaN where nothing is left."""

        @jax.jit
        def measured(stars: Observed, at: jax.Array) -> jax.Array:
            def of(distribution: Points) -> jax.Array:
                found = weighted(distribution, jnp.asarray(stars.magnitude), jnp.asarray(stars.direction), self.prior)
                return jnp.where(jnp.isfinite(found.mass[:, :1]), measure(found, at), jnp.nan)

            alone = of(points(stars.mixture))
            if stars.own is None:
                return alone
            data, there = stars.own
            return jnp.where(there[:, None], of(points_with_parallax(stars.mixture, data, self.spurious)), alone)

        return measured


def _of_tile(measure: Callable[..., jax.Array], some: tuple[Observed, Array]) -> Float64:
    count = len(some[1])
    filled = jax.tree.map(lambda part: np.concatenate([part, np.repeat(part[:1], _TILE - count, axis=0)]), some)
    return np.asarray(measure(*filled), np.float64)[:count]


def _rows(stars: Any, rows: slice) -> Any:
    """Return some rows of arrays in tuples of any kind."""
    return jax.tree.map(lambda values: np.asarray(values)[rows], stars)


Own = tuple[ParallaxInErrors, Array]
"""Parallaxes of stars, and whether each has one."""
POSTERIOR_COLUMNS = ("DIST_POST", "DISTERR_POST", "DIST_POST_05", "DIST_POST_16", "DIST_POST_84", "DIST_POST_95")
_TILE = 512
