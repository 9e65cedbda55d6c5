"""Atomic lines: the table, their strength and their damping."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectra_grid.atmosphere import Atmosphere
from spectra_grid.constants import (
    ATOMIC_MASS,
    BOLTZMANN,
    BOLTZMANN_EV,
    LIGHT_SPEED,
    LINE_CROSS_SECTION,
    SECOND_RADIATION,
)
from spectra_grid.gas import ELEMENTS, Array, read_columns
from spectra_grid.profiles import add_lines

LOG_GF_OFFSET = -0.15
"""Added to every log gf of the table; tuned on MILES spectra."""
VAN_DER_WAALS = {
    "Na I": -7.5,
    "Mg I": -7.3,
    "Al I": -7.3,
    "Si I": -7.2,
    "Ca I": -7.55,
    "Ca II": -7.76,
    "Ti I": -7.7,
    "Cr I": -7.7,
    "Fe II": -7.85,
}
"""log10 of the damping per hydrogen atom at 10^4 K (cm^3 / s); others have -7.65, Fe I grows with excitation."""


def vacuum(air: Array) -> Array:
    """Return the vacuum wavelength in Angstrom of a wavelength in air (Ciddor 1996, in the form VALD uses)."""
    square = (1e4 / air) ** 2
    index = 1.0 + 8.336624212083e-5 + 0.02408926869968 / (130.1065924522 - square)
    return air * (index + 1.599740894897e-4 / (38.92568793293 - square))


@dataclass(frozen=True)
class AtomicLines:
    """Columns over `line`: wavelength in vacuum (Angstrom), excitation (eV), log gf, element and stage (0 or 1)."""

    wavelength: Array
    excitation: Array
    log_gf: Array
    van_der_waals: Array
    element: NDArray[np.int64]
    stage: NDArray[np.int64]


def read_lines() -> AtomicLines:
    """Read lines.csv, which tools/spectra_grid/README.md describes."""
    table = read_columns("lines.csv")
    species = [name.split() for name in table["species"]]
    excitation = np.array(table["excitation"], dtype=float)
    van_der_waals = np.array([VAN_DER_WAALS.get(name, -7.65) for name in table["species"]])
    neutral_iron = np.array(table["species"]) == "Fe I"
    return AtomicLines(
        wavelength=vacuum(np.array(table["wavelength_air"], dtype=float)),
        excitation=excitation,
        log_gf=np.array(table["log_gf"], dtype=float) + LOG_GF_OFFSET,
        van_der_waals=np.where(neutral_iron, -7.85 + 0.09 * excitation, van_der_waals),
        element=np.array([ELEMENTS.index[symbol] for symbol, _ in species]),
        stage=np.array([len(numeral) - 1 for _, numeral in species]),
    )


def add_atomic_lines(
    opacity: Array, wavelength: Array, continuum: Array, lines: AtomicLines, atmosphere: Atmosphere
) -> None:
    """Add every line of the table to `opacity` (cm^-1), shape (layer, wavelength), in place."""
    gas = atmosphere.gas
    temperature = gas.temperature
    centre = lines.wavelength[:, None]
    centre_cm = centre * 1e-8
    lower = gas.population[lines.stage, lines.element] * np.exp(
        -lines.excitation[:, None] / (BOLTZMANN_EV * temperature)
    )
    stimulated = 1.0 - np.exp(-SECOND_RADIATION / (centre_cm * temperature))
    area = 10.0 ** lines.log_gf[:, None] * lower * stimulated
    area *= LINE_CROSS_SECTION * centre_cm**2 / LIGHT_SPEED * 1e8
    thermal = 2.0 * BOLTZMANN * temperature / (ATOMIC_MASS * ELEMENTS.mass[lines.element][:, None])
    doppler = centre * np.sqrt(thermal + (atmosphere.microturbulence * 1e5) ** 2) / LIGHT_SPEED
    width = damping_rate(lines, atmosphere) / (4.0 * np.pi) * centre_cm**2 / LIGHT_SPEED * 1e8
    add_lines(opacity, wavelength, continuum, lines.wavelength, area, doppler, width / doppler, floor=2e-4, reach=60.0)


def damping_rate(lines: AtomicLines, atmosphere: Atmosphere) -> Array:
    """Return natural, van der Waals and quadratic Stark damping in s^-1, shape (line, layer)."""
    gas = atmosphere.gas
    natural = 0.2223e16 / lines.wavelength[:, None] ** 2
    perturbers = gas.neutral_hydrogen + 0.42 * 0.085 * gas.hydrogen_nuclei
    van_der_waals = 10.0 ** lines.van_der_waals[:, None] * perturbers * (gas.temperature / 1e4) ** 0.3
    stark = 10.0 ** np.where(lines.stage == 0, -5.6, -6.1)[:, None] * gas.electrons * (gas.temperature / 1e4) ** 0.17
    helium = (lines.element == ELEMENTS.index["He"])[:, None] * 10.0**-4.6 * gas.electrons
    return natural + van_der_waals + stark + helium
