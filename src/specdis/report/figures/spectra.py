"""Figures 1, 2, A1 and A2 and the training history: spectra, components and networks (sections 2.4 to 3.2)."""

from __future__ import annotations

import numpy as np
from astropy.table import Table, vstack
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from specdis.arrays import Array, Columns
from specdis.report.figures.panels import drawn_in, limits_of
from specdis.report.inputs import Components, History, Reconstruction, StackedErrors
from specdis.report.style import (
    BLACK,
    BLUE,
    COLUMN_WIDTH,
    GREY,
    PAGE_WIDTH,
    VERMILION,
    Plot,
    density_bar,
    draw_stars,
    missing,
    plain_numbers,
    styled,
    write_label,
)


def draw_error_spectrum(stack: StackedErrors | None) -> Plot:
    """Draw the stacked error spectrum and the sky windows found in it (Fig. 1)."""
    name, title = "fig01", "Stacked error spectrum"
    if stack is None:
        return missing(name, title, "no error spectra, or no search for sky windows")
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


def draw_reconstruction(example: Reconstruction | None) -> Plot:
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
            write_label(axis, curve, "upper right")
        axes[0].set(xlim=(example.wavelength[0], example.wavelength[-1]), ylim=(-limit, limit))
        axes[0].yaxis.set_major_locator(MaxNLocator(4))
        axes[1].set_ylabel("$S(\\lambda)$, unit norm")
        axes[2].set_xlabel("rest-frame vacuum wavelength [Å]")
    caption = (
        f"A spectrum of S/N {example.snr:.1f} after the transform (top), its reconstruction from "
        f"{example.n_components} components (middle), and the residual (bottom). Gaps are sky windows and bad pixels."
    )
    data = Table({"wavelength": example.wavelength, **curves}, units={"wavelength": "Angstrom"})
    return Plot(name, title, caption, figure, data)


def draw_training(history: History | None) -> Plot:
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
            Line2D([], [], color=GREY, label="stars it learns from"),
            Line2D([], [], color=BLUE, label="stars held back"),
            Line2D([], [], color=VERMILION, marker="o", markersize=3.5, linestyle="", label="kept as here"),
        ]
        axis.legend(handles=handles, loc="upper right")
        axis.set(xlabel="epoch", ylabel="mean loss per star", yscale="log", xlim=(1, max(len(epoch), 2)))
        plain_numbers(axis.yaxis)
    caption = (
        f"Loss of {reached.shape[1]} networks on the stars that they learn from, and on those that are held back to "
        "tell when to stop. Each network is kept as it was at its dot."
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


def draw_components(found: Components | None) -> Plot:
    """Draw the first components (appendix A, Fig. A1)."""
    name, title = "figA1", "The first principal components"
    if found is None or found.basis is None:
        return missing(name, title, "the run uses pixels, not components")
    number = len(found.basis)
    # Sky windows leave gaps: no line is drawn across them.
    step = np.diff(found.wavelength, prepend=found.wavelength[0])
    gap = step > 3.0 * np.median(step)
    with styled():
        figure = Figure(figsize=(PAGE_WIDTH, 0.75 * number + 0.6), layout="constrained")
        axes = figure.subplots(number, sharex=True, squeeze=False)[:, 0]
        for row, (axis, component) in enumerate(zip(axes, found.basis, strict=True)):
            axis.plot(found.wavelength, np.where(gap, np.nan, component), color=BLACK, linewidth=0.4)
            limit = 1.05 * np.percentile(np.abs(component), 99.9)
            axis.set(ylim=(-limit, limit), yticks=[])
            write_label(axis, f"{row + 1}: {100 * found.explained[row]:.2g} %", "lower left")
        axes[0].set_xlim(found.wavelength[0], found.wavelength[-1])
        axes[-1].set_xlabel("rest-frame vacuum wavelength [Å]")
        figure.supylabel("component", fontsize=9)
    densest = [_densest(found.wavelength, component) for component in found.basis]
    places = "; ".join(
        f"{row + 1}: {low:.0f}–{high:.0f} Å {share:.0%}" for row, (low, high, share) in enumerate(densest)
    )
    caption = (
        f"The first {number} components, with their share of the variance of all spectra. Each has a scale of its own; "
        "gaps are sky windows and bad pixels. The 5 % of neighbouring pixels that hold most of the squared loading of "
        f"each, and the share that they hold: {places}. A component of noise would hold most of it at an end of an arm."
    )
    data = {"wavelength": found.wavelength} | {f"component_{k + 1}": row for k, row in enumerate(found.basis)}
    return Plot(name, title, caption, figure, Table(data, units={"wavelength": "Angstrom"}))


def _densest(wavelength: Array, component: Array) -> tuple[float, float, float]:
    """Return the ends of the 5 per cent of neighbouring pixels with most of the squared loading, and their share."""
    width = max(1, round(0.05 * len(component)))
    sums = np.concatenate([[0.0], np.cumsum(np.asarray(component, np.float64) ** 2)])
    within = sums[width:] - sums[:-width]
    first = int(np.argmax(within))
    return float(wavelength[first]), float(wavelength[first + width - 1]), float(within[first] / sums[-1])


def draw_coefficients(catalogue: Columns, found: Components | None) -> Plot:
    """Draw coefficients against [Fe/H] and Teff: the first two and the last (appendix A, Fig. A2)."""
    name, title = "figA2", "Coefficients against stellar parameters"
    if found is None:
        return missing(name, title, "the run has no coefficients")
    chosen = catalogue["SELECTED"] & np.isfinite(found.coefficients[0])
    given = [key for key in ("FEH", "TEFF") if np.any(chosen & np.isfinite(catalogue[key]))]
    if not given:
        return missing(name, title, "the survey has neither [Fe/H] nor Teff")
    tables = []
    with styled():
        figure = Figure(figsize=(PAGE_WIDTH, 2.4 * len(given) + 0.2), layout="constrained")
        axes = figure.subplots(len(given), 3, sharey="col", sharex="row", squeeze=False)
        for row, key in enumerate(given):
            for axis, number, values in zip(axes[row], found.numbers, found.coefficients, strict=True):
                x, y = np.asarray(catalogue[key][chosen], dtype=np.float64), np.asarray(values[chosen], np.float64)
                axis.set(xlim=limits_of(x), ylim=limits_of(y), ylabel=f"$C_{{{number}}}$")
                axis.set_xlabel("[Fe/H]" if key == "FEH" else "$T_\\mathrm{eff}$ [K]")
                axis.xaxis.set_major_locator(MaxNLocator(4))
                tables.append(drawn_in(draw_stars(axis, x, y), f"C_{number}", key, "COEFFICIENT"))
        density_bar(figure)
    caption = (
        f"Coefficients {', '.join(map(str, found.numbers))} of {np.count_nonzero(chosen):,} selected stars, against "
        "the survey's stellar parameters. The first follow them; the last holds little but noise."
    )
    return Plot(name, title, caption, figure, vstack(tables))
