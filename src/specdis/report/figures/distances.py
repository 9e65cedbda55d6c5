"""Figures 8, 9 and 12: distances and their quoted errors (sections 4.3 and 4.4); and both against the truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.table import Table, vstack
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from specdis import validation
from specdis.arrays import Array, Columns
from specdis.report.figures.panels import BAND, LEAST, bias_medians, decades, drawn_in
from specdis.report.style import (
    BLACK,
    BLUE,
    COLUMN_WIDTH,
    GREY,
    PAGE_WIDTH,
    PALETTE,
    VERMILION,
    Plot,
    density_bar,
    draw_stars,
    missing,
    plain_numbers,
    styled,
    write_label,
)


def draw_distances(catalogue: Columns) -> Plot:
    """Count stars by distance, all and those with a relative error below 25 % (section 4.3.1, Fig. 8)."""
    name, title = "fig08", "Stars by distance"
    chosen = catalogue["SELECTED"] & np.isfinite(catalogue["DIST"])
    if not np.any(chosen):
        return missing(name, title, "no star has a distance")
    distance = catalogue["DIST"][chosen]
    precise = validation.relative_error(catalogue)[chosen] < validation.PRECISE
    edges = decades(distance, 0.1)
    counts = [np.histogram(part, edges)[0] for part in (distance, distance[precise])]
    with styled():
        figure = Figure(figsize=(COLUMN_WIDTH, 3.4), layout="constrained")
        axis = figure.subplots()
        axis.set(xscale="log", yscale="log", xlabel="heliocentric distance [kpc]", ylabel="stars per 0.1 dex")
        axis.set(xlim=(edges[0], edges[-1]), ylim=(0.6, 3.0 * counts[0].max()))
        words = f"all: {len(distance):,} stars", f"quoted error < 25 %: {np.count_nonzero(precise):,} stars"
        for count, color, word in zip(counts, (BLACK, VERMILION), words, strict=True):
            # Without a baseline, no lines fall to the axis at the outermost bins.
            axis.stairs(count, edges, baseline=None, color=color, linewidth=1.2, label=word)
        plain_numbers(axis.xaxis, axis.yaxis)
        axis.legend(loc="upper right")
    caption = "Heliocentric distances of all stars, and of those whose quoted error is below 25 %."
    data = Table(
        {"distance_min": edges[:-1], "distance_max": edges[1:], "all": counts[0], "precise": counts[1]},
        units={"distance_min": "kpc", "distance_max": "kpc"},
    )
    return Plot(name, title, caption, figure, data)


def draw_uncertainties(catalogue: Columns) -> Plot:
    """Draw the relative error of the distance: its distribution, against S/N, against distance (4.3.2, Fig. 9)."""
    name, title = "fig09", "Relative distance error"
    columns = validation.relative_error(catalogue), catalogue["SN"], catalogue["DIST"]
    error, snr, distance = (column[catalogue["SELECTED"]] for column in columns)
    finite = np.isfinite(error)
    if not np.any(finite):
        return missing(name, title, "no star has a distance error")
    edges = np.linspace(0.0, 1.0, 51)
    counts = np.histogram(error, edges)[0]
    with styled():
        figure = Figure(figsize=(COLUMN_WIDTH, 7.4), layout="constrained")
        axes = figure.subplots(3)
        axes[0].set(xlim=(0, 1), xlabel="relative distance error", ylabel="stars per 0.02")
        axes[0].stairs(counts, edges, color=BLUE, fill=True, alpha=0.35)
        axes[0].stairs(counts, edges, color=BLUE)
        axes[0].axvline(validation.PRECISE, color=VERMILION, linestyle="--")
        axes[0].yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        write_label(
            axes[0], f"{100 * np.mean(error[~np.isnan(error)] < validation.PRECISE):.0f} % below 25 %", "upper right"
        )
        by_snr = _against(axes[1], snr, error, "S/N")
        by_distance = _against(axes[2], distance, error, "heliocentric distance [kpc]")
        density_bar(figure)
    unbounded = np.count_nonzero(np.isinf(error))
    beyond = np.count_nonzero(finite & (error > 1.0))
    caption = (
        f"Quoted relative error of {np.count_nonzero(finite):,} distances; {beyond:,} above 100 % are off the axes. "
        f"{unbounded:,} more have no upper bound and count as infinitely uncertain. Lines: median (solid), 16 and 84 % "
        "(dashed)."
    )
    top = Table({"x": 0.5 * (edges[1:] + edges[:-1]), "count": counts})
    tables = [
        drawn_in(top, "distribution", "RELATIVE_ERROR"),
        drawn_in(by_snr, "against S/N", "SN", "RELATIVE_ERROR"),
        drawn_in(by_distance, "against distance", "DIST", "RELATIVE_ERROR"),
    ]
    return Plot(name, title, caption, figure, vstack(tables))


def draw_against_truth(catalogue: Columns, truth: Columns | None) -> Plot:
    """Draw predicted against true distance, all stars and those with a relative error below 25 %."""
    name, title = "truth", "Predicted against true distance"
    if truth is None:
        return missing(name, title, "the true distances of this survey are not known")
    true = validation.true_distance(catalogue, truth)
    known = catalogue["SELECTED"] & np.isfinite(true) & np.isfinite(catalogue["DIST"])
    if not np.any(known):
        return missing(name, title, "no star with a known distance has a predicted one")
    cells = decades(np.concatenate([true[known], catalogue["DIST"][known]]), 0.1)
    limits = cells[0], cells[-1]
    precise = known & (validation.relative_error(catalogue) < validation.PRECISE)
    with styled():
        figure = Figure(figsize=(PAGE_WIDTH, 5.0), layout="constrained")
        axes = figure.subplots(2, 2, sharex=True, sharey="row", height_ratios=(2, 1.2))
        axes[0, 0].set(xscale="log", yscale="log", xlim=limits, ylim=limits, ylabel="predicted distance [kpc]")
        axes[1, 0].set(ylim=(-0.65, 0.65), ylabel="predicted / true − 1")
        tables = []
        for column, (rows, kind) in enumerate(((known, "all"), (precise, "quoted error < 25 %"))):
            upper, lower = axes[:, column]
            x, y = true[rows], catalogue["DIST"][rows]
            bias = y / x - 1
            tables.append(drawn_in(draw_stars(upper, x, y), kind, "DIST_TRUE", "DIST"))
            tables.append(drawn_in(draw_stars(lower, x, bias), kind, "DIST_TRUE", "BIAS"))
            tables.append(drawn_in(bias_medians(lower, x, bias), f"{kind}, median", "DIST_TRUE", "BIAS"))
            upper.plot(limits, limits, color=VERMILION)
            lower.axhline(0.0, color=VERMILION)
            lower.set_xlabel("true distance [kpc]")
            write_label(upper, f"{kind}: {len(x):,} stars")
        plain_numbers(axes[0, 0].xaxis, axes[0, 0].yaxis)
        density_bar(figure)
    caption = (
        "Predicted against true distance. Below, their ratio minus one: dots with bars are its median and its 16 to "
        f"84 % range in the bins of the table that have {LEAST} stars or more."
    )
    return Plot(name, title, caption, figure, vstack(tables))


def _against(axis: Axes, by: Array, error: Array, quantity: str) -> Table:
    """Draw relative error against S/N or distance, with its median and its 16 and 84 per cent (Fig. 9)."""
    if not np.any(by[np.isfinite(error)] > 0):
        write_label(axis, f"no star has {quantity}")
        return draw_stars(axis, by, error)
    edges = decades(by, 0.2)
    axis.set(xscale="log", xlim=(edges[0], edges[-1]), ylim=(0, 1), xlabel=quantity, ylabel="relative distance error")
    plain_numbers(axis.xaxis)
    drawn = draw_stars(axis, by, error)
    band = validation.percentiles(error, by, edges, BAND, LEAST)
    centre = np.sqrt(edges[1:] * edges[:-1])
    for level, style in zip(band.T, ("--", "-", "--"), strict=True):
        axis.plot(centre, np.where(np.isinf(level), np.nan, level), color=VERMILION, linestyle=style)
    return drawn


def draw_errors_by_kind(catalogue: Columns) -> Plot:
    """Draw the median quoted error of giants and of other stars against S/N (section 4.4, Fig. 12)."""
    name, title = "fig12", "Distance error of giants and dwarf stars"
    error, snr = validation.relative_error(catalogue), np.asarray(catalogue["SN"], dtype=np.float64)
    chosen = catalogue["SELECTED"] & ~np.isnan(error) & (snr > 0) & np.isfinite(catalogue["LOGG"])
    if not np.any(chosen):
        return missing(name, title, "no star has S/N, log g and a distance error")
    giant, edges = validation.is_giant(catalogue), decades(snr[chosen], 0.1)
    tables = []
    with styled():
        figure = Figure(figsize=(COLUMN_WIDTH, 3.4), layout="constrained")
        axis = figure.subplots()
        axis.set(xscale="log", xlim=(edges[0], edges[-1]), xlabel="S/N", ylabel="median relative distance error")
        for kind, rows, color in (
            ("giants: log g < 3.8", chosen & giant, BLACK),
            ("others", chosen & ~giant, VERMILION),
        ):
            tables.append(_error_curve(axis, snr[rows], error[rows], edges, f"{kind} ({rows.sum():,})", color))
        if not any(np.any(np.isfinite(table["RELATIVE_ERROR"])) for table in tables):
            return missing(name, title, f"too few stars: no cell of S/N has {LEAST} with a bounded error")
        axis.set_ylim(0.0, min(1.5, axis.get_ylim()[1]))
        plain_numbers(axis.xaxis)
        axis.legend(loc="upper right")
    caption = (
        f"Median quoted error of the distance in cells of S/N with {LEAST} stars or more, and its 16 to 84 % range. "
        "Distances without an upper bound count as infinitely uncertain."
    )
    return Plot(name, title, caption, figure, vstack(tables))


def _error_curve(axis: Axes, snr: Array, error: Array, edges: Array, kind: str, color: str) -> Table:
    low, middle, high = validation.percentiles(error, snr, edges, BAND, LEAST).T
    centre = np.sqrt(edges[1:] * edges[:-1])
    axis.plot(centre, np.where(np.isinf(middle), np.nan, middle), "o-", color=color, markersize=3, label=kind)
    axis.fill_between(centre, low, np.minimum(high, 10.0), color=color, alpha=0.12, linewidth=0)
    return drawn_in(Table({"x": centre, "y": middle, "low": low, "high": high}), kind, "SN", "RELATIVE_ERROR")


def draw_calibration(metrics: Mapping[str, Any]) -> Plot:
    """Draw the probability integral transform of the quoted errors, for each kind of reference."""
    name, title = "calibration", "Are the quoted errors honest?"
    external = metrics.get("external", {})
    sets = {
        "parallaxes that inform": metrics["internal"]["parallax_z"]["informing"],
        "other parallaxes": metrics["internal"]["parallax_z"]["others"],
        "members": external.get("members", {}).get("all"),
        "BHB stars": external.get("bhb", {}).get("all"),
        "true distances": metrics.get("truth", {}).get("calibration"),
    }
    known = {kind: found for kind, found in sets.items() if found and found["z_n"]}
    if not known:
        return missing(name, title, "no star has a quoted error and a reference")
    edges, tables = np.linspace(0.0, 1.0, 11), []
    with styled():
        figure = Figure(figsize=(COLUMN_WIDTH, 3.2), layout="constrained")
        axis = figure.subplots()
        axis.axhline(1.0, color=GREY, linestyle="--")
        for color, (kind, found) in zip(PALETTE, known.items(), strict=False):
            density = 10.0 * np.array(found["pit"]) / found["z_n"]
            scatter = "–" if found["z_scatter"] is None else f"{found['z_scatter']:.2f}"
            axis.stairs(
                density, edges, color=color, linewidth=1.3, label=f"{kind} ({found['z_n']:,}), σ(z) = {scatter}"
            )
            tables.append(drawn_in(Table({"x": edges[:-1], "density": density}), kind, "PIT", ""))
        axis.set(xlim=(0, 1), xlabel="probability of a smaller value, by the quoted error", ylabel="stars / expected")
        axis.set_ylim(0.0, 1.45 * axis.get_ylim()[1])
        axis.legend(loc="upper center")
    caption = (
        "Honest errors give a flat line at 1 and σ(z) = 1, z being the difference in quoted errors. Stars at both ends "
        "are more than the errors allow: the errors are too small. Parallaxes and truth are of held-out stars; "
        "a parallax informs where it is known better than predicted, and z of the others is mostly its own error."
    )
    return Plot(name, title, caption, figure, vstack(tables))
