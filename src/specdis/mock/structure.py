"""Components of the Galaxy: abundances, ages and motions of their stars, and the densities of discs and halo."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from specdis.arrays import Array, Float64
from specdis.mock import library
from specdis.mock.draws import Draws
from specdis.mock.settings import MockSettings
from specdis.mock.sky import SUN
from specdis.mock.stars import BLUE_EDGE, GAP, Population, population
from specdis.references import TABLE_A1


class Component(NamedTuple):
    """Abundances, ages and motions of one component, as normal distributions or ranges.

    Parameters
    ----------
    feh
        Mean and scatter of [Fe/H] (dex).
    alphafe
        [alpha/Fe] at [Fe/H] = 0, its slope with [Fe/H] and its scatter (dex).
    age
        Range, Gyr.
    rotation
        Mean velocity about the Galactic centre, km/s.
    dispersion
        Radial, azimuthal and vertical velocity dispersion, km/s; those of streams and clusters are in `systems`.
    """

    name: bytes
    feh: tuple[float, float]
    alphafe: tuple[float, float, float]
    age: tuple[float, float]
    rotation: float = np.nan
    dispersion: tuple[float, float, float] = (np.nan, np.nan, np.nan)


_OLD = (0.20, -0.08, 0.03)  # [alpha/Fe] of old metal-poor systems: 0.28 to 0.39
COMPONENTS = (
    Component(b"thin", (-0.15, 0.20), (0.04, -0.15, 0.03), (1.0, 9.0), 218.0, (35.0, 25.0, 20.0)),
    Component(b"thick", (-0.60, 0.25), (0.14, -0.20, 0.04), (9.0, 12.0), 185.0, (60.0, 45.0, 40.0)),
    Component(b"halo", (-1.50, 0.45), (0.15, -0.08, 0.06), (11.0, 13.0), 10.0, (130.0, 105.0, 95.0)),
    Component(b"bhb", (-1.80, 0.35), (0.15, -0.08, 0.06), (11.0, 13.0), 10.0, (130.0, 105.0, 95.0)),
    Component(b"rrl", (-1.60, 0.30), (0.15, -0.08, 0.06), (11.0, 13.0), 10.0, (130.0, 105.0, 95.0)),
    Component(b"sgr", (-1.00, 0.40), (0.02, -0.10, 0.05), (7.0, 12.0)),
    *(Component(system.name.encode(), (system.feh, system.feh_scatter), _OLD, (11.5, 13.0)) for system in TABLE_A1),
)
HALO, BHB, RRL, SGR, FIRST_SYSTEM = 2, 3, 4, 5, 6
"""Places in `COMPONENTS`; the systems are the last."""
_POINTS = 200_000, 40_000  # of a component of the field, of a system
_GIANTS = 3.4  # log g, below that of the turn-off


def density(settings: MockSettings, radius: Array, height: Array) -> Float64:
    """Return stars per volume of thin disc, thick disc and halo, in units of the thin disc's at the Sun.

    Discs are double exponentials with the scale lengths and local shares of Jurić et al. (2008, ApJ 673, 864); the
    halo is a flattened broken power law, by default that of Deason et al. (2011, MNRAS 416, 2903), scaled to 0.5 % at
    the Sun.

    Parameters
    ----------
    settings
        The halo's flattening, slopes and breaks.
    radius, height
        Galactocentric cylindrical coordinates in kpc, any one shape.

    Returns
    -------
    ndarray, shape (component, ...)
    """
    outwards, upwards = radius - np.hypot(*SUN[:2]), np.abs(height)
    thin = np.exp(-outwards / 2.6 - upwards / 0.3)
    thick = 0.12 * np.exp(-outwards / 3.6 - upwards / 0.9)
    reach = np.hypot(radius, height / settings.halo_flattening)
    halo = 0.005 * (reach / 8.2) ** -settings.halo_slopes[0]
    for (inner, outer), place in zip(pairwise(settings.halo_slopes), settings.halo_breaks, strict=True):
        halo = halo * np.maximum(reach / place, 1.0) ** (inner - outer)
    return np.stack([thin, thick, halo])


def populations(settings: MockSettings) -> tuple[Population, ...]:
    """Return the stars of each of `COMPONENTS`, replaced by similar real stars if there is a table of these."""
    return _populations(settings.seed, settings.halo_feh, settings.halo_feh_scatter, settings.library)


@lru_cache(maxsize=1)
def _populations(seed: int, halo_feh: float, halo_feh_scatter: float, parents: Path | None) -> tuple[Population, ...]:
    result = []
    usual = COMPONENTS[HALO].feh
    for number, component in enumerate(COMPONENTS):
        points = _POINTS[number >= FIRST_SYSTEM]
        draws = Draws(seed, (np.full(points, number), np.arange(points)))
        mean, spread = component.feh
        if number in (HALO, BHB, RRL):  # all of one halo
            mean, spread = mean + halo_feh - usual[0], spread * halo_feh_scatter / usual[1]
        feh = np.clip(mean + spread * draws.normal("feh"), -2.9, 0.45)
        zero, slope, scatter = component.alphafe
        alphafe = np.clip(zero + slope * feh + scatter * draws.normal("alphafe"), 0.0, 0.4)
        age = component.age[0] + (component.age[1] - component.age[0]) * draws.uniform("age")
        members = population(feh, alphafe, age, draws, pulsating=number == RRL)
        hot = members.columns["TEFF"]  # an old population has no other stars of these temperatures and gravities
        if number == BHB:
            members = members.only(hot > BLUE_EDGE)
        elif number == RRL:
            members = members.only((hot > GAP[0]) & (hot < GAP[1]) & (members.columns["LOGG"] < _GIANTS))
        result.append(members if parents is None else library.load(parents).copies(members, seed))
    return tuple(result)
