"""Section 4.1: predicted magnitudes against those that precise parallaxes give, on held-out stars."""

from __future__ import annotations

from typing import Any

import numpy as np

from specdis.arrays import Array, Bool
from specdis.validation.measures import SNR_EDGES, by_cells, calibration, measure
from specdis.validation.stars import (
    Columns,
    corrected_parallax,
    has_reference_magnitude,
    is_giant,
    residual_magnitude,
)

PARAMETER_EDGES = {
    "FEH": (-4.0, -2.5, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5),
    "ALPHAFE": (-0.4, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4, 0.8),
    "TEFF": (3000.0, 4000.0, 4500.0, 5000.0, 5500.0, 6000.0, 6500.0, 7500.0, 10000.0),
    "LOGG": (0.0, 1.5, 2.5, 3.0, 3.8, 4.2, 4.6, 5.5),
}
"""Edges of the cells of stellar parameters (Fig. 5): dex, dex, K and dex."""


def measure_internal(stars: Columns) -> dict[str, Any]:
    """Return bias and scatter of M_G_NN - M_G_GEO by S/N and stellar parameters (Figs 3 and 5).

    The stars are held out and have a corrected parallax above 10 times its published error. Those are near and
    bright: what they say of distant giants is little. `parallax_z` compares with the parallaxes of all held-out
    stars, which have no such selection.

    Parameters
    ----------
    stars
        Columns of the selected stars.
    """
    chosen = has_reference_magnitude(stars)
    snr, giant, residual = stars["SN"][chosen], is_giant(stars)[chosen], residual_magnitude(stars)[chosen]

    def cell(rows: Array | slice) -> dict[str, Any]:
        return measure(residual[rows], "mag") | {"n_giants": int(np.count_nonzero(giant[rows]))}

    return {
        "all": cell(slice(None)),
        "by_snr": by_cells("snr", snr, SNR_EDGES, cell),
        "by_parameter": {
            name: by_cells(name, stars[name][chosen], edges, cell) for name, edges in PARAMETER_EDGES.items()
        },
        "n_without_snr": int(np.count_nonzero(np.isnan(snr))),
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
