"""Sections 4.4 and 4.5, appendix C: rival catalogues against ours, and both against stars of known distance.

Only stars in both are compared; they need not represent the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from specdis.arrays import Columns, Float64
from specdis.validation.external import MODULUS_EDGES, is_blue, is_member
from specdis.validation.measures import SNR_EDGES, by_cells, by_parameters, measure, median, take
from specdis.validation.stars import modulus, relative_error

COMPARISON_EDGES = tuple(float(edge) for edge in range(4, 22))
"""Edges of the cells of our distance modulus in which two catalogues are compared, mag."""


def compare_rivals(rivals: Mapping[str, Columns], members: Columns | None) -> dict[str, Any]:
    """Compare each rival with ours, and both with the stars of known distance.

    Parameters
    ----------
    rivals
        Name to `external.with_stars` of DIST_RIVAL and DISTERR_RIVAL (kpc).
    members
        `external.with_stars` of the members, None without any.
    """
    return {name: _compare(rival, members) for name, rival in rivals.items()}


def difference(rival: Columns) -> Float64:
    """Return the rival's minus our distance modulus in mag (Fig. 10), shape (star,)."""
    return modulus(rival["DIST_RIVAL"]) - modulus(rival["DIST"])


def with_reference(rival: Columns, members: Columns) -> dict[str, Any]:
    """Return the rival's stars that are members, with their reference distances (Fig. 11)."""
    _, here, there = np.intersect1d(rival["ROW"], members["ROW"], return_indices=True)
    reference = {name: members[name][there] for name in ("SYSTEM", "KIND", "DIST_REF", "DIST_REF_ERR")}
    return {**take(rival, here), **reference}


def _compare(rival: Columns, members: Columns | None) -> dict[str, Any]:
    apart, snr = difference(rival), np.asarray(rival["SN"])
    quoted = np.asarray(rival["DISTERR_RIVAL"], dtype=np.float64) / rival["DIST_RIVAL"]
    found: dict[str, Any] = {
        "difference": measure(apart, "mag"),
        "by_modulus": by_cells(
            "modulus", modulus(rival["DIST"]), COMPARISON_EDGES, lambda rows: measure(apart[rows], "mag")
        ),
        "by_snr": by_cells("snr", snr, SNR_EDGES, lambda rows: measure(apart[rows], "mag")),
        "by_parameter": by_parameters(rival, lambda rows: measure(apart[rows], "mag")),
        **median("median_relative_error_ours", relative_error(rival)),
        **median("median_relative_error_quoted", quoted),
        **median("median_relative_error_quoted_snr_5_10", quoted[(snr > 5.0) & (snr < 10.0)]),
        **median("median_relative_error_quoted_above_snr_20", quoted[snr > 20.0]),
        **median("median_relative_error_quoted_above_snr_50", quoted[snr > 50.0]),
        **median("median_snr", snr),
    }
    if members is not None:
        known = with_reference(rival, members)
        found["members"] = _external(take(known, is_member(known)))
        found["bhb"] = _external(take(known, is_blue(known)))
    return found


def _external(known: Columns) -> dict[str, Any]:
    """Return bias and scatter of the rival and of ours on the same stars of known distance."""
    true = modulus(known["DIST_REF"])
    theirs, ours = modulus(known["DIST_RIVAL"]) - true, modulus(known["DIST"]) - true
    return {
        "rival": measure(theirs, "mag"),
        "ours": measure(ours, "mag"),
        "by_modulus": by_cells(
            "modulus",
            true,
            MODULUS_EDGES,
            lambda rows: {"rival": measure(theirs[rows], "mag"), "ours": measure(ours[rows], "mag")},
        ),
    }
