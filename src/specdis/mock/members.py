"""Lists of members as they are published: of globular clusters, and of blue horizontal-branch stars."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from astropy.table import Table

from specdis.arrays import Array, Bool
from specdis.mock import files
from specdis.mock.draws import Draws
from specdis.mock.galaxy import system_pixels
from specdis.mock.stars import BLUE_EDGE
from specdis.mock.systems import CLUSTERS, System
from specdis.storage import atomic

Columns = Mapping[str, Array]

BHB = "MWS_BHB.fits"

# Columns of the lists of Vasiliev & Baumgardt (2021, MNRAS 505, 5978) that Gaia's catalogue holds as they are
_FROM_GAIA = {
    "source_id": "SOURCE_ID",
    "ra": "RA",
    "dec": "DEC",
    "plx": "PARALLAX",
    "pmra": "PMRA",
    "pmdec": "PMDEC",
    "plxe": "PARALLAX_ERROR",
    "pmrae": "PMRA_ERROR",
    "pmdece": "PMDEC_ERROR",
    "g_mag": "PHOT_G_MEAN_MAG",
    "bp_rp": "BP_RP",
}
_ORDER = (
    *("source_id", "ra", "dec", "x", "y", "plx", "pmra", "pmdec", "plxe", "pmrae", "pmdece", "pmcorr"),
    *("g_mag", "bp_rp", "Sigma", "qflag", "memberprob"),
)


def write_members(directory: Path, rows: Columns, gaia: Columns, rvs: Columns, snr: Columns, seed: int) -> None:
    """Write the lists.

    Parameters
    ----------
    directory
        Gets clusters/NAME.txt, in the form of Vasiliev & Baumgardt (2021), and MWS_BHB.fits, in that of DESI's
        catalogue of blue horizontal-branch stars: RVTAB, FIBERMAP and GAIA of their rows.
    rows, gaia, rvs, snr
        As in `files.write_catalogue`.
    seed
        Seed of the universe.
    """
    for system, pixel in zip(CLUSTERS, system_pixels(), strict=False):
        here = gaia["MATCHED"] & np.isfinite(gaia["PARALLAX"]) & (rows["HEALPIX"] == pixel)
        _, first = np.unique(gaia["SOURCE_ID"][here], return_index=True)
        stars = {name: values[here][first] for name, values in gaia.items()}
        path = directory / "clusters" / f"{system.name.decode().replace(' ', '_')}.txt"
        _write_cluster(path, system, stars, rows["COMPONENT"][here][first] == system.name, seed)
    blue = (rows["TEFF"] > BLUE_EDGE) & (rows["LOGG"] < 4.0) & (rows["FEH"] < -0.8) & gaia["MATCHED"]
    rows, gaia, rvs, snr = ({name: values[blue] for name, values in table.items()} for table in (rows, gaia, rvs, snr))
    files.write_catalogue(directory / BHB, rows, gaia, rvs, snr, hdus=("RVTAB", "FIBERMAP", "GAIA"))


def _write_cluster(path: Path, system: System, stars: Columns, member: Bool, seed: int) -> None:
    """Write what Gaia measured of the stars in the pixel of a cluster, with their probabilities to be members.

    Members have mostly high and stars of the field mostly low ones; one in a hundred is on the wrong side of 0.5.
    """
    draws = Draws(seed, (stars["SOURCE_ID"],))
    doubt = 0.5 * draws.uniform("membership") ** 8
    believed = member ^ (draws.uniform("mistaken") < 0.01)
    x, y = (stars["RA"] - system.ra) * np.cos(np.radians(system.dec)), stars["DEC"] - system.dec
    away = 60.0 * np.hypot(x, y) / system.radius
    columns = {name: stars[source] for name, source in _FROM_GAIA.items()} | {
        "x": x,
        "y": y,
        "pmcorr": np.zeros(len(x)),
        "Sigma": member.sum() / (np.pi * system.radius**2) / (1.0 + away**2) ** 2,
        "qflag": np.where(stars["RUWE"] < 1.15, 3, 1),
        "memberprob": np.where(believed, 1.0 - doubt, doubt),
    }
    with atomic(path) as temporary:
        Table({name: columns[name] for name in _ORDER}).write(temporary, format="ascii.tab")
