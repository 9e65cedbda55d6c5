"""Predicted distances and their errors against the true ones of a mock survey."""

from __future__ import annotations

from typing import Any

import numpy as np

from specdis.arrays import Array, Bool, Columns, Float64
from specdis.distances.columns import NETWORK_SUFFIXES
from specdis.validation.measures import (
    DISTANCE_EDGES,
    FEH_EDGES,
    LOGG_EDGES,
    PREDICTED_EDGES,
    SNR_EDGES,
    by_cells,
    calibration,
    cells,
    coverage_share,
    measure,
    share,
)
from specdis.validation.stars import PRECISE, modulus, relative_error


def against_truth(stars: Columns, true: Float64) -> dict[str, Any]:
    """Return bias, scatter and coverage by distance, S/N and log g.

    `all` and its neighbours are of all stars; `precise`, `held_out`, `estimators` and the cells of S/N and log g are of
    held-out stars.

    Parameters
    ----------
    stars
        Columns of the selected stars.
    true
        True distances in kpc, NaN where unknown, shape (star,).
    """
    predicted = stars["DIST"]
    bias = predicted / true - 1.0
    known = np.isfinite(true)
    z = (modulus(predicted) - modulus(true)) / stars["DISTMOD_ERR"]

    def cell(rows: Bool) -> dict[str, Any]:
        found = measure(bias[rows])
        return {
            "n": found["n"],
            "n_finite": found["n_finite"],
            **{f"median_bias{end}": found[f"median{end}"] for end in ("", "_err")},
            **{f"scatter{end}": found[f"scatter{end}"] for end in ("", "_err")},
            **coverage_share("coverage68", true[rows], stars["DIST_16"][rows], stars["DIST_84"][rows]),
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

    def estimator(suffix: str) -> dict[str, Any]:
        """Return the biases of one kind of network or of the posterior, from its own columns."""
        distance = stars[f"DIST_{suffix}"]
        error = stars[f"DISTERR_{suffix}"] / distance

        def one(rows: Bool) -> dict[str, Any]:
            found = measure((distance / true - 1.0)[rows])
            return {f"{name}{end}": found[f"{name}{end}"] for name in ("median", "scatter") for end in ("", "_err")} | {
                "n": found["n"],
                "n_finite": found["n_finite"],
            }

        def rows_by(values: Array, chosen: Bool) -> list[dict[str, Any]]:
            return [
                {"distance_min_kpc": low, "distance_max_kpc": high} | one(rows & chosen)
                for low, high, rows in cells(values, DISTANCE_EDGES)
            ]

        held_out = known & stars["HELD_OUT"]
        precise = held_out & (error < PRECISE)
        return {
            "by_distance": rows_by(true, held_out),
            "by_predicted_distance": rows_by(distance, held_out),
            "precise_by_distance": rows_by(true, precise),
            "precise_by_predicted_distance": rows_by(distance, precise),
            **share("share_precise", precise, held_out),
        }

    kinds = {**NETWORK_SUFFIXES, "posterior": "POST"}
    estimators = {kind: estimator(name) for kind, name in kinds.items() if f"DISTERR_{name}" in stars}
    # Stars used for training or recalibration cannot test the intervals.
    unseen = known & stars["HELD_OUT"] & ~stars["CALIBRATION"]
    return block(known) | {
        "estimators": estimators,
        "precise": block(known & stars["HELD_OUT"] & (relative_error(stars) < PRECISE)),
        "held_out": block(known & stars["HELD_OUT"]),
        "by_snr_and_logg": [
            {"snr_min": snr[0], "snr_max": snr[1], "logg_min": logg[0], "logg_max": logg[1]}
            | cell(unseen & snr[2] & logg[2])
            for snr in cells(stars["SN"], SNR_EDGES)
            for logg in cells(stars["LOGG"], LOGG_EDGES)
        ],
        "by_magnitude": by_cells("magnitude", stars["M_G_NN"], PREDICTED_EDGES, lambda rows: cell(unseen & rows)),
        "by_feh": by_cells("feh", stars["FEH"], FEH_EDGES, lambda rows: cell(unseen & rows)),
        "calibration": calibration(z[known & stars["HELD_OUT"]]),
        "n_without_truth": int(np.count_nonzero(~known)),
    }
