"""Wavelengths in air and in vacuum; outside this module all wavelengths are in vacuum."""

from __future__ import annotations

import numpy as np

from specdis.arrays import Float64

SPEED_OF_LIGHT = 299_792.458
"""km/s, exact by definition of the metre."""


def refractive_index(vacuum: Float64) -> Float64:
    """Return the refractive index of standard air (15 C, 101325 Pa, 450 ppm CO2; Ciddor 1996, Eq. 1).

    Parameters
    ----------
    vacuum
        Vacuum wavelength in Angstrom, 3000 to 16900, any shape.
    """
    squared = (1e4 / vacuum) ** 2
    return 1 + 0.05792105 / (238.0185 - squared) + 0.00167917 / (57.362 - squared)


def air_to_vacuum(air: Float64) -> Float64:
    """Return vacuum wavelengths for wavelengths in air, Angstrom, any shape.

    The index belongs to the vacuum wavelength; two steps from the air wavelength reach it to 1e-9 A.
    """
    vacuum = np.asarray(air, dtype=np.float64)
    for _ in range(3):
        vacuum = air * refractive_index(vacuum)
    return vacuum
