"""Print how far the distances of a finished run on a mock survey are from the truth, as Markdown.

    .venv/bin/specdis init mock
    .venv/bin/specdis run mock.toml
    .venv/bin/python tools/closure_tables.py runs/mock

Only stars that no network saw count, but for the quoted errors and for what the paper says of its whole catalogue.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from specdis import validation
from specdis.arrays import Array, Bool, Float64
from specdis.catalogue import read_columns
from specdis.pipeline.config import Config
from specdis.pipeline.inputs import truth_of
from specdis.statistics import coverage, robust_scatter
from specdis.storage import read_json, read_table
from specdis.stores.paths import RunPaths
from specdis.surveys import IDENTIFIER, Stars

DISTANCES = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 70.0, 100.0)  # kpc
COLUMNS = (*validation.VALIDATION_COLUMNS, "M_G_NN_ERR_NOISE")


def columns_of(run: Path) -> tuple[dict[str, Array], Float64]:
    """Return columns of the catalogue, and true distances in kpc."""
    paths = RunPaths(run)
    columns = read_columns(paths.catalogue, COLUMNS)
    known = truth_of(Config.load(run / "config.resolved.toml"), Stars(read_table(paths.sample, IDENTIFIER)))
    if known is None:
        raise SystemExit(f"{run} has no truth")
    return columns, validation.true_distance(columns, known)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])


def bias_and_scatter(error: Float64) -> list[str]:
    """Return number, median and robust scatter (mag) of those errors that are finite."""
    finite = error[np.isfinite(error)]
    if len(finite) < 50:
        return [f"{len(finite):,}", "–", "–"]
    return [f"{len(finite):,}", f"{np.median(finite):+.2f}", f"{robust_scatter(finite):.2f}"]


def groups(columns: dict[str, Array]) -> Iterator[Bool]:
    """Yield which stars are all, giants and dwarfs."""
    giant = validation.is_giant(columns)
    yield from (np.ones(len(giant), bool), giant, columns["LOGG"] >= validation.GIANT_LOGG)


def written(value: float | None) -> str:
    """Write a number of the metrics, where null is one that the run cannot give."""
    return "–" if value is None else f"{value:.4g}"


def main(run: Path) -> None:
    """Print the tables."""
    columns, true = columns_of(run)
    error = 5.0 * np.log10(columns["DIST"] / true)
    unseen = columns["HELD_OUT"] & columns["SELECTED"] & np.isfinite(true)

    def row(name: str, inside: Bool) -> list[str]:
        cells = [cell for group in groups(columns) for cell in bias_and_scatter(error[inside & unseen & group])]
        rows = inside & unseen
        lost = np.mean(~np.isfinite(error[rows]))
        held = coverage(true[rows], columns["DIST_16"][rows], columns["DIST_84"][rows]).value
        return [name, *cells, f"{100 * lost:.1f} %", f"{100 * held:.0f} %"]

    head = [f"{what}{group}" for group in ("", " (giants)", " (dwarfs)") for what in ("stars", "bias", "scatter")]
    head += ["no distance", "in 16-84 %"]
    bins = [(f"{low:g}-{high:g}", inside) for low, high, inside in validation.cells(true, DISTANCES)]
    print(table(["kpc", *head], [row(name, inside) for name, inside in [("all", unseen), *bins]]), end="\n\n")
    bins = [
        (validation.cell_name("S/N", low, high), inside)
        for low, high, inside in validation.cells(columns["SN"], validation.SNR_EDGES)
    ]
    print(table(["S/N", *head], [row(name, inside) for name, inside in bins]), end="\n\n")

    own = np.hypot(columns["M_G_NN_ERR_NOISE"], columns["M_G_NN_ERR_TRAINING"]) * np.log(10.0) / 5.0
    quoted = validation.relative_error(columns)
    rows = []
    for name, inside in bins:
        medians = [np.nanmedian(errors[inside & group]) for errors in (quoted, own) for group in groups(columns)]
        rows.append([name, *(f"{100 * median:.0f} %" for median in medians)])
    head = [f"{kind}, {group}" for kind in ("quoted", "own training error") for group in ("all", "giants", "dwarfs")]
    print(table(["S/N", *head], rows), end="\n\n")

    measured: dict[str, Any] = read_json(RunPaths(run).metrics)
    beside = [
        [line["section"], line["quantity"], written(line["here"]), written(line["paper"]), line["unit"]]
        for line in measured["paper"]
    ]
    print(table(["section", "quantity", "here", "paper", "unit"], beside))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
