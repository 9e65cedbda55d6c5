"""Figures 10 and 11: rival catalogues against ours, and against stars of known distance (sections 4.4 and 4.5)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from astropy.table import Table, vstack
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from specdis.arrays import Columns
from specdis.report.figures.panels import compare_moduli, limits_of, say_scatter
from specdis.report.style import COLUMN_WIDTH, PAGE_WIDTH, Plot, density_bar, missing, styled, write_label
from specdis.validation.external import MODULUS_EDGES, is_blue, is_member
from specdis.validation.measures import take
from specdis.validation.rivals import COMPARISON_EDGES, difference, with_reference
from specdis.validation.stars import modulus


def draw_comparison(rivals: Mapping[str, Columns]) -> Plot:
    """Draw each rival's distance modulus against ours (section 4.5, Fig. 10)."""
    name, title = "fig10", "Rival catalogues against this one"
    drawn = {rival: found for rival, found in rivals.items() if np.any(np.isfinite(difference(found)))}
    if not drawn:
        return missing(name, title, "no rival catalogue, or none has stars in common with this one")
    every = np.concatenate([modulus(found["DIST"]) for found in drawn.values()])
    limits, tables = limits_of(every), []
    lines = -(-len(drawn) // 2)
    with styled():
        figure = Figure(figsize=(PAGE_WIDTH, 3.5 * lines + 0.3), layout="constrained")
        axes = figure.subplots(lines, 2, sharex=True, sharey=True, squeeze=False)
        axes[0, 0].set(xlim=limits, ylim=limits)
        axes[0, 0].xaxis.set_major_locator(MaxNLocator(8, integer=True))
        for axis, (rival, found) in zip(axes.flat, drawn.items(), strict=False):
            ours, theirs = modulus(found["DIST"]), modulus(found["DIST_RIVAL"])
            axis.set_label(rival)
            tables += compare_moduli(axis, ours, theirs, COMPARISON_EDGES, ("MODULUS", "MODULUS_RIVAL"))
            say_scatter(axis, theirs - ours, rival)
        for axis in axes.flat[len(drawn) :]:
            axis.set_axis_off()
        for axis in axes.flat[max(len(drawn) - 2, 0) : len(drawn)]:  # the lowest panel of each column
            axis.tick_params(labelbottom=True)
        density_bar(figure)
        figure.supxlabel("$(m-M)$ of this catalogue [mag]", fontsize=9)
        figure.supylabel("$(m-M)$ of the rival [mag]", fontsize=9)
    caption = (
        "Distance moduli of the stars in both catalogues. Dots are medians in bins of our modulus, with their "
        "errors. Binned in our own noisy moduli, an unbiased rival seems to bend towards the middle of the sample "
        "where ours scatter; against known distances it does not (Fig. 11)."
    )
    return Plot(name, title, caption, figure, vstack(tables))


def draw_external(rivals: Mapping[str, Columns], members: Columns | None) -> Plot:
    """Draw each rival's distance modulus against those of members and of blue stars (section 4.5, Fig. 11)."""
    name, title = "fig11", "Rival catalogues against known distances"
    if members is None or not rivals:
        return missing(name, title, "no rival catalogue" if members is not None else "no stars of known distance")
    known = {rival: with_reference(found, members) for rival, found in rivals.items()}
    known = {rival: found for rival, found in known.items() if len(found["DIST_REF"])}
    if not known:
        return missing(name, title, "no rival catalogue has stars of known distance")
    limits = limits_of(np.concatenate([modulus(found["DIST_REF"]) for found in known.values()]))
    tables: list[Table] = []
    both = (("members", is_member), ("BHB stars", is_blue))
    kinds = [(kind, is_kind) for kind, is_kind in both if any(np.any(is_kind(found)) for found in known.values())]
    if not kinds:
        return missing(name, title, "no rival catalogue has members or BHB stars")
    with styled():
        width = PAGE_WIDTH if len(kinds) == 2 else COLUMN_WIDTH
        figure = Figure(figsize=(width, 3.5 * len(known) + 0.3), layout="constrained")
        axes = figure.subplots(len(known), len(kinds), sharex=True, sharey=True, squeeze=False)
        axes[0, 0].set(xlim=limits, ylim=(limits[0] - 1.0, limits[1] + 1.0))
        for line, (rival, found) in zip(axes, known.items(), strict=True):
            for axis, (kind, is_kind) in zip(line, kinds, strict=True):
                mine = take(found, is_kind(found))
                true, theirs = modulus(mine["DIST_REF"]), modulus(mine["DIST_RIVAL"])
                if not len(true):
                    write_label(axis, f"{rival}\nno {kind}")
                    continue
                axis.set_label(f"{rival}, {kind}")
                tables += compare_moduli(axis, true, theirs, MODULUS_EDGES, ("MODULUS_REF", "MODULUS_RIVAL"))
                say_scatter(axis, theirs - true, f"{rival}, {kind}")
        density_bar(figure)
        figure.supxlabel("$(m-M)_\\mathrm{true}$ [mag]", fontsize=9)
        figure.supylabel("$(m-M)$ of the rival [mag]", fontsize=9)
    caption = (
        "Distance moduli of the rivals against those of members of clusters, dwarf galaxies and streams, and of blue "
        "horizontal-branch (BHB) stars, as Figs 6 and 7 show ours."
    )
    return Plot(name, title, caption, figure, vstack(tables))
