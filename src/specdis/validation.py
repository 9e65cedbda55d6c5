"""Sections 4.1, 4.3 and 4.4: how good the magnitudes, the distances and their errors are. Numbers only, no figures.

Columns have the catalogue's names. Rows that are not SELECTED but were predicted all the same take no part.
A quantity that no star can give is NaN, which JSON writes as null.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from specdis.arrays import Array, Bool, Float64, Int64
from specdis.errors import InputError
from specdis.flags import Flag
from specdis.statistics import coverage, robust_scatter
from specdis.surveys.base import IDENTIFIER

Columns = Mapping[str, Array]

GIANT_LOGG = 3.8
"""Giants have log g below this (section 4.4)."""
PARALLAX_SNR = 10.0
"""Corrected parallax over its published error from which M_G_GEO serves as reference (section 4.1)."""
PRECISE = 0.25
"""Relative error of the distances that the paper recommends for use (sections 4.2 and 4.3)."""
FAR = 15.0
"""Distance in kpc beyond which a star counts as far (section 4.3.1)."""

SNR_EDGES = (-np.inf, 20.0, 60.0, 100.0, np.inf)
DISTANCE_EDGES = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 70.0, 100.0)
LOGG_EDGES = (-np.inf, GIANT_LOGG, np.inf)

COLUMNS = (
    *IDENTIFIER,
    "FLAGS",
    "SELECTED",
    "HELD_OUT",
    "SN",
    "LOGG",
    "PARALLAX",
    "PARALLAX_ERR",
    "PARALLAX_ZPC",
    "M_G_NN",
    "M_G_GEO",
    "DIST",
    "DISTERR",
    "DIST_16",
    "DIST_84",
)
"""Columns of the catalogue that `metrics` reads."""

_PAPER_BY_SNR = {
    "scatter": (0.48, 0.26, 0.24, 0.22),
    "error": (0.23, 0.19, 0.11, 0.07),
    "giant_error": (0.58, 0.38, 0.16, 0.08),
}
_PAPER_SHARE_PRECISE = 0.60
_PAPER_SHARE_NEAR = 0.97  # all but 120,000 of 4 million
_PAPER_SHARE_NEGATIVE = 0.40


def metrics(catalogue: Columns, truth: Columns | None = None) -> dict[str, Any]:
    """Measure a catalogue against its own parallaxes, against its quoted errors and, where it is known, against truth.

    Parameters
    ----------
    catalogue
        `COLUMNS`, shape (star,).
    truth
        `IDENTIFIER` and DIST_TRUE in kpc, in any order; None where it is not known.

    Returns
    -------
    dict
        `internal` (section 4.1), `catalogue` (sections 4.3 and 4.4), `paper` (the same numbers beside the paper's)
        and, with truth, `truth`. Every cell counts its stars as `n` and those with a finite prediction as `n_finite`.

    Raises
    ------
    InputError
        When two rows of the truth have one identifier.
    """
    stars = {name: np.asarray(catalogue[name])[catalogue["SELECTED"]] for name in COLUMNS}
    measured: dict[str, Any] = {"internal": _internal(stars), "catalogue": _statistics(stars)}
    measured |= {"paper": _beside_the_paper(measured)}
    if truth is not None:
        measured |= {"truth": _against_truth(stars, true_distance(stars, truth))}
    return measured


def corrected_parallax(catalogue: Columns) -> Float64:
    """Return PARALLAX - PARALLAX_ZPC in mas, uncorrected where no zero point is defined, shape (star,)."""
    return np.asarray(catalogue["PARALLAX"] - np.nan_to_num(catalogue["PARALLAX_ZPC"]), dtype=np.float64)


def has_reference_magnitude(catalogue: Columns) -> Bool:
    """Return True for held-out stars whose parallax is precise enough for M_G_GEO to be a reference, shape (star,).

    That is a corrected parallax above `PARALLAX_SNR` times its published error (section 4.1).
    """
    error = np.asarray(catalogue["PARALLAX_ERR"], dtype=np.float64)
    return catalogue["HELD_OUT"] & (corrected_parallax(catalogue) > PARALLAX_SNR * error)


def residual_magnitude(catalogue: Columns) -> Float64:
    """Return M_G_NN - M_G_GEO in mag (Fig. 3), NaN where either is missing, shape (star,)."""
    return np.asarray(catalogue["M_G_NN"] - catalogue["M_G_GEO"], dtype=np.float64)


def is_giant(catalogue: Columns) -> Bool:
    """Return True for stars with log g below `GIANT_LOGG`, shape (star,)."""
    return np.asarray(catalogue["LOGG"] < GIANT_LOGG)


def relative_error(catalogue: Columns) -> Float64:
    """Return DISTERR / DIST, shape (star,).

    Infinite where the predicted label, or that of a draw, is not positive: such a distance has no upper bound, and
    leaving it out of a median would flatter the distant giants. NaN where no error was measured.
    """
    unbounded = (catalogue["FLAGS"] & (Flag.LABEL_NOT_POSITIVE | Flag.DRAW_NOT_POSITIVE)) != 0
    return np.where(unbounded, np.inf, catalogue["DISTERR"] / np.asarray(catalogue["DIST"], dtype=np.float64))


def true_distance(stars: Columns, truth: Columns) -> Float64:
    """Return DIST_TRUE in kpc of each star, NaN where the truth does not have it, shape (star,)."""
    row = join(stars, truth)
    return np.append(np.asarray(truth["DIST_TRUE"], dtype=np.float64), np.nan)[row]


def join(stars: Columns, reference: Columns) -> Int64:
    """Find each star in a reference by `IDENTIFIER`.

    Returns
    -------
    ndarray of int64, shape (star,)
        Row of the star in `reference`, -1 where it is not there.

    Raises
    ------
    InputError
        When two rows of the reference have one identifier.
    """
    count = len(stars["TARGETID"])
    code = np.zeros(count + len(reference["TARGETID"]), dtype=np.int64)
    for name in IDENTIFIER:
        _, value = np.unique(np.concatenate([stars[name], reference[name]]), return_inverse=True)
        _, code = np.unique(code * (value.max(initial=0) + 1) + value, return_inverse=True)
    wanted, known = code[:count], code[count:]
    row_of = np.full(len(code), -1, dtype=np.int64)
    row_of[known] = np.arange(len(known))
    if np.any(row_of[known] != np.arange(len(known))):
        repeated = len(known) - len(np.unique(known))
        raise InputError(
            "the truth",
            expected="one row per TARGETID, SURVEY, PROGRAM and HEALPIX",
            found=f"{repeated} repeated rows",
            remedy="Remove the copies.",
        )
    return row_of[wanted]


def cells(values: Array, edges: Iterable[float]) -> Iterator[tuple[float, float, Bool]]:
    """Yield lower edge, upper edge and the stars between, the lower edge included; NaN lies in no cell."""
    for lower, upper in pairwise(edges):
        yield lower, upper, (values >= lower) & (values < upper)


def cell_name(quantity: str, lower: float | None, upper: float | None) -> str:
    """Return how a cell is written, as `20 ≤ S/N < 60`; an open end is infinite or, as in JSON, None."""
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
        Percentiles, 0 to 100. Each is the value of a star: nothing is interpolated.
    least
        Stars below which a cell gives NaN.

    Returns
    -------
    ndarray of float64, shape (cell, level)
    """
    known = [values[rows & ~np.isnan(values)] for _, _, rows in cells(by, edges)]
    nothing = np.full(len(levels), np.nan)
    return np.array([np.percentile(x, levels, method="nearest") if len(x) >= least else nothing for x in known])


def _internal(stars: Columns) -> dict[str, Any]:
    """Return scatter and bias of M_G_NN against M_G_GEO (section 4.1, Fig. 3)."""
    chosen = has_reference_magnitude(stars)
    snr, giant, residual = stars["SN"][chosen], is_giant(stars)[chosen], residual_magnitude(stars)[chosen]

    def cell(rows: Array | slice) -> dict[str, Any]:
        finite = residual[rows][np.isfinite(residual[rows])]
        return {
            "n": len(residual[rows]),
            "n_finite": len(finite),
            "n_giants": np.count_nonzero(giant[rows]),
            "median_mag": _median(finite),
            "scatter_mag": robust_scatter(finite),
            "std_mag": np.std(finite) if len(finite) else np.nan,
        }

    return {
        "all": cell(slice(None)),
        "by_snr": [{"snr_min": low, "snr_max": high} | cell(rows) for low, high, rows in cells(snr, SNR_EDGES)],
        "n_without_snr": np.count_nonzero(np.isnan(snr)),
    }


def _statistics(stars: Columns) -> dict[str, Any]:
    """Return distances and quoted errors of the whole catalogue (sections 4.3 and 4.4, Figs 8, 9 and 12)."""
    distance, error, giant, snr = stars["DIST"], relative_error(stars), is_giant(stars), stars["SN"]
    far = distance > FAR
    parallax = corrected_parallax(stars)

    def cell(rows: Array | slice) -> dict[str, Any]:
        return {
            "n": len(distance[rows]),
            "n_finite": np.count_nonzero(np.isfinite(distance[rows])),
            "n_giants": np.count_nonzero(giant[rows]),
            "median_relative_error": _median(error[rows]),
            "median_relative_error_giants": _median(error[rows][giant[rows]]),
            "share_precise": _share(error[rows] < PRECISE, ~np.isnan(error[rows])),
        }

    return {
        "all": cell(slice(None)),
        "by_snr": [{"snr_min": low, "snr_max": high} | cell(rows) for low, high, rows in cells(snr, SNR_EDGES)],
        "share_precise_giants_above_snr_20": _share(error < PRECISE, giant & (snr > 20.0) & ~np.isnan(error)),
        "n_beyond_15_kpc": np.count_nonzero(far),
        "n_beyond_50_kpc": np.count_nonzero(distance > 50.0),
        "share_within_15_kpc": _share(~far, np.isfinite(distance)),
        "share_negative_parallax_beyond_15_kpc": _share(parallax < 0.0, far & np.isfinite(parallax)),
    }


def _against_truth(stars: Columns, true: Float64) -> dict[str, Any]:
    """Return bias, scatter and coverage against the true distance in kpc, NaN where it is not known, shape (star,)."""
    predicted = stars["DIST"]
    bias = predicted / true - 1.0
    known = np.isfinite(true)

    def cell(rows: Bool) -> dict[str, Any]:
        finite = bias[rows][np.isfinite(bias[rows])]
        return {
            "n": np.count_nonzero(rows),
            "n_finite": len(finite),
            "median_bias": _median(finite),
            "scatter": robust_scatter(finite),
            "coverage68": coverage(true[rows], stars["DIST_16"][rows], stars["DIST_84"][rows]),
        }

    def by(values: Array, chosen: Bool) -> list[dict[str, Any]]:
        return [
            {"distance_min_kpc": low, "distance_max_kpc": high} | cell(rows & chosen)
            for low, high, rows in cells(values, DISTANCE_EDGES)
        ]

    def block(chosen: Bool) -> dict[str, Any]:
        return {
            "all": cell(chosen),
            "by_distance": by(true, chosen),
            "by_predicted_distance": by(predicted, chosen),
        }

    return block(known) | {
        "precise": block(known & (relative_error(stars) < PRECISE)),
        "held_out": block(known & stars["HELD_OUT"]),
        "by_snr_and_logg": [
            {"snr_min": snr[0], "snr_max": snr[1], "logg_min": logg[0], "logg_max": logg[1]}
            | cell(known & snr[2] & logg[2])
            for snr in cells(stars["SN"], SNR_EDGES)
            for logg in cells(stars["LOGG"], LOGG_EDGES)
        ],
        "n_without_truth": np.count_nonzero(~known),
    }


def _beside_the_paper(measured: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the numbers of sections 4.1, 4.3 and 4.4 with the paper's own, in the paper's order."""
    internal, catalogue = measured["internal"], measured["catalogue"]

    def row(section: str, quantity: str, unit: str, here: float, paper: float) -> dict[str, Any]:
        return {"section": section, "quantity": quantity, "unit": unit, "here": here, "paper": paper}

    def by_snr(section: str, quantity: str, unit: str, block: Mapping[str, Any], key: str, paper: str) -> list[Any]:
        return [
            row(section, f"{quantity}, {cell_name('S/N', here['snr_min'], here['snr_max'])}", unit, here[key], there)
            for here, there in zip(block["by_snr"], _PAPER_BY_SNR[paper], strict=True)
        ]

    error, giant_error = "median_relative_error", "median_relative_error_giants"
    share_negative = catalogue["share_negative_parallax_beyond_15_kpc"]
    return [
        *by_snr("4.1", "scatter of M_G_NN − M_G_GEO", "mag", internal, "scatter_mag", "scatter"),
        row("4.3.1", "stars within 15 kpc", "share", catalogue["share_within_15_kpc"], _PAPER_SHARE_NEAR),
        row("4.3.1", "negative parallaxes beyond 15 kpc", "share", share_negative, _PAPER_SHARE_NEGATIVE),
        row("4.3.2", "distance error below 25 %", "share", catalogue["all"]["share_precise"], _PAPER_SHARE_PRECISE),
        *by_snr("4.3.2", "median distance error", "share", catalogue, error, "error"),
        *by_snr("4.4", "median distance error of giants", "share", catalogue, giant_error, "giant_error"),
    ]


def _median(values: Array) -> float:
    """Return the median of what is not NaN, infinities included; NaN of nothing."""
    known = np.asarray(values, dtype=np.float64)[~np.isnan(values)]
    return float(np.median(known)) if len(known) else float("nan")


def _share(true: Bool, among: Bool) -> float:
    """Return the fraction of `among` that is true; NaN of nothing."""
    total = np.count_nonzero(among)
    return np.count_nonzero(true & among) / total if total else float("nan")
