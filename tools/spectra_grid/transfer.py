"""Emergent flux: F = 2 pi int S(t) E2(t) dt with the Planck function as the source."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from spectra_grid.atmosphere import OPTICAL_DEPTH, Atmosphere
from spectra_grid.gas import Array


@njit(fastmath=True)
def third_exponential_integral(x):
    """Return E3(x), through E1 of Abramowitz & Stegun 5.1.53 and 5.1.54."""
    if x < 1e-9:
        return 0.5
    decay = math.exp(-x)
    if x < 1.0:
        series = x * (0.05519968 + x * (-0.00976004 + x * 0.00107857))
        first = -math.log(x) - 0.57721566 + x * (0.99999193 + x * (-0.24991055 + series))
    else:
        first = decay / x * (x * x + 2.334733 * x + 0.250621) / (x * x + 3.330657 * x + 1.681534)
    return 0.5 * (decay - x * (decay - x * first))


@njit(fastmath=True)
def _flux(opacity, wavelength, temperature, log_depth, per_opacity):
    flux = np.zeros(wavelength.shape[0])
    for pixel in range(wavelength.shape[0]):
        centimetre = wavelength[pixel] * 1e-8
        exponent = 1.438777 / centimetre
        source = 1.0 / (math.exp(exponent / temperature[0]) - 1.0)
        integrand = opacity[0, pixel] * per_opacity[0]
        depth = integrand
        escape = third_exponential_integral(depth)
        total = source * (0.5 - escape)
        for layer in range(1, opacity.shape[0]):
            deeper = opacity[layer, pixel] * per_opacity[layer]
            depth += 0.5 * (deeper + integrand) * (log_depth[layer] - log_depth[layer - 1])
            integrand = deeper
            below = 1.0 / (math.exp(exponent / temperature[layer]) - 1.0)
            remaining = third_exponential_integral(depth) if depth < 40.0 else 0.0
            total += 0.5 * (source + below) * (escape - remaining)
            source, escape = below, remaining
            if escape == 0.0:
                break
        total += source * escape
        flux[pixel] = 2.0 * math.pi * 1.191043e-5 / centimetre**5 * 1e-8 * total
    return flux


def emergent_flux(opacity: Array, wavelength: Array, atmosphere: Atmosphere) -> Array:
    """Return the flux at the surface in erg s^-1 cm^-2 Angstrom^-1, shape (wavelength,).

    `opacity` is the whole opacity in cm^-1, shape (layer, wavelength). The source function is taken as constant, at
    the mean of its ends, between two layers.
    """
    per_opacity = OPTICAL_DEPTH / atmosphere.opacity_5000
    return _flux(opacity, wavelength, atmosphere.gas.temperature, np.log(OPTICAL_DEPTH), per_opacity)
