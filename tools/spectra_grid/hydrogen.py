"""Hydrogen: the survival of its levels in the plasma, and the Balmer lines with Stark-broadened wings."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from spectra_grid.constants import (
    BOLTZMANN,
    HYDROGEN_MASS,
    LIGHT_SPEED,
    LINE_CROSS_SECTION,
    RYDBERG_EV,
    SECOND_RADIATION,
)
from spectra_grid.gas import Array, Gas

LYMAN_LIMIT = 911.7535
"""Wavelength in Angstrom, vacuum, that places the Balmer lines at 1 / (1/4 - 1/n^2) of it, fine structure averaged."""
OSCILLATOR_STRENGTH = (0.6407, 0.1193, 0.04467, 0.02209, 0.01270, 0.008036, 0.005429, 0.003851, 0.002835, 0.002151)
"""Of H-alpha and the next nine lines of the series."""
HIGHEST_LEVEL = 31
ELECTRON_WING = 1.3
"""How far electrons raise the wing of the ions' Holtsmark profile, reached at eleven times its width."""
SELF_BROADENING = {3: 6.0e-8, 4: 1.1e-7, 5: 1.8e-7}
"""Damping per neutral hydrogen atom (cm^3 / s at 10^4 K) of H-alpha, beta, gamma; higher lines 2.4e-7."""
FADING = 100.0
"""Angstrom redward of its limit over which the continuum of dissolved levels fades; tuned on MILES spectra."""
FLOOR = 1e-4
"""A profile is followed until it adds less than this to the opacity."""


def level_survival(level: Array, electrons: Array) -> Array:
    """Return the probability that a level is not dissolved by the microfield (Hummer & Mihalas 1988)."""
    quantum = np.where(
        level > 3, 16.0 / 3.0 * level**2 / (level + 1.0) ** 2 * (level + 7.0 / 6.0) / (level**2 + level + 0.5), 1.0
    )
    radius = 14.4e-8 / (np.sqrt(quantum) * RYDBERG_EV / level**2)  # e^2 / energy, in cm
    return np.exp(-np.minimum(4.0 / 3.0 * np.pi * 16.0 * electrons * radius**3, 80.0))


def dissolved_fraction(wavelength: Array, electrons: Array) -> Array:
    """Return how far the Balmer continuum reaches redward of its limit, shape (layer, wavelength).

    A photon of this wavelength would lift an n = 2 atom to an effective level, dissolved with this probability. That
    alone reaches too far between the lower lines, hence the fading (Hubeny, Hummer & Lanz 1994 cut it off likewise).
    """
    inverse_square = 0.25 - LYMAN_LIMIT / wavelength
    level = np.where(inverse_square > 1e-5, np.maximum(inverse_square, 1e-5) ** -0.5, 300.0)
    fading = np.exp(-np.maximum(wavelength - 4.0 * LYMAN_LIMIT, 0.0) / FADING)
    return (1.0 - level_survival(level[None, :], electrons[:, None])) * fading


def add_balmer_lines(opacity: Array, wavelength: Array, gas: Gas, microturbulence: float) -> None:
    """Add the Balmer lines from H-alpha to n = 31 to `opacity` (cm^-1), shape (layer, wavelength), in place."""
    lower = gas.excited_hydrogen(2)
    normal_field = 1.25e-9 * gas.electrons ** (2.0 / 3.0)
    velocity = np.sqrt(2.0 * BOLTZMANN * gas.temperature / HYDROGEN_MASS + (microturbulence * 1e5) ** 2)
    for level in range(3, HIGHEST_LEVEL + 1):
        centre = LYMAN_LIMIT / (0.25 - 1.0 / level**2)
        centre_cm = centre * 1e-8
        stimulated = 1.0 - np.exp(-SECOND_RADIATION / (centre_cm * gas.temperature))
        survival = level_survival(np.array([float(level)]), gas.electrons)
        area = lower * survival * stimulated * _oscillator_strength(level)
        area *= LINE_CROSS_SECTION * centre_cm**2 / LIGHT_SPEED * 1e8  # cm^-1 Angstrom
        stark = 5.5e-5 * (2.0 * level) ** 4 / (level**2 - 4.0) * normal_field  # Angstrom
        damping = SELF_BROADENING.get(level, 2.4e-7) * gas.neutral_hydrogen * (gas.temperature / 1e4) ** 0.3
        lorentz = damping / (4.0 * np.pi) * centre_cm**2 / LIGHT_SPEED * 1e8
        reach = 300.0 if level < 8 else 120.0
        doppler = centre * velocity / LIGHT_SPEED
        _add_profile(opacity, wavelength, centre, reach, area, doppler, stark, lorentz)


def _oscillator_strength(level: int) -> float:
    if level - 3 < len(OSCILLATOR_STRENGTH):
        return OSCILLATOR_STRENGTH[level - 3]
    return 3.18 / level**3 * (1.0 + 6.0 / level**2)


@njit(fastmath=True)
def _add_profile(opacity, wavelength, centre, reach, area, doppler, stark, lorentz):
    """Add one line layer by layer, outwards from its centre until it adds less than FLOOR of the opacity."""
    middle = np.searchsorted(wavelength, centre)
    for layer in range(opacity.shape[0]):
        edge = _profile(reach, doppler[layer], stark[layer], lorentz[layer])
        for start, step in ((middle, 1), (middle - 1, -1)):
            pixel = start
            while 0 <= pixel < wavelength.shape[0]:
                distance = abs(wavelength[pixel] - centre)
                # less the value at the edge, so that the wing ends without a step
                profile = _profile(distance, doppler[layer], stark[layer], lorentz[layer]) - edge
                if distance > reach or area[layer] * profile < FLOOR * opacity[layer, pixel]:
                    break
                opacity[layer, pixel] += area[layer] * profile
                pixel += step


@njit(fastmath=True)
def _profile(distance, doppler, stark, lorentz):
    """Return a Holtsmark-like Stark wing, a Doppler core and a Lorentz wing of self-broadening, per Angstrom."""
    width = 1.576 * stark
    scaled = math.sqrt(distance * distance + 0.5 * doppler * doppler) / width
    wing = 0.24 / stark / (1.0 + scaled * scaled * math.sqrt(scaled))
    electrons = 1.0 + ELECTRON_WING * min(max(scaled - 1.0, 0.0), 10.0) / 10.0
    core = 0.0
    if distance < 6.0 * doppler:
        core = max(1.0 - width / doppler, 0.0) * 0.5642 / doppler * math.exp(-((distance / doppler) ** 2))
    own = lorentz / math.pi / (distance * distance + lorentz * lorentz + doppler * doppler)
    return core + wing * electrons + own
