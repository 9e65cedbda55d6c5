"""Stars: isochrones, magnitudes in G, and populations to draw stars from.

Luminosity, temperature and mass come from one isochrone, and surface gravity from these three, so that a spectrum
(Teff, log g, [Fe/H]) fixes the absolute magnitude up to the mass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from typing import NamedTuple

import numpy as np
from scipy.ndimage import map_coordinates

from specdis.arrays import Array, Bool, Float64, Int64
from specdis.mock.draws import Draws

SUN_TEFF, SUN_LOGG, SUN_M_BOL = 5772.0, 4.438, 4.74  # IAU 2015 Resolutions B2 and B3

TEFF_RANGE = (3500.0, 11500.0)
"""Effective temperatures of the mock's stars, K: the range of the model spectra."""

# BC_G against Teff (K), measured on the BaSTI-IAC isochrones (Hidalgo et al. 2018) in the Gaia DR3 passband at
# [M/H] = -0.08. Gravity moves it by less than 0.06 mag at any of these temperatures.
_BC_G = np.array(
    [
        *((2800, -1.606), (3000, -1.277), (3200, -1.016), (3400, -0.771), (3600, -0.660), (3800, -0.560)),
        *((4000, -0.437), (4250, -0.299), (4500, -0.186), (4750, -0.100), (5000, -0.035), (5250, 0.011)),
        *((5500, 0.043), (6000, 0.076), (6500, 0.084), (7000, 0.078), (7500, 0.062), (8000, 0.035)),
        *((9000, -0.072), (10000, -0.262), (12000, -0.650), (15000, -1.191)),
    ]
)

GAP = (6000.0, 7400.0)
"""Effective temperatures of the RR Lyrae gap, K: horizontal-branch stars within pulsate."""
BLUE_EDGE = GAP[1]
"""The horizontal branch is blue beyond."""

_GIANT_BRANCH, _HELIUM_BURNING = 2, 3  # places in Isochrones.first_node


def bolometric_correction(teff: Array) -> Float64:
    """Return BC_G = M_bol - M_G in mag for effective temperatures in K, shape (star,)."""
    return np.asarray(np.interp(np.log(teff), np.log(_BC_G[:, 0]), _BC_G[:, 1]))


def surface_gravity(mass: Array, log_luminosity: Array, teff: Array) -> Float64:
    """Return log g (cm s-2) of stars from mass and luminosity in solar units and Teff in K: g = GM/R^2."""
    gravity = SUN_LOGG + np.log10(mass) + 4.0 * np.log10(teff / SUN_TEFF) - log_luminosity
    return np.asarray(gravity, np.float64)


class Isochrones(NamedTuple):
    """Isochrones on a grid of metallicity, age and node.

    A node is the same stage of evolution on each isochrone; see tools/make_isochrones.py.

    Parameters
    ----------
    metallicity, age
        [M/H] in dex and age in Gyr of the isochrones.
    first_node
        First node of the main sequence, the Hertzsprung gap, the red giant branch, core helium burning and the early
        asymptotic giant branch, and the number of nodes.
    grid
        log L and log Teff (solar units, K), mass (solar), log10 of the stars per node for one Kroupa (2001) mass
        function; shape (metallicity, age, node, quantity).
    """

    metallicity: Float64
    age: Float64
    first_node: Int64
    grid: Array

    def at(self, metallicity: Array, age: Array, node: Array) -> list[Float64]:
        """Return log L, Teff, mass and stars per node by linear interpolation; the nearest isochrone outside."""
        where = np.stack(
            [
                np.interp(metallicity, self.metallicity, np.arange(len(self.metallicity))),
                np.interp(age, self.age, np.arange(len(self.age))),
                node,
            ]
        )
        log_luminosity, log_teff, mass, log_number = (
            map_coordinates(self.grid[..., quantity], where, order=1, mode="nearest", output=np.float64)
            for quantity in range(4)
        )
        return [log_luminosity, 10.0**log_teff, mass, 10.0**log_number]


@cache
def isochrones() -> Isochrones:
    """Return the isochrones that come with the package."""
    with as_file(files("specdis") / "data" / "isochrones.npz") as path, np.load(path) as content:
        return Isochrones(**{name: content[name] for name in Isochrones._fields})


@dataclass(frozen=True)
class Population:
    """Points of a population's HR diagram with the number of stars that each represents, bright ones first.

    Parameters
    ----------
    columns
        TEFF (K), LOGG, FEH, ALPHAFE (dex), MASS (solar), AGE (Gyr), M_G (mag) and PARENT, the row of the real star that
        it clones, or -1; each of shape (point,).
    number
        Stars brighter than each point, as a share of the population; shape (point + 1,), from 0 to 1.
    """

    columns: Mapping[str, Array]
    number: Float64

    def brighter(self, magnitude: Array) -> Float64:
        """Return the share of stars with M_G below the given magnitudes, any shape."""
        return self.number[np.searchsorted(self.columns["M_G"], magnitude)]

    def only(self, chosen: Bool) -> Population:
        """Return the population of some of the points."""
        share = np.concatenate([[0.0], np.cumsum(np.diff(self.number)[chosen])])
        return Population({name: values[chosen] for name, values in self.columns.items()}, share / share[-1])

    def draw(self, share: Array) -> Int64:
        """Return the points at given shares of brighter stars: the inverse of `brighter`."""
        point = np.searchsorted(self.number, share, side="right") - 1
        return np.asarray(np.clip(point, 0, len(self.number) - 2))


def population(feh: Array, alphafe: Array, age: Array, draws: Draws, *, pulsating: bool = False) -> Population:
    """Make a population from abundances and ages of its members, with one point of the HR diagram for each.

    Points are spread evenly over the nodes of the isochrones, with as many giants as dwarf stars; their weights
    follow the Kroupa mass function and the speed of evolution.

    Parameters
    ----------
    feh, alphafe
        [Fe/H] and [alpha/Fe] in dex, shape (point,).
    age
        Gyr, shape (point,).
    draws
        Random numbers of the points.
    pulsating
        Whether the horizontal branch of old metal-poor stars lies within the RR Lyrae gap instead of on both sides.
    """
    tracks = isochrones()
    node = draws.uniform("node") * (tracks.first_node[-1] - 1)
    metallicity = total_metallicity(feh, alphafe)
    log_luminosity, teff, mass, number = tracks.at(metallicity, age, node)
    phase = np.searchsorted(tracks.first_node, node, side="right") - 1
    jumps = (phase != np.searchsorted(tracks.first_node, np.ceil(node), side="right") - 1) & (phase >= _GIANT_BRANCH)
    horizontal = (phase == _HELIUM_BURNING) & (metallicity < -0.8) & (age > 9.0)
    teff = np.where(horizontal, _pulsating(draws) if pulsating else _horizontal_branch(draws), teff)
    seen = ~jumps & (teff > TEFF_RANGE[0]) & (teff < TEFF_RANGE[1])

    magnitude = SUN_M_BOL - 2.5 * log_luminosity - bolometric_correction(teff)
    order = np.argsort(magnitude[seen])
    columns = {
        "TEFF": teff,
        "LOGG": surface_gravity(mass, log_luminosity, teff),
        "FEH": feh,
        "ALPHAFE": alphafe,
        "MASS": mass,
        "AGE": age,
        "M_G": magnitude,
        "PARENT": np.full(len(teff), -1),
    }
    columns = {name: values[seen][order] for name, values in columns.items()}
    share = np.concatenate([[0.0], np.cumsum(number[seen][order])])
    return Population(columns, share / share[-1])


def main_sequence(feh: Array, alphafe: Array, age: Array, mass: Array) -> dict[str, Float64]:
    """Return TEFF (K), LOGG (dex) and M_G (mag) of stars of given masses on the main sequence, each of shape (star,).

    Parameters
    ----------
    feh, alphafe
        [Fe/H] and [alpha/Fe] in dex, shape (star,).
    age
        Gyr, shape (star,).
    mass
        Solar masses, shape (star,). Masses are clipped to the main sequence: from 0.1 to its turn-off.
    """
    tracks, metallicity = isochrones(), total_metallicity(feh, alphafe)
    node, step = np.zeros(len(mass)), float(tracks.first_node[1] - 1)
    for _ in range(24):  # mass grows along the main sequence: halve the steps towards the node
        step /= 2.0
        _, _, here, _ = tracks.at(metallicity, age, node + step)
        node = np.where(here <= mass, node + step, node)
    log_luminosity, teff, found, _ = tracks.at(metallicity, age, node)
    magnitude = SUN_M_BOL - 2.5 * log_luminosity - bolometric_correction(teff)
    return {"TEFF": teff, "LOGG": surface_gravity(found, log_luminosity, teff), "M_G": magnitude}


def total_metallicity(feh: Array, alphafe: Array) -> Float64:
    """Return [M/H] in dex, shape (star,): alpha elements count as metals (Salaris et al. 1993, ApJ 414, 580, Eq. 3)."""
    return np.asarray(feh + np.log10(0.638 * 10.0**alphafe + 0.362))


def _horizontal_branch(draws: Draws) -> Float64:
    """Draw Teff (K) on the horizontal branch of old metal-poor stars: half red, half blue of the RR Lyrae gap.

    Stars lose different masses on the giant branch, which spreads them in Teff; the tracks lose one.
    """
    place = draws.uniform("horizontal branch")
    red = 5350.0 + 150.0 * draws.normal("red horizontal branch")
    return np.where(place < 0.5, red, BLUE_EDGE * (11000.0 / BLUE_EDGE) ** (2.0 * place - 1.0))


def _pulsating(draws: Draws) -> Float64:
    """Draw Teff (K) of RR Lyrae stars, mean over their pulsation: anywhere in the gap."""
    return GAP[0] * (GAP[1] / GAP[0]) ** draws.uniform("horizontal branch")
