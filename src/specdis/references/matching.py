"""Finding the same star in two tables: by identifier, or on the sky at a common epoch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.spatial import cKDTree

from specdis.arrays import Array, Float64, Int64

GAIA_EPOCH = 2016.0
"""Year of the positions of Gaia DR3, and so of the catalogue."""

_ARCSEC = np.pi / 180.0 / 3600.0


def match_identifiers(wanted: Int64, known: Int64) -> Int64:
    """Return the row in `known` of each identifier, -1 where it is not there or is 0, shape (wanted,).

    The first row counts where one stands in `known` twice.
    """
    order = np.argsort(known, kind="stable")
    place = np.searchsorted(known, wanted, sorter=order)
    row = np.append(order, -1)[place]
    found = (row >= 0) & (wanted != 0)
    found[found] = known[row[found]] == wanted[found]
    return np.where(found, row, -1)


def match_sky(ra: Float64, dec: Float64, epoch: float, stars: Mapping[str, Array], radius: float) -> Int64:
    """Return the row in the catalogue of the star nearest to each place, -1 where none is near, shape (place,).

    The catalogue's stars are taken along their proper motions from `GAIA_EPOCH` to the epoch of the places. A star
    that is nearest to several places goes to the nearest of them alone.

    Parameters
    ----------
    ra, dec
        Places, degrees, shape (place,).
    epoch
        Year of the places.
    stars
        RA, DEC (degrees), PMRA times cos(dec) and PMDEC (mas/yr) of the catalogue, shape (star,).
    radius
        Largest separation, arcsec.
    """
    ra, dec = (np.asarray(values, dtype=np.float64) for values in (ra, dec))
    there = np.flatnonzero(np.isfinite(stars["RA"]) & np.isfinite(stars["DEC"]))
    places = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    row = np.full(len(ra), -1, dtype=np.int64)
    if not len(there) or not len(places):
        return row
    place = {name: np.asarray(stars[name])[there] for name in ("RA", "DEC", "PMRA", "PMDEC")}
    moved = directions_at(place["RA"], place["DEC"], place["PMRA"], place["PMDEC"], epoch)
    chord = 2.0 * np.sin(0.5 * radius * _ARCSEC)
    separation, nearest = cKDTree(moved).query(_directions(ra[places], dec[places]), distance_upper_bound=chord)
    near = np.flatnonzero(np.isfinite(separation))
    near = near[np.argsort(separation[near], kind="stable")]
    _, first = np.unique(nearest[near], return_index=True)
    row[places[near[first]]] = there[nearest[near[first]]]
    return row


def directions_at(ra: Float64, dec: Float64, pmra: Float64, pmdec: Float64, epoch: float) -> Float64:
    """Return unit vectors of stars at an epoch, shape (star, 3); an unknown proper motion is taken as none.

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
