"""Injected companions of single stars: brightness, and the combined spectrum (section 5).

Equation 6 assumes luminosity proportional to the third power of mass, and companions without effect on the spectrum. In
the G band luminosity goes as the fifth power, and the light of a cooler companion makes the network predict a fainter
star; only both effects together resemble the third power.
"""

from __future__ import annotations

import numpy as np

from specdis.arrays import Array, Bool, Float32, Float64, Int64

_SEQUENCE = np.array(
    [
        (1.00, 9700, 2.33),  # A0
        (1.98, 8100, 1.86),
        (2.51, 7220, 1.60),  # F0
        (3.26, 6550, 1.32),
        (3.90, 6180, 1.16),
        (4.325, 5930, 1.07),  # G0
        (4.635, 5770, 1.00),
        (5.098, 5480, 0.93),
        (5.553, 5290, 0.86),  # K0
        (5.83, 5100, 0.82),
        (6.22, 4870, 0.76),
        (6.85, 4440, 0.70),
        (7.57, 4090, 0.64),
        (8.10, 3850, 0.585),  # M0
        (8.82, 3660, 0.51),
        (9.29, 3560, 0.45),
        (10.05, 3430, 0.36),
        (11.21, 3210, 0.24),
        (12.45, 3060, 0.155),
        (14.26, 2810, 0.105),
    ]
)
"""M_G in mag, effective temperature in K and mass in solar masses of nearby dwarf stars: Pecaut & Mamajek (2013, ApJS
208, 9), the table's version of May 2024."""
_MAGNITUDE, _TEMPERATURE, _MASS = _SEQUENCE.T
_G_WAVELENGTH = 6218.0
"""Pivot wavelength of the G band in Angstrom (Riello et al. 2021, A&A 649, A3)."""
_SECOND_CONSTANT = 1.438777e8
"""h c / k in Angstrom K."""

STEEPNESS = (0.7, 1.3)
"""Factors on the difference of magnitude between two masses: the range over isochrones of other metallicities and ages,
relative to stars near the Sun."""
_NEIGHBOURS = 12
_MAGNITUDES, _DEX = 0.2, 0.3
"""Differences of magnitude and of [Fe/H] of equal weight in the choice of a companion's spectrum."""


def companion_magnitude(magnitude: Array, mass_ratio: Array, steepness: float = 1.0) -> Float64:
    """Return the absolute G magnitude of companions on the main sequence, shape (star,).

    Parameters
    ----------
    magnitude
        Absolute G magnitude of the primaries, mag, shape (star,).
    mass_ratio
        Mass of the companion over that of the primary, shape (star,).
    steepness
        Factor on the difference of magnitude.
    """
    mass = np.log(np.interp(magnitude, _MAGNITUDE, _MASS))
    alone, companion = (
        np.interp(-value, -np.log(_MASS), _MAGNITUDE) for value in (mass, mass + np.log(np.asarray(mass_ratio)))
    )
    return np.asarray(magnitude + steepness * (companion - alone))


def magnitude_excess(primary: Array, companion: Array) -> Float64:
    """Return the excess brightness of two stars over the first alone, mag, shape (star,)."""
    return np.asarray(2.5 * np.log10(1 + 10 ** (-0.4 * (np.asarray(companion) - primary))))


def light_share(wavelength: Float64, primary: Array, companion: Array) -> Float64:
    """Return the companion's share of the light, shape (star, pixel).

    The ratio of the two in the G band is that of their magnitudes. It varies with wavelength like that of black
    bodies with the temperatures of the main sequence.

    Parameters
    ----------
    wavelength
        Angstrom, shape (pixel,).
    primary, companion
        Absolute G magnitudes, mag, shape (star,).
    """
    cool, hot = (np.interp(values, _MAGNITUDE, _TEMPERATURE)[:, None] for values in (companion, primary))

    def colour(place: Float64) -> Float64:
        return np.asarray(np.expm1(_SECOND_CONSTANT / (place * hot)) / np.expm1(_SECOND_CONSTANT / (place * cool)))

    band = 10 ** (-0.4 * (np.asarray(companion) - primary))[:, None] / colour(np.array([_G_WAVELENGTH]))
    ratio = band * colour(wavelength[None])
    return np.asarray(ratio / (1 + ratio))


def spectra_of_companions(wanted: Float64, metallicity: Array, magnitude: Float64, known: Array, able: Bool) -> Int64:
    """Choose observed spectra for companions: rows of the available stars, shape (star,).

    Of the dwarf stars nearest in magnitude, the one nearest in metallicity is chosen. Companions fainter than all
    available ones get the spectrum of the faintest.

    Parameters
    ----------
    wanted
        Absolute magnitudes of the companions, mag, shape (star,).
    metallicity
        [Fe/H] of their primaries, dex, shape (star,); NaN where unknown.
    magnitude, known
        Absolute magnitudes and [Fe/H] of the available stars, shape (other,).
    able
        Available stars on the main sequence, shape (other,); at least one.
    """
    rows = np.flatnonzero(able)
    rows = rows[np.argsort(magnitude[rows], kind="stable")]
    first = np.searchsorted(magnitude[rows], wanted) - _NEIGHBOURS
    near = rows[np.clip(first[:, None] + np.arange(2 * _NEIGHBOURS), 0, len(rows) - 1)]
    apart = np.nan_to_num(np.abs(known[near] - metallicity[:, None]))
    cost = np.abs(magnitude[near] - wanted[:, None]) / _MAGNITUDES + apart / _DEX
    return np.asarray(near[np.arange(len(wanted)), cost.argmin(axis=1)])


def blended_spectra(flux: Array, companion: Array, missing: Bool, share: Float64) -> Float32:
    """Return the spectra over continuum of two unresolved stars, shape (star, pixel).

    Parameters
    ----------
    flux, companion
        Of the two, over their own continuum, shape (star, pixel).
    missing
        Pixels missing in the companion's spectrum, where that of the primary is used.
    share
        From `light_share`.
    """
    return np.asarray(flux + share * (np.where(missing, flux, companion) - flux), np.float32)
