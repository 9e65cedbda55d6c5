"""Section 5: classification of binaries (Eqs 9 and 10), and single stars with injected companions."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field, NonNegativeFloat

from specdis.arrays import Array, Bool, Float64
from specdis.distances.answers import GIANT_MAGNITUDE
from specdis.flags import Flag
from specdis.settings import Settings

GIANT_LOGG = 3.8
"""Giants have log g below this (section 4.4)."""
TWIN_RATIO = 0.8
"""Least mass ratio of near twins."""
EQUAL_RATIO = 0.95
"""Least mass ratio of twins, whose share among injected companions is a setting."""
LEAST_RATIO = 0.5
"""Least mass ratio of injected companions: below it binaries look like single stars."""
MAIN_SEQUENCE_LOGG = 4.2
"""Stars with log g below this may have left the main sequence: they are brighter than others of similar spectra even
without a companion, so that neither single stars nor the fraction of binaries are known."""


class BinariesSettings(Settings):
    """Section [binaries]: section 5 of the paper."""

    parallax_snr_min: NonNegativeFloat = 10.0
    """Parallax S/N, with the error that the run uses, above which a star trains the binary network, counts in
    fractions, and gets an injected companion; probabilities are given for all stars."""
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.7
    """Probability above which a star counts as a binary."""
    twin_fraction: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of twins, of mass ratios 0.95 to 1, among injected companions; others uniform from 0.5 to 1."""


def mass_ratios(twin: Array, place: Array, twin_fraction: float) -> Float64:
    """Return mass ratios of companions, uniform from `LEAST_RATIO` to 1 with an excess of twins, shape (star,).

    Parameters
    ----------
    twin, place
        Numbers between 0 and 1 that decide whether a companion is a twin, and which ratio it has; shape (star,).
    twin_fraction
        Share of twins, of `EQUAL_RATIO` and above, in addition to those of the uniform part.
    """
    least = np.where(np.asarray(twin) < twin_fraction, EQUAL_RATIO, LEAST_RATIO)
    return np.asarray(least + (1.0 - least) * place)


def is_binary(probability: Array, m_g_nn: Array, m_g_geo: Array, threshold: float) -> Bool:
    """Tell which stars meet the final criterion of section 5: probable, and brighter than the spectrum predicts.

    Parameters
    ----------
    probability
        Eq. 9, shape (star,).
    m_g_nn, m_g_geo
        Absolute magnitude by the label network, and by the parallax; mag, shape (star,).
    """
    return np.asarray((probability > threshold) & (m_g_nn > m_g_geo))


def is_significant(m_g_nn: Array, m_g_nn_err: Array, m_g_geo: Array, m_g_geo_err: Array) -> Bool:
    """Tell which stars are brighter than the spectrum predicts by more than both errors (Eq. 10), shape (star,)."""
    return np.asarray(m_g_nn - m_g_geo > np.hypot(m_g_nn_err, m_g_geo_err))


def is_in_domain(logg: Array, m_g_nn: Array) -> Bool:
    """Tell for which stars a companion is visible: not for giants, whose companions are dwarf stars (section 5).

    Parameters
    ----------
    logg
        Surface gravity, shape (star,); where it is NaN the magnitude decides.
    m_g_nn
        Absolute magnitude by the label network, mag, shape (star,).
    """
    return np.asarray(np.where(np.isfinite(logg), logg >= GIANT_LOGG, m_g_nn >= GIANT_MAGNITUDE))


def is_on_main_sequence(logg: Array) -> Bool:
    """Tell which stars are certainly not evolved, shape (star,); False if log g is unknown."""
    return np.asarray(np.asarray(logg) >= MAIN_SEQUENCE_LOGG)


def draw_singles(deviation: Array, expected: Array, error: Array, place: Array, side: Array) -> Float64:
    """Draw magnitudes of single stars with the scatter of observed ones, including outliers, shape (drawn,).

    A companion never makes a star fainter. So stars that are fainter than expected show the scatter of single stars: by
    the errors of the network and of the parallaxes, some of which are far larger than quoted. The same scatter is used
    on both sides.

    Parameters
    ----------
    deviation
        Magnitude minus that expected of a single star, in errors, of observed stars; shape (star,).
    expected, error
        Expected magnitude of the single stars to draw, and its error combined with that of the parallax; mag, shape
        (drawn,).
    place, side
        Numbers between 0 and 1 that choose the size and the sign of each deviation, shape (drawn,).
    """
    fainter = deviation[deviation > 0]
    if not len(fainter):
        return np.full(len(expected), np.nan)
    return np.asarray(expected + np.where(side < 0.5, -1, 1) * np.quantile(fainter, place) * error)


def classify(
    probability: Array, m_g_nn: Array, m_g_geo: Array, logg: Array, settings: BinariesSettings
) -> dict[str, Array]:
    """Return the columns of the catalogue about binaries.

    Parameters
    ----------
    probability
        Eq. 9, shape (star,); NaN without a spectrum, a parallax or a binary network.
    m_g_nn, m_g_geo
        As in `is_binary`.
    logg
        Surface gravity, shape (star,).
    settings
        Section [binaries].

    Returns
    -------
    dict
        BINARY_FLAG (1 single, 0 binary, -1 where the probability or `m_g_nn` is missing), BINARY_POSSIBILITY and FLAGS.
    """
    binary = is_binary(probability, m_g_nn, m_g_geo, settings.threshold)
    known = np.isfinite(probability)
    outside = known & ~is_in_domain(logg, m_g_nn)
    return {
        "BINARY_FLAG": np.where(known & np.isfinite(m_g_nn), 1 - binary.astype(np.int16), -1).astype(np.int16),
        "BINARY_POSSIBILITY": probability.astype(np.float32),
        "FLAGS": np.where(outside, Flag.BINARY_OUTSIDE_DOMAIN, 0).astype(np.int32),
    }
