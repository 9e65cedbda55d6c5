"""Systems of known distance: the globular clusters and dwarf galaxies of Table A1, and the Sagittarius stream.

Figures of the clusters: places, velocities and proper motions of Vasiliev & Baumgardt (2021, MNRAS 505, 5978) and
Baumgardt et al. (2019, MNRAS 482, 5138), distances of Baumgardt & Vasiliev (2021, MNRAS 505, 5957). Distances of the
dwarfs: Pace et al. (2022, ApJ 940, 136). All else: the Local Volume Database (Pace 2025, OJAp 8, 142). Track of the
stream: Antoja et al. (2020, A&A 635, L3) and Ramos et al. (2020, A&A 638, A104), as in galstreams (Mateu 2023, MNRAS
520, 5225).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from specdis.arrays import Array, Float64


class System(NamedTuple):
    """A cluster or a dwarf galaxy.

    Parameters
    ----------
    name
        As in Table A1.
    ra, dec
        Centre, degrees.
    distance
        kpc.
    radius
        Half-light radius on the sky, arcmin.
    vrad, dispersion
        Heliocentric radial velocity of the centre and its scatter, km/s.
    pmra, pmdec
        Proper motion, mas/yr; the former times cos(dec).
    feh, feh_scatter
        Mean and scatter of [Fe/H], dex.
    """

    name: bytes
    ra: float
    dec: float
    distance: float
    radius: float
    vrad: float
    dispersion: float
    pmra: float
    pmdec: float
    feh: float
    feh_scatter: float = 0.04


CLUSTERS = (
    System(b"NGC 6218", 251.809, -1.949, 5.109, 1.83, -41.67, 5.0, -0.1914, -6.8019, -1.34),
    System(b"NGC 6205", 250.422, 36.460, 7.419, 1.61, -244.90, 9.2, -3.1493, -2.5735, -1.50),
    System(b"NGC 5904", 229.638, 2.081, 7.479, 1.62, 53.50, 7.8, 4.0856, -9.8696, -1.31),
    System(b"NGC 6341", 259.281, 43.136, 8.501, 0.82, -120.55, 8.7, -4.9349, -0.6251, -2.35),
    System(b"NGC 5272", 205.548, 28.377, 10.175, 1.15, -147.20, 8.2, -0.1519, -2.6696, -1.54),
    System(b"NGC 7078", 322.493, 12.167, 10.709, 0.65, -106.84, 13.6, -0.6588, -3.8025, -2.24),
    System(b"NGC 7089", 323.363, -0.823, 11.693, 0.90, -3.78, 10.7, 3.4346, -2.1588, -1.52),
    System(b"NGC 5466", 211.364, 28.534, 16.120, 2.04, 106.82, 1.6, -5.3423, -0.8223, -1.98),
    System(b"NGC 5053", 199.113, 17.700, 17.537, 2.43, 42.82, 1.6, -0.3293, -1.2129, -2.34),
    System(b"NGC 5024", 198.230, 18.168, 18.498, 1.20, -63.37, 5.6, -0.1334, -1.3306, -1.95),
    System(b"Pal 5", 229.019, -0.121, 21.941, 3.21, -58.61, 0.7, -2.7298, -2.6540, -1.41),
    System(b"NGC 5634", 217.405, -5.976, 25.959, 0.61, -16.07, 5.3, -1.6918, -1.4781, -1.80),
    System(b"NGC 2419", 114.535, 38.882, 88.471, 0.85, -21.10, 11.1, 0.0073, -0.5226, -2.02),
)
DWARFS = (
    System(b"Draco", 260.0684, 57.9185, 75.8, 9.67, -292.20, 9.55, 0.0440, -0.1880, -2.20, 0.35),
    System(b"Sextans", 153.2680, -1.6200, 92.5, 22.80, 224.30, 7.9, -0.4090, 0.0370, -1.97, 0.35),
)
SYSTEMS = CLUSTERS + DWARFS

DEPTH = 0.005
"""Scatter of members' distances about their system's, as a fraction of it: less than the published errors."""

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
    """Return Lambda and Beta in degrees, each of shape (star,), of places at RA and Dec in degrees."""
    a, d = np.radians(ra), np.radians(dec)
    x, y, z = _STREAM_FRAME @ np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])
    return np.degrees(np.arctan2(y, x)), np.degrees(np.arcsin(np.clip(z, -1.0, 1.0)))


def stream_place(lam: Array) -> tuple[Float64, Float64]:
    """Return RA and Dec in degrees, each of shape (star,), of places on the stream's great circle, Beta = 0."""
    angle = np.radians(lam)
    x, y, z = _STREAM_FRAME.T @ np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)])
    return np.degrees(np.arctan2(y, x)) % 360.0, np.degrees(np.arcsin(z))


def stream_track(lam: Array) -> tuple[Float64, Float64, Float64]:
    """Return distance (kpc) and proper motion in RA times cos(dec) and Dec (mas/yr) of the track, shape (star,)."""
    distance, pmra, pmdec = (np.interp(lam, TRACK[:, 0], column) for column in TRACK.T[1:])
    return distance, pmra, pmdec


def stream_density(ra: Array, dec: Array, distance: Float64) -> Float64:
    """Return stars per unit of distance along lines of sight, 1 at the most, shape (place, distance).

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
