"""Section 4.2 and appendices B and C: predicted distances against those of members and blue stars."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from specdis.arrays import Array, Bool, Columns, Float64
from specdis.references import SAGITTARIUS, TABLE_A1, System
from specdis.validation.measures import (
    by_cells,
    by_parameters,
    calibration,
    cells,
    coverage_share,
    measure,
    median,
    share,
    take,
)
from specdis.validation.stars import PRECISE_MAG, corrected_parallax, modulus

MODULUS_EDGES = (11.0, 13.0, 14.0, 15.0, 16.0, 17.0, 18.0, 19.0, 20.0, 22.0)
"""Edges of the cells of reference distance modulus, mag."""
REFERENCE_SNR_EDGES = (-np.inf, 10.0, 20.0, 40.0, 60.0, np.inf)
MEMBER_KINDS = ("cluster", "dwarf", "stream")
"""Kinds of members in Fig. 6; blue horizontal-branch stars are in Fig. 7."""
STAR_KINDS = ("bhb", "rrlyrae")
"""Kinds of stars whose distances are known one by one."""
ENOUGH = 10
"""Number of members above which a system is in the printed Table A1."""
STREAM_BINS = 6
"""Bins of distance of the Sagittarius stream (Fig. A3)."""

TABLE_A1_COLUMNS = (
    *("NAME", "N", "N_HELD_OUT", "N_RECALIBRATION", "D_REF", "D_REF_ERR", "D_NN", "D_NN_ERR", "BIAS_MAG"),
    *("DIFFERENCE", "DIFFERENCE_IN_ERRORS", "D_PAPER", "DIFFERENCE_PAPER", "SOURCE"),
)
"""Columns of Table A1. Distances are in kpc, BIAS_MAG in mag; DIFFERENCE is predicted over reference distance minus 1,
and DIFFERENCE_PAPER the same of the paper's predicted distance D_PAPER."""


def with_stars(reference: Columns, catalogue: Columns) -> dict[str, Array]:
    """Return a table of references, such as `Members.columns`, with the catalogue's columns of the same stars.

    Parameters
    ----------
    reference
        ROW in the catalogue and other columns, shape (reference,).
    catalogue
        Columns, shape (star,).
    """
    rows = np.asarray(reference["ROW"])
    return {**take(catalogue, rows), **{name: np.asarray(values) for name, values in reference.items()}}


def residual_modulus(members: Columns) -> Float64:
    """Return predicted minus reference distance modulus in mag, NaN where either is missing, shape (member,)."""
    return modulus(members["DIST"]) - modulus(members["DIST_REF"])


def modulus_error(members: Columns) -> Float64:
    """Return the quoted error of the predicted modulus in mag, infinite without an upper bound."""
    error = np.asarray(members["DISTMOD_ERR"], dtype=np.float64)
    return np.where(np.isnan(error) & np.isfinite(members["DIST"]), np.inf, error)


def is_precise(members: Columns) -> Bool:
    """Tell which stars have a quoted error of the modulus below `PRECISE_MAG`, shape (member,)."""
    return np.asarray(modulus_error(members) < PRECISE_MAG)


def is_member(members: Columns) -> Bool:
    """Tell members of clusters, dwarf galaxies and streams from other stars of known distance, shape (member,)."""
    return np.isin(members["KIND"], MEMBER_KINDS)


def is_blue(members: Columns) -> Bool:
    """Tell which stars are from lists of blue horizontal-branch stars, shape (member,)."""
    return np.asarray(members["KIND"] == "bhb")


def measure_external(members: Columns, counts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return bias, scatter and calibration against stars of known distance (Figs 6, 7, A3 and A4).

    Lists of members were selected by parallaxes, proper motions and positions, those of blue stars by colours, so they
    are purer at large parallax; in distant systems only giants are seen. As in the paper, members may be training
    stars; `precise_held_out_by_modulus`, which the verdict uses, is of held-out stars.

    Parameters
    ----------
    members
        `with_stars` of the members.
    counts
        Counts of each list: `references.Count` as mappings.
    """
    mine, blue = take(members, is_member(members)), take(members, is_blue(members))
    return {
        "counts": [dict(count) for count in counts],
        "members": _block(mine),
        "bhb": _block(blue),
        "by_kind": {kind: _summary(take(members, members["KIND"] == kind)) for kind in (*MEMBER_KINDS, *STAR_KINDS)},
        "systems": systems(mine),
        "stream_bins": stream_bins(mine),
    }


def _block(members: Columns) -> dict[str, Any]:
    """Return the numbers of all stars, of the precise ones, and of both in cells."""
    true, snr, precise = modulus(members["DIST_REF"]), np.asarray(members["SN"]), is_precise(members)
    unseen = precise & members["HELD_OUT"]

    def cell(rows: Bool) -> dict[str, Any]:
        return _summary(take(members, rows))

    return {
        "all": _summary(members),
        "precise": cell(precise),
        **share("share_precise", precise, np.isfinite(members["DIST"])),
        "by_modulus": by_cells("modulus", true, MODULUS_EDGES, cell),
        "precise_by_modulus": by_cells("modulus", true, MODULUS_EDGES, lambda rows: cell(rows & precise)),
        "precise_held_out_by_modulus": by_cells("modulus", true, MODULUS_EDGES, lambda rows: cell(rows & unseen)),
        "by_snr": by_cells("snr", snr, REFERENCE_SNR_EDGES, cell),
        "by_parameter": by_parameters(members, cell),
        "parallax": parallax_alone(members),
    }


def _summary(members: Columns) -> dict[str, Any]:
    residual = residual_modulus(members)
    error = np.hypot(members["DISTMOD_ERR"], _reference_error(members))
    return {
        **measure(residual, "mag"),
        **median("median_snr", np.asarray(members["SN"])),
        **median("median_quoted_error_mag", modulus_error(members)),
        **coverage_share("coverage68", members["DIST_REF"], members["DIST_16"], members["DIST_84"]),
        **calibration(residual / np.where(error > 0.0, error, np.nan)),
    }


def _reference_error(members: Columns) -> Float64:
    """Return the error of the reference modulus in mag, 0 where unknown, shape (member,)."""
    relative = np.nan_to_num(np.asarray(members["DIST_REF_ERR"], dtype=np.float64) / members["DIST_REF"])
    return np.asarray(5.0 / np.log(10.0) * relative)


def parallax_alone(members: Columns) -> dict[str, Any]:
    """Measure 1 / corrected parallax on the same stars; a negative parallax has no modulus (appendix C)."""
    parallax = corrected_parallax(members)
    inverse = modulus(1.0 / np.where(parallax > 0.0, parallax, np.nan)) - modulus(members["DIST_REF"])
    return {
        **measure(inverse, "mag"),
        **share("share_negative", parallax < 0.0, np.isfinite(parallax)),
        "z": calibration((parallax - 1.0 / members["DIST_REF"]) / members["PARALLAX_ERR_USED"]),
    }


def systems(members: Columns) -> list[dict[str, Any]]:
    """Return median predicted distances of clusters and dwarf galaxies, in the order of their reference distances.

    Each is over all members with a distance, whatever its error, as in Table A1.
    """
    members = take(members, members["KIND"] != "stream")
    names, first = np.unique(members["SYSTEM"], return_index=True)
    chosen = sorted(zip(names, first, strict=True), key=lambda item: float(members["DIST_REF"][item[1]]))
    found = []
    for name, row in chosen:
        mine = take(members, members["SYSTEM"] == name)
        distance = np.asarray(mine["DIST"], dtype=np.float64)
        found.append(
            {
                "system": str(name),
                "kind": str(members["KIND"][row]),
                "distance_kpc": float(members["DIST_REF"][row]),
                **median("median_distance_kpc", distance[np.isfinite(distance)]),
                "n_held_out": int(np.count_nonzero(mine["HELD_OUT"] & np.isfinite(distance))),
                "n_recalibration": int(np.count_nonzero(mine["CALIBRATION"] & np.isfinite(distance))),
                **_summary(mine),
            }
        )
    return found


def table_a1(measured: Sequence[Mapping[str, Any]], references: Iterable[System] = TABLE_A1) -> list[dict[str, Any]]:
    """Return Table A1: every system of `references`, with or without members, then other systems with members.

    Parameters
    ----------
    measured
        From `systems`.
    references
        The systems that the table lists in any case.
    """
    found = {row["system"]: row for row in measured}
    rows = [_row(system, found.pop(system.name, {})) for system in references]
    unknown = np.nan, np.nan
    others = [System(row["system"], *unknown, row["distance_kpc"], unknown, source="list") for row in found.values()]
    return rows + [_row(system, found[system.name]) for system in others]


def _row(system: System, row: Mapping[str, Any]) -> dict[str, Any]:
    predicted, error = (row.get(f"median_distance_kpc{end}", np.nan) for end in ("", "_err"))
    distance, apart = system.distance, predicted - system.distance
    values = (
        system.name,
        *(row.get(name, 0) for name in ("n_finite", "n_held_out", "n_recalibration")),
        *(distance, system.distance_error, predicted, error),
        5.0 * np.log10(predicted / distance),
        apart / distance,
        apart / np.hypot(error, np.nan_to_num(system.distance_error)),
        system.paper_distance,
        system.paper_distance / distance - 1.0,
        system.source,
    )
    return dict(zip(TABLE_A1_COLUMNS, values, strict=True))


def stream_bins(members: Columns) -> list[dict[str, Any]]:
    """Return the numbers of the Sagittarius stream in `STREAM_BINS` bins of distance with equal numbers of stars."""
    mine = take(members, members["SYSTEM"] == SAGITTARIUS)
    true = np.asarray(mine["DIST_REF"], dtype=np.float64)
    if len(true) < STREAM_BINS:
        return []
    edges = np.quantile(true, np.linspace(0.0, 1.0, STREAM_BINS + 1))
    edges[-1] = np.nextafter(edges[-1], np.inf)
    return [
        {
            "distance_min_kpc": float(low),
            "distance_max_kpc": float(high),
            "mean_modulus_mag": float(np.mean(modulus(true[rows]))) if rows.any() else np.nan,
            **_summary(take(mine, rows)),
        }
        for low, high, rows in cells(true, edges)
    ]
