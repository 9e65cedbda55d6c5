"""Rival catalogues of distances: two with known errors, and one from parallaxes alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.table import Table

from specdis.arrays import Array, Float64, ranges
from specdis.fitsfiles import created
from specdis.mock.draws import Draws
from specdis.mock.gaia import true_zero_point
from specdis.storage import atomic

BIAS_FROM, BIAS_TO = 10.0, 100.0
"""Distances in kpc at which the bias of the biased rival begins, and at which it is complete."""


class Rival(NamedTuple):
    """A rival: name, share of the stars, scatter, and bias of the distance modulus at `BIAS_TO`, mag."""

    name: str
    share: float
    scatter: float
    bias: float


MOCK_RIVALS = (Rival("unbiased", 0.6, 0.45, 0.0), Rival("biased", 0.6, 0.25, -0.5))
GEOMETRIC = "bailer-jones.csv"
"""Distances from parallaxes and a prior, under the names of Bailer-Jones et al. (2021, AJ 161, 147), in pc."""
_PRIOR_LENGTH = 1.35  # kpc; of the exponentially decreasing space density (Astraatmadja & Bailer-Jones 2016)
_GRID = np.geomspace(0.02, 60.0, 500)  # kpc
_UNITS = {"SOURCE_ID": "", "RA": "deg", "DEC": "deg", "DIST": "kpc", "DISTERR": "kpc"}


def bias(rival: Rival, distance: Float64) -> Float64:
    """Return the bias in mag at true distances in kpc, shape (star,): it grows with the logarithm of the distance."""
    share = np.log10(distance / BIAS_FROM) / np.log10(BIAS_TO / BIAS_FROM)
    return np.asarray(rival.bias * np.clip(share, 0.0, 1.0))


def write_rivals(directory: Path, rows: Mapping[str, Array], gaia: Mapping[str, Array], seed: int) -> None:
    """Write NAME.fits for each of `MOCK_RIVALS`: SOURCE_ID, RA, DEC (deg), DIST and DISTERR (kpc); and `GEOMETRIC`.

    Parameters
    ----------
    directory
        Receives the files.
    rows, gaia
        As in `files.write_catalogue`; stars without a match in Gaia are left out.
    seed
        Seed of the universe.
    """
    _, first = np.unique(rows["SOURCE_ID"], return_index=True)
    first = first[gaia["MATCHED"][first]]
    true = rows["DIST"][first]
    draws = Draws(seed, (rows["SOURCE_ID"][first],))
    for rival in MOCK_RIVALS:
        error = bias(rival, true) + rival.scatter * draws.normal(f"rival {rival.name}")
        distance = true * 10.0 ** (0.2 * error)
        columns = {name: gaia[name][first] for name in ("SOURCE_ID", "RA", "DEC")}
        columns |= {"DIST": distance, "DISTERR": 0.2 * np.log(10.0) * rival.scatter * distance}
        chosen = draws.uniform(f"in {rival.name}") < rival.share
        with atomic(directory / f"{rival.name}.fits") as temporary, created(temporary) as file:
            table = {name: values[chosen] for name, values in columns.items()}
            file.write(table, extname="DISTANCES", units=[_UNITS[name] for name in table])
    solved = first[np.isfinite(gaia["PARALLAX"][first])]
    _write_geometric(directory / GEOMETRIC, {name: values[solved] for name, values in gaia.items()})


def _write_geometric(path: Path, gaia: Mapping[str, Array]) -> None:
    six = gaia["ASTROMETRIC_PARAMS_SOLVED"] == 95
    colour = np.where(six, gaia["PSEUDOCOLOUR"], gaia["NU_EFF_USED_IN_ASTROMETRY"])
    offset = true_zero_point(gaia["PHOT_G_MEAN_MAG"], colour, gaia["ECL_LAT"], six)
    low, middle, high = geometric_distance(gaia["PARALLAX"] - offset, gaia["PARALLAX_ERROR"]).T * 1000.0
    columns = {"source_id": gaia["SOURCE_ID"], "r_med_geo": middle, "r_lo_geo": low, "r_hi_geo": high}
    with atomic(path) as temporary:
        Table(columns).write(temporary, format="ascii.csv", formats=dict.fromkeys(list(columns)[1:], "%.5g"))


def geometric_distance(parallax: Array, error: Array) -> Float64:
    """Return the 16, 50 and 84 per cent quantiles of the distance in kpc given a parallax, shape (star, 3).

    The prior is an exponentially decreasing space density, r^2 exp(-r / L), as in Bailer-Jones (2015, PASP 127, 994).

    Parameters
    ----------
    parallax, error
        Corrected parallax and its error, mas, shape (star,).
    """
    middle = 0.5 * (_GRID[1:] + _GRID[:-1])
    prior = 2.0 * np.log(middle) - middle / _PRIOR_LENGTH + np.log(np.diff(_GRID))
    quantiles = np.empty((len(parallax), 3))
    for rows in ranges(len(parallax), 10_000):
        away = (parallax[rows, None] - 1.0 / middle) / error[rows, None]
        log = prior - 0.5 * away**2
        density = np.exp(log - log.max(axis=1, keepdims=True))
        below = np.cumsum(np.pad(density, ((0, 0), (1, 0))), axis=1)
        below /= below[:, -1:]
        star = np.arange(len(below))
        for column, level in enumerate((0.16, 0.50, 0.84)):
            end = np.argmax(below >= level, axis=1)
            low, high = below[star, end - 1], below[star, end]
            part = (level - low) / (high - low)
            quantiles[rows, column] = _GRID[end - 1] + part * (_GRID[end] - _GRID[end - 1])
    return quantiles
