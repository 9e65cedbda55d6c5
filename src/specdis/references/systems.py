"""Systems of known distance: the globular clusters and dwarf galaxies of Table A1, and others from a database.

Data of the clusters: places, velocities and proper motions of Vasiliev & Baumgardt (2021, MNRAS 505, 5978) and
Baumgardt et al. (2019, MNRAS 482, 5138), distances of Baumgardt & Vasiliev (2021, MNRAS 505, 5957). Distances of the
dwarf galaxies: Pace et al. (2022, ApJ 940, 136). All else: the Local Volume Database (Pace 2025, OJAp 8, 142).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from specdis.references.quantities import Quantities, as_numbers
from specdis.references.settings import ReferenceFile
from specdis.references.tables import ReferenceTable


class System(NamedTuple):
    """A cluster or a dwarf galaxy.

    Parameters
    ----------
    name
        As in Table A1.
    ra, dec
        Centre, degrees.
    distance, distance_errors
        Distance and its errors downwards and upwards, kpc.
    radius
        Half-light radius on the sky, arcmin.
    vrad, dispersion
        Heliocentric radial velocity of the centre and its scatter, km/s.
    pmra, pmdec
        Proper motion, mas/yr; the former times cos(dec).
    feh, feh_scatter
        Mean and scatter of [Fe/H], dex.
    source
        Where the distance is from.
    paper_distance
        Median of the members' predicted distances in the paper's Table A1, kpc; NaN where it gives none.
    """

    name: str
    ra: float
    dec: float
    distance: float
    distance_errors: tuple[float, float]
    radius: float = np.nan
    vrad: float = np.nan
    dispersion: float = np.nan
    pmra: float = np.nan
    pmdec: float = np.nan
    feh: float = np.nan
    feh_scatter: float = 0.04
    source: str = ""
    paper_distance: float = np.nan

    @property
    def distance_error(self) -> float:
        """Mean of the errors downwards and upwards, kpc."""
        return 0.5 * sum(self.distance_errors)


_BV21 = "Baumgardt & Vasiliev 2021"
_P22 = "Pace et al. 2022"

# fmt: off
CLUSTERS = (
    System("NGC 6218", 251.809, -1.949, 5.109, (0.048, 0.049), 1.83, -41.67, 5.0, -0.1914, -6.8019, -1.34,
           source=_BV21, paper_distance=5.50),
    System("NGC 6205", 250.422, 36.460, 7.419, (0.075, 0.076), 1.61, -244.90, 9.2, -3.1493, -2.5735, -1.50,
           source=_BV21, paper_distance=8.99),
    System("NGC 5904", 229.638, 2.081, 7.479, (0.060, 0.060), 1.62, 53.50, 7.8, 4.0856, -9.8696, -1.31,
           source=_BV21, paper_distance=8.28),
    System("NGC 6341", 259.281, 43.136, 8.501, (0.070, 0.071), 0.82, -120.55, 8.7, -4.9349, -0.6251, -2.35,
           source=_BV21, paper_distance=9.69),
    System("NGC 5272", 205.548, 28.377, 10.175, (0.081, 0.082), 1.15, -147.20, 8.2, -0.1519, -2.6696, -1.54,
           source=_BV21, paper_distance=11.4),
    System("NGC 7078", 322.493, 12.167, 10.709, (0.095, 0.096), 0.65, -106.84, 13.6, -0.6588, -3.8025, -2.24,
           source=_BV21, paper_distance=13.4),
    System("NGC 7089", 323.363, -0.823, 11.693, (0.114, 0.115), 0.90, -3.78, 10.7, 3.4346, -2.1588, -1.52,
           source=_BV21, paper_distance=12.6),
    System("NGC 5466", 211.364, 28.534, 16.120, (0.162, 0.164), 2.04, 106.82, 1.6, -5.3423, -0.8223, -1.98,
           source=_BV21, paper_distance=15.2),
    System("NGC 5053", 199.113, 17.700, 17.537, (0.233, 0.235), 2.43, 42.82, 1.6, -0.3293, -1.2129, -2.34,
           source=_BV21, paper_distance=17.5),
    System("NGC 5024", 198.230, 18.168, 18.498, (0.183, 0.185), 1.20, -63.37, 5.6, -0.1334, -1.3306, -1.95,
           source=_BV21, paper_distance=17.9),
    System("Pal 5", 229.019, -0.121, 21.941, (0.508, 0.520), 3.21, -58.61, 0.7, -2.7298, -2.6540, -1.41,
           source=_BV21, paper_distance=21.5),
    System("NGC 5634", 217.405, -5.976, 25.959, (0.613, 0.628), 0.61, -16.07, 5.3, -1.6918, -1.4781, -1.80,
           source=_BV21, paper_distance=25.0),
    System("NGC 2419", 114.535, 38.882, 88.471, (2.371, 2.437), 0.85, -21.10, 11.1, 0.0073, -0.5226, -2.02,
           source=_BV21, paper_distance=69.2),
)
DWARFS = (
    System("Draco", 260.0684, 57.9185, 75.8, (5.4, 5.4), 9.67, -292.20, 9.55, 0.0440, -0.1880, -2.20, 0.35,
           source=_P22, paper_distance=70.1),
    System("Sextans", 153.2680, -1.6200, 92.5, (2.5, 2.5), 22.80, 224.30, 7.9, -0.4090, 0.0370, -1.97, 0.35,
           source=_P22, paper_distance=59.0),
)
# fmt: on
TABLE_A1 = CLUSTERS + DWARFS
SAGITTARIUS = "Sagittarius"
"""Name of the stream that is divided into bins of distance (Fig. A3)."""


def read_systems(file: ReferenceFile) -> tuple[System, ...]:
    """Read names, distances and places of systems: from the Local Volume Database, or any table with a distance.

    The database's distance_modulus with _em and _ep (mag) is preferred to its distance in kpc, which is rounded.

    Raises
    ------
    InputError
        When the table cannot be read or has no names or no distances.
    """
    table = ReferenceTable.open(file.path, file.columns.values())
    quantities = Quantities(table, file.columns)
    if not quantities.has("NAME"):
        table.read([], required=["name"])
    if all(table.has(name) for name in _MODULUS):
        modulus, low, high = (as_numbers(values) for values in table.read(_MODULUS).values())
        distance = 10.0 ** (0.2 * modulus - 2.0)
        errors = distance * (1.0 - 10.0 ** (-0.2 * low)), distance * (10.0 ** (0.2 * high) - 1.0)
    else:
        distance, error = quantities.distance()
        errors = error, error
    missing = np.full(len(distance), np.nan)
    found = {"RA": missing, "DEC": missing} | quantities.read("NAME", "RA", "DEC")
    return tuple(
        System(str(name), ra, dec, kpc, (low, high), source=file.path.stem)
        for name, ra, dec, kpc, low, high in zip(
            found["NAME"], found["RA"], found["DEC"], distance, *errors, strict=True
        )
        if np.isfinite(kpc)
    )


_MODULUS = ("distance_modulus", "distance_modulus_em", "distance_modulus_ep")


def find_system(name: str, systems: Sequence[System]) -> System | None:
    """Return the system that a list is named after, or None.

    Case, spaces, underscores and leading zeros of numbers are ignored. Words may be shortened, as in `Pal` and `Sext`,
    if only one system begins with them. Lists may append a second name, as in NGC_6205_M_13, or the number 1 of a
    constellation's first galaxy, as in draco_1 and Draco I. `N` is NGC; `M 5` is found by its Messier number.
    """
    word = _plain(name)
    word = _MESSIER.get(word, word)
    known = {_plain(system.name): system for system in reversed(systems)}  # of repeated names the first counts
    for exact in (word, word.removesuffix(" 1")):
        if exact in known:
            return known[exact]
        if len(begun := [key for key in known if _begins(exact.split(), key.split())]) == 1:
            return known[begun[0]]
    # Draco II is not Draco, but 47 Tuc is NGC 104.
    longer = [key for key in known if re.match(rf"{key} " + ("" if key[-1:].isdigit() else "([a-z]|1 )"), word)]
    return known[max(longer, key=len)] if longer else None


_MESSIER = {
    f"m {messier}": f"ngc {ngc}"
    for messier, ngc in ((3, 5272), (5, 5904), (12, 6218), (13, 6205), (15, 7078), (2, 7089), (53, 5024), (92, 6341))
}
_ROMAN = {"i": "1", "ii": "2", "iii": "3", "iv": "4", "v": "5", "vi": "6", "vii": "7", "viii": "8"}


def _begins(words: Sequence[str], of: Sequence[str]) -> bool:
    """Tell whether words equal those of a name or begin them with at least three letters; numbers must be equal."""
    pairs = list(zip(words, of, strict=False))
    return len(words) == len(of) and all(a == b or (len(a) > 2 and a.isalpha() and b.startswith(a)) for a, b in pairs)


def _plain(name: str) -> str:
    """Return lower-case words and numbers, one space between: `NGC_6205_M13` becomes `ngc 6205 m 13`."""
    words = re.findall(r"[a-z]+|\d+", name.lower().replace("palomar", "pal").replace("messier", "m"))
    words = [word.lstrip("0") or "0" if word.isdigit() else _ROMAN.get(word, word) for word in words]
    return " ".join(["ngc" if words[0] == "n" else words[0], *words[1:]]) if words else ""
