"""The mock's sky: coordinates, footprint, programmes and dust."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from astropy.coordinates import Latitude, Longitude
from astropy_healpix.core import healpix_to_lonlat, lonlat_to_healpix

from specdis.arrays import Array, Float64, Int64
from specdis.mock.draws import Draws
from specdis.mock.settings import MockSettings
from specdis.references import TABLE_A1

NSIDE = 64
SURVEY = b"main"
SUN = np.array([-8.2, 0.0, 0.02])  # kpc; Bland-Hawthorn & Gerhard (2016)
SUN_VELOCITY = np.array([11.1, 245.8, 7.8])  # km/s towards the centre, along rotation, to the north; same source

# Rotation from ICRS to Galactic Cartesian coordinates (ESA 1997, The Hipparcos Catalogue, Vol. 1, Eq. 1.5.11)
_GALACTIC = np.array(
    [
        [-0.0548755604, -0.8734370902, -0.4838350155],
        [0.4941094279, -0.4448296300, 0.7469822445],
        [-0.8676661490, -0.1980763734, 0.4559837762],
    ]
)
_MAP_BITS = 41  # of SOURCE_ID, below the pixel at nside 512: 7 arcmin, about the resolution of the map of SFD98
_LEAST_REDDENING = 0.002  # mag; a map has dust everywhere, and 0 means missing
KM_S = 4.740471  # km/s of one kpc times one mas/yr


class Programme(NamedTuple):
    """Limits of a programme in G, Galactic latitude and declination (degrees), and its blue horizontal-branch stars.

    `bhb_fraction` is their share among its targets, if larger than `MockSettings.bhb_fraction`.
    """

    name: bytes
    bright: float
    faint: float
    latitude: float
    declination: float = -20.0
    bhb_fraction: float = 0.0


PROGRAMMES = (
    Programme(b"bright", 16.0, 19.0, 20.0),
    Programme(b"backup", 11.0, 16.0, 6.0),
    Programme(b"dark", 16.0, 20.5, 20.0, bhb_fraction=0.5),
)


def footprint(settings: MockSettings) -> dict[bytes, tuple[int, Int64]]:
    """Return the number of stars of each programme and their HEALPix pixels (nside 64, nested).

    Pixels are a random subset of the programme's footprint, in one random order for all programmes, so that
    programmes share pixels. Of the first pixels every fourth is that of a system.
    """
    pixels = np.setdiff1d(np.arange(12 * NSIDE**2), system_pixels())
    pixels = pixels[np.argsort(Draws(settings.seed, (pixels,)).uniform("footprint"), kind="stable")]
    pixels = np.insert(pixels, 3 * np.arange(1, len(TABLE_A1) + 1), system_pixels())
    ra, dec = sky_of(pixels, NSIDE)
    latitude = np.degrees(np.arcsin(directions(ra, dec)[0][2]))
    backup, dark = (round(settings.stars * share) for share in (settings.backup_fraction, settings.dark_fraction))
    dark = dark if dark >= settings.stars_per_file else 0
    result = {}
    for programme, stars in zip(PROGRAMMES, (settings.stars - backup - dark, backup, dark), strict=True):
        inside = (np.abs(latitude) > programme.latitude) & (dec > programme.declination)
        files = max(1, stars // settings.stars_per_file)
        result[programme.name] = stars, pixels[inside][:files]
    return result


def system_pixels() -> Int64:
    """Return the HEALPix pixel (nside 64, nested) of the centre of each of `TABLE_A1`."""
    return pixels_of(np.array([system.ra for system in TABLE_A1]), np.array([system.dec for system in TABLE_A1]), NSIDE)


def true_reddening(seed: int, pixel: Int64, sine_latitude: Array) -> Float64:
    """Return E(B-V) on the scale of SFD98 (mag): a plane layer of dust, patchy from pixel to pixel, shape (star,)."""
    patch = 0.55 * Draws(seed, (pixel,)).normal("dust") + 0.5 * Draws(seed, (pixel >> 4,)).normal("dust cloud")
    return np.asarray(0.025 / np.abs(sine_latitude) * np.exp(patch))


def map_reddening(settings: MockSettings, source_id: Int64, ebv: Float64) -> Float64:
    """Return E(B-V) as a dust map has it, mag, shape (star,): with an error, the same for stars within its resolution.

    Parameters
    ----------
    settings
        `ebv_error` and `ebv_error_floor`.
    source_id
        Identifiers, which hold the place.
    ebv
        True E(B-V) of all dust along the line of sight, mag.
    """
    draws = Draws(settings.seed, (source_id >> _MAP_BITS,))
    error = np.hypot(settings.ebv_error * ebv, settings.ebv_error_floor)
    return np.maximum(ebv + error * draws.normal("dust map"), _LEAST_REDDENING)


def dust_in_front(height: float, distance: Float64, sine_latitude: Array) -> Float64:
    """Return the share of the dust along the line of sight that lies in front of a star, any shape.

    Its density falls exponentially with the distance from a plane through the Sun.

    Parameters
    ----------
    height
        Scale height, kpc; 0 for all dust in front.
    distance
        kpc.
    sine_latitude
        Sine of the Galactic latitude.
    """
    above = distance * np.abs(sine_latitude)
    return -np.expm1(-above / height) if height > 0.0 else np.ones_like(above)


def sky_of(pixel: Int64, nside: int, x: Array | float = 0.5, y: Array | float = 0.5) -> tuple[Float64, Float64]:
    """Return RA and Dec (deg) of positions in nested HEALPix pixels; the centre by default."""
    ra, dec = healpix_to_lonlat(pixel, nside, dx=x, dy=y, order="nested")
    return ra.to_value("deg"), dec.to_value("deg")


def pixels_of(ra: Float64, dec: Float64, nside: int) -> Int64:
    """Return the nested HEALPix pixels of positions at RA and Dec in degrees."""
    return np.asarray(lonlat_to_healpix(Longitude(ra, "deg"), Latitude(dec, "deg"), nside, order="nested"), np.int64)


def directions(ra: Array, dec: Array) -> Float64:
    """Return Galactic Cartesian unit vectors towards stars at RA, Dec (deg), to the east and to the north.

    Returns
    -------
    ndarray, shape (3 vectors, 3 coordinates, star)
    """
    a, d = np.radians(ra), np.radians(dec)
    towards = np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])
    east = np.stack([-np.sin(a), np.cos(a), np.zeros_like(a)])
    north = np.stack([-np.sin(d) * np.cos(a), -np.sin(d) * np.sin(a), np.cos(d)])
    return np.asarray(_GALACTIC @ np.stack([towards, east, north]))
