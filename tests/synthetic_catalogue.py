"""A small catalogue and its truth, for tests of what comes after the catalogue: columns, no files."""

from __future__ import annotations

import numpy as np

from specdis.arrays import Array
from specdis.companions import STEEPNESS
from specdis.flags import Flag

Columns = dict[str, Array]


def catalogue(stars: int = 600, seed: int = 1) -> tuple[Columns, Columns]:
    """Dwarfs and giants with Gaia-like parallaxes, and predictions that scatter more at low S/N.

    A tenth of the dwarfs are binaries of two equal stars, one star in fifty has no prediction, and one in twenty a
    draw without a finite distance.
    """
    random = np.random.default_rng(seed)
    giant = random.random(stars) < 0.3
    binary = ~giant & (random.random(stars) < 0.1)
    magnitude = np.where(giant, random.normal(0.5, 1.2, stars), random.normal(5.5, 1.3, stars))
    colour = np.where(giant, 1.25 - 0.1 * magnitude, 0.2 + 0.13 * magnitude) + random.normal(0, 0.04, stars)
    snr = 10 ** random.normal(1.4, 0.4, stars)
    distance = 10 ** np.where(giant, random.normal(0.9, 0.45, stars), random.normal(-0.1, 0.3, stars))
    parallax_error = 0.02 * (1 + distance / 4)
    parallax = 1 / distance - 0.03 + parallax_error * random.normal(size=stars)
    corrected = parallax + 0.03
    shift = np.where(binary, 0.75, 0.0)
    sigma = 0.15 + 2.5 / snr + np.where(giant, 0.15, 0)
    predicted = magnitude + shift + sigma * random.normal(size=stars)
    apparent = magnitude + 5 * np.log10(distance) + 10
    nothing = random.random(stars) < 0.02
    unbounded = giant & ~nothing & (random.random(stars) < 0.15)
    predicted[nothing] = np.nan
    dist = 10 ** ((apparent - predicted) / 5 - 2)
    quoted = dist * (10 ** (sigma / 5) - 1)
    columns = {
        "TARGETID": random.permutation(stars).astype(np.int64) - 50,
        "SURVEY": np.full(stars, b"main", dtype="S7"),
        "PROGRAM": np.where(random.random(stars) < 0.5, b"bright", b"backup").astype("S6"),
        "HEALPIX": random.integers(0, 20, stars),
        "FLAGS": (Flag.LABEL_NOT_POSITIVE * nothing + Flag.DRAW_NOT_POSITIVE * unbounded).astype(np.int32),
        "SELECTED": np.ones(stars, dtype=bool),
        "HELD_OUT": random.random(stars) < 0.7,
        "SOURCE_ID": 1_000_000 + random.permutation(stars).astype(np.int64),
        "RA": random.uniform(0.0, 360.0, stars),
        "DEC": np.degrees(np.arcsin(random.uniform(-0.3, 1.0, stars))),
        "SN": snr.astype(np.float32),
        "TEFF": np.where(giant, 5200.0 - 150.0 * (0.5 - magnitude), 8500.0 - 500.0 * magnitude).astype(np.float32),
        "FEH": random.normal(-0.5, 0.5, stars).astype(np.float32),
        "ALPHAFE": random.normal(0.15, 0.1, stars).astype(np.float32),
        "LOGG": np.where(giant, 2.0 + 0.3 * magnitude, 4.4).astype(np.float32),
        "PARALLAX": parallax,
        "PARALLAX_ERR": parallax_error.astype(np.float32),
        "PARALLAX_ERR_USED": parallax_error.astype(np.float32),
        "PARALLAX_ZPC": np.full(stars, -0.03),
        "M_G_NN": predicted,
        "M_G_GEO": apparent + 5 * np.log10(np.where(corrected > 0, corrected, np.nan)) - 10,
        "M_G_NN_ERR": np.where(unbounded, np.nan, sigma).astype(np.float32),
        "M_G_GEO_ERR": (5 / np.log(10) * parallax_error / np.where(corrected > 0, corrected, np.nan)).astype(
            np.float32
        ),
        "M_G_NN_ERR_TRAINING": np.full(stars, 0.05, dtype=np.float32),
        "DIST": dist,
        "DISTMOD_ERR": np.where(unbounded, np.nan, sigma).astype(np.float32),
        "DISTERR": np.where(unbounded, np.nan, quoted).astype(np.float32),
        "DIST_16": dist * 10 ** (-sigma / 5),
        "DIST_84": np.where(unbounded, np.inf, dist * 10 ** (sigma / 5)),
        "BINARY_FLAG": np.where(nothing, -1, np.where(binary & (random.random(stars) < 0.8), 0, 1)).astype("i2"),
        "BINARY_POSSIBILITY": np.where(nothing, np.nan, np.where(binary, 0.9, 0.1)).astype(np.float32),
        "CALIBRATION": random.random(stars) < 0.5,
        "M_G_NN_LABEL": predicted,
        "M_G_NN_ERR_LABEL": np.where(unbounded, np.nan, sigma).astype(np.float32),
        "DIST_LABEL": dist,
        "DISTERR_LABEL": np.where(unbounded, np.nan, quoted).astype(np.float32),
        "M_G_NN_MIX": predicted + 0.05,
        "M_G_NN_PAIR": predicted + 0.03,
        "M_G_NN_ERR_MIX": sigma.astype(np.float32),
        "DIST_MIX": dist * 10**-0.01,
        "DISTERR_MIX": (0.9 * quoted).astype(np.float32),
        "DIST_05": dist * 10 ** (-1.645 * sigma / 5),
        "DIST_95": np.where(unbounded, np.inf, dist * 10 ** (1.645 * sigma / 5)),
        "DIST_POST": dist * 10**-0.02,
        **{
            f"DIST_POST_{level}": dist * 10 ** (-0.02 + width * sigma / 5)
            for level, width in (("05", -1.645), ("16", -1.0), ("84", 1.0), ("95", 1.645))
        },
        "RANK_POST": np.random.default_rng(seed + 1).random(stars),
        "DISTERR_POST": (0.8 * quoted).astype(np.float32),
        "MIX_SHIFT": np.where(nothing, np.nan, 0.02).astype(np.float32),
        "MIX_STRETCH": np.where(nothing, np.nan, 1.3).astype(np.float32),
        "PHOT_BP_MEAN_MAG": (apparent + 0.4 * colour).astype(np.float32),
        "PHOT_RP_MEAN_MAG": (apparent - 0.6 * colour).astype(np.float32),
    }
    order = random.permutation(stars)
    truth = {name: columns[name][order] for name in ("TARGETID", "SURVEY", "PROGRAM", "HEALPIX")}
    companions = {"BINARY_TRUE": binary[order], "MASS_RATIO": np.where(binary, 1.0, np.nan)[order]}
    return columns, truth | {"DIST_TRUE": distance[order]} | companions


def injected(columns: Columns) -> Columns:
    """Return every dwarf with an injected companion, four of five of which are found, and no false alarms."""
    rows = np.flatnonzero(columns["LOGG"] > 3.8)
    identifier = {name: columns[name][rows] for name in ("TARGETID", "SURVEY", "PROGRAM", "HEALPIX")}
    found = np.arange(len(rows)) % 5 > 0
    return identifier | {
        "MASS_RATIO": np.full(len(rows), 0.9),
        "STEEPNESS": np.where(np.arange(len(rows)) % 10 < 5, *STEEPNESS),
        "FOUND": found,
        "FALSE_ALARM": np.zeros(len(rows), bool),
    }


def members(columns: Columns, truth: Columns) -> Columns:
    """Give every tenth star to a cluster, a dwarf, the stream or the blue stars, at its true distance."""
    place = np.argsort(truth["TARGETID"])
    true = truth["DIST_TRUE"][place][np.searchsorted(truth["TARGETID"][place], columns["TARGETID"])]
    rows = np.arange(0, len(true), 10)
    systems = np.array(["NGC 6205", "Draco", "Sagittarius", "BHB"])
    kinds = np.array(["cluster", "dwarf", "stream", "bhb"])
    which = np.arange(len(rows)) % 4
    known = {"SYSTEM": systems[which], "KIND": kinds[which], "DIST_REF": true[rows], "DIST_REF_ERR": 0.01 * true[rows]}
    return {**{name: values[rows] for name, values in columns.items()}, "ROW": rows, **known}


def rival(columns: Columns, bias: float, seed: int = 2) -> Columns:
    """Return half the stars with our distance shifted by a bias in magnitudes and 0.1 mag of noise."""
    random = np.random.default_rng(seed)
    rows = np.flatnonzero((random.random(len(columns["DIST"])) < 0.5) & np.isfinite(columns["DIST"]))
    distance = columns["DIST"][rows] * 10 ** (0.2 * (bias + 0.1 * random.normal(size=len(rows))))
    known = {"ROW": rows, "DIST_RIVAL": distance, "DISTERR_RIVAL": 0.1 * distance}
    return {**{name: values[rows] for name, values in columns.items()}, **known}
