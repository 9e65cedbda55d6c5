"""Coverage of the mixture network's intervals, with and without recalibration, by kind of star."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from specdis.arrays import Array, Bool, Columns, Float64
from specdis.validation.measures import (
    FEH_EDGES,
    LOGG_EDGES,
    PREDICTED_EDGES,
    SNR_EDGES,
    by_cells,
    cell_name,
    cells,
    median,
    share,
)
from specdis.validation.stars import corrected_parallax, informs, modulus

_C = float(np.log(10) / 5)


def measure_calibration(stars: Columns, true: Float64 | None) -> dict[str, list[dict[str, Any]]]:
    """Return the share of stars within the mixture network's 16 to 84 per cent, after and before recalibration.

    The stars are held out and were not used for recalibration. The interval is the median magnitude plus and minus
    M_G_NN_ERR_MIX; `before` undoes MIX_SHIFT and MIX_STRETCH. Against Gaia it is |z| < 1 of the parallax, with the
    parallax error in z: `informing` of stars whose parallax is more precise than the prediction, `others` of the rest,
    whose z is mostly the error of the parallax. Correct errors give 68.3 % in every column.

    Parameters
    ----------
    stars
        Columns of the selected stars.
    true
        True distances in kpc, NaN where unknown, shape (star,); None if the survey has none.

    Returns
    -------
    dict
        Cells `by_snr_and_logg`, `by_magnitude` (predicted) and `by_feh`.
    """
    chosen = stars["HELD_OUT"] & ~stars["CALIBRATION"] & np.isfinite(stars["M_G_NN_ERR_MIX"])
    after = _Prediction(stars, recalibrated=True)
    before = _Prediction(stars, recalibrated=False)

    def cell(rows: Bool) -> dict[str, Any]:
        rows = rows & chosen
        found: dict[str, Any] = {
            "n": int(rows.sum()),
            **median("median_stretch", stars["MIX_STRETCH"][rows]),
            **median("median_shift_mag", stars["MIX_SHIFT"][rows]),
        }
        for name, prediction in (("after", after), ("before", before)):
            if true is not None:
                k = prediction.deviation(true)[rows]
                found |= share(f"coverage68_{name}", np.abs(k) < 1, np.isfinite(k))
            z, told = prediction.parallax_deviation(stars)
            for kind, which in (("informing", told), ("others", ~told)):
                found |= share(f"coverage68_gaia_{kind}_{name}", np.abs(z) < 1, rows & which & np.isfinite(z))
        return found

    return {
        "by_snr_and_logg": [
            {"snr_min": snr[0], "snr_max": snr[1], "logg_min": logg[0], "logg_max": logg[1]} | cell(snr[2] & logg[2])
            for snr in cells(stars["SN"], SNR_EDGES)
            for logg in cells(stars["LOGG"], LOGG_EDGES)
        ],
        "by_magnitude": by_cells("magnitude", stars["M_G_NN_MIX"], PREDICTED_EDGES, cell),
        "by_feh": by_cells("feh", stars["FEH"], FEH_EDGES, cell),
    }


def coverage_cells(measured: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield name and numbers of each cell of a result of `measure_calibration`, also one read from JSON."""
    quantities = {
        "by_snr_and_logg": {"snr": "S/N", "logg": "log g"},
        "by_magnitude": {"magnitude": "M_G"},
        "by_feh": {"feh": "[Fe/H]"},
    }
    for kind, edges in quantities.items():
        for cell in measured.get(kind, ()):
            words = (cell_name(word, cell[f"{name}_min"], cell[f"{name}_max"]) for name, word in edges.items())
            yield ", ".join(words), cell


class _Prediction:
    """Moduli by the mixture network with their errors, mag."""

    def __init__(self, stars: Columns, recalibrated: bool) -> None:
        shift = 0.0 if recalibrated else np.asarray(stars["MIX_SHIFT"], dtype=np.float64)
        stretch = 1.0 if recalibrated else np.asarray(stars["MIX_STRETCH"], dtype=np.float64)
        self.modulus = modulus(stars["DIST_MIX"]) + shift
        self.error = np.asarray(stars["M_G_NN_ERR_MIX"], dtype=np.float64) / stretch

    def deviation(self, true: Float64) -> Array:
        """Return predicted minus true modulus in quoted errors."""
        return np.asarray((self.modulus - modulus(true)) / self.error)

    def parallax_deviation(self, stars: Columns) -> tuple[Array, Bool]:
        """Return measured minus predicted parallax in both errors, and which parallaxes are the more precise."""
        predicted = 10.0 ** (2.0 - self.modulus / 5.0)
        width = _C * predicted * self.error
        error = np.asarray(stars["PARALLAX_ERR_USED"], dtype=np.float64)
        z = (corrected_parallax(stars) - predicted) / np.hypot(error, width)
        return np.asarray(z), informs(width, error)
