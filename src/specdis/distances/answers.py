"""Answers of the networks, before they become columns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from specdis.arrays import Float64
from specdis.distances.settings import DistancesSettings
from specdis.jaxed import jax, jnp
from specdis.network.mixture import Mixture, ParallaxInErrors, Points, Spurious, points, points_with_parallax
from specdis.photometry import absolute_magnitude

GIANT_MAGNITUDE = 3.5
"""Absolute G magnitude below which stars are giants: log g < 3.8 on the isochrones of old stars."""


class Labels(NamedTuple):
    """Answers of the label networks for some stars.

    Parameters
    ----------
    label
        1/sqrt(L_G) of Eq. 3 from the spectrum itself, by every seed, shape (seed, star); NaN without a spectrum.
    draws
        The same from perturbed spectra, shape (seed, draw, star); NaN for stars without errors.
    """

    label: Float64
    draws: Float64


class Magnitudes(NamedTuple):
    """Answers of the mixture networks for some stars.

    Parameters
    ----------
    quantiles
        Absolute magnitudes at `LEVELS` of the recalibrated distribution, in the order of distances, the faintest
        first; shape (level, star). NaN without a spectrum.
    giant
        Probability of an absolute magnitude below `GIANT_MAGNITUDE`, shape (star,).
    spread
        Standard deviation between networks of their mean magnitudes, mag, shape (star,); NaN for a single network.
    draws
        Mean magnitude from perturbed spectra, shape (draw, star); NaN for stars without errors.
    shift, stretch
        Shift (mag) and widening (a factor) by recalibration; shape (star,).
    weight, mean, sigma
        Fraction, mean and standard deviation (mag) of the Gaussians that stand for the recalibrated distribution,
        without the star's own parallax; shape (component, star).
    """

    quantiles: Float64
    giant: Float64
    spread: Float64
    draws: Float64
    shift: Float64
    stretch: Float64
    weight: Float64
    mean: Float64
    sigma: Float64


def distribution(
    mixture: Mixture,
    data: ParallaxInErrors,
    has_parallax: jax.Array,
    settings: DistancesSettings,
    spurious: Spurious | None = None,
) -> Points:
    """Return the distribution of magnitude from which distances are quoted.

    Parameters
    ----------
    mixture
        Recalibrated, shape (star, component).
    data, has_parallax
        The star's own parallax, and whether it has one, shape (star,), used with `use_own_parallax`.
    settings
        Section [distances].
    spurious
        Share and width of spurious parallaxes; None if there are none.
    """
    alone = points(mixture)
    if not settings.use_own_parallax:
        return alone
    both = points_with_parallax(mixture, data, spurious)
    nodes = max(alone.mass.shape[1], both.mass.shape[1])

    def widened(values: jax.Array, mode: str) -> jax.Array:
        return jnp.pad(values, ((0, 0), (0, nodes - values.shape[1])), mode=mode)

    return Points(
        jnp.where(has_parallax[:, None], widened(both.magnitude, "edge"), widened(alone.magnitude, "edge")),
        jnp.where(has_parallax[:, None], widened(both.mass, "constant"), widened(alone.mass, "constant")),
    )


def between_networks(mixture: Mixture) -> jax.Array:
    """Return the standard deviation between networks of their mean magnitudes, shape (star,), NaN for a single one.

    Parameters
    ----------
    mixture
        Shape (star, network, component); networks that were trained on the star have no weight.
    """
    weight = jnp.exp(mixture.log_weight)
    share = weight.sum(-1)
    mean = jnp.where(share > 0, (weight * mixture.mean).sum(-1) / jnp.where(share > 0, share, 1), 0)
    middle = (share * mean).sum(-1, keepdims=True)
    networks = (share > 0).sum(-1)
    variance = (share * (mean - middle) ** 2).sum(-1) * networks / jnp.maximum(networks - 1, 1)
    return jnp.where(networks > 1, jnp.sqrt(variance), jnp.nan)


def training_error(label: Float64) -> float:
    """Return the paper's one training error in mag: the scatter between seeds over all stars (section 3.3.2).

    Parameters
    ----------
    label
        Labels, shape (seed, star). Stars with any label <= 0 are left out. NaN with a single seed.
    """
    if len(label) < 2:
        return float("nan")
    magnitude = absolute_magnitude(label[:, (label > 0).all(0)])
    return float(np.sqrt(magnitude.var(0, ddof=1).mean())) if magnitude.size else float("nan")
