"""Print what the validation of a finished run says of distances beyond 5 kpc, as Markdown.

    .venv/bin/python tools/halo_tables.py RUN [RUN ...]

Bias and coverage by true and by predicted distance, slopes, ranks, and the coverage in cells of S/N, magnitude and
[Fe/H]. Held-out stars that took no part in the recalibration.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from closure_tables import table

from specdis.storage import read_json
from specdis.stores.paths import RunPaths
from specdis.validation.measures import cell_name
from specdis.validation.verdict import CELL_KINDS, COVERED, LARGE_CELL

CELLS = {"by_distance": "true", "by_predicted_distance": "predicted"}
ESTIMATES = {"likelihood": "DIST", "posterior": "DIST_POST"}


def per_cent(found: Mapping[str, Any], name: str, sign: str = "") -> str:
    """Return a share with its error, in per cent."""
    value, error = found.get(name), found.get(f"{name}_err")
    return "–" if value is None or error is None else f"{100 * value:{sign}.1f} ± {100 * error:.1f}"


def by_distance(halo: Mapping[str, Any]) -> Iterator[list[str]]:
    """Yield a row for every estimate, kind of distance and number."""
    numbers: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "stars": lambda found: f"{found['n']:,}",
        "bias, %": lambda found: per_cent(found, "median_bias", "+"),
        "68 % interval, %": lambda found: per_cent(found, "coverage68"),
        "z-scatter": lambda found: f"{found['z_scatter']:.2f}" if found.get("z_scatter") is not None else "–",
    }
    for kind, word in CELLS.items():
        for estimate, column in ESTIMATES.items():
            for name, text in numbers.items():
                yield [f"{column}, {word} distance: {name}", *(text(cell[estimate]) for cell in halo[kind])]


def slopes(halo: Mapping[str, Any]) -> Iterator[list[str]]:
    """Yield the slope of predicted against true modulus of each cell of S/N."""
    for cell in halo["slopes"]:
        found = [cell[estimate] for estimate in ESTIMATES]
        texts = (f"{one['slope']:.3f} ± {one['slope_err']:.3f}" if one.get("slope") else "–" for one in found)
        yield [f"{cell['snr_min'] or 0:.0f} to {cell['snr_max'] or np.inf:.0f}", f"{found[0]['n']:,}", *texts]


def coverage(halo: Mapping[str, Any]) -> Iterator[list[str]]:
    """Yield, of all stars and of the distant ones, how many cells are in the allowed range, and the worst."""
    for least in sorted({cell["distance_min_kpc"] for cell in halo["coverage"]}):
        cells = [cell for cell in halo["coverage"] if cell["distance_min_kpc"] == least and cell["n"] >= LARGE_CELL]
        for estimate, column in ESTIMATES.items():
            for percent, (low, high) in COVERED.items() if cells else ():
                name = f"coverage{percent}"
                shares = np.array([cell[estimate][name] for cell in cells])
                good = np.count_nonzero((shares >= low) & (shares <= high))
                worst = cells[int(np.argmax(np.abs(shares - (low + high) / 2)))]
                where = (cell_name(name, worst[f"{key}_min"], worst[f"{key}_max"]) for key, name in CELL_KINDS.items())
                text = f"{per_cent(worst[estimate], name)} ({', '.join(where)})"
                yield [f"{least:.0f}", column, f"{percent} %", f"{good} of {len(cells)}", text]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    for run in parser.parse_args().runs:
        halo = read_json(RunPaths(run).metrics)["halo"]
        print(f"{run}: {halo['n']:,} stars beyond 5 kpc\n")
        edges = [f"{cell['distance_min_kpc']:.0f}-{cell['distance_max_kpc']:.0f}" for cell in halo["by_distance"]]
        print(table(["kpc", *edges], by_distance(halo)), end="\n\n")
        print(table(["S/N", "stars", *(f"slope, {name}" for name in ESTIMATES.values())], slopes(halo)), end="\n\n")
        ranks = (
            [f"{r['distance_min_kpc']:.0f}", f"{r['n']:,}", f"{r['chi2']:.0f} of {r['degrees_of_freedom']}"]
            for r in halo["ranks"]
        )
        print(table(["ranks beyond, kpc", "stars", "chi-square"], ranks), end="\n\n")
        head = ["beyond, kpc", "distance", "interval", "cells in the allowed range", "worst, %"]
        print(table(head, coverage(halo)), end="\n\n")


if __name__ == "__main__":
    main()
