"""Lists in published formats: of clusters and dwarf galaxies, the Sagittarius stream, blue and RR Lyrae stars."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.table import Table

from specdis.arrays import Bool, Columns, Float64, Int64
from specdis.fitsfiles import appended, created
from specdis.mock import files
from specdis.mock.draws import Draws
from specdis.mock.sky import system_pixels
from specdis.mock.stars import BLUE_EDGE
from specdis.mock.systems import stream_coordinates, stream_track
from specdis.references import CLUSTERS, TABLE_A1, System
from specdis.storage import atomic

BHB_MEMBERS = "MWS_BHB.fits"
STREAM = "sgr.fits"
RRLYRAE = "rrlyrae.fits"

# Largest separation of the stream's candidates from its track: degrees, mas/yr, and as a fraction of its distance
_STREAM_BETA, _STREAM_MOTION, _STREAM_REACH = 10.0, 0.6, 0.25
_STREAM_ERROR = 0.10  # of the distances in the list, as a fraction
_BLUE_ERROR = 0.05  # the same of blue horizontal-branch stars
_PULSATION_ERROR = 0.05  # the same of RR Lyrae stars
_OVERTONE = 6800.0  # K; hotter RR Lyrae stars pulsate in the first overtone

# Columns of the lists of Pace et al. (2022, ApJ 940, 136) by Gaia's names for them
_DWARF = {
    **{name.lower(): name for name in ("SOURCE_ID", "RA", "DEC", "PARALLAX", "PMRA", "PMDEC")},
    **{f"{name.lower()}_error": f"{name}_ERROR" for name in ("PARALLAX", "PMRA", "PMDEC")},
    **{name.lower(): name for name in ("PHOT_G_MEAN_MAG", "BP_RP")},
}
# Columns of the lists of Vasiliev & Baumgardt (2021, MNRAS 505, 5978) that are also in Gaia's catalogue
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
        Receives clusters/NAME.txt, in the form of Vasiliev & Baumgardt (2021); dwarfs/NAME_1.dat, in that of Pace
        et al. (2022); sgr.fits, candidates of the Sagittarius stream; rrlyrae.fits, RR Lyrae stars; and MWS_BHB.fits,
        in the form of DESI's catalogue of blue horizontal-branch stars: RVTAB, FIBERMAP and GAIA of their rows, and
        DISTANCES.
    rows, gaia, rvs, snr
        As in `files.write_star_tables`.
    seed
        Seed of the universe.
    """
    _, first = np.unique(rows["SOURCE_ID"], return_index=True)
    first = first[(gaia["MATCHED"] & np.isfinite(gaia["PARALLAX"]))[first]]
    stars, listed = ({name: values[first] for name, values in table.items()} for table in (rows, gaia))
    for system, pixel in zip(TABLE_A1, system_pixels(), strict=True):
        here = stars["HEALPIX"] == pixel
        member = stars["COMPONENT"][here] == system.name.encode()
        write = _write_cluster if system in CLUSTERS else _write_dwarf
        write(directory, system, {name: values[here] for name, values in listed.items()}, member, seed)
    _write_stream(directory / STREAM, stars, listed, seed)
    _write_rrlyrae(directory / RRLYRAE, stars, listed, seed)
    blue = (rows["TEFF"] > BLUE_EDGE) & (rows["LOGG"] < 4.0) & (rows["FEH"] < -0.8) & gaia["MATCHED"]
    rows, gaia, rvs, snr = ({name: values[blue] for name, values in table.items()} for table in (rows, gaia, rvs, snr))
    files.write_star_tables(directory / BHB_MEMBERS, rows, gaia, rvs, snr, hdus=("RVTAB", "FIBERMAP", "GAIA"))
    _write_distances(directory / BHB_MEMBERS, rows, seed)


def _probability(source_id: Int64, member: Bool, seed: int) -> Float64:
    """Draw membership probabilities, shape (star,).

    Most are high for members and low for field stars; one in a hundred is on the wrong side of 0.5.
    """
    draws = Draws(seed, (source_id,))
    doubt = 0.5 * draws.uniform("membership") ** 8
    believed = member ^ (draws.uniform("mistaken") < 0.01)
    return np.where(believed, 1.0 - doubt, doubt)


def _write_cluster(directory: Path, system: System, stars: Columns, member: Bool, seed: int) -> None:
    """Write Gaia's measurements of the stars in the pixel of a cluster, with membership probabilities."""
    x, y = (stars["RA"] - system.ra) * np.cos(np.radians(system.dec)), stars["DEC"] - system.dec
    away = 60.0 * np.hypot(x, y) / system.radius
    columns = {name: stars[source] for name, source in _FROM_GAIA.items()} | {
        "x": x,
        "y": y,
        "pmcorr": np.zeros(len(x)),
        "Sigma": member.sum() / (np.pi * system.radius**2) / (1.0 + away**2) ** 2,
        "qflag": np.where(stars["RUWE"] < 1.15, 3, 1),
        "memberprob": _probability(stars["SOURCE_ID"], member, seed),
    }
    path = directory / "clusters" / f"{system.name.replace(' ', '_')}.txt"
    _write_text(path, {name: columns[name] for name in _ORDER}, "ascii.tab")


def _write_dwarf(directory: Path, system: System, stars: Columns, member: Bool, seed: int) -> None:
    """Write the same for a dwarf galaxy; the columns of both models of its light hold the mock's only probability."""
    probability = _probability(stars["SOURCE_ID"], member, seed)
    columns = {name: stars[source] for name, source in _DWARF.items()}
    columns |= {"mem_fixed": probability, "mem_fixed_complete": probability}
    _write_text(directory / "dwarfs" / f"{system.name.lower()}_1.dat", columns, "ascii.commented_header")


def _write_distances(path: Path, rows: Columns, seed: int) -> None:
    """Append an HDU with distances of blue stars from their colours, here true ones with an error of 5 %."""
    error = _BLUE_ERROR * Draws(seed, (rows["TARGETID"],)).normal("distance of blue stars")
    distance = rows["DIST"] * np.exp(error)
    with appended(path) as file:
        file.write({"DIST": distance, "DISTERR": _BLUE_ERROR * distance}, extname="DISTANCES", units=["kpc", "kpc"])


def _write_text(path: Path, columns: Columns, form: str) -> None:
    with atomic(path) as temporary:
        Table(columns).write(temporary, format=form)


def _write_stream(path: Path, stars: Columns, gaia: Columns, seed: int) -> None:
    """Write the giants near the track of the Sagittarius stream that move with it, members or not.

    Distances are true ones with an error of a tenth, like distances interpolated between RR Lyrae stars.
    """
    lam, beta = stream_coordinates(gaia["RA"], gaia["DEC"])
    distance, *motion = stream_track(lam)
    moves_along = np.hypot(gaia["PMRA"] - motion[0], gaia["PMDEC"] - motion[1]) < _STREAM_MOTION
    near = (np.abs(beta) < _STREAM_BETA) & (np.abs(stars["DIST"] / distance - 1.0) < _STREAM_REACH)
    chosen = near & moves_along & (stars["LOGG"] < 3.5)
    draws = Draws(seed, (gaia["SOURCE_ID"],))
    estimate = stars["DIST"] * np.exp(_STREAM_ERROR * draws.normal("distance of candidates"))
    columns = {
        "source_id": gaia["SOURCE_ID"],
        **{name.lower(): gaia[name] for name in ("RA", "DEC", "PMRA", "PMDEC", "PHOT_G_MEAN_MAG", "BP_RP")},
        "lambda": lam,
        "beta": beta,
        "dist": estimate,
        "dist_err": _STREAM_ERROR * estimate,
    }
    units = {"ra": "deg", "dec": "deg", "pmra": "mas/yr", "pmdec": "mas/yr", "lambda": "deg", "beta": "deg"}
    units |= {"phot_g_mean_mag": "mag", "bp_rp": "mag", "dist": "kpc", "dist_err": "kpc"}
    with atomic(path) as temporary, created(temporary) as file:
        table = {name: values[chosen] for name, values in columns.items()}
        file.write(table, extname="CANDIDATES", units=[units.get(name, "") for name in table])


def _write_rrlyrae(path: Path, stars: Columns, gaia: Columns, seed: int) -> None:
    """Write the RR Lyrae stars that Gaia knows or not, with their type and distances from their periods.

    Types are named as in Gaia's table of RR Lyrae stars. Distances are true ones with an error of 5 %.
    """
    mine = stars["PULSATING"]
    distance, source = stars["DIST"][mine], gaia["SOURCE_ID"][mine]
    estimate = distance * np.exp(_PULSATION_ERROR * Draws(seed, (source,)).normal("distance of RR Lyrae stars"))
    columns = {
        "source_id": source,
        **{name.lower(): gaia[name][mine] for name in ("RA", "DEC", "PHOT_G_MEAN_MAG", "BP_RP")},
        "best_classification": np.where(stars["TEFF"][mine] > _OVERTONE, b"RRc", b"RRab"),
        "dist": estimate,
        "dist_err": _PULSATION_ERROR * estimate,
    }
    units = {"ra": "deg", "dec": "deg", "phot_g_mean_mag": "mag", "bp_rp": "mag", "dist": "kpc", "dist_err": "kpc"}
    with atomic(path) as temporary, created(temporary) as file:
        file.write(columns, extname="RRLYRAE", units=[units.get(name, "") for name in columns])
