"""Continuous opacity: H minus, hydrogen, scattering, and a smooth stand-in for countless weak iron lines."""

from __future__ import annotations

import numpy as np

from spectra_grid.constants import BOLTZMANN, BOLTZMANN_EV, LIGHT_SPEED
from spectra_grid.gas import ELEMENTS, Array, Gas
from spectra_grid.hydrogen import LYMAN_LIMIT, dissolved_fraction

# John (1988), H minus: bound-free series, and free-free series in wavelength (columns) and temperature (rows)
_BOUND_FREE = (152.519, 49.534, -118.858, 92.536, -34.194, 4.982)
_FREE_FREE = (
    (0.0, 2483.346, -3449.889, 2200.04, -696.271, 88.283),
    (0.0, 285.827, -1158.382, 2427.719, -1841.4, 444.517),
    (0.0, -2054.291, 8746.523, -13651.105, 8624.97, -1863.864),
    (0.0, 2827.776, -11485.632, 16755.524, -10051.53, 2095.288),
    (0.0, -1341.537, 5303.609, -7510.494, 4400.067, -901.788),
    (0.0, 208.952, -812.939, 1132.738, -655.02, 132.985),
)
IRON_HAZE = 1e-16
"""Strength (cm^2) of the pseudo-continuum of weak Fe I lines at 4000 A; tuned on MILES spectra."""


def continuum_opacity(wavelength: Array, gas: Gas) -> Array:
    """Return the continuous opacity in cm^-1, shape (layer, wavelength); scattering counts as absorption."""
    return h_minus(wavelength, gas) + neutral_hydrogen(wavelength, gas) + scattering(wavelength, gas)


def h_minus(wavelength: Array, gas: Gas) -> Array:
    """Return bound-free and free-free absorption by the negative hydrogen ion (John 1988)."""
    micron = wavelength * 1e-4
    temperature = gas.temperature[:, None]
    threshold = np.maximum(1.0 / micron - 1.0 / 1.6419, 1e-6)
    series = sum(coefficient * threshold ** (0.5 * order) for order, coefficient in enumerate(_BOUND_FREE))
    cross_section = 1e-18 * micron**3 * threshold**1.5 * series
    bound_free = 0.75 * temperature**-2.5 * np.exp(14388.0 / (1.6419 * temperature))
    bound_free = bound_free * _stimulated(wavelength, gas) * cross_section
    powers = np.stack([micron**power for power in (2, 0, -1, -2, -3, -4)])
    theta = 5040.0 / temperature
    free_free = sum(theta ** (0.5 * order + 1.0) * (row @ powers) for order, row in enumerate(np.array(_FREE_FREE)))
    electron_pressure = gas.electrons * BOLTZMANN * gas.temperature
    return (bound_free + 1e-29 * free_free) * (electron_pressure * gas.neutral_hydrogen)[:, None]


def neutral_hydrogen(wavelength: Array, gas: Gas) -> Array:
    """Return Kramers' bound-free absorption from n = 2 to 8 and free-free absorption by protons."""
    frequency = LIGHT_SPEED / (wavelength * 1e-8)
    free_free = 3.692e8 * 1.1 * (gas.electrons * gas.protons * gas.temperature**-0.5)[:, None] / frequency**3
    opacity = free_free
    for level in range(2, 9):
        limit = LYMAN_LIMIT * level**2
        reach = np.where(wavelength < limit, 1.0, 0.0)
        if level == 2:
            reach = np.maximum(reach, dissolved_fraction(wavelength, gas.electrons))
        cross_section = 7.91e-18 * level * (wavelength / limit) ** 3
        opacity = opacity + reach * cross_section * gas.excited_hydrogen(level)[:, None]
    return opacity * _stimulated(wavelength, gas)


def scattering(wavelength: Array, gas: Gas) -> Array:
    """Return Thomson scattering and Rayleigh scattering by neutral hydrogen."""
    rayleigh = 5.81e-13 / wavelength**4 * (1.0 + 2.45e6 / wavelength**2)
    return 6.65e-25 * gas.electrons[:, None] + rayleigh * gas.neutral_hydrogen[:, None]


def iron_haze(wavelength: Array, gas: Gas) -> Array:
    """Return a smooth opacity in place of the weak lines that no table holds, shape (layer, wavelength).

    It follows Fe I at 2.5 eV and fades to the red; without it the blue of cool stars has too much contrast.
    """
    iron = gas.population[0, ELEMENTS.index["Fe"]] * np.exp(-2.5 / (BOLTZMANN_EV * gas.temperature))
    return IRON_HAZE * np.exp(-(wavelength - 4000.0) / 600.0) * iron[:, None]


def _stimulated(wavelength: Array, gas: Gas) -> Array:
    return 1.0 - np.exp(-1.4388e8 / (wavelength * gas.temperature[:, None]))
