"""Sections 4.3 and 4.4: numbers of stars by distance, and quoted errors of their distances."""

from __future__ import annotations

from typing import Any

import numpy as np

from specdis.arrays import Array, Bool, Columns
from specdis.validation.measures import SNR_EDGES, by_cells, mean, median, share
from specdis.validation.stars import (
    FAR,
    PRECISE,
    R_SUN,
    corrected_parallax,
    galactocentric_distance,
    is_giant,
    relative_error,
)

CENTRE_REACH = 50.0
"""Distance from the Galactic centre in kpc within and beyond which giants are counted (section 4.4)."""


def measure_population(stars: Columns) -> dict[str, Any]:
    """Return counts of stars by distance, and their quoted errors by S/N and kind (Figs 8, 9 and 12).

    Parameters
    ----------
    stars
        Columns of the selected stars.
    """
    distance, error, giant, snr = stars["DIST"], relative_error(stars), is_giant(stars), stars["SN"]
    far, parallax, known = distance > FAR, corrected_parallax(stars), ~np.isnan(error)
    precise, bright_giant = error < PRECISE, giant & (snr > 20.0) & known
    from_centre = galactocentric_distance(stars["RA"], stars["DEC"], distance)

    def cell(rows: Array | slice) -> dict[str, Any]:
        return {
            "n": len(distance[rows]),
            "n_finite": _count(np.isfinite(distance[rows])),
            "n_giants": _count(giant[rows]),
            "n_with_error": _count(known[rows]),
            **median("median_relative_error", error[rows]),
            **median("median_relative_error_giants", error[rows][giant[rows]]),
            **median("median_relative_error_dwarfs", error[rows][~giant[rows] & ~np.isnan(stars["LOGG"][rows])]),
            **share("share_precise", precise[rows], known[rows]),
        }

    return {
        "all": cell(slice(None)),
        "by_snr": by_cells("snr", snr, SNR_EDGES, cell),
        "n_giants_above_snr_20": _count(bright_giant),
        **share("share_precise_giants_above_snr_20", precise, bright_giant),
        "n_precise": _count(precise),
        "n_beyond_15_kpc": _count(far),
        "n_beyond_50_kpc": _count(distance > 50.0),
        "n_beyond_200_kpc": _count(distance > 200.0),
        **share("share_within_15_kpc", ~far, np.isfinite(distance)),
        **share("share_beyond_50_kpc", distance > 50.0, np.isfinite(distance)),
        **share("share_negative_parallax_beyond_15_kpc", parallax < 0.0, far & np.isfinite(parallax)),
        **median("median_relative_error_within_2_kpc", error[distance < 2.0]),
        **mean("mean_relative_error_beyond_15_kpc", error[far]),
        **median("median_relative_error_giants_near_snr_20", error[giant & (snr > 15.0) & (snr < 25.0)]),
        **median("median_relative_error_snr_150_250", error[(snr > 150.0) & (snr < 250.0)]),
        **median("median_relative_error_snr_5_10", error[(snr > 5.0) & (snr < 10.0)]),
        **median("median_relative_error_above_snr_50", error[snr > 50.0]),
        **median("median_relative_error_above_snr_20_within_15_kpc", error[(snr > 20.0) & ~far]),
        **_giants(giant, precise, from_centre, error),
    }


def _giants(giant: Bool, precise: Bool, from_centre: Array, error: Array) -> dict[str, Any]:
    """Return counts and errors of giants within and beyond `CENTRE_REACH` of the Galactic centre (section 4.4)."""
    within = giant & (from_centre < CENTRE_REACH)
    return {
        "r_sun_kpc": R_SUN,
        "n_precise_giants_within_50_kpc_of_centre": _count(precise & within),
        "n_precise_giants_beyond_50_kpc_of_centre": _count(precise & giant & (from_centre >= CENTRE_REACH)),
        **median("median_relative_error_giants_within_50_kpc_of_centre", error[within]),
    }


def _count(rows: Bool) -> int:
    return int(np.count_nonzero(rows))
