"""Predicted distances and their errors against true ones, where a mock survey knows them."""

from __future__ import annotations

from typing import Any

import numpy as np

from specdis.arrays import Array, Bool, Float64
from specdis.validation.measures import (
    DISTANCE_EDGES,
    LOGG_EDGES,
    SNR_EDGES,
    calibration,
    cells,
    coverage_share,
    measure,
)
from specdis.validation.stars import PRECISE, Columns, modulus, relative_error


def against_truth(stars: Columns, true: Float64) -> dict[str, Any]:
    """Return bias, scatter and coverage by distance, S/N and log g.

    Parameters
    ----------
    stars
        Columns of the selected stars.
    true
        True distances in kpc, NaN where not known, shape (star,).
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

    return block(known) | {
        "precise": block(known & (relative_error(stars) < PRECISE)),
        "held_out": block(known & stars["HELD_OUT"]),
        "by_snr_and_logg": [
            {"snr_min": snr[0], "snr_max": snr[1], "logg_min": logg[0], "logg_max": logg[1]}
            | cell(known & snr[2] & logg[2])
            for snr in cells(stars["SN"], SNR_EDGES)
            for logg in cells(stars["LOGG"], LOGG_EDGES)
        ],
        "calibration": calibration(z[known]),
        "n_without_truth": int(np.count_nonzero(~known)),
    }
