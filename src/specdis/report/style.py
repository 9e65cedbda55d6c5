"""Style and files of all figures: colours distinct for every colour vision, no dates in files."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
from astropy.table import Table
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import QuadMesh
from matplotlib.colors import Colormap, ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from specdis.arrays import Array, Bool, Float64
from specdis.storage import Provenance

PAGE_WIDTH = 7.1
"""Width of a printed page in inches."""
COLUMN_WIDTH = 5.0
"""Width of a figure with one panel in inches."""

# Okabe & Ito (2008): distinct for every form of colour vision.
BLACK, BLUE, VERMILION, GREY = "#1a1a1a", "#0072b2", "#d55e00", "#8c8c8c"

PALETTE = (BLUE, VERMILION, "#009e73", "#cc79a7", "#e69f00", "#56b4e9", BLACK)
"""Colours of curves in one panel."""

MOST_POINTS = 3000
"""Largest number of stars drawn as points; more are drawn as density."""

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "mathtext.fontset": "dejavusans",
    "axes.labelsize": 9,
    "axes.titlesize": 9,
    "axes.linewidth": 0.7,
    "axes.axisbelow": False,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.2,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "xtick.minor.visible": True,
    "ytick.minor.visible": True,
    "xtick.major.size": 4,
    "ytick.major.size": 4,
    "xtick.minor.size": 2,
    "ytick.minor.size": 2,
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,
}


@dataclass(frozen=True)
class Plot:
    """One figure of the report.

    Parameters
    ----------
    name
        Stem of its files: `fig03`, `training`, ...
    title
        Subject, in a few words.
    caption
        How to read it.
    figure
        The picture, without axes if there is nothing to draw.
    data
        The numbers drawn, with units.
    """

    name: str
    title: str
    caption: str
    figure: Figure
    data: Table

    @property
    def number(self) -> str:
        """Number of the paper's figure, as `3` or `A1`; empty if it is not in the paper."""
        return self.name.removeprefix("fig").lstrip("0") if self.name.startswith("fig") else ""

    @property
    def is_drawn(self) -> bool:
        """Whether anything is drawn."""
        return bool(self.figure.axes)

    def save(self, directory: Path, provenance: Provenance) -> None:
        """Write `name`.png, .pdf and .ecsv if anything is drawn; equal plots give equal bytes."""
        if not self.is_drawn:
            for ending in ("png", "pdf", "ecsv"):
                (directory / f"{self.name}.{ending}").unlink(missing_ok=True)
            return
        origin = json.dumps(provenance.to_dict())
        with styled(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")  # characters that the font lacks, in names, are drawn as boxes
            self.figure.savefig(
                directory / f"{self.name}.png", metadata={"Software": provenance.software, "Comment": origin}
            )
            self.figure.set_layout_engine("none")  # the layout is final: both files share it
            self.figure.savefig(
                directory / f"{self.name}.pdf",
                metadata={"Creator": provenance.software, "Producer": None, "CreationDate": None, "Keywords": origin},
            )
        table = self.data.copy(copy_data=False)
        table.meta = {"figure": self.name, "title": self.title, "provenance": provenance.to_dict()}
        table.write(directory / f"{self.name}.ecsv", format="ascii.ecsv", overwrite=True)


@contextmanager
def styled() -> Iterator[None]:
    """Apply the report's style, independent of the user's settings of matplotlib."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def missing(name: str, title: str, reason: str) -> Plot:
    """Return a figure that is not drawn, with the reason in its caption."""
    return Plot(name, title, f"Not drawn: {reason}.", Figure(), Table())


def draw_stars(axis: Axes, x: Array, y: Array) -> Table:
    """Draw stars within the limits of the axes: few as points, many as density, darker for more.

    Parameters
    ----------
    axis
        An axis with its limits and scales set.
    x, y
        Shape (star,); stars with NaN are left out.

    Returns
    -------
    Table
        The numbers drawn: `x`, `y` and `count`, the stars at a point or in the cell around it.
    """
    inside = _between(x, axis.get_xlim()) & _between(y, axis.get_ylim())
    x, y = np.asarray(x, dtype=np.float64)[inside], np.asarray(y, dtype=np.float64)[inside]
    if len(x) > MOST_POINTS:
        return _draw_density(axis, x, y)
    size = np.clip(60.0 / np.sqrt(max(len(x), 1)), 1.6, 3.2)
    axis.plot(x, y, "o", color=BLUE, alpha=0.55, markersize=size, markeredgewidth=0, rasterized=True)
    return Table({"x": x, "y": y, "count": np.ones(len(x), dtype=np.int64)})


def _draw_density(axis: Axes, x: Float64, y: Float64) -> Table:
    edges = (
        _edges(axis.get_xlim(), axis.get_xscale(), axis.bbox.width),
        _edges(axis.get_ylim(), axis.get_yscale(), axis.bbox.height),
    )
    count = np.histogram2d(x, y, bins=edges)[0].astype(np.int64)
    shown = np.ma.masked_equal(count.T, 0)
    axis.pcolormesh(*edges, shown, cmap=_ramp(), norm=LogNorm(1, max(count.max(), 2)), rasterized=True)
    column, row = np.nonzero(count)
    x_centre, y_centre = (0.5 * (ends[1:] + ends[:-1]) for ends in edges)
    return Table({"x": x_centre[column], "y": y_centre[row], "count": count[column, row]})


def density_bar(figure: Figure) -> None:
    """Give all densities of a figure a common colour scale and a colour bar, if there are any."""
    panels = list(figure.axes)
    meshes = [mesh for axis in panels for mesh in axis.collections if isinstance(mesh, QuadMesh)]
    if not meshes:
        return
    scale = LogNorm(1, max(mesh.get_clim()[1] or 2.0 for mesh in meshes))
    for mesh in meshes:
        mesh.set_norm(scale)
    aspect = 10 * figure.get_figheight()  # a tenth of an inch wide
    bar = figure.colorbar(meshes[0], ax=panels, label="stars in a cell", aspect=aspect, pad=0.015)
    plain_numbers(bar.ax.yaxis)


def _between(values: Array, limits: tuple[float, float]) -> Bool:
    return np.asarray((values >= min(limits)) & (values <= max(limits)))


def _edges(limits: tuple[float, float], scale: str, points: float) -> Float64:
    """Divide an axis into cells of about 0.02 inch."""
    spaced = np.geomspace if scale == "log" else np.linspace
    return np.asarray(spaced(min(limits), max(limits), max(round(points / 2), 2) + 1))


def _ramp() -> Colormap:
    """Return a colour map of one hue from light to dark; its lightest shade differs visibly from white."""
    return ListedColormap(colormaps["Blues"](np.linspace(0.3, 1.0, 256)), name="ramp")


class _PlainNumbers(LogFormatter):
    """Labels the ticks of its parent class without exponents."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:,g}" if super().__call__(x, pos) else ""


def plain_numbers(*axes: Axis) -> None:
    """Write 0.1, 1, 10 on logarithmic axes instead of powers of ten."""
    for axis in axes:
        axis.set_major_formatter(_PlainNumbers())
        axis.set_minor_formatter(_PlainNumbers(minor_thresholds=(1, 0.4)))


def write_label(
    axis: Axes, text: str, corner: Literal["upper left", "upper right", "lower left"] = "upper left"
) -> None:
    """Write in a corner of the axes, legible above the drawing.

    The text is never read as a formula, and is clipped at the axes.
    """
    vertical, horizontal = corner.split()
    axis.text(
        0.03 if horizontal == "left" else 0.97,
        0.95 if vertical == "upper" else 0.05,
        text,
        parse_math=False,
        clip_on=True,
        in_layout=False,
        transform=axis.transAxes,
        horizontalalignment=horizontal,
        verticalalignment="top" if vertical == "upper" else "bottom",
        bbox={"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 1.5},
        zorder=5,
    )
