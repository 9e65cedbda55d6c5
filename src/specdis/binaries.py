"""Section 5: which stars are binaries, and what fraction is (Eqs 6, 9 and 10)."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field, NonNegativeFloat

from specdis.arrays import Array, Bool, Float64
from specdis.distances import GIANT_MAGNITUDE
from specdis.flags import Flag
from specdis.settings import Settings

GIANT_LOGG = 3.8
"""Giants have log g below this (section 4.4)."""
TWIN_RATIO = 0.8
"""Mass ratio from which a binary counts as one of near twins."""
LEAST_RATIO = 0.5
"""Least mass ratio of injected companions: those of less can hardly be told from single stars."""


class BinariesSettings(Settings):
    """Section [binaries]: section 5 of the paper."""

    parallax_snr_min: NonNegativeFloat = 10.0
    """Parallax S/N above which a star trains the mixture of single stars and binaries; it is applied to all."""
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.7
    """Probability above which a star counts as a binary."""


def magnitude_excess(mass_ratio: Array) -> Float64:
    """Return by how many mag a binary is brighter than its primary where luminosity goes as mass cubed (Eq. 6)."""
    return np.asarray(2.5 * np.log10(1 + np.asarray(mass_ratio, np.float64) ** 3))


def is_binary(probability: Array, m_g_nn: Array, m_g_geo: Array, threshold: float) -> Bool:
    """Return which stars meet the final criterion of section 5: probable, and brighter than the spectrum says.

    Parameters
    ----------
    probability
        Eq. 9, shape (star,).
    m_g_nn, m_g_geo
        Absolute magnitude by the network of the label, and by the parallax; mag, shape (star,).
    """
    return np.asarray((probability > threshold) & (m_g_nn > m_g_geo))


def is_significant(m_g_nn: Array, m_g_nn_err: Array, m_g_geo: Array, m_g_geo_err: Array) -> Bool:
    """Return which stars are brighter than the spectrum says by more than both errors (Eq. 10), shape (star,)."""
    return np.asarray(m_g_nn - m_g_geo > np.hypot(m_g_nn_err, m_g_geo_err))


def is_in_domain(logg: Array, m_g_nn: Array) -> Bool:
    """Return for which stars a companion can be seen: no giants, whose companions are dwarfs (section 5).

    Parameters
    ----------
    logg
        Surface gravity, shape (star,); where it is NaN the magnitude decides.
    m_g_nn
        Absolute magnitude by the network of the label, mag, shape (star,).
    """
    return np.asarray(np.where(np.isfinite(logg), logg >= GIANT_LOGG, m_g_nn >= GIANT_MAGNITUDE))


def classify(
    probability: Array, m_g_nn: Array, m_g_geo: Array, logg: Array, settings: BinariesSettings
) -> dict[str, Array]:
    """Return the columns of the catalogue that say whether stars are binaries.

    Parameters
    ----------
    probability
        Eq. 9, shape (star,); NaN where there is no spectrum, parallax or model.
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
