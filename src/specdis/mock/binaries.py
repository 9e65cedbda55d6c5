"""Unresolved binaries: a companion on the main sequence of the star's own isochrone, unresolved.

Companions share age, abundances, distance and velocity with their star; orbital motion is neglected.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from specdis.arrays import Array, Float64
from specdis.mock.draws import Draws
from specdis.mock.settings import MockSettings
from specdis.mock.stars import main_sequence

LEAST_MASS_RATIO, TWINS = 0.1, 0.95
"""Least mass ratio, and the least of twins."""


def with_companions(stars: Mapping[str, Array], settings: MockSettings) -> dict[str, Array]:
    """Give some stars a companion.

    Mass ratios are uniform from 0.1 to 1, except for twins, with 0.95 to 1: surveys of nearby stars find flat
    distributions with such an excess (Moe & Di Stefano 2017, ApJS 230, 15). The ratio of a giant is to its present
    mass.

    Parameters
    ----------
    stars
        SOURCE_ID, TEFF, LOGG, FEH, ALPHAFE, MASS, AGE, M_G and PARENT of single stars, shape (star,); clones, with
        PARENT >= 0, get none.
    settings
        Fractions of binaries and of twins among them.

    Returns
    -------
    dict
        The stars, with M_G (mag) of both stars together; M_G_PRIMARY of the star alone; MASS_RATIO, and M_G_COMPANION,
        TEFF_COMPANION (K) and LOGG_COMPANION (dex) of the companion, NaN where there is none.
    """
    draws = Draws(settings.seed, (stars["SOURCE_ID"],))
    # spectrum and luminosity of a real star include its companions
    single = (draws.uniform("binary") >= settings.binary_fraction) | (stars["PARENT"] >= 0)
    least = np.where(draws.uniform("twin") < settings.twin_fraction, TWINS, LEAST_MASS_RATIO)
    ratio = np.where(single, np.nan, least + (1.0 - least) * draws.uniform("mass ratio"))
    mass = np.where(single, stars["MASS"], ratio * stars["MASS"])
    companion = main_sequence(stars["FEH"], stars["ALPHAFE"], stars["AGE"], mass)
    columns = {f"{name}_COMPANION": np.where(single, np.nan, values) for name, values in companion.items()}
    return {
        **stars,
        **columns,
        "MASS_RATIO": ratio,
        "M_G_PRIMARY": stars["M_G"],
        "M_G": blended_magnitude(stars["M_G"], columns["M_G_COMPANION"]),
    }


def blended_magnitude(one: Array, other: Array) -> Float64:
    """Return the magnitude of two unresolved stars, shape (star,); the other is NaN if absent."""
    return np.asarray(one - 2.5 * np.log10(1.0 + np.nan_to_num(10.0 ** (0.4 * (one - other)))))
