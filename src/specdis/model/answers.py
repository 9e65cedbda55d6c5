"""What the networks of a model say of stars, before it becomes columns."""

from __future__ import annotations

from typing import NamedTuple

from specdis.arrays import Array, Float64
from specdis.distances.answers import Labels, Magnitudes
from specdis.jaxed import jax
from specdis.network.mixture import Mixture


class PairMagnitudes(NamedTuple):
    """Absolute magnitudes of stars by the two Gaussians of section 5, over all networks.

    Parameters
    ----------
    median
        Median of both Gaussians together, as in section 5, mag, shape (star,).
    single, sigma
        Mean and standard deviation of the fainter one, that of single stars, mag, shape (star,).
    """

    median: Float64
    single: Float64
    sigma: Float64


class Answers(NamedTuple):
    """What a model says of stars, before it becomes columns; the star is the last axis of every array.

    Parameters
    ----------
    labels, magnitudes
        Of the label and of the mixture networks.
    binary
        Probability of a binary (Eq. 9), NaN where there is no parallax or no binary network.
    chi2
        Reduced chi-square of the reconstruction.
    outside
        Whether the spectrum lies outside the domain.
    lacking, odd
        Whether a colour is missing, and whether one does not fit the spectrum.
    """

    labels: Labels
    magnitudes: Magnitudes
    binary: Array
    chi2: Array
    outside: Array
    lacking: Array
    odd: Array


class Answered(NamedTuple):
    """What the networks say of scaled coefficients; the star is the last axis."""

    label: jax.Array
    quantiles: jax.Array
    giant: jax.Array
    spread: jax.Array
    shift: jax.Array
    stretch: jax.Array
    released: Mixture
    binary: jax.Array
