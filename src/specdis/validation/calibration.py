"""Whether the mixture's quoted widths are right, with and without their recalibration, by S/N and log g."""

from __future__ import annotations

from typing import Any

import numpy as np

from specdis.arrays import Array, Bool, Float64
from specdis.validation.measures import LOGG_EDGES, SNR_EDGES, cells, median, share
from specdis.validation.stars import Columns, corrected_parallax, modulus

_C = float(np.log(10) / 5)
_DOMINATED = 0.5
"""Parallax errors over predicted ones below which a parallax tells the width of a prediction."""


def measure_calibration(stars: Columns, true: Float64 | None) -> list[dict[str, Any]]:
    """Return how many stars lie within the mixture's 16 to 84 per cent, by S/N and log g, after and before.

    The stars are held out, and took no part in the recalibration. The interval is the median magnitude plus and minus
    M_G_NN_ERR_MIX; `before` undoes MIX_SHIFT and MIX_STRETCH. Against Gaia it is |z| < 1 of the parallax, with the
    parallax error in z, for stars whose parallax error is less than half the predicted one; honest errors give 68.3 %
    in every column.

    Parameters
    ----------
    stars
        Columns of the selected stars.
    true
        True distances in kpc, NaN where not known, shape (star,); None where the survey has no truth.
    """
    chosen = stars["HELD_OUT"] & ~stars["CALIBRATION"] & np.isfinite(stars["M_G_NN_ERR_MIX"])
    after = _Prediction(stars, recalibrated=True)
    before = _Prediction(stars, recalibrated=False)

    def cell(rows: Bool) -> dict[str, Any]:
        found: dict[str, Any] = {
            "n": int(rows.sum()),
            **median("median_stretch", stars["MIX_STRETCH"][rows]),
            **median("median_shift_mag", stars["MIX_SHIFT"][rows]),
        }
        for name, prediction in (("after", after), ("before", before)):
            if true is not None:
                k = prediction.deviation(true)[rows]
                found |= share(f"coverage68_{name}", np.abs(k) < 1, np.isfinite(k))
            z, tells = prediction.parallax_deviation(stars)
            found |= share(f"coverage68_gaia_{name}", np.abs(z[rows]) < 1, tells[rows])
        return found

    return [
        {"snr_min": snr[0], "snr_max": snr[1], "logg_min": logg[0], "logg_max": logg[1]}
        | cell(chosen & snr[2] & logg[2])
        for snr in cells(stars["SN"], SNR_EDGES)
        for logg in cells(stars["LOGG"], LOGG_EDGES)
    ]


class _Prediction:
    """Moduli by the mixture with their errors, mag."""

    def __init__(self, stars: Columns, recalibrated: bool) -> None:
        shift = 0.0 if recalibrated else np.asarray(stars["MIX_SHIFT"], dtype=np.float64)
        stretch = 1.0 if recalibrated else np.asarray(stars["MIX_STRETCH"], dtype=np.float64)
        self.modulus = modulus(stars["DIST_MIX"]) + shift
        self.error = np.asarray(stars["M_G_NN_ERR_MIX"], dtype=np.float64) / stretch

    def deviation(self, true: Float64) -> Array:
        """Return predicted minus true modulus in quoted errors."""
        return np.asarray((self.modulus - modulus(true)) / self.error)

    def parallax_deviation(self, stars: Columns) -> tuple[Array, Bool]:
        """Return measured minus predicted parallax in both errors, and which stars' parallaxes tell something."""
        predicted = 10.0 ** (2.0 - self.modulus / 5.0)
        width = _C * predicted * self.error
        error = np.asarray(stars["PARALLAX_ERR"], dtype=np.float64)
        z = (corrected_parallax(stars) - predicted) / np.hypot(error, width)
        return z, np.isfinite(z) & (error < _DOMINATED * width)
