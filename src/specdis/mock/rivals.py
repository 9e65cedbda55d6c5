"""Two catalogues of distances that compete with the pipeline's, with errors that are known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import fitsio
import numpy as np

from specdis.arrays import Array, Float64
from specdis.mock.draws import Draws
from specdis.storage import atomic

BIAS_FROM, BIAS_TO = 10.0, 100.0
"""Distances in kpc at which the bias of the biased rival begins, and at which it has grown to its full size."""


class Rival(NamedTuple):
    """A catalogue: its name, share of the stars, scatter, and bias at `BIAS_TO` in mag of the distance modulus."""

    name: str
    share: float
    scatter: float
    bias: float


RIVALS = (Rival("unbiased", 0.6, 0.45, 0.0), Rival("biased", 0.6, 0.25, -0.5))
_UNITS = {"SOURCE_ID": "", "RA": "deg", "DEC": "deg", "DIST": "kpc", "DISTERR": "kpc"}


def bias(rival: Rival, distance: Float64) -> Float64:
    """Return the bias in mag at true distances in kpc, shape (star,): it grows with the logarithm of the distance."""
    share = np.log10(distance / BIAS_FROM) / np.log10(BIAS_TO / BIAS_FROM)
    return np.asarray(rival.bias * np.clip(share, 0.0, 1.0))


def write_rivals(directory: Path, rows: Mapping[str, Array], gaia: Mapping[str, Array], seed: int) -> None:
    """Write NAME.fits for each of `RIVALS`: SOURCE_ID, RA, DEC (deg), DIST and DISTERR (kpc), a row per star.

    Parameters
    ----------
    directory
        Gets the files.
    rows, gaia
        As in `files.write_catalogue`; stars without a match in Gaia are in neither.
    seed
        Seed of the universe.
    """
    _, first = np.unique(rows["SOURCE_ID"], return_index=True)
    first = first[gaia["MATCHED"][first]]
    true = rows["DIST"][first]
    draws = Draws(seed, (rows["SOURCE_ID"][first],))
    for rival in RIVALS:
        error = bias(rival, true) + rival.scatter * draws.normal(f"rival {rival.name}")
        distance = true * 10.0 ** (0.2 * error)
        columns = {name: gaia[name][first] for name in ("SOURCE_ID", "RA", "DEC")}
        columns |= {"DIST": distance, "DISTERR": 0.2 * np.log(10.0) * rival.scatter * distance}
        chosen = draws.uniform(f"in {rival.name}") < rival.share
        with atomic(directory / f"{rival.name}.fits") as temporary:
            table = {name: values[chosen] for name, values in columns.items()}
            fitsio.write(temporary, table, extname="DISTANCES", units=[_UNITS[name] for name in table], clobber=True)
