"""Gaia DR3's measurements of each star: magnitudes, parallax with its zero point, proper motion, quality.

Extinction and zero point are implemented here again, from the published numbers, and not imported from
`specdis.photometry`: a mock that shares the pipeline's code could not reveal an error in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from specdis.arrays import Array, Bool, Float64
from specdis.mock.colours import absolute_magnitudes, band_offset
from specdis.mock.draws import Draws
from specdis.mock.settings import MockSettings
from specdis.mock.sky import map_reddening

NO_MATCH = {"i8": 999999, "i2": 16959}
"""Values of DR1's integer columns without a Gaia match, marked as null in the header."""

UNSAID = ("MATCHED", "SPURIOUS")
"""Columns of `observed_by_gaia` that Gaia does not publish."""

_NEAR = 2.0  # kpc
_VARIABLE, _PULSATING_KNOWN = 0.015, 0.7  # shares of the stars that are flagged as variable: of all, of RR Lyrae stars
_SPURIOUS = 5.0  # scatter of spurious parallaxes in units of their errors

EBV_SCALE = 0.86
"""E(B-V) over that of SFD98: Schlafly & Finkbeiner (2011)."""
_A0_PER_EBV = 3.1 * EBV_SCALE
"""A_0 per E(B-V) of SFD98, with R_V = 3.1."""

# Gaia EDR3 extinction law (Riello et al. 2021; Fitzpatrick et al. 2019 curve), main sequence, X = Teff / 5040 K:
# coefficients of 1, X, X^2, X^3, A0, A0^2, A0^3, X A0, A0 X^2, X A0^2
_EXTINCTION = {
    "G": (
        *(0.259021858973784, 0.93676111876298, -0.437446499585492, 0.0783508476444952, -0.00136127433235224),
        *(0.000797222688660053, -2.52364537395233e-05, -0.029981504413869, 0.00555506017434798, 0.000402778419603886),
    ),
    "BP": (
        *(0.888088914696666, 0.11318390480077, 0.0846337732558566, -0.0371265818793239, -0.00296140793334905),
        *(0.000538660562947277, -1.31018008013512e-05, -0.0164152179931537, 0.00323902299833464, 0.000169011297620409),
    ),
    "RP": (
        *(0.382719668454633, 0.505895415656219, -0.314981478333036, 0.0665302085130136, -0.00383780468169498),
        *(6.50490784002505e-05, 1.57894227640801e-06, -0.00348740736346628, 0.00110877159426768, -1.8313141658225e-05),
    ),
}


class _ZeroPoint(NamedTuple):
    """Columns (j, k) of a zero-point table and their values in micro-arcsec at the nodes of G."""

    terms: tuple[tuple[int, int], ...]
    values: Float64


# Lindegren et al. (2021, A&A 649, A4), Tables 9 and 10
_ZERO_POINT_G = np.array([6.0, 10.8, 11.2, 11.8, 12.2, 12.9, 13.1, 15.9, 16.1, 17.5, 19.0, 20.0, 21.0])
_FIVE = _ZeroPoint(
    ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0), (3, 0), (4, 0)),
    np.array(
        [
            (-26.98, -9.62, 27.40, -25.1, 0.0, -1257.0, 0.0, 0.0),
            (-27.23, -3.07, 23.04, 35.3, 15.7, -1257.0, 0.0, 0.0),
            (-30.33, -9.23, 9.08, -88.4, -11.8, -1257.0, 0.0, 0.0),
            (-33.54, -10.08, 13.28, -126.7, 11.6, -1257.0, 0.0, 0.0),
            (-13.65, -0.07, 9.35, -111.4, 40.6, -1257.0, 0.0, 0.0),
            (-19.53, -1.64, 15.86, -66.8, 20.6, -1257.0, 0.0, 0.0),
            (-37.99, 2.63, 16.14, -5.7, 14.0, -1257.0, 107.9, 104.3),
            (-38.33, 5.61, 15.42, 0.0, 18.7, -1189.0, 243.8, 155.2),
            (-31.05, 2.83, 8.59, 0.0, 15.5, -1404.0, 105.5, 170.7),
            (-29.18, -0.09, 2.41, 0.0, 24.5, -1165.0, 189.7, 325.0),
            (-18.40, 5.98, -6.46, 0.0, 5.5, 0.0, 0.0, 276.6),
            (-12.65, -4.57, -7.46, 0.0, 97.9, 0.0, 0.0, 0.0),
            (-18.22, -15.24, -18.54, 0.0, 128.2, 0.0, 0.0, 0.0),
        ]
    ),
)
_SIX = _ZeroPoint(
    ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0)),
    np.array(
        [
            (-27.85, -7.78, 27.47, -32.1, 14.4, 9.5, -67.0),
            (-28.91, -3.57, 22.92, 7.7, 12.6, 1.6, -572.0),
            (-26.72, -8.74, 9.36, -30.3, 5.6, 17.2, -1104.0),
            (-29.04, -9.69, 13.63, -49.4, 36.3, 17.7, -1129.0),
            (-12.39, -2.16, 10.23, -92.6, 19.8, 27.6, -365.0),
            (-18.99, -1.93, 15.90, -57.2, -8.0, 19.9, -554.0),
            (-38.29, 2.59, 16.20, -10.5, 1.4, 0.4, -960.0),
            (-36.83, 4.20, 15.76, 22.3, 11.1, 10.0, -1367.0),
            (-28.37, 1.99, 9.28, 50.4, 17.2, 13.7, -1351.0),
            (-24.68, -1.37, 3.52, 86.8, 19.8, 21.3, -1380.0),
            (-15.32, 4.01, -6.03, 29.2, 14.1, 0.4, -563.0),
            (-13.73, -10.92, -8.30, -74.4, 196.4, -42.0, 536.0),
            (-29.53, -20.34, -18.74, -39.5, 326.8, -262.3, 1598.0),
        ]
    ),
)


# Median errors of DR3, mmag, at magnitudes 11 to 21 in the band itself: the splines of Gaia's technical note
# GAIA-C5-TN-UB-JMC-031 for the mean numbers of observations of the release, as evaluated by PyGaia
_FLUX_ERRORS_AT = np.arange(11.0, 22.0)
_FLUX_ERRORS = {
    "G": (0.174, 0.173, 0.190, 0.192, 0.274, 0.439, 0.737, 1.27, 2.36, 4.51, 9.42),
    "BP": (0.471, 0.614, 0.623, 0.782, 1.27, 2.31, 4.55, 9.46, 20.9, 44.4, 93.7),
    "RP": (0.336, 0.364, 0.514, 0.838, 1.56, 3.15, 6.95, 14.8, 31.6, 71.8, 113.2),
}
_MAG_PER_FLUX = 2.5 / np.log(10.0)  # error of a magnitude per relative error of the flux


def true_extinction(teff: Array, ebv: Array, band: str) -> Float64:
    """Return the true extinction in a Gaia band, mag, shape (star,).

    Parameters
    ----------
    teff
        K, shape (star,); the law is used between 3500 and 10000 K.
    ebv
        E(B-V) on the scale of SFD98, mag, shape (star,).
    band
        `G`, `BP` or `RP`.
    """
    x, a0 = np.clip(teff, 3500.0, 10000.0) / 5040.0, _A0_PER_EBV * ebv
    powers = (np.ones_like(x), x, x**2, x**3, a0, a0**2, a0**3, x * a0, a0 * x**2, x * a0**2)
    return np.asarray(a0 * sum(c * power for c, power in zip(_EXTINCTION[band], powers, strict=True)))


def true_zero_point(g: Array, colour: Array, ecliptic_latitude: Array, six: Bool) -> Float64:
    """Return the zero point of DR3 parallaxes in mas, shape (star,), which every published parallax includes.

    Parameters
    ----------
    g
        G magnitude, shape (star,).
    colour
        Effective wavenumber of five-parameter solutions, pseudocolour of six-parameter ones (1/um), shape (star,).
    ecliptic_latitude
        Degrees, shape (star,).
    six
        Whether the solution has six parameters, shape (star,).
    """
    c = (
        np.ones_like(colour),
        np.clip(colour - 1.48, -0.24, 0.24),
        np.clip(1.48 - colour, 0.0, 0.24) ** 3,
        np.minimum(colour - 1.24, 0.0),
        np.maximum(colour - 1.72, 0.0),
    )
    sine = np.sin(np.radians(ecliptic_latitude))
    b = (np.ones_like(sine), sine, sine**2 - 1.0 / 3.0)
    five_, six_ = (
        sum(np.interp(g, _ZERO_POINT_G, q) * c[j] * b[k] for (j, k), q in zip(table.terms, table.values.T, strict=True))
        for table in (_FIVE, _SIX)
    )
    return np.asarray(np.where(six, six_, five_) * 1e-3)


def parallax_error(g: Array) -> Float64:
    """Return the median uncertainty of DR3 parallaxes in mas at G: ESA's science performance, as in PyGaia."""
    z = 10.0 ** (0.4 * (np.maximum(g, 13.0) - 15.0))
    return np.asarray(1e-3 * np.sqrt(40.0 + 800.0 * z + 30.0 * z**2))


def true_error_inflation(g: Array) -> Float64:
    """Return true over published parallax error at G: El-Badry, Rix & Heintz (2021), Eq. 16."""
    bright = 0.21 * np.exp(-np.square((g - 12.65) / 0.90))
    return np.asarray(np.maximum(1.0, bright + np.polyval([-0.00062, 0.0040, 1.141], g)))


def effective_wavenumber(bp_rp: Array) -> Float64:
    """Return nu_eff in 1/um at a colour in mag: Lindegren et al. (2021, A&A 649, A4), Eq. 3."""
    return np.asarray(1.76 - 1.61 / np.pi * np.arctan(0.531 * bp_rp))


def observed_by_gaia(stars: Mapping[str, Array], settings: MockSettings) -> dict[str, Array]:
    """Observe the stars of `galaxy.universe` with Gaia.

    Returns
    -------
    dict of ndarray, shape (star,)
        Columns of the GAIA table by their DR1 names; MATCHED (bool): unmatched stars keep their values here; SPURIOUS
        (bool).
    """
    draws = Draws(settings.seed, (stars["SOURCE_ID"],))
    columns = _photometry(stars, settings)
    g = columns["PHOT_G_MEAN_MAG"]

    solution = draws.uniform("solution")
    two, six = solution < 0.01, (solution >= 0.01) & (solution < 0.10)
    wavenumber = effective_wavenumber(columns["BP_RP"])
    guess_error = 0.01 + 0.2 * parallax_error(g)
    pseudocolour = wavenumber + guess_error * draws.normal("pseudocolour")
    spurious = draws.uniform("spurious") < settings.spurious_fraction
    ruwe = _ruwe(stars, spurious, draws)
    variable = np.where(stars["PULSATING"], _PULSATING_KNOWN, _VARIABLE)
    # the scanning law, the sixth parameter and a disturbed image make errors larger than the median
    worse = np.exp(0.15 * draws.normal("scanning law")) * np.where(six, 1.2, 1.0) * np.maximum(ruwe, 1.0)
    error = (worse * parallax_error(g)).astype(np.float32)
    latitude = ecliptic_latitude(stars["RA"], stars["DEC"])
    offset = true_zero_point(g, np.where(six, pseudocolour, wavenumber), latitude, six)
    inflation = true_error_inflation(g) if settings.error_inflation == "el-badry2021" else 1.0
    scatter = error * inflation * np.where(spurious, _SPURIOUS, 1.0)
    scatter = scatter * settings.parallax_inflation
    parallax = 1.0 / stars["DIST"] + offset + settings.parallax_offset + scatter * draws.normal("parallax")

    columns |= {
        "SOURCE_ID": stars["SOURCE_ID"],
        "DESIGNATION": np.char.add(b"Gaia DR3 ", stars["SOURCE_ID"].astype("S19")),
        "REF_EPOCH": np.full(len(g), 2016.0),
        "RA": stars["RA"],
        "DEC": stars["DEC"],
        "RA_ERROR": 0.80 * error,
        "DEC_ERROR": 0.70 * error,
        "PARALLAX": np.where(two, np.nan, parallax),
        "PARALLAX_ERROR": np.where(two, np.nan, error),
        "PARALLAX_OVER_ERROR": np.where(two, np.nan, parallax / error),
        "ASTROMETRIC_PARAMS_SOLVED": np.select([two, six], [3, 95], 31).astype(np.int16),
        "NU_EFF_USED_IN_ASTROMETRY": np.where(two | six, np.nan, wavenumber),
        "PSEUDOCOLOUR": np.where(six, pseudocolour, np.nan),
        "PSEUDOCOLOUR_ERROR": np.where(six, guess_error, np.nan),
        "RUWE": np.where(two, np.nan, ruwe),
        "PHOT_VARIABLE_FLAG": np.where(draws.uniform("variable") < variable, b"VARIABLE", b"NOT_AVAILABLE"),
        "ECL_LAT": latitude,
        "EBV": map_reddening(settings, stars["SOURCE_ID"], stars["EBV"]),
        "MATCHED": draws.uniform("match") >= settings.unmatched_fraction,
        "SPURIOUS": spurious,
    }
    for name, factor in (("PMRA", 1.03), ("PMDEC", 0.89)):
        noise = factor * error
        columns[name] = np.where(two, np.nan, stars[name] + noise * draws.normal(name))
        columns[f"{name}_ERROR"] = np.where(two, np.nan, noise)
    columns["PM"] = np.hypot(columns["PMRA"], columns["PMDEC"])
    return columns


def _ruwe(stars: Mapping[str, Array], spurious: Bool, draws: Draws) -> Float64:
    """Draw RUWE: raised for some nearby binaries with visible orbits, and for half of the spurious parallaxes."""
    near_binary = np.isfinite(stars["MASS_RATIO"]) & (stars["DIST"] < _NEAR)
    disturbed = draws.uniform("disturbed") < np.select([spurious, near_binary], [0.5, 0.25], 0.04)
    raised = 1.2 - 0.4 * np.log(draws.uniform("ruwe"))
    return np.where(disturbed, raised, np.exp(0.01 + 0.05 * draws.normal("ruwe")))


def _photometry(stars: Mapping[str, Array], settings: MockSettings) -> dict[str, Array]:
    """Return apparent magnitudes and fluxes over their errors; G, whose errors are a few mmag, is exact."""
    draws = Draws(settings.seed, (stars["SOURCE_ID"],))
    modulus = 5.0 * np.log10(stars["DIST"]) + 10.0
    absolute = {**absolute_magnitudes(stars), "G": stars["M_G"]}
    columns: dict[str, Array] = {}
    for band, median in _FLUX_ERRORS.items():
        magnitude = absolute[band] + modulus + true_extinction(stars["TEFF"], stars["EBV_IN_FRONT"], band)
        error = np.exp(np.interp(magnitude, _FLUX_ERRORS_AT, np.log(median)) + 0.15 * draws.normal(f"error {band}"))
        columns[f"PHOT_{band}_MEAN_FLUX_OVER_ERROR"] = _MAG_PER_FLUX / (1e-3 * error)
        if band != "G":
            scatter = np.hypot(1e-3 * error, settings.band_scatter / 3.0)
            magnitude = magnitude + band_offset(settings, band) + scatter * draws.normal(band)
        columns[f"PHOT_{band}_MEAN_MAG"] = magnitude
    g, bp, rp = (columns[f"PHOT_{band}_MEAN_MAG"] for band in _FLUX_ERRORS)
    return columns | {"BP_RP": bp - rp, "BP_G": bp - g, "G_RP": g - rp}


def ecliptic_latitude(ra: Array, dec: Array) -> Float64:
    """Return ecliptic latitudes in degrees; the obliquity is that of J2000."""
    obliquity, a, d = np.radians(23.4392911), np.radians(ra), np.radians(dec)
    sine = np.sin(d) * np.cos(obliquity) - np.cos(d) * np.sin(obliquity) * np.sin(a)
    return np.asarray(np.degrees(np.arcsin(sine)))
