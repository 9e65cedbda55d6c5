"""Section 4.1: predicted magnitudes against those from precise parallaxes, of held-out stars."""

from __future__ import annotations

from typing import Any

import numpy as np

from specdis.arrays import Array, Bool, Columns
from specdis.statistics import Statistic, bootstrap_errors
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
from specdis.validation.stars import corrected_parallax, has_reference_magnitude, informs, is_giant, residual_magnitude


def measure_internal(stars: Columns) -> dict[str, Any]:
    """Return bias and scatter of M_G_NN - M_G_GEO by S/N, distance and stellar parameters (Figs 3 and 5).

    The stars are held out and have a corrected parallax above 10 times its error, as the run uses it. They are near
    and bright, and hardly represent distant giants. `share_within_error` and z use the quoted errors of both
    magnitudes. `parallax_z` compares with the parallaxes of all held-out stars, without this selection, and separately
    with those that are more precise than the prediction and with the others.

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
        "training_error_mag": _training_error(stars["M_G_NN_ERR_TRAINING"][stars["HELD_OUT"]]),
    }


def _training_error(spread: Array) -> dict[str, Any]:
    """Return the spread between networks, and the standard deviation of the difference of two (section 3.3.2).

    The run's own constant is the root mean square of the spread, that of one network, smaller than the difference by
    the root of 2. The label is the mean of all networks, with a scatter smaller by the root of their number; the run
    quotes more on purpose, because networks of one training set have correlated errors.
    """
    known = np.asarray(spread, dtype=np.float64)
    known = known[np.isfinite(known)]
    statistics: dict[str, Statistic] = {
        "rms_mag": lambda values: np.sqrt(np.mean(values**2, axis=-1)),
        "difference_mag": lambda values: np.sqrt(2.0 * np.mean(values**2, axis=-1)),
    }
    errors = bootstrap_errors(statistics, known)
    found = {name: float(statistic(known)) if len(known) else np.nan for name, statistic in statistics.items()}
    return {**measure(spread, "mag"), **found, **{f"{name}_err": error for name, error in errors.items()}}


def parallax_calibration(stars: Columns, rows: Bool) -> dict[str, Any]:
    """Compare measured parallaxes with those of the predicted distances, in quoted errors.

    The error is that of the parallax, as the run uses it, and of the distance in quadrature. Stars whose distance has
    no upper bound are left out, since their error is not calibrated. `informing` is of stars whose parallax is more
    precise than the prediction; of `others` the parallax error dominates, so that even wrong distances pass.
    """
    chosen = rows & np.isfinite(stars["DISTERR"])
    predicted = 1.0 / stars["DIST"][chosen]
    width = predicted * stars["DISTERR"][chosen] / stars["DIST"][chosen]
    error = stars["PARALLAX_ERR_USED"][chosen]
    # The sign makes z positive for distances that are too large.
    z = (corrected_parallax(stars)[chosen] - predicted) / np.hypot(error, width)
    told = informs(width, error)
    return {**calibration(z), "informing": calibration(z[told]), "others": calibration(z[~told])}
