"""One synthetic spectrum: atmosphere, opacities, emergent flux, and the instrument's resolution."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from spectra_grid.atmosphere import Atmosphere, atmosphere
from spectra_grid.continuum import continuum_opacity, iron_haze
from spectra_grid.gas import Array
from spectra_grid.hydrogen import add_balmer_lines
from spectra_grid.lines import add_atomic_lines, read_lines
from spectra_grid.molecules import COOLEST_WITHOUT, add_molecular_lines, molecule_densities, read_systems, system_lines
from spectra_grid.transfer import emergent_flux

SAMPLING = 150_000.0
"""Wavelength over step of the synthesis: two steps or more in a thermal line width."""
MARGIN = 8.0
"""Angstrom computed beyond the ends of the wanted range, for the resolution's wings."""


class Synthesis:
    """Spectra on one wavelength grid at one resolution.

    Parameters
    ----------
    wavelength
        Of the result, in vacuum Angstrom.
    resolution
        Full width at half maximum of the Gaussian line spread, in Angstrom.
    """

    def __init__(self, wavelength: Array, resolution: float) -> None:
        start, stop = np.log(wavelength[0] - MARGIN), np.log(wavelength[-1] + MARGIN)
        self.fine = np.exp(np.arange(start, stop, 1.0 / SAMPLING))
        self.coarse = np.concatenate(
            [np.arange(self.fine[0], 3700.0, 8.0), np.arange(3700.0, self.fine[-1] + 60, 60.0)]
        )
        self.lines = read_lines()
        self.bands = [system_lines(system, self.fine[0], self.fine[-1]) for system in read_systems()]
        self.line_spread = line_spread(self.fine, wavelength, resolution)

    def __call__(self, teff: float, logg: float, feh: float, alphafe: float) -> Array:
        """Return the surface flux in erg s^-1 cm^-2 Angstrom^-1 at the instrument's resolution."""
        layers = atmosphere(teff, logg, feh, alphafe)
        return self.line_spread @ emergent_flux(self.opacity(layers, teff), self.fine, layers)

    def opacity(self, layers: Atmosphere, teff: float) -> Array:
        """Return the whole opacity in cm^-1, shape (layer, wavelength)."""
        gas = layers.gas
        continuum = continuum_opacity(self.coarse, gas)
        opacity = self._interpolate(continuum, self.fine) + iron_haze(self.fine, gas)
        add_balmer_lines(opacity, self.fine, gas, layers.microturbulence)
        at_lines = self._interpolate(continuum, self.lines.wavelength)
        add_atomic_lines(opacity, self.fine, at_lines, self.lines, layers)
        if teff < COOLEST_WITHOUT:
            densities = molecule_densities(gas)
            for band in self.bands:
                at_lines = self._interpolate(continuum, band.wavelength)
                density = densities[band.system.molecule]
                add_molecular_lines(opacity, self.fine, at_lines, band, density, layers)
        return opacity

    def _interpolate(self, continuum: Array, wavelength: Array) -> Array:
        return np.stack([np.interp(wavelength, self.coarse, layer) for layer in continuum])


def line_spread(fine: Array, wavelength: Array, resolution: float) -> csr_array:
    """Return the matrix that takes a finely sampled spectrum to Gaussian means, shape (wavelength, fine)."""
    sigma = resolution / np.sqrt(8.0 * np.log(2.0))
    first = np.searchsorted(fine, wavelength - 4.5 * sigma)
    count = np.searchsorted(fine, wavelength + 4.5 * sigma) - first
    row = np.repeat(np.arange(len(wavelength)), count)
    column = np.arange(len(row)) + np.repeat(first - np.concatenate([[0], np.cumsum(count)[:-1]]), count)
    weight = np.exp(-0.5 * ((fine[column] - wavelength[row]) / sigma) ** 2) * fine[column]  # step grows with wavelength
    weight /= np.bincount(row, weight)[row]
    return csr_array((weight, (row, column)), shape=(len(wavelength), len(fine)))
