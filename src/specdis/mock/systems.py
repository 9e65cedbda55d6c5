"""Systems of known distance: the Sagittarius stream, and the scatter of members in clusters and dwarf galaxies.

The clusters and dwarf galaxies are those of Table A1, from `specdis.references`. Track of the stream: Antoja et al.
(2020, A&A 635, L3) and Ramos et al. (2020, A&A 638, A104), as in galstreams (Mateu 2023, MNRAS 520, 5225).
"""

from __future__ import annotations

import numpy as np

from specdis.arrays import Array, Float64

DEPTH = 0.005
"""Scatter of members' distances about that of their system, as a fraction: less than the published errors."""

STREAM_WIDTH = 4.0  # degrees of Beta; the bright branch of the stream (Vasiliev et al. 2021, MNRAS 501, 2279)
STREAM_DEPTH = 0.08  # scatter of distances about the track, as a fraction of it
STREAM_DISPERSION = 15.0  # km/s

# From ICRS to the stream's own frame (Vasiliev et al. 2021): Lambda grows towards the leading arm
_STREAM_FRAME = np.array(
    [
        [0.21215543, -0.84846288, -0.48487195],
        [-0.93595357, -0.31910650, 0.14886896],
        [-0.28103558, 0.42223428, -0.86182204],
    ]
)

# Lambda (deg), distance (kpc), proper motion in RA times cos(dec) and in Dec (mas/yr)
TRACK = np.array(
    [
        (-137.5, 36.01, 0.391, -1.384),
        (-125.0, 31.66, 0.156, -1.697),
        (-112.5, 27.91, -0.037, -2.072),
        (-100.0, 25.17, -0.213, -2.450),
        (-87.5, 23.42, -0.574, -2.704),
        (-75.0, 22.19, -1.054, -2.840),
        (-62.5, 21.48, -1.535, -2.886),
        (-50.0, 21.64, -1.968, -2.821),
        (-37.5, 22.75, -2.341, -2.602),
        (-25.0, 24.50, -2.602, -2.221),
        (-12.5, 26.51, -2.672, -1.756),
        (0.0, 28.82, -2.517, -1.337),
        (12.5, 32.08, -2.191, -1.052),
        (25.0, 36.95, -1.799, -0.884),
        (37.5, 43.20, -1.443, -0.753),
        (50.0, 49.19, -1.194, -0.607),
        (62.5, 52.26, -1.086, -0.482),
        (75.0, 50.45, -1.106, -0.476),
        (87.5, 44.26, -1.185, -0.631),
        (100.0, 36.88, -1.235, -0.880),
        (112.5, 31.24, -1.238, -1.162),
        (125.0, 25.68, -1.258, -1.651),
        (137.5, 18.98, -1.298, -2.164),
    ]
)


def stream_coordinates(ra: Array, dec: Array) -> tuple[Float64, Float64]:
    """Return Lambda and Beta in degrees, each of shape (star,), of positions at RA and Dec in degrees."""
    a, d = np.radians(ra), np.radians(dec)
    x, y, z = _STREAM_FRAME @ np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])
    return np.degrees(np.arctan2(y, x)), np.degrees(np.arcsin(np.clip(z, -1.0, 1.0)))


def stream_place(lam: Array) -> tuple[Float64, Float64]:
    """Return RA and Dec in degrees, each of shape (star,), of positions on the stream's great circle, Beta = 0."""
    angle = np.radians(lam)
    x, y, z = _STREAM_FRAME.T @ np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)])
    return np.degrees(np.arctan2(y, x)) % 360.0, np.degrees(np.arcsin(z))


def stream_track(lam: Array) -> tuple[Float64, Float64, Float64]:
    """Return distance (kpc) and proper motion in RA times cos(dec) and Dec (mas/yr) of the track, shape (star,)."""
    distance, pmra, pmdec = (np.interp(lam, TRACK[:, 0], column) for column in TRACK.T[1:])
    return distance, pmra, pmdec


def stream_density(ra: Array, dec: Array, distance: Float64) -> Float64:
    """Return stars per unit of distance along lines of sight, with a maximum of 1, shape (place, distance).

    A normal distribution in Beta and in distance about the track, which ends at |Lambda| = 140 degrees.

    Parameters
    ----------
    ra, dec
        Degrees, shape (place,).
    distance
        kpc, shape (distance,).
    """
    lam, beta = stream_coordinates(ra, dec)
    centre, _, _ = stream_track(lam)
    across = np.where(np.abs(lam) < 140.0, np.exp(-0.5 * (beta / STREAM_WIDTH) ** 2), 0.0)
    away = (distance / centre[:, None] - 1.0) / STREAM_DEPTH
    return np.asarray(across[:, None] * np.exp(-0.5 * away**2))
