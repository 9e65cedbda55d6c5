"""The gas: abundances, ionisation of hydrogen, helium and 29 metals, molecular hydrogen, and charge balance."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spectra_grid.constants import ATOMIC_MASS, BOLTZMANN, BOLTZMANN_EV, HYDROGEN_MASS, RYDBERG_EV, SAHA

Array = NDArray[np.float64]


def read_columns(name: str) -> dict[str, list[str]]:
    """Read a CSV table of this directory as columns of text."""
    with (Path(__file__).parent / name).open() as file:
        rows = list(csv.DictReader(file))
    return {column: [row[column] for row in rows] for column in rows[0]}


class Elements:
    """Every element but hydrogen, as columns over `element` (elements.csv).

    Abundances are those of the Sun (Asplund et al. 2009, log10 with hydrogen at 12). A partition function is
    U(5000 K) (T / 5000 K)^slope, a power law through commonly tabulated values.
    """

    def __init__(self) -> None:
        table = read_columns("elements.csv")
        self.symbol = table.pop("symbol")
        columns = {name: np.array(values, dtype=float) for name, values in table.items()}
        self.mass = columns["mass"]
        self.solar_abundance = columns["abundance"]
        self.is_alpha = columns["alpha"]
        self.ionisation = np.array([columns["ionisation_1"], columns["ionisation_2"]])
        self.partition_5000 = np.array([columns["partition_neutral"], columns["partition_ion"]])
        self.partition_slope = np.array([columns["slope_neutral"], columns["slope_ion"]])
        self.index = {symbol: number for number, symbol in enumerate(self.symbol)}

    def partition(self, temperature: Array) -> Array:
        """Return partition functions, shape (stage, element, layer), for neutral and singly ionised atoms."""
        power_law = (np.maximum(temperature, 2500.0) / 5000.0) ** self.partition_slope[:, :, None]
        return self.partition_5000[:, :, None] * power_law

    def abundance(self, feh: float, alphafe: float) -> Array:
        """Return nuclei per hydrogen nucleus, shape (element,); helium keeps its solar value."""
        enhancement = feh + alphafe * self.is_alpha
        enhancement[self.index["He"]] = 0.0
        return 10.0 ** (self.solar_abundance - 12.0 + enhancement)


ELEMENTS = Elements()


@dataclass(frozen=True)
class Gas:
    """Number densities in cm^-3 over `layer`.

    `population` is the number density of each stage and element over its partition function, shape
    (stage, element, layer): times g exp(-chi / kT) it is the population of a level.
    """

    temperature: Array
    electrons: Array
    hydrogen_nuclei: Array
    neutral_hydrogen: Array
    protons: Array
    neutral: Array
    population: Array
    mass_density: Array

    def excited_hydrogen(self, level: float) -> Array:
        """Return the number density of neutral hydrogen with principal quantum number `level`."""
        energy = RYDBERG_EV * (1.0 - 1.0 / level**2)
        return self.neutral_hydrogen * level**2 * np.exp(-energy / (BOLTZMANN_EV * self.temperature))


def hydrogen_molecule_constant(temperature: Array) -> Array:
    """Return n(H)^2 / n(H2) in cm^-3, from the polynomial of Tsuji (1973)."""
    theta = 5040.0 / temperature
    polynomial = 12.739 - 5.1172 * theta + 1.2572e-1 * theta**2 - 1.4149e-2 * theta**3 + 6.3021e-4 * theta**4
    return 10.0**polynomial / (BOLTZMANN * temperature)


def equation_of_state(temperature: Array, pressure: Array, abundance: Array) -> Gas:
    """Solve Saha equations with charge balance, by bisection in the logarithm of the electron density.

    Parameters
    ----------
    temperature, pressure
        In K and dyn cm^-2, shape (layer,).
    abundance
        Nuclei per hydrogen nucleus, shape (element,).
    """
    particles = pressure / (BOLTZMANN * temperature)
    thermal = SAHA * temperature**1.5
    partition = ELEMENTS.partition(temperature)
    boltzmann = np.exp(-ELEMENTS.ionisation[:, :, None] / (BOLTZMANN_EV * temperature))
    first_saha = 2.0 * partition[1] / partition[0] * thermal * boltzmann[0]
    second_saha = 2.0 * thermal * boltzmann[1]
    hydrogen_saha = thermal * np.exp(-RYDBERG_EV / (BOLTZMANN_EV * temperature))
    molecule = hydrogen_molecule_constant(temperature)
    metals = abundance.sum()

    low, high = np.log(particles * 1e-12), np.log(particles * 0.5)
    for _ in range(40):
        middle = 0.5 * (low + high)
        electrons = np.exp(middle)
        once = first_saha / electrons
        twice = once * second_saha / electrons
        stages = 1.0 + once + twice
        charge = (abundance[:, None] * (once + 2.0 * twice) / stages).sum(axis=0)
        ionised = hydrogen_saha / electrons
        # particles - electrons = n(H)(1 + ionised) + n(H2) + metals * hydrogen nuclei, a quadratic in n(H)
        quadratic = (1.0 + 2.0 * metals) / molecule
        linear = (1.0 + ionised) * (1.0 + metals)
        heavy = particles - electrons
        neutral_hydrogen = 2.0 * heavy / (linear + np.sqrt(linear**2 + 4.0 * quadratic * heavy))
        hydrogen_nuclei = neutral_hydrogen * (1.0 + ionised) + 2.0 * neutral_hydrogen**2 / molecule
        too_many_electrons = neutral_hydrogen * ionised + hydrogen_nuclei * charge < electrons
        high = np.where(too_many_electrons, middle, high)
        low = np.where(too_many_electrons, low, middle)

    nuclei = abundance[:, None] * hydrogen_nuclei
    return Gas(
        temperature=temperature,
        electrons=electrons,
        hydrogen_nuclei=hydrogen_nuclei,
        neutral_hydrogen=neutral_hydrogen,
        protons=neutral_hydrogen * ionised,
        neutral=nuclei / stages,
        population=nuclei / stages * np.array([np.ones_like(once), once]) / partition,
        mass_density=hydrogen_nuclei * (HYDROGEN_MASS + ATOMIC_MASS * float(abundance @ ELEMENTS.mass)),
    )
