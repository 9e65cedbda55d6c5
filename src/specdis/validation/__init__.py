"""Section 4, appendices B and C: quality of magnitudes, distances and their errors. Numbers, no figures.

Columns have the catalogue's names. Rows that are not SELECTED are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from specdis.arrays import Columns
from specdis.binaries import GIANT_LOGG, BinariesSettings
from specdis.surveys.base import IDENTIFIER
from specdis.validation.binaries import excess, measure_binaries
from specdis.validation.calibration import coverage_cells, measure_calibration
from specdis.validation.external import TABLE_A1_COLUMNS, measure_external, table_a1, with_stars
from specdis.validation.halo import HALO_COLUMNS, HALO_EDGES, RANK, KnownDistances, listed_distances, measure_halo
from specdis.validation.internal import measure_internal
from specdis.validation.measures import DISTANCE_EDGES, PARAMETER_EDGES, SNR_EDGES, cell_name, cells, percentiles
from specdis.validation.paper import beside_the_paper
from specdis.validation.population import measure_population
from specdis.validation.rivals import compare_rivals
from specdis.validation.stars import (
    PRECISE,
    has_reference_magnitude,
    is_giant,
    join,
    relative_error,
    residual_magnitude,
    true_distance,
)
from specdis.validation.truth import against_truth
from specdis.validation.verdict import reach_verdict

__all__ = [
    "DISTANCE_EDGES",
    "GIANT_LOGG",
    "HALO_EDGES",
    "MIXTURE_COLUMNS",
    "PARAMETER_EDGES",
    "PRECISE",
    "RANK",
    "SNR_EDGES",
    "TABLE_A1_COLUMNS",
    "VALIDATION_COLUMNS",
    "Known",
    "KnownDistances",
    "cell_name",
    "cells",
    "compare_rivals",
    "coverage_cells",
    "excess",
    "has_reference_magnitude",
    "is_giant",
    "join",
    "known_distances",
    "metrics",
    "percentiles",
    "relative_error",
    "residual_magnitude",
    "table_a1",
    "true_distance",
    "with_stars",
]

VALIDATION_COLUMNS = (
    *IDENTIFIER,
    *("FLAGS", "SELECTED", "HELD_OUT", "RA", "DEC", "SN", *PARAMETER_EDGES),
    *(
        "PARALLAX",
        "PARALLAX_ERR",
        "PARALLAX_ERR_USED",
        "PARALLAX_ZPC",
        "M_G_NN",
        "M_G_GEO",
        "M_G_NN_ERR",
        "M_G_GEO_ERR",
        "M_G_NN_ERR_TRAINING",
    ),
    *("DIST", "DISTERR", "DISTMOD_ERR", "DIST_16", "DIST_84"),
    *HALO_COLUMNS,
)
"""Columns of the catalogue that `metrics` reads."""

MIXTURE_COLUMNS = (
    *("BINARY_FLAG", "BINARY_POSSIBILITY", "PHOT_BP_MEAN_MAG", "PHOT_RP_MEAN_MAG"),
    *("M_G_NN_LABEL", "M_G_NN_ERR_LABEL", "DIST_LABEL", "DISTERR_LABEL"),
    *("M_G_NN_MIX", "M_G_NN_ERR_MIX", "DIST_MIX", "DISTERR_MIX", "MIX_SHIFT", "MIX_STRETCH"),
    "DISTERR_POST",
)
"""Further columns for binaries and for the mixture network."""


class Known(NamedTuple):
    """What is known of the distances of a catalogue's stars from elsewhere.

    Parameters
    ----------
    truth
        `IDENTIFIER` and DIST_TRUE in kpc, in any order; None if unknown.
    members
        `external.with_stars` of the stars of known distance; None without lists.
    counts
        Counts of each list of members.
    rivals
        Name of each rival catalogue to `external.with_stars` of its distances.
    """

    truth: Columns | None = None
    members: Columns | None = None
    counts: Sequence[Mapping[str, Any]] = ()
    rivals: Mapping[str, Columns] = MappingProxyType({})


def known_distances(catalogue: Columns, known: Known) -> KnownDistances | None:
    """Return the known distances of all rows of a catalogue: the truth, or else those of lists; None without either."""
    if known.truth is not None:
        distance = true_distance(catalogue, known.truth)
        return KnownDistances("truth", distance, np.zeros(len(distance)))
    return None if known.members is None else listed_distances(known.members, len(catalogue["TARGETID"]))


def metrics(
    catalogue: Columns,
    known: Known = Known(),  # noqa: B008 - immutable
    injected: Columns | None = None,
    settings: BinariesSettings | None = None,
) -> dict[str, Any]:
    """Measure a catalogue against its own parallaxes, stars of known distance, rivals and, if known, truth.

    Parameters
    ----------
    catalogue
        `VALIDATION_COLUMNS`, shape (star,), and `RANK` if it is known.
    known
        Truth, stars of known distance and rivals, as far as there are any.
    injected
        Results of injected binaries, as in `measure_binaries`. With it, binaries and the mixture network are measured,
        from `MIXTURE_COLUMNS` and M_G_NN_PAIR: the median of the two Gaussians of section 5, mag.
    settings
        Section [binaries]; None for its defaults.

    Returns
    -------
    dict
        `verdict`, `internal` (section 4.1), `catalogue` (sections 4.3 and 4.4), `paper` (the paper's numbers beside
        the run's) and, as far as their inputs exist, `external` (section 4.2), `rivals` (sections 4.4 and 4.5),
        `truth`, `halo` (beyond 5 kpc), `binaries` (section 5) and `calibration`. Every cell counts its stars as `n` and
        those with a finite prediction as `n_finite`; the bootstrapped standard error of a number has its name with
        `_err`.

    Raises
    ------
    InputError
        When two rows of the truth have one identifier.
    """
    selected = np.asarray(catalogue["SELECTED"])
    names = VALIDATION_COLUMNS if injected is None else (*VALIDATION_COLUMNS, *MIXTURE_COLUMNS, "M_G_NN_PAIR")
    names = (*names, RANK) if RANK in catalogue else names
    stars = {name: np.asarray(catalogue[name])[selected] for name in names}
    measured: dict[str, Any] = {"internal": measure_internal(stars), "catalogue": measure_population(stars)}
    if known.members is not None:
        measured["external"] = measure_external(known.members, known.counts)
    if known.rivals:
        measured["rivals"] = compare_rivals(known.rivals, known.members)
    every = known_distances(catalogue, known)
    distances = None if every is None else every.take(selected)
    true = None if distances is None or known.truth is None else distances.kpc
    if true is not None:
        measured["truth"] = against_truth(stars, true)
    if distances is not None:
        measured["halo"] = measure_halo(stars, distances)
    if injected is not None:
        measured["binaries"] = measure_binaries(stars, injected, known.truth, settings or BinariesSettings())
        measured["calibration"] = measure_calibration(stars, true)
    return {"verdict": reach_verdict(measured), "paper": beside_the_paper(measured), **measured}
