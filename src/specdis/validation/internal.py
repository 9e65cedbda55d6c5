"""Section 4.1: predicted magnitudes against those that precise parallaxes give, on held-out stars."""

from __future__ import annotations

from typing import Any

import numpy as np

from specdis.arrays import Bool
from specdis.validation.measures import (
    DISTANCE_EDGES,
    SNR_EDGES,
    by_cells,
    by_parameters,
    calibration,
    measure,
    share,
    take,
)
from specdis.validation.stars import (
    Columns,
    corrected_parallax,
    has_reference_magnitude,
    is_giant,
    residual_magnitude,
)


def measure_internal(stars: Columns) -> dict[str, Any]:
    """Return bias and scatter of M_G_NN - M_G_GEO by S/N, distance and stellar parameters (Figs 3 and 5).

    The stars are held out and have a corrected parallax above 10 times its published error. Those are near and
    bright: what they say of distant giants is little. `share_within_error` and z take the errors of both magnitudes
    as quoted. `parallax_z` compares with the parallaxes of all held-out
    stars, which have no such selection.

    Parameters
    ----------
    stars
        Columns of the selected stars.
    """
    reference = take(stars, has_reference_magnitude(stars))
    residual, giant = residual_magnitude(reference), is_giant(reference)
    z = residual / np.hypot(reference["M_G_NN_ERR"], reference["M_G_GEO_ERR"])

    def cell(rows: Bool) -> dict[str, Any]:
        giants = int(np.count_nonzero(giant[rows]))
        within = share("share_within_error", np.abs(z[rows]) < 1.0, ~np.isnan(z[rows]))
        return measure(residual[rows], "mag") | {"n_giants": giants} | within

    return {
        "all": cell(np.ones(len(residual), dtype=bool)) | calibration(z),
        "by_snr": by_cells("snr", reference["SN"], SNR_EDGES, cell),
        "by_distance_kpc": by_cells("distance", reference["DIST"], DISTANCE_EDGES, cell),
        "by_parameter": by_parameters(reference, cell),
        "n_without_snr": int(np.count_nonzero(np.isnan(reference["SN"]))),
        "parallax_z": parallax_calibration(stars, stars["HELD_OUT"]),
        "training_error_mag": measure(stars["M_G_NN_ERR_TRAINING"], "mag"),
    }


def parallax_calibration(stars: Columns, rows: Bool) -> dict[str, Any]:
    """Return how far the parallaxes of stars lie from those of their predicted distances, in quoted errors.

    The error is that of the parallax and of the distance in quadrature; the latter is not calibrated where the
    distance has no upper bound, and such stars are left out.
    """
    chosen = rows & np.isfinite(stars["DISTERR"])
    predicted = 1.0 / stars["DIST"][chosen]
    error = np.hypot(stars["PARALLAX_ERR"][chosen], predicted * stars["DISTERR"][chosen] / stars["DIST"][chosen])
    # Of a distance too large, the parallax is too small: the sign makes z positive for it.
    return calibration((corrected_parallax(stars)[chosen] - predicted) / error)
