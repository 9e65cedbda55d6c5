"""Voigt profiles of many lines, added to the opacity of every layer (compiled with numba)."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from spectra_grid.gas import Array

_ROOT_PI = math.sqrt(math.pi)


@njit(fastmath=True)
def voigt(damping, distance):
    """Return the Voigt function H(a, u): its wing, Tepper-Garcia (2006) for small a, else Humlicek (1982)."""
    square = distance * distance
    if square > 60.0:
        return damping / (_ROOT_PI * square) * (1.0 + 1.5 / square)
    if damping < 0.15:
        gauss = math.exp(-square)
        if square < 1e-2:
            core = gauss - 2.0 * damping / _ROOT_PI * (1.0 - 2.0 * square)
        else:
            bracket = gauss * gauss * (4.0 * square * square + 7.0 * square + 4.0 + 1.5 / square)
            core = gauss - damping / (_ROOT_PI * square) * (bracket - 1.5 / square - 1.0)
        return max(core + damping * damping * (1.0 - 2.0 * square) * gauss, 0.0)
    t = complex(damping, -distance)
    if abs(distance) + damping >= 5.5:
        return (t * (1.410474 + t * t * 0.5641896) / (0.75 + t * t * (3.0 + t * t))).real
    numerator = 16.4955 + t * (20.20933 + t * (11.96482 + t * (3.778987 + t * 0.5642236)))
    denominator = 16.4955 + t * (38.82363 + t * (39.27121 + t * (21.69274 + t * (6.699398 + t))))
    return (numerator / denominator).real


@njit(fastmath=True)
def _add(opacity, wavelength, continuum, centre, area, doppler, damping, floor, reach):
    start = math.log(wavelength[0])
    per_pixel = (math.log(wavelength[-1]) - start) / (wavelength.shape[0] - 1)
    for line in range(centre.shape[0]):
        middle = int((math.log(centre[line]) - start) / per_pixel + 0.5)
        for layer in range(opacity.shape[0]):
            width = doppler[line, layer]
            peak = area[line, layer] / (_ROOT_PI * width)
            threshold = floor * continuum[layer, line]
            if peak < threshold:
                continue
            wing = width * math.sqrt(peak * damping[line, layer] / (_ROOT_PI * threshold))
            core = width * math.sqrt(max(math.log(peak / threshold), 0.1))
            pixels = int(min(max(wing, core), reach) / centre[line] / per_pixel) + 1
            for pixel in range(max(0, middle - pixels), min(wavelength.shape[0], middle + pixels + 1)):
                distance = (wavelength[pixel] - centre[line]) / width
                opacity[layer, pixel] += peak * voigt(damping[line, layer], distance)


def add_lines(
    opacity: Array,
    wavelength: Array,
    continuum: Array,
    centre: Array,
    area: Array,
    doppler: Array,
    damping: Array,
    *,
    floor: float,
    reach: float,
) -> None:
    """Add lines to `opacity` (cm^-1), shape (layer, wavelength), in place.

    Parameters
    ----------
    wavelength
        In Angstrom, uniform in its logarithm.
    continuum
        Continuous opacity at each line, shape (layer, line).
    centre
        In Angstrom, shape (line,).
    area, doppler, damping
        Integrated opacity (cm^-1 Angstrom), Doppler width (Angstrom) and Voigt parameter, shape (line, layer).
    floor, reach
        A profile is followed until it falls under `floor` times the continuum, at most `reach` Angstrom far.
    """
    _add(opacity, wavelength, np.ascontiguousarray(continuum), centre, area, doppler, damping, floor, reach)
