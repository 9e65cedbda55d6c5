"""The maps that can be zoomed and filtered: stars counted in fine cells and in classes, packed for the page.

The page holds one number for each cell and class with stars, however many stars there are.
"""

from __future__ import annotations

import base64
import zlib
from itertools import pairwise
from typing import Any

import numpy as np

from specdis.arrays import Array, Columns, Float64, Int64
from specdis.report.figures.magnitudes import abscissa
from specdis.report.figures.panels import limits_of
from specdis.validation import PRECISE, SNR_EDGES, cell_name, is_giant, relative_error

QUALITIES = ("error below 25 %", "error of 25 % or more", "no error or no upper bound", "outside the cuts")
"""Classes of quality; every star is in one."""
KINDS = ("giants", "dwarf stars", "log g unknown")
"""Classes of surface gravity."""
SNR_CLASSES = (
    *(cell_name("S/N", low, high) for low, high in pairwise(SNR_EDGES)),
    "S/N unknown",
)
"""Classes of S/N."""

_SHAPE = 480, 640  # cells of the Hertzsprung-Russell diagram
_SKY = 720, 360  # half a degree in right ascension


def explorer(catalogue: Columns) -> dict[str, Any]:
    """Return the maps as plain values for the page's script.

    Parameters
    ----------
    catalogue
        Columns; every row with coordinates of a map is counted, rows outside the cuts as a separate class.
    """
    star_class = _classes(catalogue)
    classes = {"quality": QUALITIES, "S/N": SNR_CLASSES, "log g": KINDS}
    return {
        "classes": [{"name": name, "values": list(values)} for name, values in classes.items()],
        "maps": [_hr_diagram(catalogue, star_class), _sky(catalogue, star_class)],
    }


def _classes(catalogue: Columns) -> Int64:
    """Return the class of each star: quality, then S/N, then surface gravity as digits of one number."""
    error = relative_error(catalogue)
    outside = ~np.asarray(catalogue["SELECTED"], dtype=np.bool_)
    quality = np.select([outside, ~np.isfinite(error), error >= PRECISE], [3, 2, 1], 0)
    snr = np.asarray(catalogue["SN"], dtype=np.float64)
    signal = np.where(np.isnan(snr), len(SNR_EDGES) - 1, np.digitize(snr, SNR_EDGES[1:-1]))
    kind = np.where(np.isnan(catalogue["LOGG"]), 2, np.where(is_giant(catalogue), 0, 1))
    return np.asarray((quality * len(SNR_CLASSES) + signal) * len(KINDS) + kind, dtype=np.int64)


def _hr_diagram(catalogue: Columns, star_class: Int64) -> dict[str, Any]:
    """Return colour against predicted magnitude; temperature if the survey has no Gaia colours."""
    y = np.asarray(catalogue["M_G_NN"], dtype=np.float64)
    against = abscissa(catalogue)
    axis = {"label": "BP − RP [mag]" if against.is_colour else "Teff [K]", "reversed": not against.is_colour}
    return {
        "title": "Hertzsprung-Russell diagram",
        "x": axis,
        "y": {"label": "M_G,NN [mag]", "reversed": True},
        **_packed(against.values, y, star_class, _limits(against.values), _limits(y), _SHAPE),
    }


def _sky(catalogue: Columns, star_class: Int64) -> dict[str, Any]:
    """Return right ascension against the sine of declination, an equal-area projection."""
    x = np.asarray(catalogue["RA"], dtype=np.float64)
    y = np.sin(np.radians(np.asarray(catalogue["DEC"], dtype=np.float64)))
    return {
        "title": "Sky, in equal areas",
        "x": {"label": "RA [deg]", "reversed": True, "degrees": True},
        "y": {"label": "Dec [deg]", "reversed": False, "degrees": True, "sine": True},
        **_packed(x, y, star_class, (0.0, 360.0), (-1.0, 1.0), _SKY),
    }


def _limits(values: Float64) -> tuple[float, float]:
    return limits_of(values) if np.any(np.isfinite(values)) else (0.0, 1.0)


def _packed(
    x: Float64,
    y: Float64,
    star_class: Int64,
    x_limits: tuple[float, float],
    y_limits: tuple[float, float],
    shape: tuple[int, int],
) -> dict[str, Any]:
    """Count the stars of each cell and class; return those above 0, packed."""
    column, row = (_cell(values, *ends, size) for values, ends, size in zip((x, y), (x_limits, y_limits), shape))
    inside = (column >= 0) & (row >= 0)
    n_classes = len(QUALITIES) * len(SNR_CLASSES) * len(KINDS)
    key = (row[inside] * shape[0] + column[inside]) * n_classes + star_class[inside]
    keys, counts = np.unique(key, return_counts=True)
    return {
        "shape": list(shape),
        "xlim": [round(end, 6) for end in x_limits],
        "ylim": [round(end, 6) for end in y_limits],
        "stars": int(inside.sum()),
        "outside": int(len(x) - inside.sum()),
        "steps": _text(np.diff(keys, prepend=0).astype("<u4")),
        "counts": _text(counts.astype("<u4")),
    }


def _cell(values: Float64, low: float, high: float, size: int) -> Int64:
    """Return the cell of each value, -1 where it is missing or beyond the limits."""
    place = np.nan_to_num((values - low) / (high - low) * size, nan=-1.0, posinf=-1.0, neginf=-1.0)
    inside = (place >= 0.0) & (place <= size)
    return np.where(inside, np.minimum(place.astype(np.int64), size - 1), -1)


def _text(numbers: Array) -> str:
    return base64.b64encode(zlib.compress(numbers.tobytes(), 9)).decode("ascii")
