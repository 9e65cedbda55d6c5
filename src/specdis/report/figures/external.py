"""Figures 6, 7, A3 and A4: predicted distances against stars of known distance (section 4.2, appendices B and C)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from astropy.table import Table, vstack
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from specdis.arrays import Array, Columns, Float64
from specdis.references import SAGITTARIUS
from specdis.report.figures.panels import compare_moduli, drawn_in, limits_of, say_scatter
from specdis.report.style import (
    BLUE,
    COLUMN_WIDTH,
    GREY,
    PAGE_WIDTH,
    VERMILION,
    Plot,
    density_bar,
    missing,
    styled,
    write_label,
)
from specdis.validation.external import (
    ENOUGH,
    MODULUS_EDGES,
    STREAM_BINS,
    is_blue,
    is_member,
    is_precise,
    residual_modulus,
)
from specdis.validation.measures import take
from specdis.validation.rivals import with_reference
from specdis.validation.stars import corrected_parallax, modulus


def draw_members(found: Columns | None) -> Plot:
    """Draw predicted against reference modulus of members of systems (section 4.2, Fig. 6)."""
    name, title = "fig06", "Members of clusters, dwarf galaxies and streams"
    mine = None if found is None else take(found, is_member(found))
    return _against_reference(name, title, mine, "no list of members, or none of them in the catalogue")


def draw_blue_stars(found: Columns | None) -> Plot:
    """Draw the same for blue horizontal-branch stars (section 4.2, Fig. 7)."""
    name, title = "fig07", "Blue horizontal-branch stars"
    mine = None if found is None else take(found, is_blue(found))
    return _against_reference(name, title, mine, "no list of blue horizontal-branch stars, or none in the catalogue")


def _against_reference(name: str, title: str, found: Columns | None, without: str) -> Plot:
    if found is None or not np.any(np.isfinite(residual_modulus(found))):
        return missing(name, title, without)
    true, predicted, precise = modulus(found["DIST_REF"]), modulus(found["DIST"]), is_precise(found)
    limits = limits_of(np.concatenate([true, predicted[np.isfinite(predicted)]]))
    tables = []
    with styled():
        figure = Figure(figsize=(PAGE_WIDTH, 3.9), layout="constrained")
        axes = figure.subplots(1, 2, sharex=True, sharey=True)
        axes[0].set(xlim=limits, ylim=limits, ylabel="$(m-M)_\\mathrm{predict}$ [mag]")
        for axis, rows, kind in zip(axes, (np.ones(len(true), bool), precise), ("all", "error < 0.5 mag"), strict=True):
            axis.set_label(kind)
            axis.set_xlabel("$(m-M)_\\mathrm{true}$ [mag]")
            names = ("MODULUS_REF", "MODULUS")
            tables += compare_moduli(axis, true[rows], predicted[rows], MODULUS_EDGES, names)
            say_scatter(axis, predicted[rows] - true[rows], kind)
        density_bar(figure)
    caption = (
        f"Predicted against reference distance modulus of {len(true):,} stars (left) and of those with a quoted error "
        "below 0.5 mag (right)."
    )
    return Plot(name, title, caption, figure, vstack(tables))


def draw_systems(found: Columns | None) -> Plot:
    """Draw the moduli of each system's members, predicted and from parallaxes (appendix B, Fig. A3)."""
    name, title = "figA3", "Moduli of each system's members"
    panels = [] if found is None else list(_panels(found))
    if not panels:
        return missing(name, title, "no list of members, or none of them in the catalogue")
    tables = []
    columns = 3
    lines = -(-len(panels) // columns)
    with styled():
        figure = Figure(figsize=(PAGE_WIDTH, 1.45 * lines + 0.5), layout="constrained")
        axes = figure.subplots(lines, columns, squeeze=False)
        for axis, (panel, mine) in zip(axes.flat, panels, strict=False):
            tables.append(_histograms(axis, panel, mine))
        for axis in axes.flat[len(panels) :]:
            axis.set_axis_off()
        figure.supxlabel("distance modulus [mag]", fontsize=9)
        figure.supylabel("stars", fontsize=9)
        figure.legend(handles=_key_of_systems(), loc="outside upper center", ncols=4)
    caption = (
        "Distance moduli of the members, predicted and from the corrected parallax (a negative one has none). The "
        f"median of the predicted ones is drawn where there are more than {ENOUGH} members. The stream is divided into "
        f"{STREAM_BINS} bins of distance with equal numbers of stars."
    )
    return Plot(name, title, caption, figure, vstack(tables))


def _key_of_systems() -> list[Artist]:
    """Return the entries of the legend of Fig. A3."""
    return [
        Line2D([], [], color=BLUE, linewidth=1.2, label="predicted"),
        Patch(color=GREY, alpha=0.55, linewidth=0, label="from the parallax"),
        Line2D([], [], color=VERMILION, linestyle="--", linewidth=1.0, label="reference"),
        Line2D([], [], color=BLUE, linestyle="--", linewidth=1.0, label="median predicted"),
    ]


def _panels(found: Columns) -> Iterator[tuple[str, Columns]]:
    """Yield name and members of each system by distance, then those of the bins of the stream."""
    apart, mine = found["SYSTEM"] != SAGITTARIUS, is_member(found)
    names, first = np.unique(found["SYSTEM"][apart & mine], return_index=True)
    distance = found["DIST_REF"][apart & mine][first]
    for system in names[np.argsort(distance)]:
        yield str(system), take(found, (found["SYSTEM"] == system) & mine)
    stream = take(found, ~apart)
    order = np.argsort(stream["DIST_REF"])
    if len(order) >= STREAM_BINS:
        for number, rows in enumerate(np.array_split(order, STREAM_BINS), start=1):
            yield f"{SAGITTARIUS} {number}", take(stream, rows)


def _histograms(axis: Axes, name: str, mine: Columns) -> Table:
    true = modulus(mine["DIST_REF"])
    reference = float(np.mean(true))
    predicted, geometric = modulus(mine["DIST"]), _geometric_modulus(mine)
    edges = reference + np.linspace(-3.0, 3.0, 31)
    predicted_count, geometric_count = (np.histogram(values, edges)[0] for values in (predicted, geometric))
    axis.stairs(geometric_count, edges, color=GREY, fill=True, alpha=0.55)
    axis.stairs(predicted_count, edges, color=BLUE, linewidth=1.2)
    axis.axvline(reference, color=VERMILION, linestyle="--", linewidth=1.0)
    if np.count_nonzero(np.isfinite(predicted)) > ENOUGH:
        axis.axvline(float(np.nanmedian(predicted)), color=BLUE, linestyle="--", linewidth=1.0)
    axis.set(xlim=(edges[0], edges[-1]), ylim=(0, 1.5 * max(predicted_count.max(), geometric_count.max(), 1)))
    write_label(axis, f"{name}, {10.0 ** (0.2 * reference - 2.0):.1f} kpc\n{len(true):,} stars")
    axis.tick_params(labelsize=7)
    axis.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axis.tick_params(axis="y", which="minor", left=False, right=False)
    table = Table({"x": 0.5 * (edges[1:] + edges[:-1]), "predicted": predicted_count, "geometric": geometric_count})
    return drawn_in(table, name, "MODULUS", "")


def _geometric_modulus(found: Columns) -> Float64:
    """Return the modulus of 1 / corrected parallax, NaN where that is not positive."""
    parallax = corrected_parallax(found)
    return modulus(1.0 / np.where(parallax > 0.0, parallax, np.nan))


def draw_parallaxes(found: Columns | None, rivals: Mapping[str, Columns]) -> Plot:
    """Draw Bailer-Jones distances and parallaxes alone against the reference (appendix C, Fig. A4)."""
    name, title = "figA4", "Distances from parallaxes alone"
    if found is None or not np.any(np.isfinite(found["PARALLAX"])):
        return missing(name, title, "no star of known distance has a parallax")
    mine = take(found, is_member(found))
    if not len(mine["DIST_REF"]):
        return missing(name, title, "no members of clusters, dwarf galaxies or streams")
    true = modulus(mine["DIST_REF"])
    panels: list[tuple[str, Array, Array]] = [("1 / parallax", true, _geometric_modulus(mine))]
    bayesian = [rival for rival in rivals if "bailer" in rival.lower()]
    for rival in bayesian:
        known = with_reference(rivals[rival], mine)
        panels.insert(0, (rival, modulus(known["DIST_REF"]), modulus(known["DIST_RIVAL"])))
    tables: list[Table] = []
    limits = limits_of(true)
    with styled():
        figure = Figure(figsize=(PAGE_WIDTH if bayesian else COLUMN_WIDTH, 3.9), layout="constrained")
        axes = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
        axes[0].set(xlim=limits, ylim=(limits[0] - 3.0, limits[1] + 3.0), ylabel="$m-M$ [mag]")
        for axis, (kind, x, y) in zip(axes, panels, strict=True):
            axis.set_label(kind)
            tables += compare_moduli(axis, x, y, MODULUS_EDGES, ("MODULUS_REF", "MODULUS_GEO"))
            say_scatter(axis, y - x, kind)
            axis.set_xlabel("$(m-M)_\\mathrm{true}$ [mag]")
        density_bar(figure)
    negative = np.count_nonzero(corrected_parallax(mine) < 0.0)
    caption = (
        f"Moduli from parallaxes against those of members. {negative:,} of {len(true):,} members have a negative "
        "corrected parallax: no modulus, so that the others' median is biased towards small distances."
    )
    if not bayesian:
        caption += " No rival catalogue is named after Bailer-Jones."
    return Plot(name, title, caption, figure, vstack(tables))
