"""Finding the same star in two tables: by identifier, or on the sky at a common epoch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from specdis.arrays import Array, Float64, Int64
from specdis.log import logger
from specdis.references.settings import ReferenceFile

GAIA_EPOCH = 2016.0
"""Epoch of the positions of Gaia DR3, and so of the catalogue, year."""

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
    """

    def __init__(self, stars: Mapping[str, Array]) -> None:
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

        Proper motions take the stars from `GAIA_EPOCH` to the epoch of the places. A star that is nearest to several
        places is matched to the nearest of them only.

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
            moved = directions_at(place["RA"], place["DEC"], place["PMRA"], place["PMDEC"], epoch)
            self._trees[epoch] = cKDTree(moved)
        return self._trees[epoch]


def find_rows(
    columns: Mapping[str, Array], epoch: float, file: ReferenceFile, targets: SurveyStars, radius: float
) -> Int64:
    """Return the row in the catalogue of each row of a published table, -1 without a match, shape (row,).

    Rows are matched by SOURCE_ID if the table has it, else by TARGETID; on the sky if it has neither, if `file` says
    so, or for rows with a position but the identifier 0. If many more stars match on the sky than by SOURCE_ID, the
    identifiers are those of another Gaia release, and all rows are matched on the sky.

    Parameters
    ----------
    columns
        SOURCE_ID, TARGETID, RA and DEC, as far as the table has them, shape (row,).
    epoch
        Year of its positions.
    file
        How to match.
    targets
        The catalogue.
    radius
        Largest separation on the sky, arcsec.
    """
    row = np.full(len(next(iter(columns.values()))), -1, dtype=np.int64)
    without = np.ones(len(row), dtype=bool)
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
            _say_other_release(file.path, by_name, int(np.count_nonzero(on_sky >= 0)))
            return on_sky
        row = np.where(without, on_sky, row)
    return row


def _say_other_release(path: Path, by_name: int, on_sky: int) -> None:
    logger.warning(
        "%s: %d stars match by identifier and %d on the sky: not identifiers of Gaia DR3; matched on the sky",
        *(path, by_name, on_sky),
    )


def directions_at(ra: Float64, dec: Float64, pmra: Float64, pmdec: Float64, epoch: float) -> Float64:
    """Return unit vectors of stars at an epoch, shape (star, 3); an unknown proper motion counts as 0.

    Parameters
    ----------
    ra, dec
        Places at `GAIA_EPOCH`, degrees, shape (star,).
    pmra, pmdec
        Proper motion in RA times cos(dec) and in Dec, mas/yr, shape (star,).
    epoch
        Year.
    """
    a, d = np.radians(ra), np.radians(dec)
    east = np.stack([-np.sin(a), np.cos(a), np.zeros_like(a)], axis=-1)
    north = np.stack([-np.sin(d) * np.cos(a), -np.sin(d) * np.sin(a), np.cos(d)], axis=-1)
    years = (epoch - GAIA_EPOCH) * 1e-3 * _ARCSEC
    move = np.nan_to_num(pmra)[:, None] * east + np.nan_to_num(pmdec)[:, None] * north
    moved = _directions(ra, dec) + years * move
    return np.asarray(moved / np.linalg.norm(moved, axis=-1, keepdims=True))


def _directions(ra: Float64, dec: Float64) -> Float64:
    a, d = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=-1)
