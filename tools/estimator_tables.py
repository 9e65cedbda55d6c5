"""Print what the two kinds of network make of a mock survey, by distance, S/N and log g, as Markdown.

    .venv/bin/specdis run configs/mock-mixture.toml
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
from specdis.pipeline.survey import truth
from specdis.statistics import coverage, robust_scatter
from specdis.storage import RunPaths, read_table
from specdis.surveys import IDENTIFIER, Stars

DISTANCES = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 70.0, 100.0)  # kpc
COLUMNS = (*validation.COLUMNS, *validation.MIXTURE_COLUMNS)


class Estimate(NamedTuple):
    """One estimator's distances of the stars that are compared."""

    name: str
    columns: dict[str, Array]
    distance: Float64
    error: Float64
    true: Float64

    @property
    def precise(self) -> Bool:
        return np.asarray(self.error < 0.25 * self.distance)

    def covered(self, rows: Bool) -> float:
        """Return the share of true distances within the quoted error of the modulus."""
        width = 10 ** (self.columns[f"M_G_NN_ERR_{self.name[:4].strip()}"][rows] / 5)
        return coverage(self.true[rows], self.distance[rows] / width, self.distance[rows] * width).value


def estimates(run: Path, both: bool) -> Iterator[Estimate]:
    """Yield the estimators of a run."""
    columns = read_columns(RunPaths(run).catalogue, COLUMNS)
    config = config_of(run)
    known = truth(config, Stars(read_table(RunPaths(run).sample, IDENTIFIER)))
    assert known is not None, f"{run} has no truth"
    true = validation.true_distance(columns, known)
    rows = columns["SELECTED"] & columns["HELD_OUT"] & ~columns["CALIBRATION"] & np.isfinite(true)
    chosen = {name: values[rows] for name, values in columns.items()}
    for kind in ("CHI2", "MIX") if both else ("MIX",):
        name = kind if config.network.jacobian == "none" or kind == "CHI2" else f"{kind} as printed"
        error = chosen[f"DISTERR_{kind}"]
        yield Estimate(name, chosen, chosen[f"DIST_{kind}"], error.astype(np.float64), true[rows])


def biases(found: list[Estimate], by_true: bool, precise: bool) -> Iterator[list[str]]:
    """Yield rows of medians of predicted / true - 1 in per cent."""
    for one in found:
        use = one.precise if precise else np.isfinite(one.distance)
        line = [one.name, f"{100 * one.precise.mean():.0f} %"]
        for _, _, inside in validation.cells(one.true if by_true else one.distance, DISTANCES):
            values = (one.distance / one.true - 1)[inside & use]
            line.append(f"{100 * np.median(values):+.1f} ({len(values):,})" if len(values) >= 20 else "–")
        yield line


def cells(found: list[Estimate]) -> Iterator[list[str]]:
    """Yield scatter of the modulus and coverage by S/N and log g."""
    columns = found[0].columns
    for low, high, snr in validation.cells(columns["SN"], validation.SNR_EDGES):
        for kind, gravity in (("giants", columns["LOGG"] < 3.8), ("dwarfs", columns["LOGG"] >= 3.8)):
            line = [f"{validation.cell_name('S/N', low, high)}, {kind}", f"{np.count_nonzero(snr & gravity):,}"]
            for one in found:
                rows = snr & gravity & np.isfinite(one.distance)
                error = 5 * np.log10(one.distance[rows] / one.true[rows])
                line.append(f"{np.median(error):+.2f}, {robust_scatter(error):.2f}, {100 * one.covered(rows):.0f} %")
            yield line


def main(runs: list[Path]) -> None:
    found = [one for number, run in enumerate(runs) for one in estimates(run, number == 0)]
    head = ["", "error < 25 %", *(f"{a:g}-{b:g}" for a, b in pairwise(DISTANCES))]
    for by_true, what in ((True, "true"), (False, "predicted")):
        for precise, stars in ((False, "all stars"), (True, "error below 25 %")):
            print(f"\nMedian of predicted / true - 1 in per cent by {what} distance in kpc, {stars} (number)\n")
            print(table(head, biases(found, by_true, precise)))
    print("\nBias and scatter of the modulus in mag, and true distances within the quoted error\n")
    print(table(["", "stars", *(one.name for one in found)], cells(found)))


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
