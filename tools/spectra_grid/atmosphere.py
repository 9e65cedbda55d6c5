"""A plane-parallel atmosphere in hydrostatic equilibrium on a grey-like temperature law."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spectra_grid.continuum import continuum_opacity
from spectra_grid.gas import ELEMENTS, Array, Gas, equation_of_state

OPTICAL_DEPTH = 10.0 ** np.linspace(-5.0, 1.4, 26)
"""Continuum optical depth at 5000 A of the layers."""
SURFACE_COOLING = 0.04
"""Fraction by which metal lines cool the surface at solar metallicity; tuned on MILES spectra."""
SURFACE_COOLING_HOT = 0.12
"""The same for A stars, by hydrogen: without it Balmer cores are too shallow; tuned on MILES spectra."""


@dataclass(frozen=True)
class Atmosphere:
    """The gas of each layer, the continuum opacity at 5000 A (cm^-1) and the microturbulence (km/s)."""

    gas: Gas
    opacity_5000: Array
    microturbulence: float


def temperature_structure(teff: float, feh: float) -> Array:
    """Return T(tau) in K, shape (layer,).

    T^4 = 3/4 Teff^4 (tau + q(tau)) with the solar q(tau) below 6000 K and the grey Eddington q = 2/3 above 8000 K.
    Lines cool the surface: those of metals less in metal-poor stars, those of hydrogen from 6500 K on. Convection keeps
    deep layers below 1.55 Teff.
    """
    solar = 1.39 - 0.815 * np.exp(-2.54 * OPTICAL_DEPTH) - 0.025 * np.exp(-30.0 * OPTICAL_DEPTH)
    weight = _smooth_step((8000.0 - teff) / 2000.0)
    hopf = weight * solar + (1.0 - weight) * 2.0 / 3.0
    temperature = np.minimum(teff * (0.75 * (OPTICAL_DEPTH + hopf)) ** 0.25, 1.55 * teff)
    cooling = SURFACE_COOLING * np.clip(1.0 + feh / 2.5, 0.1, 1.15)
    metals = 1.0 - cooling / (1.0 + (OPTICAL_DEPTH / 3e-3) ** 0.6)
    cooling_hot = SURFACE_COOLING_HOT * _smooth_step((teff - 6500.0) / 1500.0)
    return temperature * metals * (1.0 - cooling_hot / (1.0 + (OPTICAL_DEPTH / 1e-2) ** 0.8))


def microturbulence(teff: float, logg: float) -> float:
    """Return the microturbulence in km/s: it grows towards giants below 6000 K and is 2 above 7000 K."""
    weight = _smooth_step((7000.0 - teff) / 1000.0)
    return weight * max(1.0, 2.2 - 0.25 * logg) + (1.0 - weight) * 2.0


def _smooth_step(fraction: float) -> float:
    clipped = min(max(fraction, 0.0), 1.0)
    return clipped**2 * (3.0 - 2.0 * clipped)


def atmosphere(teff: float, logg: float, feh: float, alphafe: float) -> Atmosphere:
    """Integrate dP / d tau = g / kappa, the pressure and the opacity improved in turn until they agree."""
    temperature = temperature_structure(teff, feh)
    abundance = ELEMENTS.abundance(feh, alphafe)
    gravity = 10.0**logg
    log_depth = np.log(OPTICAL_DEPTH)
    pressure = gravity * OPTICAL_DEPTH / 0.05
    for iteration in range(40):
        gas = equation_of_state(temperature, pressure, abundance)
        opacity = continuum_opacity(np.array([5000.0]), gas)[:, 0]
        integrand = OPTICAL_DEPTH * gas.mass_density / opacity
        steps = 0.5 * (integrand[1:] + integrand[:-1]) * np.diff(log_depth)
        # opacity falls with pressure towards the surface: above the first layer the column is its own scale height
        improved = gravity * (integrand[0] + np.concatenate([[0.0], np.cumsum(steps)]))
        change = np.abs(np.log(improved / pressure)).max()
        pressure = np.sqrt(pressure * improved) if iteration < 3 else improved
        if change < 1e-3:
            break
    gas = equation_of_state(temperature, pressure, abundance)
    return Atmosphere(gas, continuum_opacity(np.array([5000.0]), gas)[:, 0], microturbulence(teff, logg))
