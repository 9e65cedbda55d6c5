"""The verb `compare`: differences of two catalogues, and their errors for stars of known distance."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from specdis import validation
from specdis.arrays import Array
from specdis.catalogue import COLUMNS, read_columns
from specdis.catalogue.files import locate, read_header
from specdis.gaia import RELEASES, Release
from specdis.references import (
    MATCH_COLUMNS,
    RIVAL_COLUMNS,
    Quantities,
    ReferenceFile,
    References,
    ReferencesSettings,
    ReferenceTable,
    SurveyStars,
    find_members,
    match_rival,
)
from specdis.report import figures
from specdis.storage import Provenance, digest, file_digest, write_json

COMPARISON = "comparison.json"

_NEEDED = (
    *MATCH_COLUMNS,
    *RIVAL_COLUMNS,
    "VRAD",
    "SELECTED",
    "FLAGS",
    "SN",
    *validation.PARAMETER_EDGES,
    "DIST",
    "DISTERR",
)


def compare_files(
    catalogue: Path, other: Path, out: Path, columns: Mapping[str, str], references: Path | None = None
) -> dict[str, Any]:
    """Match two catalogues and write their differences: comparison.json, and Figs 10 and 11 for this pair.

    Parameters
    ----------
    catalogue
        A run, a catalogue of ours, or any table of distances.
    other
        The same.
    out
        Folder to write to.
    columns
        Quantity to the other table's name for it, if it is not found automatically.
    references
        Folder with `members/`; without it there is no comparison with known distances.

    Returns
    -------
    dict
        Content of comparison.json.

    Raises
    ------
    InputError
        When a table cannot be read, or lacks identifiers and positions, or distances.
    """
    stars = _stars(catalogue)
    release = _release(catalogue) or "dr3"
    file = ReferenceFile(path=_file(other), columns=dict(columns), gaia=_release(other))
    matched = match_rival(file, stars, SurveyStars(stars, release), ReferencesSettings().match_radius)
    rival = {other.stem if other.is_file() else other.name: validation.with_stars(matched, stars)}
    members = None if references is None else _members(references, stars, release)
    provenance = Provenance("comparison", digest([file_digest(_file(path)) for path in (catalogue, other)]), 0)
    measured = {
        "catalogue": catalogue.name,
        "other": other.name,
        "n_catalogue": len(stars["TARGETID"]),
        "n_matched": len(matched["ROW"]),
        "comparison": next(iter(validation.compare_rivals(rival, members).values())),
        "provenance": provenance.to_dict(),
    }
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / COMPARISON, measured)
    for plot in (figures.rivals.draw_comparison(rival), figures.rivals.draw_external(rival, members)):
        plot.save(out, provenance)
    return measured


def _file(path: Path) -> Path:
    """Return the file of a catalogue, which may be that of a run or of a folder of ours."""
    return locate(path)[0] if path.is_dir() else path


def _is_ours(path: Path) -> bool:
    """Tell whether a table is a catalogue of ours."""
    return path.is_dir() or {"SELECTED", "FLAGS"} <= {*ReferenceTable.open(path).names}


def _release(path: Path) -> Release | None:
    """Return the Gaia release of a catalogue of ours; None for other tables."""
    said = read_header(_file(path)).cards.get("GAIA") if _is_ours(path) else None
    return next((release for release in RELEASES if release.upper() == said), None)


def _stars(path: Path) -> dict[str, Array]:
    """Return the columns for a comparison; those absent in a rival's table are missing."""
    table = None if _is_ours(path) else ReferenceTable.open(path)
    if table is None:
        ours = read_columns(path, [name for name in COLUMNS if name in _NEEDED])
        return {name: values[ours["SELECTED"]] for name, values in ours.items()}
    quantities = Quantities(table)
    found = quantities.read("TARGETID", "SOURCE_ID", "RA", "DEC", "PMRA", "PMDEC", "VRAD", "PHOT_G_MEAN_MAG")
    distance, error = quantities.distance()
    rows = len(distance)
    missing = {name: np.full(rows, np.nan) for name in _NEEDED}
    return {
        **missing,
        **{name: np.zeros(rows, np.int64) for name in ("TARGETID", "SOURCE_ID", "FLAGS")},
        **found,
        "DIST": distance,
        "DISTERR": error,
    }


def _members(folder: Path, stars: Mapping[str, Array], release: Release) -> dict[str, Array]:
    settings = ReferencesSettings(directory=folder)
    found = find_members(References(settings, release).members(), dict(stars), settings, release)
    return validation.with_stars(found.columns, stars)
