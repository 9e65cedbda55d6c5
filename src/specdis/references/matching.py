"""Finding the same star in two tables: by identifier, or on the sky at a common epoch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from specdis.arrays import Array, Float64, Int64
from specdis.gaia import RELEASES, Release
from specdis.log import logger
from specdis.references.settings import ReferenceFile

MATCH_COLUMNS = ("TARGETID", "SOURCE_ID", "RA", "DEC", "PMRA", "PMDEC")
"""Columns of the catalogue by which its stars are found."""

_ARCSEC = np.pi / 180.0 / 3600.0
_OTHER_RELEASE = 3, 10
"""If sky matches exceed identifier matches by this factor and by this number, the list uses another Gaia release."""


class SurveyStars:
    """The stars of the catalogue, sorted once for all tables, to be found by identifier or on the sky.

    Parameters
    ----------
    stars
        `MATCH_COLUMNS`: identifiers, RA and DEC (degrees), PMRA times cos(dec) and PMDEC (mas/yr), shape (star,).
    release
        Gaia release of SOURCE_ID and of the positions.
    """

    def __init__(self, stars: Mapping[str, Array], release: Release) -> None:
        self.release = release
        self._stars = {name: np.asarray(stars[name]) for name in MATCH_COLUMNS}
        self._orders: dict[str, Int64] = {}
        self._trees: dict[float, cKDTree] = {}

    def __len__(self) -> int:
        return len(self._stars["TARGETID"])

    def by_identifier(self, name: str, wanted: Int64) -> Int64:
        """Return the row of each identifier, -1 where it is absent or 0, shape (wanted,).

        Of repeated identifiers the first row counts.
        """
        known = self._stars[name]
        order = self._orders.setdefault(name, np.argsort(known, kind="stable"))
        row = np.append(order, -1)[np.searchsorted(known, wanted, sorter=order)]
        found = (row >= 0) & (wanted != 0)
        found[found] = known[row[found]] == wanted[found]
        return np.where(found, row, -1)

    def on_sky(self, ra: Float64, dec: Float64, epoch: float, radius: float) -> Int64:
        """Return the row of the star nearest to each place, -1 where none lies within the radius, shape (place,).

        Proper motions take the stars from the epoch of the release to that of the places. A star that is nearest to
        several places is matched to the nearest of them only.

        Parameters
        ----------
        ra, dec
            Places, degrees, shape (place,).
        epoch
            Year of the places.
        radius
            Largest separation, arcsec.
        """
        row = np.full(len(ra), -1, dtype=np.int64)
        places = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
        if not len(self._placed) or not len(places):
            return row
        chord = 2.0 * np.sin(0.5 * radius * _ARCSEC)
        wanted = _directions(np.asarray(ra)[places], np.asarray(dec)[places])
        separation, nearest = self._tree(epoch).query(wanted, distance_upper_bound=chord)
        near = np.flatnonzero(np.isfinite(separation))
        near = near[np.argsort(separation[near], kind="stable")]
        _, first = np.unique(nearest[near], return_index=True)
        row[places[near[first]]] = self._placed[nearest[near[first]]]
        return row

    @cached_property
    def _placed(self) -> Int64:
        return np.flatnonzero(np.isfinite(self._stars["RA"]) & np.isfinite(self._stars["DEC"]))

    def _tree(self, epoch: float) -> cKDTree:
        if epoch not in self._trees:
            place = {name: self._stars[name][self._placed] for name in ("RA", "DEC", "PMRA", "PMDEC")}
            years = epoch - RELEASES[self.release].epoch
            moved = directions_after(place["RA"], place["DEC"], place["PMRA"], place["PMDEC"], years)
            self._trees[epoch] = cKDTree(moved)
        return self._trees[epoch]


def find_rows(
    columns: Mapping[str, Array], epoch: float, file: ReferenceFile, targets: SurveyStars, radius: float
) -> Int64:
    """Return the row in the catalogue of each row of a published table, -1 without a match, shape (row,).

    Rows are matched by SOURCE_ID if the table has it, else by TARGETID; on the sky if it has neither, if `file` says
    so, or for rows with a position but the identifier 0. SOURCE_ID of another Gaia release is not used. Where the
    table does not tell its release, and many more stars match on the sky than by SOURCE_ID, it is another one, and all
    rows are matched on the sky.

    Parameters
    ----------
    columns
        SOURCE_ID, TARGETID, RA and DEC, as far as the table has them, shape (row,).
    epoch
        Year of its positions.
    file
        How to match, and the Gaia release of SOURCE_ID, if known.
    targets
        The catalogue.
    radius
        Largest separation on the sky, arcsec.
    """
    row = np.full(len(next(iter(columns.values()))), -1, dtype=np.int64)
    without = np.ones(len(row), dtype=bool)
    if file.match == "auto" and "SOURCE_ID" in columns and not _is_of_release(file, targets.release):
        columns = {name: values for name, values in columns.items() if name != "SOURCE_ID"}
    if file.match == "auto":
        for name in [name for name in ("TARGETID", "SOURCE_ID") if name in columns]:
            found = targets.by_identifier(name, columns[name])
            row = np.where(found >= 0, found, row)
            without &= columns[name] == 0
    if not {"RA", "DEC"} <= {*columns}:
        return row
    by_name = int(np.count_nonzero(row >= 0))
    if by_name < 0.1 * min(len(row), len(targets)) or without.any():
        on_sky = targets.on_sky(columns["RA"], columns["DEC"], epoch, radius)
        ratio, least = _OTHER_RELEASE
        if not without.all() and np.count_nonzero((on_sky >= 0) & ~without) > ratio * by_name + least:
            logger.warning(
                "%s: %d stars match by identifier and %d on the sky: not identifiers of %s; matched on the sky",
                *(file.path, by_name, np.count_nonzero(on_sky >= 0), RELEASES[targets.release].name),
            )
            return on_sky
        row = np.where(without, on_sky, row)
    return row


def _is_of_release(file: ReferenceFile, release: Release) -> bool:
    """Tell whether the SOURCE_ID of a table may be used for a release; warn where not, or where it is not certain."""
    ours = RELEASES[release].name
    if file.gaia is not None and file.gaia != release:
        logger.warning(
            "%s: SOURCE_ID is of %s, the survey of %s, where it may be another star: not used; RA and DEC are, if it "
            "has them. If it has a column of %s, name it in `columns`",
            *(file.path, RELEASES[file.gaia].name, ours, ours),
        )
        return False
    if file.gaia is None and release != "dr3":
        logger.warning(
            "%s: SOURCE_ID does not say its Gaia release, taken as %s; set `gaia` if it is another", file.path, ours
        )
    return True


def directions_after(ra: Float64, dec: Float64, pmra: Float64, pmdec: Float64, years: float) -> Float64:
    """Return unit vectors of stars after some years, shape (star, 3); an unknown proper motion counts as 0.

    Parameters
    ----------
    ra, dec
        Places, degrees, shape (star,).
    pmra, pmdec
        Proper motion in RA times cos(dec) and in Dec, mas/yr, shape (star,).
    years
        Time since the star was at its place, of either sign.
    """
    a, d = np.radians(ra), np.radians(dec)
    east = np.stack([-np.sin(a), np.cos(a), np.zeros_like(a)], axis=-1)
    north = np.stack([-np.sin(d) * np.cos(a), -np.sin(d) * np.sin(a), np.cos(d)], axis=-1)
    move = np.nan_to_num(pmra)[:, None] * east + np.nan_to_num(pmdec)[:, None] * north
    moved = _directions(ra, dec) + years * 1e-3 * _ARCSEC * move
    return np.asarray(moved / np.linalg.norm(moved, axis=-1, keepdims=True))


def _directions(ra: Float64, dec: Float64) -> Float64:
    a, d = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=-1)
