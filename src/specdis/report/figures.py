"""One function per figure of the paper: columns in, a picture and the numbers drawn in it out.

A figure whose data a run does not have is drawn all the same, and says what is missing.
"""

from __future__ import annotations

import numpy as np
from astropy.table import Table, vstack
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from specdis import validation
from specdis.arrays import Array, Float64
from specdis.report.inputs import ErrorStack, History, Reconstruction
from specdis.report.style import (
    BLACK,
    BLUE,
    COLUMN_WIDTH,
    GREY,
    MOST_POINTS,
    PAGE_WIDTH,
    VERMILION,
    Plot,
    draw_stars,
    label,
    missing,
    plain_numbers,
    styled,
)
from specdis.statistics import robust_scatter
from specdis.validation import Columns

EQUAL_MASSES = 0.75
"""Magnitudes by which a binary of two equal stars outshines one of them (section 4.1)."""

_BAND = (16.0, 50.0, 84.0)
_LEAST = 20  # stars below which a cell shows no median


def error_spectrum(stack: ErrorStack | None) -> Plot:
    """Draw the stacked error spectrum and the sky windows found in it (Fig. 1)."""
    name, title = "fig01", "Stacked error spectrum"
    if stack is None:
        return missing(name, title, "no error spectra, or no sky windows looked for")
    with styled():
        figure = Figure(figsize=(PAGE_WIDTH, 2.6), layout="constrained")
        axis = figure.subplots()
        axis.set(xlabel="observed vacuum wavelength [Å]", ylabel="error / median of the star", yscale="log")
        for arm in np.split(np.arange(len(stack.wavelength)), np.flatnonzero(np.diff(stack.wavelength) < 0) + 1):
            axis.plot(stack.wavelength[arm], stack.sigma[arm], color=BLACK, linewidth=0.6)
        for start, end in stack.windows:
            axis.axvspan(start, end, color=VERMILION, alpha=0.35, linewidth=0)
        axis.set_xlim(stack.wavelength.min(), stack.wavelength.max())
        plain_numbers(axis.yaxis)
    kept = np.ones(len(stack.wavelength), dtype=bool)
    for start, end in stack.windows:
        kept &= (stack.wavelength < start) | (stack.wavelength > end)
    caption = (
        f"Mean logarithm of the errors of many stars, each over its own median. The {len(stack.windows)} shaded sky "
        f"windows are masked in every star, at any velocity ({np.count_nonzero(~kept):,} of {len(kept):,} pixels)."
    )
    data = Table({"wavelength": stack.wavelength, "sigma": stack.sigma, "kept": kept}, units={"wavelength": "Angstrom"})
    return Plot(name, title, caption, figure, data)


def reconstruction(example: Reconstruction | None) -> Plot:
    """Draw a noisy spectrum, its reconstruction from the components, and the residual (section 3.1, Fig. 2)."""
    name, title = "fig02", "Reconstruction of a noisy spectrum"
    if example is None:
        return missing(name, title, "the run has no components")
    curves = {
        "spectrum": example.spectrum,
        "reconstruction": np.where(np.isnan(example.spectrum), np.nan, example.reconstruction),
        "residual": example.spectrum - example.reconstruction,
    }
    limit = 1.05 * np.nanpercentile(np.abs(example.spectrum), 99.8)
    with styled():
        figure = Figure(figsize=(PAGE_WIDTH, 4.2), layout="constrained")
        axes = figure.subplots(3, sharex=True, sharey=True)
        for axis, (curve, values), color in zip(axes, curves.items(), (BLACK, BLUE, GREY), strict=True):
            axis.plot(example.wavelength, values, color=color, linewidth=0.5)
            label(axis, curve, "upper right")
        axes[0].set(xlim=(example.wavelength[0], example.wavelength[-1]), ylim=(-limit, limit))
        axes[0].yaxis.set_major_locator(MaxNLocator(4))
        axes[1].set_ylabel("$S(\\lambda)$, unit norm")
        axes[2].set_xlabel("rest-frame vacuum wavelength [Å]")
    caption = (
        f"A spectrum of S/N {example.snr:.1f} as the components see it (top), what {example.n_components} components "
        "keep of it (middle), and what they leave (bottom). Gaps are sky windows and bad pixels."
    )
    data = Table({"wavelength": example.wavelength, **curves}, units={"wavelength": "Angstrom"})
    return Plot(name, title, caption, figure, data)


def magnitudes(catalogue: Columns) -> Plot:
    """Draw M_G_NN against M_G_GEO and their difference in four ranges of S/N (section 4.1, Fig. 3)."""
    name, title = "fig03", "Predicted against geometric absolute magnitude"
    chosen = catalogue["SELECTED"] & validation.has_reference_magnitude(catalogue)
    chosen &= np.isfinite(validation.residual_magnitude(catalogue)) & ~np.isnan(catalogue["SN"])
    if not np.any(chosen):
        return missing(name, title, "no held-out star has S/N, a precise parallax and a prediction")
    geometric, predicted, snr = (catalogue[key][chosen] for key in ("M_G_GEO", "M_G_NN", "SN"))
    limits = _limits(np.concatenate([geometric, predicted]))
    reach = max(1.6, *np.abs(np.percentile(predicted - geometric, (0.5, 99.5))))
    with styled():
        figure = Figure(figsize=(PAGE_WIDTH, 7.6))
        grid = figure.add_gridspec(5, 2, height_ratios=(3, 1.1, 0.35, 3, 1.1), hspace=0, wspace=0.08)
        figure.subplots_adjust(left=0.08, right=0.985, top=0.985, bottom=0.06)
        tables = []
        for place, (low, high, rows) in enumerate(validation.cells(snr, validation.SNR_EDGES)):
            row, column = 3 * (place // 2), place % 2
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
    caption = (
        f"{len(snr):,} held-out stars with corrected parallax above 10 times its error. Lines: equality, and the "
        "0.75 mag by which binaries of two equal stars are brighter than predicted. σ is 1.4826 times the median "
        "absolute deviation."
    )
    return Plot(name, title, caption + _SHADE + _OUTSIDE, figure, vstack(tables))


def _compare(upper: Axes, lower: Axes, geometric: Array, predicted: Array, stars: str) -> list[Table]:
    """Draw one range of S/N of Fig. 3, magnitudes above and their difference below."""
    residual = predicted - geometric
    tables = [
        _drawn(draw_stars(upper, geometric, predicted), stars, "M_G_GEO", "M_G_NN"),
        _drawn(draw_stars(lower, geometric, residual), stars, "M_G_GEO", "DELTA_M_G"),
    ]
    for offset, line in ((0.0, "-"), (EQUAL_MASSES, "--")):
        upper.axline((0.0, offset), slope=1.0, color=VERMILION, linestyle=line)
        lower.axhline(offset, color=VERMILION, linestyle=line)
    scatter = f"σ = {robust_scatter(residual):.2f} mag, {len(residual):,} stars" if len(residual) else "no stars"
    label(upper, f"{stars}\n{scatter}")
    upper.yaxis.set_major_locator(MaxNLocator(6, steps=(1, 2, 5, 10), prune="lower"))
    lower.yaxis.set_major_locator(MaxNLocator(4, steps=(1, 2, 5, 10), prune="both"))
    return tables


def hr_diagrams(catalogue: Columns) -> Plot:
    """Draw the Hertzsprung-Russell diagram with predicted and with geometric magnitudes (section 4.1, Fig. 4)."""
    name, title = "fig04", "Hertzsprung-Russell diagram"
    if not {"PHOT_BP_MEAN_MAG", "PHOT_RP_MEAN_MAG"} <= set(catalogue):
        return missing(name, title, "the survey has no Gaia BP and RP magnitudes")
    chosen = catalogue["SELECTED"] & catalogue["HELD_OUT"]
    colour = (catalogue["PHOT_BP_MEAN_MAG"] - catalogue["PHOT_RP_MEAN_MAG"])[chosen]
    predicted, geometric = catalogue["M_G_NN"][chosen], catalogue["M_G_GEO"][chosen]
    both = np.isfinite(colour) & np.isfinite(predicted)
    if not np.any(both):
        return missing(name, title, "no held-out star has Gaia BP and RP and a predicted magnitude")
    bright_up = _limits(predicted[both])[::-1]
    with styled():
        figure = Figure(figsize=(PAGE_WIDTH, 3.7), layout="constrained")
        axes = figure.subplots(1, 2, sharex=True, sharey=True)
        axes[0].set(xlim=_limits(colour[both]), ylim=bright_up)
        tables = []
        for axis, magnitude, column in zip(axes, (predicted, geometric), ("M_G_NN", "M_G_GEO"), strict=True):
            drawn = draw_stars(axis, colour, magnitude)
            kind = "predicted" if column == "M_G_NN" else "geometric"
            label(axis, f"{kind}\n{drawn['count'].sum():,} stars", "lower left")
            axis.set_xlabel("$G_\\mathrm{BP} - G_\\mathrm{RP}$ [mag]")
            tables.append(_drawn(drawn, kind, "BP_RP", column))
        axes[0].set_ylabel("$M_{G,\\mathrm{NN}}$ [mag]")
        axes[1].set_ylabel("$M_{G,\\mathrm{geo}}$ [mag]")
    caption = (
        "All held-out stars, with the predicted magnitude (left) and with the one that the parallax gives (right; no "
        "cut on its error, negative parallaxes have none). Colours are as observed."
    )
    return Plot(name, title, caption + _SHADE + _OUTSIDE, figure, vstack(tables))


def distances(catalogue: Columns) -> Plot:
    """Count stars by distance, all and those with a relative error below 25 % (section 4.3.1, Fig. 8)."""
    name, title = "fig08", "Stars by distance"
    chosen = catalogue["SELECTED"] & np.isfinite(catalogue["DIST"])
    if not np.any(chosen):
        return missing(name, title, "no star has a distance")
    distance = catalogue["DIST"][chosen]
    precise = validation.relative_error(catalogue)[chosen] < validation.PRECISE
    edges = _decades(distance, 0.1)
    counts = [np.histogram(part, edges)[0] for part in (distance, distance[precise])]
    with styled():
        figure = Figure(figsize=(COLUMN_WIDTH, 3.4), layout="constrained")
        axis = figure.subplots()
        axis.set(xscale="log", yscale="log", xlabel="heliocentric distance [kpc]", ylabel="stars per 0.1 dex")
        axis.set(xlim=(edges[0], edges[-1]), ylim=(0.6, 3.0 * counts[0].max()))
        axis.stairs(counts[0], edges, color=BLACK, linewidth=1.2, label=f"all: {len(distance):,} stars")
        share = f"quoted error < 25 %: {np.count_nonzero(precise):,} stars"
        axis.stairs(counts[1], edges, color=VERMILION, linewidth=1.2, label=share)
        plain_numbers(axis.xaxis)
        axis.legend(loc="upper right")
    caption = "Heliocentric distances of all stars, and of those whose quoted error is below 25 %." + _OUTSIDE
    data = Table(
        {"distance_min": edges[:-1], "distance_max": edges[1:], "all": counts[0], "precise": counts[1]},
        units={"distance_min": "kpc", "distance_max": "kpc"},
    )
    return Plot(name, title, caption, figure, data)


def uncertainties(catalogue: Columns) -> Plot:
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
        label(axes[0], f"{100 * np.mean(error[~np.isnan(error)] < validation.PRECISE):.0f} % below 25 %", "upper right")
        by_snr = _against(axes[1], snr, error, "S/N")
        by_distance = _against(axes[2], distance, error, "heliocentric distance [kpc]")
    unbounded = np.count_nonzero(np.isinf(error))
    beyond = np.count_nonzero(finite & (error > 1.0))
    caption = (
        f"Quoted relative error of {np.count_nonzero(finite):,} distances; {beyond:,} above 100 % are off the axes. "
        f"{unbounded:,} more have no upper bound and count as infinitely uncertain. Lines: median (solid), 16 and 84 % "
        "(dashed)."
    )
    top = Table({"x": 0.5 * (edges[1:] + edges[:-1]), "count": counts})
    tables = [
        _drawn(top, "distribution", "RELATIVE_ERROR"),
        _drawn(by_snr, "against S/N", "SN", "RELATIVE_ERROR"),
        _drawn(by_distance, "against distance", "DIST", "RELATIVE_ERROR"),
    ]
    return Plot(name, title, caption + _SHADE + _OUTSIDE, figure, vstack(tables))


def against_truth(catalogue: Columns, truth: Columns | None) -> Plot:
    """Draw predicted against true distance, all stars and those with a relative error below 25 %."""
    name, title = "truth", "Predicted against true distance"
    if truth is None:
        return missing(name, title, "the true distances of this survey are not known")
    true = validation.true_distance(catalogue, truth)
    known = catalogue["SELECTED"] & np.isfinite(true) & np.isfinite(catalogue["DIST"])
    if not np.any(known):
        return missing(name, title, "no star with a known distance has a predicted one")
    cells = _decades(np.concatenate([true[known], catalogue["DIST"][known]]), 0.1)
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
            tables.append(_drawn(draw_stars(upper, x, y), kind, "DIST_TRUE", "DIST"))
            tables.append(_drawn(draw_stars(lower, x, bias), kind, "DIST_TRUE", "BIAS"))
            tables.append(_drawn(_medians(lower, x, bias), f"{kind}, median", "DIST_TRUE", "BIAS"))
            upper.plot(limits, limits, color=VERMILION)
            lower.axhline(0.0, color=VERMILION)
            lower.set_xlabel("true distance [kpc]")
            label(upper, f"{kind}: {len(x):,} stars")
        plain_numbers(axes[0, 0].xaxis, axes[0, 0].yaxis)
    caption = (
        "Predicted against true distance. Below, their ratio minus one: dots with bars are its median and its 16 to "
        f"84 % range in the bins of the table that have {_LEAST} stars or more."
    )
    return Plot(name, title, caption + _SHADE + _OUTSIDE, figure, vstack(tables))


def training(history: History | None) -> Plot:
    """Draw the loss of every network by epoch (section 3.2)."""
    name, title = "training", "Training history"
    if history is None or not len(history.inner):
        return missing(name, title, "the run trained no network")
    epoch = np.arange(1, len(history.inner) + 1)
    with styled():
        figure = Figure(figsize=(COLUMN_WIDTH, 3.2), layout="constrained")
        axis = figure.subplots()
        axis.plot(epoch, history.training, color=GREY, linewidth=0.7)
        axis.plot(epoch, history.inner, color=BLUE, linewidth=0.9)
        reached = np.where(np.isnan(history.inner), np.inf, history.inner)
        best, network = np.argmin(reached, axis=0), np.arange(reached.shape[1])
        axis.plot(epoch[best], reached[best, network], "o", color=VERMILION, markersize=3.5)
        handles = [
            Line2D([], [], color=GREY, label="training stars"),
            Line2D([], [], color=BLUE, label="inner stars"),
            Line2D([], [], color=VERMILION, marker="o", markersize=3.5, linestyle="", label="network kept"),
        ]
        axis.legend(handles=handles, loc="upper right")
        axis.set(xlabel="epoch", ylabel="mean loss per star", yscale="log", xlim=(1, max(len(epoch), 2)))
        plain_numbers(axis.yaxis)
    caption = (
        f"Loss of {reached.shape[1]} networks on the stars they learn from and on the inner stars that stop them. Each "
        "network is kept as it was at its dot."
    )
    rows, columns = np.indices(history.inner.shape)
    data = Table(
        {
            "epoch": rows.ravel() + 1,
            "network": columns.ravel(),
            "loss_training": history.training.ravel(),
            "loss_inner": history.inner.ravel(),
        }
    )
    return Plot(name, title, caption, figure, data)


_SHADE = f" Above {MOST_POINTS:,} stars a panel shows their density, on a logarithmic scale of its own."
_OUTSIDE = " The axes leave out the outermost stars."
_UNITS = {"M_G_GEO": "mag", "M_G_NN": "mag", "DELTA_M_G": "mag", "BP_RP": "mag", "DIST": "kpc", "DIST_TRUE": "kpc"}


def _drawn(table: Table, panel: str, x: str, y: str = "") -> Table:
    """Name the panel and the quantities of the numbers drawn in it."""
    table.add_column(np.full(len(table), panel, dtype="U32"), name="panel", index=0)
    for axis, quantity in (("x", x), ("y", y)):
        if quantity:
            table[axis].unit = _UNITS.get(quantity)
            table.rename_column(axis, quantity)
    return table


def _limits(values: Array) -> tuple[float, float]:
    """Return limits that leave at most 0.1 per cent of the values beyond either end, with a margin."""
    low, high = np.percentile(values[np.isfinite(values)], (0.1, 99.9))
    margin = 0.06 * (high - low) + 0.1
    return float(low - margin), float(high + margin)


def _decades(values: Array, width: float) -> Float64:
    """Return edges of cells `width` dex wide that leave at most 0.1 per cent of the values beyond either end."""
    low, high = np.percentile(np.log10(values[np.isfinite(values) & (values > 0)]), (0.1, 99.9))
    return np.asarray(10.0 ** (width * np.arange(np.floor(low / width), np.floor(high / width) + 2)))


def _against(axis: Axes, by: Array, error: Array, quantity: str) -> Table:
    """Draw relative error against S/N or distance, with its median and its 16 and 84 per cent (Fig. 9)."""
    if not np.any(by[np.isfinite(error)] > 0):
        label(axis, f"no star has {quantity}")
        return draw_stars(axis, by, error)
    edges = _decades(by, 0.2)
    axis.set(xscale="log", xlim=(edges[0], edges[-1]), ylim=(0, 1), xlabel=quantity, ylabel="relative distance error")
    plain_numbers(axis.xaxis)
    drawn = draw_stars(axis, by, error)
    band = validation.percentiles(error, by, edges, _BAND, _LEAST)
    centre = np.sqrt(edges[1:] * edges[:-1])
    for level, style in zip(band.T, ("--", "-", "--"), strict=True):
        axis.plot(centre, np.where(np.isinf(level), np.nan, level), color=VERMILION, linestyle=style)
    return drawn


def _medians(axis: Axes, distance: Array, bias: Array) -> Table:
    """Draw median and 16 to 84 per cent range of the bias in the cells of the metrics."""
    edges = np.array(validation.DISTANCE_EDGES)
    low, median, high = validation.percentiles(bias, distance, edges, _BAND, _LEAST).T
    centre = np.sqrt(edges[1:] * edges[:-1])
    widths, heights = (centre - edges[:-1], edges[1:] - centre), (median - low, high - median)
    bars = axis.errorbar(centre, median, heights, widths, "o", color=BLACK, markersize=4, linewidth=1.1, zorder=4)
    for artist in bars.get_children():
        artist.set_path_effects([withStroke(linewidth=2.6, foreground="white")])
    return Table({"x": centre, "y": median, "low": low, "high": high})
