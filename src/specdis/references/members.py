"""Stars of known distance: members of clusters, dwarf galaxies and streams, blue and RR Lyrae stars (section 2.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, get_args

import numpy as np

from specdis.arrays import Array, Bool, Float64
from specdis.errors import InputError
from specdis.gaia import Release
from specdis.references.matching import SurveyStars, find_rows
from specdis.references.quantities import Quantities
from specdis.references.settings import Kind, MemberFile, ReferencesSettings
from specdis.references.systems import System, find_system
from specdis.references.tables import ListColumns, ReferenceTable

PRIORITY: Sequence[Kind] = get_args(Kind)
"""Kinds of lists in order of precedence: a star in several lists goes to the first kind."""

_OWN = ("stream", "bhb", "rrlyrae")
"""Kinds whose names are not matched to known systems: a stream named after a cluster is not the cluster."""

_SOME_NAMES = 100
"""A column names systems, if at least one in this many of its names is known."""


class Count(NamedTuple):
    """Fate of the stars in the list of one system."""

    system: str
    kind: str
    listed: int
    """Rows of the list above the least probability."""
    matched: int
    """Of these, stars of the catalogue."""
    elsewhere: int
    """Of these, assigned to a system of higher precedence."""
    without_distance: int
    """Of the rest, without a known distance."""
    clipped: int
    """Of the rest, those with an outlying or unknown radial velocity."""
    kept: int


@dataclass(frozen=True)
class Members:
    """Stars of the catalogue whose distance is known from the system that they belong to.

    Parameters
    ----------
    columns
        `ROW` in the catalogue, SYSTEM, KIND, DIST_REF and DIST_REF_ERR (kpc, the latter NaN where unknown) and the
        PROBABILITY of a member, 1 where the list gives none, shape (member,).
    counts
        Counts of each system.
    """

    columns: ListColumns
    counts: Sequence[Count]


@dataclass(frozen=True)
class MemberList:
    """A list of members as read: its probable rows and their identifiers or positions.

    Parameters
    ----------
    file
        Its path, system and matching, with the Gaia release of its identifiers as far as they tell.
    columns
        SYSTEM, DIST_REF and DIST_REF_ERR (kpc), PROBABILITY, and those of SOURCE_ID, TARGETID, RA and DEC that the list
        has.
    epoch
        Year of RA and DEC.
    """

    file: MemberFile
    columns: ListColumns
    epoch: float


def read_members(name: str, file: MemberFile, systems: Sequence[System], probability_min: float) -> MemberList:
    """Read the probable members in a list.

    Parameters
    ----------
    name
        Name of the system. A column of names takes precedence if it names systems and not stars.
    file
        The list.
    systems
        Systems of known distance.
    probability_min
        Least probability, where the list gives one.

    Raises
    ------
    InputError
        When the list cannot be read, has neither identifiers nor positions, or has no known distance.
    """
    quantities = Quantities(ReferenceTable.open(file.path, file.columns.values()), file.columns, file.gaia)
    quantities.require_identifier()
    columns = quantities.read("SOURCE_ID", "TARGETID", "RA", "DEC", "PROBABILITY", "PRIMARY", "NAME")
    rows = len(next(iter(columns.values())))
    probability = np.asarray(columns.pop("PROBABILITY", np.ones(rows)), np.float64)
    columns["PROBABILITY"] = np.where(np.isfinite(probability), probability, 1)
    chosen = columns["PROBABILITY"] >= probability_min
    chosen &= columns.pop("PRIMARY", np.ones(rows, dtype=bool))
    named = columns.pop("NAME", np.full(rows, ""))
    named = np.where((named != "") & _are_systems(named, name, file.kind, systems), named, name)
    columns["SYSTEM"], columns["DIST_REF"], columns["DIST_REF_ERR"] = _distances(quantities, file, named, systems)
    epoch = quantities.epoch if file.epoch is None else file.epoch
    file = file.model_copy(update={"gaia": quantities.release})
    return MemberList(file, {key: values[chosen] for key, values in columns.items()}, epoch)


def _are_systems(named: Array, name: str, kind: Kind, systems: Sequence[System]) -> bool:
    """Tell whether a column names systems: it has known names, or repeats a name in many rows, unlike names of stars.

    If the list itself is named after a known system, unknown names in it are not those of systems.
    """
    words = [str(word) for word in np.unique(named) if word]
    if kind not in _OWN and any(find_system(word, systems) for word in words[:_SOME_NAMES]):
        return True
    return bool(words) and 2 * len(words) <= len(named) and find_system(name, systems) is None


def _distances(
    quantities: Quantities, file: MemberFile, named: Array, systems: Sequence[System]
) -> tuple[Array, Float64, Float64]:
    """Return the systems' own names, and distances and errors in kpc, shape (row,) each.

    In lists of streams, blue and RR Lyrae stars, a column of distances holds those of the stars. In lists of clusters
    and dwarf galaxies it is as often the distance from the centre on the sky, so the system's distance is used.
    """
    words, place = np.unique(named, return_inverse=True)
    known = [find_system(str(word), systems) for word in words]
    own = file.kind in _OWN
    pairs = zip(words, known, strict=True)
    system = np.array([str(word) if found is None or own else found.name for word, found in pairs])
    if file.distance is not None:
        error = np.nan if file.distance_error is None else file.distance_error
        return system[place], np.full(len(named), file.distance), np.full(len(named), error)
    if own and not any(known):
        return system[place], *quantities.distance()
    if len(named) and not any(known):
        raise InputError(
            file.path,
            expected="a system of known distance",
            found=", ".join(map(str, words[:5])),
            remedy="Give its `distance` in kpc, or a table of `systems` that has it.",
        )
    kpc = np.array([np.nan if found is None else found.distance for found in known])
    kpc_error = np.array([np.nan if found is None else found.distance_error for found in known])
    return system[place], kpc[place], kpc_error[place]


def find_members(
    lists: Sequence[MemberList], stars: ListColumns, settings: ReferencesSettings, release: Release
) -> Members:
    """Find the listed stars in the catalogue, assign each to one system, and clip velocities (section 2.5).

    Without any velocities in the catalogue, none are clipped.

    Parameters
    ----------
    lists
        Lists, in any order.
    stars
        `matching.MATCH_COLUMNS` and VRAD (km/s) of the catalogue, shape (star,).
    settings
        How to match, and how to clip velocities.
    release
        Gaia release of the catalogue.
    """
    every = _claimed(lists, SurveyStars(stars, release), settings.match_radius)
    known = np.isfinite(every["DIST_REF"]) & ~every["ELSEWHERE"]
    vrad = np.asarray(stars["VRAD"], dtype=np.float64)
    iterations = settings.velocity_iterations if np.any(np.isfinite(vrad)) else 0  # some surveys measure no velocities
    kept = known.copy()
    kept[known] = velocity_clip(vrad[every["ROW"][known]], every["SYSTEM"][known], settings.velocity_clip, iterations)
    counts = [_count(every, known, kept, *key, rows) for key, rows in _listed(lists).items()]
    return Members({name: values[kept] for name, values in every.items() if name != "ELSEWHERE"}, counts)


def _claimed(lists: Sequence[MemberList], targets: SurveyStars, radius: float) -> ListColumns:
    """Return the columns of `Members` of all listed stars, and whether a list of higher precedence has the star."""
    taken = np.zeros(len(targets), dtype=bool)
    parts = [_NOBODY]
    for members in sorted(lists, key=lambda members: PRIORITY.index(members.file.kind)):
        row = find_rows(members.columns, members.epoch, members.file, targets, radius)
        _, first = np.unique(row, return_index=True)
        first = first[row[first] >= 0]
        part = {name: members.columns[name][first] for name in _OF_A_LIST}
        part |= {"ROW": row[first], "KIND": np.full(len(first), members.file.kind), "ELSEWHERE": taken[row[first]]}
        taken[row[first]] = True
        parts.append(part)
    return {name: np.concatenate([part[name] for part in parts]) for name in _NOBODY}


def _listed(lists: Sequence[MemberList]) -> dict[tuple[str, Kind], int]:
    """Return the listed rows of each system and kind, in the order of the kinds."""
    rows: dict[tuple[str, Kind], int] = {}
    for members in lists:
        for system, count in zip(*np.unique(members.columns["SYSTEM"], return_counts=True), strict=True):
            key = str(system), members.file.kind
            rows[key] = rows.get(key, 0) + int(count)
    return dict(sorted(rows.items(), key=lambda item: (PRIORITY.index(item[0][1]), item[0][0])))


_OF_A_LIST = ("SYSTEM", "DIST_REF", "DIST_REF_ERR", "PROBABILITY")
_NOBODY: ListColumns = {
    "SYSTEM": np.empty(0, "U1"),
    "DIST_REF": np.empty(0),
    "DIST_REF_ERR": np.empty(0),
    "PROBABILITY": np.empty(0),
    "ROW": np.empty(0, np.int64),
    "KIND": np.empty(0, "U1"),
    "ELSEWHERE": np.empty(0, bool),
}


def _count(every: ListColumns, known: Bool, kept: Bool, system: str, kind: str, listed: int) -> Count:
    mine = (every["SYSTEM"] == system) & (every["KIND"] == kind)
    elsewhere = mine & every["ELSEWHERE"]
    return Count(
        system,
        kind,
        listed,
        matched=int(mine.sum()),
        elsewhere=int(elsewhere.sum()),
        without_distance=int((mine & ~elsewhere & ~known).sum()),
        clipped=int((mine & known & ~kept).sum()),
        kept=int((mine & kept).sum()),
    )


def velocity_clip(vrad: Array, system: Array, sigmas: float, iterations: int) -> Bool:
    """Tell which stars have a radial velocity near the mean of their system (section 2.5), shape (star,).

    Mean and standard deviation are measured again from the remaining stars at each iteration.

    Parameters
    ----------
    vrad
        Radial velocities, km/s, shape (star,); a star without one is dropped.
    system
        Name of the system of each, shape (star,).
    sigmas
        Standard deviations from the mean beyond which a star is dropped.
    iterations
        Number of measurements of mean and standard deviation; 0 keeps every star.
    """
    vrad = np.asarray(vrad, dtype=np.float64)
    kept = np.isfinite(vrad) if iterations else np.ones(len(vrad), dtype=bool)
    _, place = np.unique(system, return_inverse=True)
    for _ in range(iterations):
        count = np.maximum(np.bincount(place, weights=kept), 1)
        values = np.where(kept, vrad, 0.0)
        mean = np.bincount(place, weights=values) / count
        away = np.where(kept, vrad - mean[place], 0.0)
        sigma = np.sqrt(np.bincount(place, weights=away**2) / count)
        still = kept & (np.abs(away) <= sigmas * sigma[place])
        if np.array_equal(still, kept):
            break
        kept = still
    return kept
