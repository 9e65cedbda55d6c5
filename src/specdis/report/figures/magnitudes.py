"""Figures 3, 4 and 5: predicted absolute magnitudes (section 4.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from astropy.table import Table, vstack
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from specdis import validation
from specdis.arrays import Array, Columns, Float64
from specdis.report.figures.panels import drawn_in, limits_of
from specdis.report.style import (
    BLACK,
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
from specdis.statistics import robust_scatter

EQUAL_MASSES = 0.75
"""Magnitudes by which a binary of two equal stars outshines one of them (section 4.1)."""


def draw_magnitudes(catalogue: Columns) -> Plot:
    """Draw M_G_NN against M_G_GEO and their difference in four ranges of S/N (section 4.1, Fig. 3)."""
    name, title = "fig03", "Predicted against geometric absolute magnitude"
    chosen = catalogue["SELECTED"] & validation.has_reference_magnitude(catalogue)
    chosen &= np.isfinite(validation.residual_magnitude(catalogue)) & ~np.isnan(catalogue["SN"])
    if not np.any(chosen):
        return missing(name, title, "no held-out star has S/N, a precise parallax and a prediction")
    geometric, predicted, snr = (catalogue[key][chosen] for key in ("M_G_GEO", "M_G_NN", "SN"))
    limits = limits_of(np.concatenate([geometric, predicted]))
    reach = max(1.6, *np.abs(np.percentile(predicted - geometric, (0.5, 99.5))))
    with styled():
        # Panels touch the one below, except for the axis labels; the figure keeps its margin.
        engine = ConstrainedLayoutEngine(h_pad=0.0, hspace=0.0, rect=(0.0, 0.005, 1.0, 0.99))
        figure = Figure(figsize=(PAGE_WIDTH, 7.8), layout=engine)
        grid = figure.add_gridspec(4, 2, height_ratios=(3, 1.1, 3, 1.1))
        tables = []
        for place, (low, high, rows) in enumerate(validation.cells(snr, validation.SNR_EDGES)):
            row, column = 2 * (place // 2), place % 2
            upper = figure.add_subplot(grid[row, column], xlim=limits, ylim=limits)
            lower = figure.add_subplot(grid[row + 1, column], xlim=limits, ylim=(-reach, reach))
            tables += _compare(upper, lower, geometric[rows], predicted[rows], validation.cell_name("S/N", low, high))
            upper.tick_params(labelbottom=False, labelleft=column == 0)
            lower.tick_params(labelleft=column == 0)
            if column == 0:
                upper.set_ylabel("$M_{G,\\mathrm{NN}}$ [mag]")
                lower.set_ylabel("$\\Delta M_G$ [mag]")
            if row:
                lower.set_xlabel("$M_{G,\\mathrm{geo}}$ [mag]")
        density_bar(figure)
    caption = (
        f"{len(snr):,} held-out stars with corrected parallax above 10 times its error. Lines: equality, and the "
        "0.75 mag by which binaries of two equal stars are brighter than predicted. σ is 1.4826 times the median "
        "absolute deviation."
    )
    return Plot(name, title, caption, figure, vstack(tables))


def _compare(upper: Axes, lower: Axes, geometric: Array, predicted: Array, stars: str) -> list[Table]:
    """Draw one range of S/N of Fig. 3, magnitudes above and their difference below."""
    residual = predicted - geometric
    tables = [
        drawn_in(draw_stars(upper, geometric, predicted), stars, "M_G_GEO", "M_G_NN"),
        drawn_in(draw_stars(lower, geometric, residual), stars, "M_G_GEO", "DELTA_M_G"),
    ]
    for offset, line in ((0.0, "-"), (EQUAL_MASSES, "--")):
        upper.axline((0.0, offset), slope=1.0, color=VERMILION, linestyle=line)
        lower.axhline(offset, color=VERMILION, linestyle=line)
    scatter = f"σ = {robust_scatter(residual):.2f} mag, {len(residual):,} stars" if len(residual) else "no stars"
    write_label(upper, f"{stars}\n{scatter}")
    upper.yaxis.set_major_locator(MaxNLocator(6, steps=(1, 2, 5, 10), prune="lower"))
    lower.yaxis.set_major_locator(MaxNLocator(4, steps=(1, 2, 5, 10), prune="both"))
    return tables


class Abscissa(NamedTuple):
    """The horizontal axis of a Hertzsprung-Russell diagram.

    Parameters
    ----------
    name
        BP_RP or TEFF.
    values
        Mag or K, shape (star,).
    """

    name: str
    values: Float64

    @property
    def is_colour(self) -> bool:
        """True for colours, False for temperatures, on a logarithmic axis that increases to the left."""
        return self.name == "BP_RP"


def abscissa(catalogue: Columns) -> Abscissa:
    """Return Gaia's colours, or temperatures if most stars have no colour."""
    colour = np.asarray(catalogue["PHOT_BP_MEAN_MAG"] - catalogue["PHOT_RP_MEAN_MAG"], dtype=np.float64)
    teff = np.asarray(catalogue["TEFF"], dtype=np.float64)
    few = np.count_nonzero(np.isfinite(colour)) < 0.5 * np.count_nonzero(np.isfinite(teff))
    return Abscissa("TEFF", teff) if few else Abscissa("BP_RP", colour)


def draw_hr_diagrams(catalogue: Columns) -> Plot:
    """Draw the Hertzsprung-Russell diagram with predicted and with geometric magnitudes (section 4.1, Fig. 4)."""
    name, title = "fig04", "Hertzsprung-Russell diagram"
    chosen = catalogue["SELECTED"] & catalogue["HELD_OUT"]
    against = abscissa(catalogue)
    x = against.values[chosen]
    predicted, geometric = catalogue["M_G_NN"][chosen], catalogue["M_G_GEO"][chosen]
    both = np.isfinite(x) & np.isfinite(predicted)
    if not np.any(both):
        return missing(name, title, "no held-out star has a colour or Teff and a predicted magnitude")
    with styled():
        figure = Figure(figsize=(PAGE_WIDTH, 3.7), layout="constrained")
        axes = figure.subplots(1, 2, sharex=True, sharey=True)
        axes[0].set_ylim(limits_of(predicted[both])[::-1])
        _set_abscissa(axes[0], against, x[both])
        tables = []
        for axis, magnitude, column in zip(axes, (predicted, geometric), ("M_G_NN", "M_G_GEO"), strict=True):
            drawn = draw_stars(axis, x, magnitude)
            kind = "predicted" if column == "M_G_NN" else "geometric"
            write_label(axis, f"{kind}\n{drawn['count'].sum():,} stars", "lower left")
            axis.set_xlabel(axes[0].get_xlabel())
            tables.append(drawn_in(drawn, kind, against.name, column))
        axes[0].set_ylabel("$M_{G,\\mathrm{NN}}$ [mag]")
        axes[1].set_ylabel("$M_{G,\\mathrm{geo}}$ [mag]")
        density_bar(figure)
    caption = (
        "All held-out stars, with the predicted magnitude (left) and with the one that the parallax gives (right; no "
        "cut on its error, negative parallaxes have none). "
    ) + (
        "Colours are as observed." if against.is_colour else "The survey has no Gaia colours: temperatures are its own."
    )
    return Plot(name, title, caption, figure, vstack(tables))


def _set_abscissa(axis: Axes, against: Abscissa, values: Array) -> None:
    """Set limits, scale and label of the horizontal axis of a Hertzsprung-Russell diagram."""
    if against.is_colour:
        axis.set(xlim=limits_of(values), xlabel="$G_\\mathrm{BP} - G_\\mathrm{RP}$ [mag]")
        return
    low, high = np.percentile(values[np.isfinite(values) & (values > 0)], (0.1, 99.9))
    axis.set(xscale="log", xlim=(1.05 * high, low / 1.05), xlabel="$T_\\mathrm{eff}$ [K]")
    plain_numbers(axis.xaxis)


_PARAMETERS = {
    "FEH": "[Fe/H]",
    "ALPHAFE": "[α/Fe]",
    "TEFF": "$T_\\mathrm{eff}$ [K]",
    "LOGG": "log g",
}


def draw_parameters(catalogue: Columns, by_parameter: Mapping[str, Any]) -> Plot:
    """Draw the difference of predicted and geometric magnitude against stellar parameters (section 4.1, Fig. 5).

    Parameters
    ----------
    catalogue
        Columns.
    by_parameter
        `internal.by_parameter` of the metrics: medians of the stars with precise parallaxes.
    """
    name, title = "fig05", "Residuals against stellar parameters"
    chosen = catalogue["SELECTED"] & catalogue["HELD_OUT"]
    residual = validation.residual_magnitude(catalogue)
    given = [key for key in _PARAMETERS if np.any(chosen & np.isfinite(residual) & np.isfinite(catalogue[key]))]
    if not given:
        return missing(name, title, "no held-out star has stellar parameters and both magnitudes")
    tables = []
    with styled():
        figure = Figure(figsize=(PAGE_WIDTH, 5.0), layout="constrained")
        axes = figure.subplots(2, 2, sharey=True)
        axes[0, 0].set_ylim(-3.0, 3.0)
        for axis, key in zip(axes.flat, _PARAMETERS, strict=True):
            axis.set_xlabel(_PARAMETERS[key])
            if key not in given:
                write_label(axis, "the survey does not give it")
                continue
            values = np.asarray(catalogue[key][chosen], dtype=np.float64)
            axis.set_xlim(limits_of(values))
            axis.xaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10)))
            tables.append(drawn_in(draw_stars(axis, values, residual[chosen]), key, key, "DELTA_M_G"))
            axis.axhline(0.0, color=VERMILION, linestyle="--")
            tables.append(_cell_medians(axis, key, by_parameter[key]))
        for axis in axes[:, 0]:
            axis.set_ylabel("$\\Delta M_G$ [mag]")
        density_bar(figure)
    caption = (
        "M_G,NN − M_G,geo of all held-out stars with a positive parallax. Where parallaxes are noisy, M_G,geo is "
        "itself biased and scatters beyond the axes; the dots are medians, with errors, of the stars whose parallax is "
        "above 10 times its error."
    )
    return Plot(name, title, caption, figure, vstack(tables))


def _cell_medians(axis: Axes, key: str, measured: list[Mapping[str, Any]]) -> Table:
    rows = [
        (0.5 * (cell[f"{key}_min"] + cell[f"{key}_max"]), cell["median_mag"], cell["median_mag_err"], cell["n_finite"])
        for cell in measured
        if cell["n_finite"] >= 5
    ]
    table = Table(rows=rows or None, names=("x", "y", "error", "count"), dtype=(float, float, float, int))
    axis.errorbar(table["x"], table["y"], table["error"], fmt="o", color=BLACK, markersize=3.5, capsize=2, zorder=4)
    return drawn_in(table, f"{key}, median", key, "DELTA_M_G")


def draw_groups(catalogue: Columns, group: Array | None) -> Plot:
    """Draw the groups of stars that the survey names in a Hertzsprung-Russell diagram of temperatures.

    Parameters
    ----------
    catalogue
        Columns, including rows that are not selected, since members of clusters may lack a magnitude.
    group
        Name of each star's group, empty for none, shape (star,); None if the survey names none.
    """
    name, title = "groups", "Clusters that the survey names"
    if group is None or not np.any(group != ""):
        return missing(name, title, "the survey has no column CLUSTER")
    known = np.isfinite(catalogue["M_G_NN"]) & np.isfinite(catalogue["TEFF"])
    teff, predicted = np.asarray(catalogue["TEFF"], dtype=np.float64), catalogue["M_G_NN"]
    names = list(np.unique(group[known & (group != "")]))
    if not names:
        return missing(name, title, "no member has Teff and a predicted magnitude")
    tables = []
    with styled():
        figure = Figure(figsize=(PAGE_WIDTH, 4.6), layout="constrained")
        axis = figure.subplots()
        axis.set(ylim=limits_of(predicted[known])[::-1], ylabel="$M_{G,\\mathrm{NN}}$ [mag]")
        _set_abscissa(axis, Abscissa("TEFF", teff), teff[known])
        field = known & (group == "")
        axis.plot(teff[field], predicted[field], "o", color="#c8c8c8", markersize=2, markeredgewidth=0)
        for number, word in enumerate(names):
            rows = known & (group == word)
            marker = "osD^vP"[number % 6]
            color = PALETTE[number % len(PALETTE)]
            short = word if len(word) <= 30 else f"{word[:29]}…"
            drawn = axis.plot(teff[rows], predicted[rows], marker, color=color, label=f"{short} ({rows.sum()})")
            drawn[0].set(markersize=5, markeredgecolor=BLACK, markeredgewidth=0.4)
            table = Table({"x": teff[rows], "y": predicted[rows], "count": np.ones(rows.sum(), dtype=int)})
            tables.append(drawn_in(table, str(word), "TEFF", "M_G_NN"))
        legend = axis.legend(loc="lower left", ncols=1 + len(names) // 9)
        for text in legend.get_texts():
            text.set_parse_math(False)  # names of the survey's own
    caption = (
        f"Predicted magnitudes of {sum(len(table) for table in tables)} stars of {len(names)} clusters, before those "
        "of all others in grey. The stars of one cluster have one age and one composition, so they should follow one "
        "sequence; they were not trained on where the survey gives them no magnitude or parallax."
    )
    return Plot(name, title, caption, figure, vstack(tables))
