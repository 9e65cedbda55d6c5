"""Cells of stars, and statistics of each with bootstrapped errors.

Every number `x` has its standard error as `x_err`. A quantity without stars is NaN, which JSON writes as null.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.special import ndtr

from specdis.arrays import Array, Bool, Columns, Float64, Int64
from specdis.binaries import GIANT_LOGG
from specdis.statistics import Estimate, Statistic, bootstrap_errors, coverage, fraction, robust_scatter

PARAMETER_EDGES = {
    "FEH": (-4.0, -2.5, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5),
    "ALPHAFE": (-0.4, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4, 0.8),
    "TEFF": (3000.0, 4000.0, 4500.0, 5000.0, 5500.0, 6000.0, 6500.0, 7500.0, 10000.0),
    "LOGG": (0.0, 1.5, 2.5, 3.0, 3.8, 4.2, 4.6, 5.5),
}
"""Edges of the cells of stellar parameters (Fig. 5): dex, dex, K and dex."""
SNR_EDGES = (-np.inf, 20.0, 60.0, 100.0, np.inf)
DISTANCE_EDGES = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 70.0, 100.0, 150.0, 200.0)
LOGG_EDGES = (-np.inf, GIANT_LOGG, np.inf)
PREDICTED_EDGES = (-np.inf, -1.0, 0.0, 1.0, 2.0, 3.5, 5.0, 7.0, np.inf)
"""Edges of the predicted absolute magnitude in mag: 0 to 1 is the red clump and the horizontal branch."""
FEH_EDGES = (-np.inf, *PARAMETER_EDGES["FEH"][2:-1], np.inf)

_LOCATION: Mapping[str, Statistic] = {
    "median": lambda values: np.median(values, axis=-1),
    "scatter": robust_scatter,
    "std": lambda values: np.std(values, axis=-1),
    "q16": lambda values: np.quantile(values, 0.16, axis=-1),
    "q84": lambda values: np.quantile(values, 0.84, axis=-1),
}


def cells(values: Array, edges: Iterable[float]) -> Iterator[tuple[float, float, Bool]]:
    """Yield lower edge, upper edge and the stars from the lower to below the upper one; NaN is in no cell."""
    for lower, upper in pairwise(edges):
        yield lower, upper, (values >= lower) & (values < upper)


def cell_name(quantity: str, lower: float | None, upper: float | None) -> str:
    """Return the name of a cell, as `20 ≤ S/N < 60`; an open end is infinite or, as in JSON, None."""
    if upper in (None, np.inf):
        return f"{quantity} ≥ {lower:g}"
    return f"{quantity} < {upper:g}" if lower in (None, -np.inf) else f"{lower:g} ≤ {quantity} < {upper:g}"


def percentiles(values: Array, by: Array, edges: Iterable[float], levels: Sequence[float], least: int) -> Float64:
    """Return percentiles of `values` in each cell of `by`.

    Parameters
    ----------
    values, by
        Shape (star,); infinite values count as very large, NaN does not count.
    edges
        Edges of the cells.
    levels
        Percentiles, 0 to 100. Each is the value of a star, without interpolation.
    least
        Number of stars below which a cell is NaN.

    Returns
    -------
    ndarray of float64, shape (cell, level)
    """
    known = [values[rows & ~np.isnan(values)] for _, _, rows in cells(by, edges)]
    nothing = np.full(len(levels), np.nan)
    return np.array([np.percentile(x, levels, method="nearest") if len(x) >= least else nothing for x in known])


def measure(values: Array, unit: str = "") -> dict[str, Any]:
    """Return the number of values, their median, robust scatter, standard deviation and quantiles, with errors.

    Parameters
    ----------
    values
        Shape (star,); values that are not finite count in `n` only.
    unit
        Ending of the names, as in `median_mag`.
    """
    values = np.asarray(values, dtype=np.float64)
    finite = values[np.isfinite(values)]
    found: dict[str, Any] = {"n": len(values), "n_finite": len(finite)}
    ending = f"_{unit}" if unit else ""
    errors = bootstrap_errors(_LOCATION, finite)
    for name, statistic in _LOCATION.items():
        found[f"{name}{ending}"] = float(statistic(finite)) if len(finite) else np.nan
        found[f"{name}{ending}_err"] = errors[name]
    return found


def median(name: str, values: Array) -> dict[str, float]:
    """Return the median of all values but NaN, infinities included, with its error; NaN for none."""
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    value = float(np.median(known)) if len(known) else np.nan
    return {name: value, f"{name}_err": bootstrap_errors({"": _LOCATION["median"]}, known)[""]}


def mean(name: str, values: Array) -> dict[str, float]:
    """Return the mean of the finite values with its error; NaN for none."""
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        return {name: np.nan, f"{name}_err": np.nan}
    return {name: float(np.mean(finite)), f"{name}_err": float(np.std(finite) / np.sqrt(len(finite)))}


def share(name: str, true: Bool, among: Bool | None = None) -> dict[str, float]:
    """Return the fraction of `among` that is true, with its error."""
    return _named(name, fraction(np.asarray(true) if among is None else np.asarray(true)[among]))


def coverage_share(name: str, truth: Array, low: Array, high: Array) -> dict[str, float]:
    """Return the fraction of true values within their intervals, as `statistics.coverage`."""
    return _named(name, coverage(truth, low, high))


def _named(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.value, f"{name}_err": estimate.error}


def calibration(z: Array) -> dict[str, Any]:
    """Return median and scatter of z, the errors in units of the quoted ones, and its PIT in ten bins.

    Honest errors give a median of 0, a scatter of 1 and a tenth of the stars in each bin.

    Parameters
    ----------
    z
        (predicted - true) / quoted error, shape (star,); NaN is ignored.
    """
    z = np.asarray(z, dtype=np.float64)
    z = z[~np.isnan(z)]
    measured = {f"z_{name}": value for name, value in measure(z).items() if name.startswith(("median", "scatter"))}
    return {"z_n": len(z), **measured, "pit": (np.histogram(_normal(z), np.linspace(0.0, 1.0, 11))[0]).tolist()}


def _normal(z: Float64) -> Float64:
    """Return the normal distribution function."""
    return np.asarray(ndtr(z))


def by_cells(name: str, values: Array, edges: Sequence[float], cell: Any) -> list[dict[str, Any]]:
    """Return the edges NAME_min and NAME_max of each cell, and the result of `cell` for its stars."""
    return [{f"{name}_min": low, f"{name}_max": high} | cell(rows) for low, high, rows in cells(values, edges)]


def by_parameters(stars: Columns, cell: Any) -> dict[str, list[dict[str, Any]]]:
    """Return the result of `cell` for the stars of each cell of [Fe/H], [alpha/Fe], Teff and log g."""
    return {name: by_cells(name, np.asarray(stars[name]), edges, cell) for name, edges in PARAMETER_EDGES.items()}


def take(columns: Columns, rows: Bool | Int64) -> dict[str, Array]:
    """Select stars by a mask or by row numbers."""
    return {name: np.asarray(values)[rows] for name, values in columns.items()}
