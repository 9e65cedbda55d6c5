"""Distances beyond 5 kpc against known ones: bias and scatter by distance, and ranks in the posterior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from astropy.table import Table, vstack
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, StrMethodFormatter

from specdis.report.figures.panels import LEAST, drawn_in
from specdis.report.style import (
    BLUE,
    GREY,
    PAGE_WIDTH,
    VERMILION,
    Plot,
    missing,
    styled,
    write_label,
)
from specdis.validation.halo import ESTIMATES, HALO_EDGES, RANK_BINS

_TICKS = (5, 10, 20, 50, 100, 200)
_COLOURS = dict(zip(ESTIMATES, (BLUE, VERMILION), strict=True))
_MARKERS = dict(zip(ESTIMATES, ("o", "s"), strict=True))


def draw_halo(halo: Mapping[str, Any] | None) -> Plot:
    """Draw bias and scatter of both distances by known and by predicted distance, and rank histograms.

    Parameters
    ----------
    halo
        `halo` of the metrics.
    """
    name, title = "halo", "Distances beyond 5 kpc"
    if halo is None:
        return missing(name, title, "no distances are known, neither from a truth nor from lists")
    kinds = {"by_distance": "true" if halo["source"] == "truth" else "known", "by_predicted_distance": "predicted"}
    cells = {kind: halo[kind] for kind in kinds}
    if not any(cell[guess]["n_finite"] >= LEAST for each in cells.values() for cell in each for guess in ESTIMATES):
        return missing(name, title, f"too few stars: no cell of distance has {LEAST}")
    ranks = [found for found in halo["ranks"] if found["n"] >= RANK_BINS * LEAST]
    tables = []
    with styled():
        figure = Figure(figsize=(PAGE_WIDTH, 4.6 + 1.9 * bool(ranks)), layout="constrained")
        axes = figure.subplots(2 + bool(ranks), 2)
        for column, (kind, words) in enumerate(kinds.items()):
            for row, quantity in enumerate(("median_bias", "scatter_mag")):
                axis = axes[row, column]
                axis.set(xscale="log", xlim=(HALO_EDGES[0], HALO_EDGES[-1]))
                axis.xaxis.set(major_locator=FixedLocator(_TICKS), major_formatter=StrMethodFormatter("{x:g}"))
                axis.xaxis.set_minor_formatter(NullFormatter())
                tables += [_draw(axis, cells[kind], quantity, guess, words) for guess in ESTIMATES]
            axes[0, column].axhline(0.0, color=GREY, zorder=0)
            axes[1, column].set(xlabel=f"{words} distance [kpc]")
        for row, words in enumerate(("median bias [%]", "scatter of the modulus [mag]")):
            low, high = zip(*(axis.get_ylim() for axis in axes[row]), strict=True)
            for axis in axes[row]:
                axis.set_ylim(min(low) if row == 0 else 0.0, max(high))
            axes[row, 0].set_ylabel(words)
        for column, axis in enumerate(axes[2] if ranks else ()):
            if column < len(ranks):
                tables.append(_draw_ranks(axis, ranks[column]))
            else:
                axis.set_axis_off()
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    caption = f"Top: median bias and scatter of cells with {LEAST} stars or more."
    if ranks:
        caption += (
            " Bottom: the share of the posterior below the known distance, of stars chosen by predicted distance; it "
            "is flat where posteriors are right. The band is what chance gives in two of three bins."
        )
    else:
        caption += " There are too few stars for rank histograms, or the run has no posterior."
    return Plot(name, title, caption, figure, vstack(tables))


def _draw(axis: Axes, cells: Sequence[Mapping[str, Any]], quantity: str, guess: str, words: str) -> Table:
    """Draw one number of an estimate in the cells of distance."""
    scale = 100.0 if quantity == "median_bias" else 1.0
    chosen = [cell for cell in cells if cell[guess]["n_finite"] >= LEAST]
    table = Table(
        {
            "x": [np.sqrt(cell["distance_min_kpc"] * cell["distance_max_kpc"]) for cell in chosen],
            "y": [scale * cell[guess][quantity] for cell in chosen],
            "error": [scale * cell[guess][f"{quantity}_err"] for cell in chosen],
        },
        dtype=(float, float, float),
    )
    place = table["x"] * (0.985 if guess == "likelihood" else 1.015)
    marker, color = _MARKERS[guess], _COLOURS[guess]
    axis.errorbar(place, table["y"], table["error"], color=color, marker=marker, markersize=4, label=guess)
    return drawn_in(table, f"{words}, {guess}", "DIST", "BIAS" if quantity == "median_bias" else "SCATTER")


def _draw_ranks(axis: Axes, found: Mapping[str, Any]) -> Table:
    """Draw a rank histogram over its mean, with the scatter that chance gives."""
    edges, mean = np.linspace(0.0, 1.0, RANK_BINS + 1), found["n"] / RANK_BINS
    counts = np.asarray(found["counts"], dtype=float)
    chance = np.sqrt((1.0 - 1.0 / RANK_BINS) / mean)
    axis.axhspan(1.0 - chance, 1.0 + chance, color="#e8e8e8", zorder=0)
    axis.axhline(1.0, color=GREY)
    axis.stairs(counts / mean, edges, color=VERMILION, linewidth=1.3)
    axis.set(xlim=(0, 1), ylim=(0.0, max(2.0, 1.3 * counts.max() / mean)))
    axis.set(xlabel="posterior below the known distance", ylabel="stars / expected")
    words = f"predicted beyond {found['distance_min_kpc']:g} kpc: {found['n']:,} stars"
    write_label(
        axis, f"{words}\nχ² = {found['chi2']:.0f}, expected {found['degrees_of_freedom']}, p = {found['p_value']:.2g}"
    )
    table = Table({"x": edges[:-1], "y": counts / mean, "error": np.full(RANK_BINS, chance)})
    return drawn_in(table, f"ranks beyond {found['distance_min_kpc']:g} kpc", "RANK", "DENSITY")
