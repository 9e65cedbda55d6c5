"""Beyond 5 kpc: distances and their intervals, from the likelihood and from the posterior, against known ones."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import chisquare

from specdis.arrays import Array, Bool, Columns, Float64
from specdis.validation.measures import (
    DISTANCE_EDGES,
    FEH_EDGES,
    PREDICTED_EDGES,
    SNR_EDGES,
    by_cells,
    calibration,
    cells,
    coverage_share,
    measure,
    median,
)
from specdis.validation.stars import modulus

HALO_EDGES = tuple(edge for edge in DISTANCE_EDGES if edge >= 5.0)
"""Edges of the cells of distance, kpc."""
OUTER = 20.0
"""Distance beyond which coverage and ranks are given separately, kpc."""
ESTIMATES = {"likelihood": "DIST", "posterior": "DIST_POST"}
"""The two distances, and the beginning of their columns."""
HALO_COLUMNS = (
    *("CALIBRATION", "DIST_05", "DIST_95"),
    *("DIST_POST", *(f"DIST_POST_{level}" for level in ("05", "16", "84", "95"))),
)
"""Columns of the catalogue that are read for this part alone."""
RANK = "RANK_POST"
"""Probability that the posterior gives to distances below the known one: a column that no catalogue has."""
RANK_BINS = 20
_ENOUGH = 100
"""Least number of stars of a cell whose coverage is given."""
_RELATIVE = float(np.log(10) / 5)


class KnownDistances(NamedTuple):
    """Known distances of a catalogue's stars.

    Parameters
    ----------
    source
        `truth`, or `lists` of stars of known distance.
    kpc
        NaN where unknown, shape (star,).
    error
        Error of the modulus, mag, 0 where unknown, shape (star,).
    """

    source: str
    kpc: Float64
    error: Float64

    def take(self, rows: Bool) -> KnownDistances:
        """Select stars by a mask."""
        return KnownDistances(self.source, self.kpc[rows], self.error[rows])


def listed_distances(members: Columns, stars: int) -> KnownDistances:
    """Return the distances of lists of members for all rows of a catalogue.

    Parameters
    ----------
    members
        ROW in the catalogue, DIST_REF and DIST_REF_ERR (kpc), shape (member,).
    stars
        Number of rows of the catalogue.
    """
    known = KnownDistances("lists", np.full(stars, np.nan), np.zeros(stars))
    known.kpc[members["ROW"]] = members["DIST_REF"]
    relative = np.asarray(members["DIST_REF_ERR"], dtype=np.float64) / members["DIST_REF"]
    known.error[members["ROW"]] = np.nan_to_num(relative) / _RELATIVE
    return known


def measure_halo(stars: Columns, known: KnownDistances) -> dict[str, Any]:
    """Return bias, scatter, coverage and ranks of held-out stars beyond 5 kpc.

    Of a survey with a truth, stars that the recalibration used are left out. Lists are short, so their stars stay, and
    `n_recalibration` counts those that it used.

    Parameters
    ----------
    stars
        Columns of the selected stars; `RANK` if the ranks are known.
    known
        Their known distances.

    Returns
    -------
    dict
        `by_distance` and `by_predicted_distance`, the latter in cells of the estimate's own distance; `slopes`;
        `ranks`; and `coverage` in cells of S/N, predicted M_G and [Fe/H]. The last two are of stars chosen by what was
        measured of them, never by the known distance: only for such stars can a posterior be right.
    """
    used = np.asarray(stars["CALIBRATION"])
    held_out = np.isfinite(known.kpc) & stars["HELD_OUT"]
    chosen = held_out & ~used if known.source == "truth" else held_out
    far = held_out & (known.kpc >= HALO_EDGES[0])
    guesses = {name: _Estimate(stars, beginning, known) for name, beginning in ESTIMATES.items()}

    def by(values: dict[str, Array]) -> list[dict[str, Any]]:
        edges = pairwise(HALO_EDGES)
        return [
            {"distance_min_kpc": low, "distance_max_kpc": high}
            | {
                name: guess.cell(chosen & (values[name] >= low) & (values[name] < high), used)
                for name, guess in guesses.items()
            }
            for low, high in edges
        ]

    predicted = _by_data(stars)
    return {
        "source": known.source,
        "n": int(np.count_nonzero(chosen & far)),
        "n_recalibration": int(np.count_nonzero(used & far)),
        "by_distance": by(dict.fromkeys(guesses, known.kpc)),
        "by_predicted_distance": by({name: guess.kpc for name, guess in guesses.items()}),
        "slopes": by_cells(
            "snr",
            stars["SN"],
            SNR_EDGES,
            lambda rows: {name: guess.slope(rows & chosen & far) for name, guess in guesses.items()},
        ),
        "ranks": [
            {"distance_min_kpc": least} | ranks_of(stars[RANK][chosen & (predicted >= least)])
            for least in (HALO_EDGES[0], OUTER)
        ]
        if RANK in stars
        else [],
        "coverage": [
            {"distance_min_kpc": least} | cell
            for least in (0.0, OUTER)
            for cell in _coverage(stars, guesses, chosen & (predicted >= least))
        ],
    }


def ranks_of(values: Array) -> dict[str, Any]:
    """Return the rank histogram of known distances in their posteriors, and whether it is flat.

    Parameters
    ----------
    values
        Probabilities of a smaller distance, shape (star,); NaN is ignored.

    Returns
    -------
    dict
        `counts` in `RANK_BINS` equal bins, `chi2` against equal numbers, and `p_value`, the probability of a larger one
        by chance.
    """
    known = np.asarray(values, dtype=np.float64)
    counts = np.histogram(known[~np.isnan(known)], np.linspace(0.0, 1.0, RANK_BINS + 1))[0]
    total = int(counts.sum())
    test = chisquare(counts) if total else None
    return {
        "n": total,
        "counts": counts.tolist(),
        "chi2": float("nan") if test is None else float(test.statistic),
        "degrees_of_freedom": RANK_BINS - 1,
        "p_value": float("nan") if test is None else float(test.pvalue),
    }


def slope_of(x: Array, y: Array) -> dict[str, float]:
    """Return the slope of y against x that outliers do not move.

    It is the median of the slopes between pairs of stars (Theil and Sen), one star of a pair from the lower half in x
    and one from the upper; each star is in one pair. So the pairs are independent, and give the error.
    """
    order = np.argsort(x, kind="stable")
    half = len(order) // 2
    low, high = order[:half], order[len(order) - half :]
    apart = x[high] - x[low]
    some = apart > 0
    return median("slope", (y[high] - y[low])[some] / apart[some])


def _by_data(stars: Columns) -> Array:
    """Return the predicted distance by which stars are chosen: the posterior's, or DIST in a run without a prior."""
    posterior = np.asarray(stars["DIST_POST"])
    return posterior if np.isfinite(posterior).any() else np.asarray(stars["DIST"])


def _coverage(stars: Columns, guesses: dict[str, _Estimate], chosen: Bool) -> list[dict[str, Any]]:
    """Return the coverage in cells of S/N, predicted M_G and [Fe/H] with `_ENOUGH` stars."""
    found = []
    for snr in cells(stars["SN"], SNR_EDGES):
        for magnitude in cells(stars["M_G_NN"], PREDICTED_EDGES):
            for feh in cells(stars["FEH"], FEH_EDGES):
                rows = chosen & snr[2] & magnitude[2] & feh[2]
                if np.count_nonzero(rows) >= _ENOUGH:
                    edges = {
                        f"{name}_{end}": cell[place]
                        for name, cell in (("snr", snr), ("magnitude", magnitude), ("feh", feh))
                        for place, end in enumerate(("min", "max"))
                    }
                    covered = {name: guess.coverage(rows) for name, guess in guesses.items()}
                    found.append({**edges, "n": int(np.count_nonzero(rows)), **covered})
    return found


class _Estimate:
    """One of the two distances, beside the known ones."""

    def __init__(self, stars: Columns, beginning: str, known: KnownDistances) -> None:
        self.kpc = np.asarray(stars[beginning], dtype=np.float64)
        self._known = known
        self._ends = {level: np.asarray(stars[f"{beginning}_{level}"]) for level in ("05", "16", "84", "95")}
        self._residual = modulus(self.kpc) - modulus(known.kpc)
        width = 0.5 * (modulus(self._ends["84"]) - modulus(self._ends["16"]))
        error = np.hypot(np.where(np.isfinite(width), width, np.nan), known.error)
        self._z = self._residual / np.where(error > 0, error, np.nan)

    def cell(self, rows: Bool, used: Bool) -> dict[str, Any]:
        """Return the numbers of some stars: bias of the distance, scatter of the modulus, coverage, z."""
        found, z = measure(self._residual[rows], "mag"), calibration(self._z[rows])
        ratio = 10.0 ** (0.2 * found["median_mag"])
        return {
            "n": found["n"],
            "n_finite": found["n_finite"],
            "n_recalibration": int(np.count_nonzero(used & rows)),
            "median_bias": ratio - 1.0,
            "median_bias_err": _RELATIVE * ratio * found["median_mag_err"],
            **{f"scatter_mag{end}": found[f"scatter_mag{end}"] for end in ("", "_err")},
            **self.coverage(rows),
            **{f"z_{name}{end}": z[f"z_{name}{end}"] for name in ("median", "scatter") for end in ("", "_err")},
        }

    def coverage(self, rows: Bool) -> dict[str, float]:
        """Return the share of some stars within 16 to 84 and within 5 to 95 per cent."""
        true, ends = self._known.kpc[rows], {level: values[rows] for level, values in self._ends.items()}
        return {
            **coverage_share("coverage68", true, ends["16"], ends["84"]),
            **coverage_share("coverage90", true, ends["05"], ends["95"]),
        }

    def slope(self, rows: Bool) -> dict[str, Any]:
        """Return the slope of predicted against known modulus of some stars."""
        rows = rows & np.isfinite(self._residual)
        true = modulus(self._known.kpc[rows])
        return {"n": len(true), **slope_of(true, true + self._residual[rows])}
