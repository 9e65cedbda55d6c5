"""Bands of CH, CN, C2, MgH and TiO from spectroscopic constants: no line list is needed.

A band's lines stand where the rotational constants of its two states put them (P, Q and R branches, spin structure
only as fixed shifts of sub-bands). Franck-Condon factors are those of harmonic oscillators.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.polynomial.hermite import hermval

from spectra_grid.atmosphere import Atmosphere
from spectra_grid.constants import (
    ATOMIC_MASS,
    BOLTZMANN,
    BOLTZMANN_EV,
    LIGHT_SPEED,
    LINE_CROSS_SECTION,
    PLANCK,
    SECOND_RADIATION,
)
from spectra_grid.gas import ELEMENTS, Array, Gas, read_columns
from spectra_grid.profiles import add_lines

COOLEST_WITHOUT = 8000.0
"""Effective temperature in K above which no molecule is left to matter."""
TITANIUM_OXIDE = 10.0**-0.4
"""Factor on the strengths of TiO; tuned on MILES spectra."""


class State(NamedTuple):
    """Vibration, anharmonicity, rotation and its decrease with vibration, in cm^-1: we, wexe, Be, alpha_e."""

    vibration: float
    anharmonicity: float
    rotation: float
    decrease: float


@dataclass(frozen=True)
class System:
    """One electronic transition; energies in cm^-1, `strength` the oscillator strength of the whole system."""

    molecule: str
    energy: float
    upper: State
    lower: State
    lower_energy: float
    lower_weight: float
    strength: float
    has_q_branch: bool
    shifts: tuple[float, ...]
    highest_rotation: int


def read_systems() -> list[System]:
    """Read molecules.csv: constants as commonly tabulated, strengths good to about a factor of two."""
    columns = read_columns("molecules.csv")
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return [
        System(
            molecule=row["molecule"],
            energy=float(row["energy"]),
            upper=State(*(float(row[f"upper_{name}"]) for name in State._fields)),
            lower=State(*(float(row[f"lower_{name}"]) for name in State._fields)),
            lower_energy=float(row["lower_energy"]),
            lower_weight=float(row["lower_weight"]),
            strength=float(row["strength"]) * (TITANIUM_OXIDE if row["molecule"] == "TiO" else 1.0),
            has_q_branch=row["q_branch"] == "1",
            shifts=tuple(float(shift) for shift in row["shifts"].split()),
            highest_rotation=int(row["highest_rotation"]),
        )
        for row in rows
    ]


REDUCED_MASS = {"CH": 0.9297, "CN": 6.4622, "MgH": 0.9672, "C2": 6.0, "TiO": 11.994}
MASS = {"CH": 13.0, "CN": 26.0, "MgH": 25.0, "C2": 24.0, "TiO": 64.0}
_VIBRATIONS = 6


@dataclass(frozen=True)
class MolecularLines:
    """Lines of one system: vacuum wavelength (Angstrom), lower energy (cm^-1), gf per molecule, shape (line,)."""

    system: System
    wavelength: Array
    energy: Array
    gf: Array


def franck_condon(system: System) -> Array:
    """Return squared overlaps of harmonic-oscillator wave functions, shape (lower v, upper v)."""
    mass = REDUCED_MASS[system.molecule]
    distance = [np.sqrt(16.8576 / (mass * state.rotation)) for state in (system.lower, system.upper)]
    radius = np.linspace(min(distance) - 0.6, max(distance) + 0.6, 1500)
    waves = []
    for state, equilibrium in zip((system.lower, system.upper), distance, strict=True):
        scaled = np.sqrt(mass * state.vibration / 16.8576) * (radius - equilibrium)
        wave = np.array([hermval(scaled, row) for row in np.eye(_VIBRATIONS)]) * np.exp(-0.5 * scaled**2)
        waves.append(wave / np.linalg.norm(wave, axis=1, keepdims=True))
    return (waves[0] @ waves[1].T) ** 2


def _vibrational(state: State, v: int) -> float:
    return state.vibration * (v + 0.5) - state.anharmonicity * (v + 0.5) ** 2


def _rotational(state: State, v: int, j: Array) -> Array:
    rotation = state.rotation - state.decrease * (v + 0.5)
    stretching = 4.0 * rotation**3 / state.vibration**2
    return rotation * j * (j + 1.0) - stretching * (j * (j + 1.0)) ** 2


def system_lines(system: System, shortest: float, longest: float) -> MolecularLines:
    """Return the lines of all bands of a system between two wavelengths."""
    overlap = franck_condon(system)
    branches = ((-1, 0.25), (0, 0.5), (1, 0.25)) if system.has_q_branch else ((-1, 0.5), (1, 0.5))
    j = np.arange(1.0, system.highest_rotation + 1.0)
    rows = []
    for v_lower, v_upper in zip(*np.nonzero(overlap >= 0.004), strict=True):
        lower = _vibrational(system.lower, v_lower) + _rotational(system.lower, v_lower, j)
        for change, share in branches:
            upper = _vibrational(system.upper, v_upper) + _rotational(system.upper, v_upper, j + change)
            gf = share * system.strength * overlap[v_lower, v_upper] * (2.0 * j + 1.0) / len(system.shifts)
            energy = lower - _vibrational(system.lower, 0) + system.lower_energy
            rows += [(1e8 / (system.energy + upper - lower + shift), energy, gf) for shift in system.shifts]
    wavelength, energy, gf = (np.concatenate(column) for column in zip(*rows, strict=True))
    inside = (wavelength > shortest) & (wavelength < longest) & (gf > 1e-6)
    return MolecularLines(system, wavelength[inside], energy[inside], gf[inside])


def _dissociation(
    temperature: Array,
    mass: float,
    energy: float,
    vibration: float,
    rotation: float,
    partition: float | Array,
    weight: float,
) -> Array:
    """Return n(A) n(B) / n(AB) in cm^-3; `partition` is U(A) U(B), `weight` the electronic weight of AB."""
    translation = (2.0 * np.pi * mass * ATOMIC_MASS * BOLTZMANN * temperature / PLANCK**2) ** 1.5
    internal = weight * _rotation_vibration(temperature, vibration, rotation)
    return translation * partition / internal * np.exp(-energy / (BOLTZMANN_EV * temperature))


def _rotation_vibration(temperature: Array, vibration: float, rotation: float) -> Array:
    return temperature / (SECOND_RADIATION * rotation) / (1.0 - np.exp(-SECOND_RADIATION * vibration / temperature))


def molecule_densities(gas: Gas) -> dict[str, Array]:
    """Return number densities in cm^-3: C and O share CO and OH, N forms N2, Ti forms TiO; the rest are traces."""
    temperature, hydrogen = gas.temperature, gas.neutral_hydrogen
    carbon, nitrogen, oxygen, magnesium, titanium = (
        gas.neutral[ELEMENTS.index[symbol]] for symbol in ("C", "N", "O", "Mg", "Ti")
    )
    co = _dissociation(temperature, 6.857, 11.09, 2170.0, 1.931, 81.0, 1.0)
    oh = 1.0 + hydrogen / _dissociation(temperature, 0.948, 4.39, 3738.0, 18.9, 18.0, 4.0)
    balance = co * oh + carbon - oxygen
    root = np.sqrt(balance**2 + 4.0 * oh * co * oxygen)
    # two forms of one root: each keeps its digits where the other cancels
    free_oxygen = np.where(balance > 0.0, 2.0 * co * oxygen / (root + balance), (root - balance) / (2.0 * oh))
    free_carbon = carbon / (1.0 + free_oxygen / co)
    n2 = _dissociation(temperature, 7.0, 9.76, 2358.0, 2.0 * 1.998, 16.0, 1.0)
    free_nitrogen = 2.0 * nitrogen / (1.0 + np.sqrt(1.0 + 8.0 * nitrogen / n2))
    tio = _dissociation(temperature, 11.994, 6.87, 1009.0, 0.535, 270.0 * (temperature / 5000.0) ** 0.9, 6.0)
    free_titanium = titanium / (1.0 + free_oxygen / tio)
    return {
        "CH": free_carbon * hydrogen / _dissociation(temperature, 0.93, 3.465, 2858.0, 14.19, 18.4, 4.0),
        "CN": free_carbon * free_nitrogen / _dissociation(temperature, 6.46, 7.70, 2068.0, 1.89, 37.72, 2.0),
        "C2": free_carbon**2 / _dissociation(temperature, 6.0, 6.24, 1855.0, 2.0 * 1.81, 84.64, 4.0),
        "MgH": magnesium * hydrogen / _dissociation(temperature, 0.967, 1.30, 1495.0, 5.7, 2.0, 2.0),
        "TiO": free_titanium * free_oxygen / tio,
    }


def add_molecular_lines(
    opacity: Array, wavelength: Array, continuum: Array, lines: MolecularLines, density: Array, atmosphere: Atmosphere
) -> None:
    """Add the lines of one system to `opacity` (cm^-1), shape (layer, wavelength), in place.

    `continuum` is the continuous opacity at each line, `density` that of the molecule (cm^-3) over `layer`.
    """
    system, temperature = lines.system, atmosphere.gas.temperature
    partition = _rotation_vibration(temperature, system.lower.vibration, system.lower.rotation)
    population = density * system.lower_weight / partition
    area = lines.gf[:, None] * population * np.exp(-SECOND_RADIATION * lines.energy[:, None] / temperature)
    area *= LINE_CROSS_SECTION * (lines.wavelength[:, None] * 1e-8) ** 2 / LIGHT_SPEED * 1e8
    thermal = 2.0 * BOLTZMANN * temperature / (ATOMIC_MASS * MASS[system.molecule])
    velocity = np.sqrt(thermal + (atmosphere.microturbulence * 1e5) ** 2)
    doppler = lines.wavelength[:, None] * velocity / LIGHT_SPEED
    damping = np.full(area.shape, 1e-3)
    add_lines(opacity, wavelength, continuum, lines.wavelength, area, doppler, damping, floor=2e-3, reach=3.0)
