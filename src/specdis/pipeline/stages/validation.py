"""The stage `validation`: measure the catalogue (sections 2.5 and 4 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from astropy.table import Table

from specdis import catalogue, validation
from specdis.arrays import Array, Int64
from specdis.log import logger
from specdis.model.files import load_model
from specdis.pipeline.inputs import references_of, truth_of
from specdis.pipeline.manifest import StageFault
from specdis.pipeline.stage import Context, Outcome
from specdis.prior.stars import OBSERVED_COLUMNS
from specdis.references import MATCH_COLUMNS, RIVAL_COLUMNS, find_members
from specdis.storage import atomic, read_table, write_json, write_table
from specdis.surveys import IDENTIFIER

_SOUGHT = (*MATCH_COLUMNS, *RIVAL_COLUMNS, "VRAD")
"""Columns for matching with lists of members and rival catalogues."""


def run(context: Context) -> Outcome:
    """Match stars of known distance and rivals (section 2.5), and measure the catalogue (section 4)."""
    needed = {*validation.VALIDATION_COLUMNS, *validation.MIXTURE_COLUMNS, *_SOUGHT}
    columns = catalogue.read_columns(context.paths.catalogue, [name for name in catalogue.COLUMNS if name in needed])
    files = references_of(context.config)
    selected = np.flatnonzero(columns["SELECTED"])
    stars = {name: columns[name][selected] for name in _SOUGHT}
    lists = files.members()
    found = find_members(lists, stars, context.config.references, context.config.gaia)
    members = _rows_in_catalogue(found.columns, selected)
    rivals = {name: _rows_in_catalogue(rival, selected) for name, rival in files.rivals(stars).items()}
    known = validation.Known(
        truth_of(context.config, context.paths),
        validation.with_stars(members, columns) if lists else None,
        [count._asdict() for count in found.counts],
        {name: validation.with_stars(rival, columns) for name, rival in rivals.items()},
    )
    ranks = _ranks(context, columns, validation.known_distances(columns, known))
    measured = validation.metrics(
        {**columns, "M_G_NN_PAIR": _pair_magnitude(context, columns), validation.RANK: ranks},
        known,
        read_table(context.paths.injected, [*IDENTIFIER, "MASS_RATIO", "STEEPNESS", "FOUND", "FALSE_ALARM"]),
        context.config.binaries,
    )
    write_json(context.paths.metrics, measured)
    _write_table_a1(context, measured.get("external", {}).get("systems", []))
    write_table(context.paths.members, context.provenance("members"), _by_identifier(members, columns))
    every = _stacked(rivals)
    write_table(context.paths.rivals, context.provenance("rivals"), _by_identifier(every, columns))
    faults = [
        StageFault(name="unread-reference", place=file.place, message=file.message, stars=0) for file in files.unread
    ]
    for fault in faults:
        logger.warning("%s: %s: %s", fault.place, fault.name, fault.message)
    notes = {"members": len(members["ROW"]), "rivals": {name: len(rival["ROW"]) for name, rival in rivals.items()}}
    return Outcome(len(columns["TARGETID"]), faults, notes)


def _pair_magnitude(context: Context, columns: Mapping[str, Array]) -> Array:
    """Return the median of the two Gaussians of section 5 for the catalogue's stars, mag, NaN where missing."""
    table = read_table(context.paths.binaries, [*IDENTIFIER, "M_G_NN_PAIR"])
    return np.asarray(table["M_G_NN_PAIR"][validation.join(columns, table)])


def _ranks(context: Context, columns: Mapping[str, Array], known: validation.KnownDistances | None) -> Array:
    """Return the rank of the known distance in the posterior of each star that lies beyond 5 kpc by the latter."""
    ranks = np.full(len(columns["TARGETID"]), np.nan)
    if known is None:
        return ranks
    far = columns["DIST_POST"] >= validation.HALO_EDGES[0]
    rows = np.flatnonzero(far & np.isfinite(known.kpc) & columns["SELECTED"])
    every = catalogue.read_columns(context.paths.catalogue, OBSERVED_COLUMNS)
    stars = {name: values[rows] for name, values in every.items()}
    if (found := load_model(context.paths.model).posterior_in(stars)) is not None:
        posterior, observed = found
        ranks[rows] = posterior.below(observed, known.kpc[rows])
    return ranks


def _rows_in_catalogue(reference: Mapping[str, Array], selected: Int64) -> dict[str, Array]:
    """Convert ROW from counting selected rows to counting all rows of the catalogue."""
    return {**reference, "ROW": selected[reference["ROW"]]}


def _stacked(rivals: Mapping[str, Mapping[str, Array]]) -> dict[str, Array]:
    """Join the rows of all rivals in one table, with their names as RIVAL."""
    named = [{**rival, "RIVAL": np.full(len(rival["ROW"]), name)} for name, rival in rivals.items()]
    if not named:
        distance = np.empty(0)
        nothing = {"DIST_RIVAL": distance, "DISTERR_RIVAL": distance}
        return {"ROW": np.empty(0, np.int64), "RIVAL": np.empty(0, "U1"), **nothing}
    return {key: np.concatenate([part[key] for part in named]) for key in named[0]}


def _by_identifier(reference: Mapping[str, Array], columns: Mapping[str, Array]) -> dict[str, Array]:
    """Replace ROW in a table by the identifiers of its stars."""
    identifier = {name: columns[name][reference["ROW"]] for name in IDENTIFIER}
    return identifier | {name: values for name, values in reference.items() if name != "ROW"}


def _write_table_a1(context: Context, systems: Sequence[Mapping[str, Any]]) -> None:
    rows = validation.table_a1(systems)
    table = Table({name: [row[name] for row in rows] for name in validation.TABLE_A1_COLUMNS})
    for name in ("D_REF", "D_REF_ERR", "D_NN", "D_NN_ERR", "D_PAPER"):
        table[name].unit = "kpc"
    table["BIAS_MAG"].unit = "mag"
    table.meta["provenance"] = context.provenance("table-a1").to_dict()
    with atomic(context.paths.table_a1) as temporary:
        table.write(temporary, format="ascii.ecsv")
