"""Figures 13 to 16: binaries (section 5); the mixture network against the label network, and its recalibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from astropy.table import Table, vstack
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from specdis import validation
from specdis.arrays import Bool, Columns
from specdis.report.figures.magnitudes import EQUAL_MASSES, abscissa
from specdis.report.figures.panels import LEAST, drawn_in, limits_of
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
from specdis.statistics import robust_scatter
from specdis.validation import DISTANCE_EDGES

_NO_BINARIES = "no star with a precise parallax has a probability of being a binary"
_FEW = 30  # stars of a cell of Fig. 16


def _too_few(least: int) -> str:
    return f"too few stars: no cell has {least} with a precise parallax and a probability of being a binary"


def _precise(catalogue: Columns, measured: Mapping[str, Any] | None) -> Bool:
    """Tell which selected held-out stars have a precise parallax and a probability of being a binary."""
    if measured is None:
        return np.zeros(len(catalogue["SELECTED"]), np.bool_)
    precise = validation.has_reference_magnitude(catalogue, measured["parallax_snr_min"])
    chosen = catalogue["SELECTED"] & precise & (catalogue["BINARY_FLAG"] >= 0)
    return np.asarray(chosen & np.isfinite(validation.excess(catalogue)))


def _which(measured: Mapping[str, Any] | None) -> str:
    """Describe the stars in the figures of section 5."""
    least = "" if measured is None else f"{measured['parallax_snr_min']:g} times "
    return f"Held-out stars with a parallax above {least}its error"


def draw_binary_hr_diagrams(catalogue: Columns, measured: Mapping[str, Any] | None) -> Plot:
    """Draw single stars and binaries in the Hertzsprung-Russell diagram (section 5, Fig. 13).

    Parameters
    ----------
    catalogue
        Columns of the catalogue.
    measured
        `binaries` of the metrics.
    """
    name, title = "fig13", "Single stars and binaries"
    against, chosen = abscissa(catalogue), _precise(catalogue, measured)
    chosen &= np.isfinite(against.values)
    if not np.any(chosen):
        return missing(name, title, _NO_BINARIES)
    x, y, binary = against.values[chosen], catalogue["M_G_GEO"][chosen], catalogue["BINARY_FLAG"][chosen] == 0
    ridge = ~binary & ~validation.is_giant(catalogue)[chosen]
    tables = []
    with styled():
        figure = Figure(figsize=(PAGE_WIDTH, 3.7), layout="constrained")
        axes = figure.subplots(1, 2, sharex=True, sharey=True)
        axes[0].set_ylim(limits_of(y)[::-1])
        if against.is_colour:
            axes[0].set_xlim(limits_of(x))
        else:
            axes[0].set(xscale="log", xlim=limits_of(x)[::-1])
            plain_numbers(axes[0].xaxis)
        for axis, rows, kind in zip(axes, (~binary, binary), ("single", "binary"), strict=True):
            drawn = draw_stars(axis, x[rows], y[rows])
            write_label(axis, f"{kind}\n{np.count_nonzero(rows):,} stars", "lower left")
            axis.set_xlabel("$G_\\mathrm{BP} - G_\\mathrm{RP}$ [mag]" if against.is_colour else "$T_\\mathrm{eff}$ [K]")
            _draw_ridge(axis, x[ridge], y[ridge])
            tables.append(drawn_in(drawn, kind, against.name, "M_G_GEO"))
        axes[0].set_ylabel("$M_{G,\\mathrm{geo}}$ [mag]")
        density_bar(figure)
    caption = (
        f"{_which(measured)}. The line is the median of the single stars that are no "
        "giants, drawn in both panels: binaries of near twins lie up to 0.75 mag above it."
    )
    return Plot(name, title, caption, figure, vstack(tables))


def _draw_ridge(axis: Axes, x: Any, y: Any) -> None:
    """Draw the median magnitude of the main sequence by colour or temperature."""
    edges = np.quantile(x, np.linspace(0.02, 0.98, 20)) if len(x) >= 20 * LEAST else []
    middle = [(0.5 * (low + high), np.median(y[rows])) for low, high, rows in validation.cells(x, edges) if rows.any()]
    if middle:
        axis.plot(*np.array(middle).T, color=VERMILION)


def draw_binary_magnitudes(catalogue: Columns, measured: Mapping[str, Any] | None) -> Plot:
    """Draw M_G_NN against M_G_GEO of single stars and of binaries (section 5, Fig. 14); arguments as Fig. 13."""
    name, title = "fig14", "Magnitudes of single stars and of binaries"
    chosen = _precise(catalogue, measured)
    if not np.any(chosen):
        return missing(name, title, _NO_BINARIES)
    geometric, predicted = catalogue["M_G_GEO"][chosen], catalogue["M_G_NN_LABEL"][chosen]
    binary, limits = catalogue["BINARY_FLAG"][chosen] == 0, limits_of(np.concatenate([geometric, predicted]))
    tables = []
    with styled():
        figure = Figure(figsize=(PAGE_WIDTH, 3.7), layout="constrained")
        axes = figure.subplots(1, 2, sharex=True, sharey=True)
        axes[0].set(xlim=limits, ylim=limits, ylabel="$M_{G,\\mathrm{NN}}$ [mag]")
        for axis, rows, kind in zip(axes, (~binary, binary), ("single", "binary"), strict=True):
            drawn = draw_stars(axis, geometric[rows], predicted[rows])
            for offset, line in ((0.0, "-"), (EQUAL_MASSES, "--")):
                axis.axline((0.0, offset), slope=1.0, color=VERMILION, linestyle=line)
            residual = predicted[rows] - geometric[rows]
            scatter = f"\nσ = {np.std(residual):.2f}, {robust_scatter(residual):.2f} mag" if rows.any() else ""
            write_label(axis, f"{kind}, {np.count_nonzero(rows):,} stars{scatter}")
            axis.set_xlabel("$M_{G,\\mathrm{geo}}$ [mag]")
            tables.append(drawn_in(drawn, kind, "M_G_GEO", "M_G_NN"))
        density_bar(figure)
    caption = (
        f"{_which(measured)}; M_G,NN is of the label network. Lines: "
        "equality, and the 0.75 mag by which twins outshine one of them. σ is the standard deviation, and 1.4826 times "
        "the median absolute deviation."
    )
    return Plot(name, title, caption, figure, vstack(tables))


def draw_models(measured: Mapping[str, Any] | None) -> Plot:
    """Draw mean and scatter of both networks' magnitudes against M_G_GEO (section 5, Fig. 15).

    Parameters
    ----------
    measured
        `binaries` of the metrics.
    """
    name, title = "fig15", "The label network and the pair of Gaussians"
    cells = [] if measured is None else [c for c in measured["models_by_magnitude"] if c["pair"]["n_finite"] >= LEAST]
    if not cells:
        return missing(name, title, _NO_BINARIES if measured is None else _too_few(LEAST))
    place = np.array([0.5 * (cell["m_g_geo_min"] + cell["m_g_geo_max"]) for cell in cells])
    tables = []
    with styled():
        figure = Figure(figsize=(COLUMN_WIDTH, 3.4), layout="constrained")
        axis = figure.subplots()
        axis.axhline(0.0, color=GREY)
        for key, color, marker, word in (
            ("label", BLUE, "o", "label (Eq. 4)"),
            ("pair", VERMILION, "s", "pair of Gaussians (Eq. 7)"),
        ):
            middle = np.array([cell[key]["mean_mag"] for cell in cells])
            spread = np.array([cell[key]["std_mag"] for cell in cells])
            error = np.array([cell[key]["mean_mag_err"] for cell in cells])
            axis.errorbar(place, middle, error, color=color, marker=marker, markersize=4, label=word)
            for side in (-1, 1):
                axis.plot(place, middle + side * spread, color=color, linestyle="--")
            table = Table({"x": place, "y": middle, "error": error, "spread": spread})
            tables.append(drawn_in(table, word, "M_G_GEO", "DELTA_M_G"))
        axis.set(xlabel="$M_{G,\\mathrm{geo}}$ [mag]", ylabel="$M_{G,\\mathrm{NN}} - M_{G,\\mathrm{geo}}$ [mag]")
        axis.plot([], [], color=GREY, linestyle="--", label="mean ± standard deviation")
        axis.legend(loc="best")
    caption = (
        "Means with their errors, of the network of section 4 and of the median of the two Gaussians of section 5. "
        "Stars of Fig. 14 that are no giants. Cells of M_G,geo hold binaries, which bend both lines alike."
    )
    return Plot(name, title, caption, figure, vstack(tables))


_PARAMETERS = {"FEH": "[Fe/H]", "ALPHAFE": "[α/Fe]", "TEFF": "$T_\\mathrm{eff}$ [K]", "LOGG": "log g"}


def draw_fractions(measured: Mapping[str, Any] | None) -> Plot:
    """Draw the fraction of binaries against stellar parameters (section 5, Fig. 16).

    Parameters
    ----------
    measured
        `binaries` of the metrics.
    """
    name, title = "fig16", "Fraction of binaries"
    if measured is None:
        return missing(name, title, _NO_BINARIES)
    if not any(cell["n"] >= _FEW for key in _PARAMETERS for cell in measured["by_parameter"][key]):
        return missing(name, title, _too_few(_FEW))
    true = measured.get("truth", {}).get("by_parameter", {})
    tables = []
    with styled():
        figure = Figure(figsize=(PAGE_WIDTH, 4.8), layout="constrained")
        axes = figure.subplots(2, 2, sharey=True)
        for axis, (key, words) in zip(axes.flat, _PARAMETERS.items(), strict=True):
            axis.set_xlabel(words)
            series = {
                _Series("fraction", BLACK, "o", "found"): measured["by_parameter"][key],
                _Series("fraction_corrected", VERMILION, "s", "mass ratio > 0.5, corrected"): measured["by_parameter"][
                    key
                ],
            }
            if key in true:
                series[_Series("fraction_true", BLUE, "^", "the same, true")] = true[key]
            drawn = [_draw_fraction(axis, key, cells, one) for one, cells in series.items()]
            if not any(len(table) for table in drawn):
                write_label(axis, f"too few stars: no cell has {_FEW}")
            tables += drawn
            axis.xaxis.set_major_locator(MaxNLocator(6, steps=(1, 2, 5, 10)))
        axes[0, 0].set_ylim(bottom=0.0)
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
        for axis in axes[:, 0]:
            axis.set_ylabel("fraction of stars")
    caption = (
        f"The same stars. Found: probability above {measured['threshold']:g} and brighter than "
        "the spectrum says. Corrected, of stars on the main sequence (log g from 4.2): the most likely fraction of "
        "companions with a mass ratio above 0.5, spread evenly but for "
        f"{100 * measured['twin_fraction']:g} % of twins, given how many simulated binaries and single stars are "
        "called binaries; none where the two can hardly be told apart. Error bars are of the number of stars."
    )
    return Plot(name, title, caption, figure, vstack(tables))


class _Series(NamedTuple):
    """A fraction in Fig. 16: its column, and how it is drawn."""

    column: str
    color: str
    marker: str
    kind: str


def _draw_fraction(axis: Axes, key: str, cells: Sequence[Mapping[str, Any]], series: _Series) -> Table:
    column, color, marker, kind = series
    rows = [
        (0.5 * (cell[f"{key}_min"] + cell[f"{key}_max"]), cell[column], cell[f"{column}_err"], cell["n"])
        for cell in cells
        if cell["n"] >= _FEW and cell[column] is not None and np.isfinite(cell[column])
    ]
    table = Table(rows=rows or None, names=("x", "y", "error", "count"), dtype=(float, float, float, int))
    axis.errorbar(table["x"], table["y"], table["error"], color=color, marker=marker, markersize=4, label=kind)
    return drawn_in(table, f"{key}, {kind}", key, "FRACTION")


def draw_estimators(truth: Mapping[str, Any] | None) -> Plot:
    """Draw the bias of both kinds of network and of the posterior by true and by predicted distance.

    Parameters
    ----------
    truth
        `truth` of the metrics.
    """
    name, title = "estimators", "Bias of the label network, the mixture network and the posterior"
    if truth is None or not truth["estimators"]:
        return missing(name, title, "the true distances of this survey are not known")
    suffixes = ("by_distance", "by_predicted_distance")
    every = (cell for found in truth["estimators"].values() for suffix in suffixes for cell in found[suffix])
    if not any(cell["n_finite"] >= LEAST for cell in every):
        return missing(name, title, f"too few stars: no cell of distance has {LEAST}")
    tables = []
    with styled():
        figure = Figure(figsize=(PAGE_WIDTH, 3.2), layout="constrained")
        axes = figure.subplots(1, 2, sharey=True)
        for axis, suffix, words in zip(axes, suffixes, ("true", "predicted"), strict=True):
            axis.axhline(0.0, color=GREY)
            axis.set(xscale="log", xlabel=f"{words} distance [kpc]", xlim=(DISTANCE_EDGES[0], DISTANCE_EDGES[-1]))
            plain_numbers(axis.xaxis)
            for key, color in zip(truth["estimators"], PALETTE, strict=False):
                for prefix, line, stars in (("", "--", "all"), ("precise_", "-", "error < 25 %")):
                    cells = [c for c in truth["estimators"][key][f"{prefix}{suffix}"] if c["n_finite"] >= LEAST]
                    table = Table(
                        {
                            "x": [np.sqrt(c["distance_min_kpc"] * c["distance_max_kpc"]) for c in cells],
                            "y": [100 * c["median"] for c in cells],
                            "error": [100 * c["median_err"] for c in cells],
                        },
                        dtype=(float, float, float),
                    )
                    axis.errorbar(
                        table["x"], table["y"], table["error"], color=color, linestyle=line, label=f"{key}, {stars}"
                    )
                    tables.append(drawn_in(table, f"{words}, {key}, {stars}", "DIST", "BIAS"))
        axes[0].set_ylabel("median of predicted / true − 1 [%]")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    caption = (
        "Held-out stars. No estimate from noisy spectra is free of bias in both panels: at given true distance it "
        "leans towards what is common."
    )
    return Plot(name, title, caption, figure, vstack(tables))


def draw_recalibration(measured: Mapping[str, Sequence[Mapping[str, Any]]] | None) -> Plot:
    """Draw the share of stars within the mixture network's 16 to 84 per cent, before and after recalibration.

    Parameters
    ----------
    measured
        `calibration` of the metrics.
    """
    name, title = "recalibration", "Recalibration of the mixture network"
    cells = list(validation.coverage_cells(measured or {}))
    kind = "" if cells and "coverage68_after" in cells[0][1] else "_gaia_informing"
    chosen = [
        (words, cell)
        for words, cell in cells
        if cell["n"] >= LEAST and cell[f"coverage68{kind}_after"] is not None
        if np.isfinite(cell[f"coverage68{kind}_after"])
    ]
    if not chosen:
        lacking = f"too few stars: no cell has {LEAST} held-out ones to measure it with"
        return missing(name, title, lacking if cells else "the run has no mixture network, or no reference for it")
    place, tables = -np.arange(len(chosen), dtype=float), []
    with styled():
        figure = Figure(figsize=(PAGE_WIDTH, 1.2 + 0.22 * len(chosen)), layout="constrained")
        axis = figure.subplots()
        axis.axvspan(0.64, 0.72, color="#e8e8e8", zorder=0)
        for when, color, marker, shift in (("before", BLUE, "o", 0.12), ("after", VERMILION, "s", -0.12)):
            share = np.array([cell[f"coverage68{kind}_{when}"] for _, cell in chosen], dtype=float)
            error = np.array([cell[f"coverage68{kind}_{when}_err"] for _, cell in chosen], dtype=float)
            axis.errorbar(share, place + shift, xerr=error, fmt=marker, color=color, markersize=5, label=when)
            tables.append(drawn_in(Table({"x": -place, "y": share, "error": error}), when, "CELL", "COVERAGE"))
        axis.set_yticks(
            place, [f"{words} ({cell['n']:,})".replace("M_G", "$M_G$") for words, cell in chosen], fontsize=7
        )
        axis.tick_params(axis="y", which="minor", left=False, right=False)
        axis.set(xlabel="share within 16 to 84 %", ylim=(place[-1] - 0.6, 0.6))
        figure.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    against = "their true distances" if not kind else "parallaxes that are more precise than predicted ones"
    caption = (
        f"Held-out stars not used for recalibration, against {against}, by S/N and log g, by predicted M_G and "
        "by [Fe/H]. The band is 64 to 72 %."
    )
    return Plot(name, title, caption, figure, vstack(tables))
