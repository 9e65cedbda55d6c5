"""Common parts of panels: medians over cells, comparison of two distance moduli, limits and units."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from specdis import validation
from specdis.arrays import Array, Float64
from specdis.report.style import BLACK, VERMILION, draw_stars, write_label
from specdis.statistics import bootstrap_errors, robust_scatter

BAND = (16.0, 50.0, 84.0)
"""Percentiles of a median and its range."""
LEAST = 20
"""Least number of stars for the median of a cell."""
FEW = 5
"""The same for members, which are few; error bars show the uncertainty."""

PANEL_UNITS = {
    **dict.fromkeys(("M_G_GEO", "M_G_NN", "DELTA_M_G", "BP_RP"), "mag"),
    **dict.fromkeys(("MODULUS", "MODULUS_REF", "MODULUS_RIVAL", "MODULUS_GEO", "DELTA_MODULUS"), "mag"),
    **dict.fromkeys(("DIST", "DIST_TRUE"), "kpc"),
    "TEFF": "K",
}


def drawn_in(table: Table, panel: str, x: str, y: str = "") -> Table:
    """Name a table's panel, on one line, and the quantities drawn in it."""
    table.add_column(np.full(len(table), " ".join(panel.split())), name="panel", index=0)
    for axis, quantity in (("x", x), ("y", y)):
        if quantity:
            table[axis].unit = PANEL_UNITS.get(quantity)
            table.rename_column(axis, quantity)
    return table


def limits_of(values: Array) -> tuple[float, float]:
    """Return limits that leave at most 0.1 per cent of the values beyond either end, with a margin."""
    low, high = np.percentile(values[np.isfinite(values)], (0.1, 99.9))
    margin = 0.06 * (high - low) + 0.1
    return float(low - margin), float(high + margin)


def decades(values: Array, width: float) -> Float64:
    """Return edges of cells `width` dex wide that leave at most 0.1 per cent of the values beyond either end."""
    low, high = np.percentile(np.log10(values[np.isfinite(values) & (values > 0)]), (0.1, 99.9))
    return np.asarray(10.0 ** (width * np.arange(np.floor(low / width), np.floor(high / width) + 2)))


def bias_medians(axis: Axes, distance: Array, bias: Array) -> Table:
    """Draw median and 16 to 84 per cent range of the bias in the cells of the metrics."""
    edges = np.array(validation.DISTANCE_EDGES)
    low, median, high = validation.percentiles(bias, distance, edges, BAND, LEAST).T
    centre = np.sqrt(edges[1:] * edges[:-1])
    widths, heights = (centre - edges[:-1], edges[1:] - centre), (median - low, high - median)
    bars = axis.errorbar(centre, median, heights, widths, "o", color=BLACK, markersize=4, linewidth=1.1, zorder=4)
    for artist in bars.get_children():
        artist.set_path_effects([withStroke(linewidth=2.6, foreground="white")])
    return Table({"x": centre, "y": median, "low": low, "high": high})


def compare_moduli(axis: Axes, x: Array, y: Array, edges: Sequence[float], names: tuple[str, str]) -> list[Table]:
    """Draw two distance moduli against each other with the median difference in cells of the first.

    Dots are medians with their bootstrapped errors, listed in the second table.
    """
    limits, panel = axis.get_xlim(), str(axis.get_label())
    drawn = [drawn_in(draw_stars(axis, x, y), panel, *names)]
    axis.plot(limits, limits, color=VERMILION, zorder=3)
    apart = np.asarray(y - x, dtype=np.float64)
    known = np.isfinite(apart)
    medians = []
    for low, high, rows in validation.cells(x, edges):
        values = apart[rows & known]
        if len(values) >= FEW:
            error = bootstrap_errors({"median": lambda drawn: np.median(drawn, axis=-1)}, values)["median"]
            medians.append((0.5 * (low + high), float(np.median(values)), error, len(values)))
    if medians:
        centre, middle, error, _ = np.array(medians).T
        bars = axis.errorbar(centre, centre + middle, error, fmt="o", color=BLACK, markersize=3.5, capsize=2, zorder=4)
        for artist in bars.get_children():
            artist.set_path_effects([withStroke(linewidth=2.4, foreground="white")])
    columns = ("x", "median_difference", "error", "count")
    table = Table(rows=medians or None, names=columns, dtype=(float, float, float, int))
    return [*drawn, drawn_in(table, f"{panel}, median", names[0], "")]


def say_scatter(axis: Axes, apart: Array, text: str) -> None:
    """Write the number of stars, their median difference and its scatter into a panel."""
    finite = np.asarray(apart, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    if len(finite):
        numbers = f"median {np.median(finite):+.2f}, σ = {robust_scatter(finite):.2f} mag".replace("-", "−")
        text = f"{text}\n{len(finite):,} stars\n{numbers}"
    else:
        text = f"{text}\nno stars"
    write_label(axis, text)
