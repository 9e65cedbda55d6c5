"""Wavelengths in air and in vacuum; outside this module all wavelengths are in vacuum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from specdis.arrays import Array, Float64
from specdis.errors import InputError
from specdis.surveys.values import LONGEST, SHORTEST, WAVELENGTHS, converted

if TYPE_CHECKING:
    from astropy.units import UnitBase


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


def wavelengths(values: Array, unit: str | UnitBase | None, place: str) -> Float64:
    """Convert wavelengths to Angstrom, and check that they are plausible for a stellar spectrum.

    Parameters
    ----------
    values
        Numbers, shape (pixel,).
    unit
        As in `converted`.
    place
        File and HDU, or the name of the function, for messages.

    Raises
    ------
    InputError
        When the unit is not one of length, or the numbers cannot be Angstrom; the message guesses their unit.
    """
    angstrom = converted("WAVELENGTH", np.asarray(values, dtype=np.float64), unit, place)
    usable = angstrom[np.isfinite(angstrom) & (angstrom > 0)]  # others are refused elsewhere
    if len(usable):
        middle, least, most = float(np.median(usable)), float(usable.min()), float(usable.max())
        low, high = WAVELENGTHS
        if not (low <= middle <= high and least >= SHORTEST and most <= LONGEST):
            raise InputError(
                place,
                expected=f"wavelengths in Angstrom, from {SHORTEST:,.0f} to {LONGEST:,.0f} and in the middle between "
                f"{low:,.0f} and {high:,.0f}",
                found=f"{least:.6g} to {most:.6g}{_look_like(middle)}",
                remedy="Correct the impossible values." if low <= middle <= high else "Convert them to Angstrom.",
            )
    return np.asarray(angstrom)


def _look_like(middle: float) -> str:
    """Guess the unit of wavelengths from the middle of an optical spectrum."""
    for low, high, unit in (
        (3.3, 4.5, "the logarithm of Angstrom"),
        (0.2, 3.0, "micron"),
        (200.0, 3_000.0, "nm"),
        (2e-7, 3e-6, "metres"),
        (1e14, 1.5e15, "Hz"),
    ):
        if low <= middle <= high:
            return f", which look like {unit}"
    return ""
