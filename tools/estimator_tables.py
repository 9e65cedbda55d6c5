"""Print what the two kinds of network make of a mock survey, by distance, S/N and log g, as Markdown.

    .venv/bin/specdis init mock-mixture
    .venv/bin/specdis run mock-mixture.toml
    .venv/bin/python tools/estimator_tables.py runs/mock-mixture [OTHER-RUN ...]

Held-out stars that took no part in the recalibration. Of every run the mixture is shown, of the first the label too.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from closure_tables import table

from specdis import validation
from specdis.arrays import Array, Bool, Float64
from specdis.catalogue import read_columns
from specdis.pipeline.config import config_of
from specdis.pipeline.inputs import truth_of
from specdis.statistics import coverage, robust_scatter
from specdis.storage import read_table
from specdis.stores.paths import RunPaths
from specdis.surveys import IDENTIFIER, Stars

DISTANCES = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 70.0, 100.0)  # kpc
COLUMNS = (*validation.VALIDATION_COLUMNS, *validation.MIXTURE_COLUMNS)


class Estimate(NamedTuple):
    """One estimator's distances of the stars that are compared."""

    name: str
    columns: dict[str, Array]
    distance: Float64
    error: Float64
    interval: tuple[Float64, Float64]
    true: Float64

    @property
    def precise(self) -> Bool:
        return np.asarray(self.error < 0.25 * self.distance)


def estimates(run: Path, both: bool) -> Iterator[Estimate]:
    """Yield the estimators of a run."""
    columns = read_columns(RunPaths(run).catalogue, COLUMNS)
    config = config_of(run)
    known = truth_of(config, Stars(read_table(RunPaths(run).sample, IDENTIFIER)))
    assert known is not None, f"{run} has no truth"
    true = validation.true_distance(columns, known)
    rows = columns["SELECTED"] & columns["HELD_OUT"] & ~columns["CALIBRATION"] & np.isfinite(true)
    chosen = {name: values[rows] for name, values in columns.items()}
    for kind in ("LABEL", "MIX") if both else ("MIX",):
        name = kind if config.network.mixture.jacobian == "none" or kind == "LABEL" else f"{kind} as printed"
        kpc, error = (chosen[f"{column}_{kind}"].astype(np.float64) for column in ("DIST", "DISTERR"))
        half = 10 ** (chosen[f"M_G_NN_ERR_{kind}"] / 5)
        own = kind == "MIX" and config.network.kind == "mixture"
        interval = (chosen["DIST_16"], chosen["DIST_84"]) if own else (kpc / half, kpc * half)
        yield Estimate(name, chosen, kpc, error, interval, true[rows])


def biases(found: list[Estimate], by_true: bool, precise: bool) -> Iterator[list[str]]:
    """Yield rows of medians of predicted / true - 1 in per cent."""
    for one in found:
        use = one.precise if precise else np.isfinite(one.distance)
        line = [one.name, f"{100 * one.precise.mean():.0f} %"]
        for _, _, inside in validation.cells(one.true if by_true else one.distance, DISTANCES):
            values = (one.distance / one.true - 1)[inside & use]
            line.append(f"{100 * np.median(values):+.1f} ({len(values):,})" if len(values) >= 20 else "–")
        yield line


def cells(one: Estimate) -> Iterator[tuple[str, Bool]]:
    """Yield name and stars of the cells of S/N and log g."""
    giant = validation.is_giant(one.columns)
    for low, high, snr in validation.cells(one.columns["SN"], validation.SNR_EDGES):
        name = validation.cell_name("S/N", low, high)
        yield f"{name}, giants", snr & giant
        yield f"{name}, dwarfs", snr & ~giant


def spreads(found: list[Estimate]) -> Iterator[list[str]]:
    """Yield what the errors of the modulus are like by S/N and log g."""
    for alike in zip(*(cells(one) for one in found), strict=True):
        name, rows = alike[0]
        numbers = [spread(one, rows) for one, (_, rows) in zip(found, alike, strict=True)]
        yield [name, f"{np.count_nonzero(rows):,}", *numbers]


def spread(one: Estimate, rows: Bool) -> str:
    """Return median and robust scatter of the errors of the modulus, and the share between 16 and 84 per cent."""
    rows = rows & np.isfinite(one.distance)
    error = 5 * np.log10(one.distance[rows] / one.true[rows])
    covered = coverage(one.true[rows], one.interval[0][rows], one.interval[1][rows]).value
    return f"{np.median(error):+.2f}, {robust_scatter(error):.2f}, {100 * covered:.0f} %"


def main(runs: list[Path]) -> None:
    found = [one for number, run in enumerate(runs) for one in estimates(run, number == 0)]
    head = ["", "error < 25 %", *(f"{a:g}-{b:g}" for a, b in pairwise(DISTANCES))]
    for by_true, what in ((True, "true"), (False, "predicted")):
        for precise, stars in ((False, "all stars"), (True, "error below 25 %")):
            print(f"\nMedian of predicted / true - 1 in per cent by {what} distance in kpc, {stars} (number)\n")
            print(table(head, biases(found, by_true, precise)))
    print("\nBias and scatter of the modulus in mag, and true distances within the 68 % interval\n")
    print(table(["", "stars", *(one.name for one in found)], spreads(found)))


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
