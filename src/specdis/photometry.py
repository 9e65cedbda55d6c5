"""Section 2.3 and Eq. 3: extinction, parallax zero point, and the label between parallax and absolute magnitude.

Functions take and return float64 arrays of any one shape. Parallaxes are in mas, distances in kpc, magnitudes in mag.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field
from zero_point import zpt

from specdis.arrays import Array, Bool, Float64, ranges
from specdis.settings import Settings, departs


class PhotometrySettings(Settings):
    """`[photometry]`: from Gaia's measurements to the label."""

    ebv_scale: float = Field(0.86, gt=0)
    """True E(B-V) per E(B-V) of the survey's file: 0.86 for SFD98 (Schlafly & Finkbeiner 2011), 1 for a true one."""
    ebv_error: float = departs(0.16, paper=0.0, ge=0)
    """Relative error of E(B-V): 16 % for SFD98 (Schlegel, Finkbeiner & Davis 1998). It widens the errors of distances
    and colours."""
    ebv_error_floor: float = departs(0.01, paper=0.0, ge=0)
    """Least error of E(B-V) in mag."""
    extinction_law: Literal["gaia-edr3-teff", "constant"] = "gaia-edr3-teff"
    """A_G from the Gaia EDR3 law (from the colour, then from the constant, where Teff is missing), or the constant."""
    extinction_constant: float = Field(2.6, ge=0)
    """A_G / E(B-V) of the constant, scaled as above; the Gaia EDR3 law gives 2.5 to 2.7 for solar-type stars."""
    dust_height: float = Field(0.1, ge=0)
    """Scale height of the dust in kpc (0.10 in Li et al. 2018), for the flag INSIDE_DUST: E(B-V) of a map holds the
    dust behind a star too. 0 if the file's E(B-V) is that in front of each star: no flags."""
    zero_point: Literal["lindegren2021", "none"] = "lindegren2021"
    """Parallax zero point: Lindegren et al. (2021), or none for other parallaxes than Gaia's."""
    error_inflation: Literal["none", "el-badry2021"] = "none"
    """Parallax errors as published, or enlarged with G by El-Badry, Rix & Heintz (2021)."""
    nuisances: Literal["none", "constant", "smooth"] = "none"
    """What the networks fit of the zero point and of the inflation of errors beside these recipes: nothing, one number
    each, or a smooth function of G and BP-RP (decision 24)."""


class ExtinctionSource(IntEnum):
    """Source of a star's A_G, the codes of A_G_SOURCE. COLOUR and CONSTANT replace a missing Teff."""

    TEFF = 0
    COLOUR = 1
    CONSTANT = 2
    NO_EBV = 3
    CONSTANT_BY_CHOICE = 4


# Gaia EDR3 extinction law (ESA, cosmos.esa.int/web/gaia/edr3-extinction-law; Riello et al. 2021): A_m / A_0 on the
# curve of Fitzpatrick et al. (2019), main-sequence rows; those of the giants differ by less than 0.5 %. The terms are
# 1, X, X^2, X^3, A0, A0^2, A0^3, X A0, X^2 A0, X A0^2.
# fmt: off
_G_BY_TEFF = (
    0.259021858973784, 0.93676111876298, -0.437446499585492, 0.0783508476444952,
    -0.00136127433235224, 0.000797222688660053, -2.52364537395233e-05,
    -0.029981504413869, 0.00555506017434798, 0.000402778419603886,
)
_G_BY_COLOUR = (
    0.995969721536602, -0.159726460302015, 0.0122380738156057, 0.00090726555099859,
    -0.0377160263914123, 0.00151347495244888, -2.52364537395142e-05,
    0.0114522658102451, -0.000936914989014318, -0.000260296774134201,
)
_BP_BY_COLOUR = (
    1.15363197483424, -0.0814012991657388, -0.036013023976704, 0.0192143585568966,
    -0.022397548243016, 0.000840562680547171, -1.31018008013549e-05,
    0.00660124080271006, -0.000882247501989453, -0.000111215755291684,
)
_RP_BY_COLOUR = (
    0.66320787941067, -0.0179847164933981, 0.000493769449961458, -0.00267994405695751,
    -0.00651422146709376, 3.30179903473159e-05, 1.57894227641527e-06,
    -7.9800898337247e-05, 0.000255679812110045, 1.10476584967393e-05,
)
# fmt: on
R_V = 3.1
"""A_0 at 550 nm per true E(B-V)."""
SF11_SCALE = 0.86
"""True E(B-V) over that of SFD98 (Schlafly & Finkbeiner 2011)."""
LAW_RANGE = (3500.0, 10000.0)
"""Temperature range of the law; it is constant beyond."""
_COLOUR_RANGE = (-0.2, 2.5)
"""The same range in intrinsic BP-RP: the fit's cubic turns up again redward of it."""
_A0_MAX = 20.0

_POLE = (192.85948, 27.12825)
"""Right ascension and declination of the north Galactic pole, deg (J2000)."""
_DUST_MATTERS = 0.05
"""Excess of A_G in mag that sets a flag: 2.3 % of the distance."""

_ZERO_POINT_BLOCK = 1 << 18  # the package uses 250 bytes per star


def extinction(
    ebv: ArrayLike, teff: ArrayLike, bp_rp: ArrayLike, settings: PhotometrySettings
) -> tuple[Float64, Array]:
    """Return the extinction A_G in the Gaia G band (section 2.3).

    Parameters
    ----------
    ebv
        True reddening E(B-V), scaled already, in mag.
    teff
        Effective temperature in K, clipped to the 3500-10000 K that the law covers; NaN where missing.
    bp_rp
        Observed colour BP-RP in mag, for stars without `teff`; NaN where missing.
    settings
        The law, and the constant for stars without temperature and colour.

    Returns
    -------
    a_g : ndarray of float64
        A_G in mag; 0 where `ebv` is NaN.
    source : ndarray of uint8
        `ExtinctionSource` of each star.
    """
    ebv, teff, bp_rp = np.broadcast_arrays(*(_plain(values) for values in (ebv, teff, bp_rp)))
    a_0 = R_V * ebv
    constant = settings.extinction_constant * ebv
    # The first true condition decides.
    cases = {
        ExtinctionSource.NO_EBV: (~np.isfinite(ebv), np.zeros_like(ebv)),
        ExtinctionSource.CONSTANT_BY_CHOICE: (np.full(ebv.shape, settings.extinction_law == "constant"), constant),
        ExtinctionSource.TEFF: (
            np.isfinite(teff),
            a_0 * extinction_ratio(_G_BY_TEFF, np.clip(teff, *LAW_RANGE) / 5040.0, a_0),
        ),
        ExtinctionSource.COLOUR: (
            np.isfinite(bp_rp),
            a_0 * extinction_ratio(_G_BY_COLOUR, intrinsic_colour(bp_rp, a_0), a_0),
        ),
        ExtinctionSource.CONSTANT: (np.ones(ebv.shape, dtype=np.bool_), constant),
    }
    rows, values = zip(*cases.values())
    return np.select(rows, values), np.select(rows, list(cases)).astype(np.uint8)


def a_g_error(ebv: ArrayLike, a_g: ArrayLike, settings: PhotometrySettings) -> Float64:
    """Return the error of A_G from that of E(B-V), mag, any shape; 0 where E(B-V) is missing."""
    ebv = _plain(ebv)
    per_ebv = np.divide(_plain(a_g), ebv, out=np.full(ebv.shape, settings.extinction_constant), where=ebv > 0)
    return np.asarray(np.nan_to_num(per_ebv * ebv_error(ebv, settings)))


def intrinsic_colour(bp_rp: Float64, a_0: Float64, iterations: int = 5) -> Float64:
    """Return BP-RP before the dust, clipped to the range of the law, by iteration."""
    colour = np.clip(bp_rp, *_COLOUR_RANGE)
    for _ in range(iterations):
        reddening = a_0 * (extinction_ratio(_BP_BY_COLOUR, colour, a_0) - extinction_ratio(_RP_BY_COLOUR, colour, a_0))
        colour = np.clip(bp_rp - reddening, *_COLOUR_RANGE)
    return colour


def ebv_error(ebv: ArrayLike, settings: PhotometrySettings) -> Float64:
    """Return the error of a true E(B-V) in mag, any shape; NaN where E(B-V) is missing."""
    return np.hypot(settings.ebv_error * _plain(ebv), settings.ebv_error_floor)


def extinction_ratio(coefficients: tuple[float, ...], x: Float64, a_0: Float64) -> Float64:
    """Return A_m / A_0 of the Gaia EDR3 law, `x` being Teff / 5040 K or the intrinsic colour."""
    c0, c1, c2, c3, c4, c5, c6, c7, c8, c9 = coefficients
    a = np.minimum(a_0, _A0_MAX)
    return c0 + x * (c1 + x * (c2 + x * c3)) + a * (c4 + a * (c5 + a * c6) + x * (c7 + x * c8 + a * c9))


def inside_dust_within(a_g: ArrayLike, ra: ArrayLike, dec: ArrayLike, settings: PhotometrySettings) -> Float64:
    """Return the distance in kpc within which A_G may be 0.05 mag or more too large.

    E(B-V) of a map is that of all dust along the line of sight. In a layer whose density falls exponentially with the
    distance z from the Galactic plane, the share exp(-z / height) lies behind a star: A_G includes it, although it does
    not dim the star.

    Parameters
    ----------
    a_g
        A_G of all dust along the line of sight, mag.
    ra, dec
        Of the star, deg.
    settings
        The scale height.

    Returns
    -------
    ndarray of float64
        kpc; 0 if no star can have this much dust behind it, NaN without a position.
    """
    a, d, a_0, d_0 = (np.radians(_plain(angle)) for angle in (ra, dec, *_POLE))
    sine_latitude = np.sin(d) * np.sin(d_0) + np.cos(d) * np.cos(d_0) * np.cos(a - a_0)
    above = settings.dust_height * np.log(np.maximum(_plain(a_g) / _DUST_MATTERS, 1.0))
    with np.errstate(divide="ignore", invalid="ignore"):  # in the plane itself
        return np.asarray(above / np.abs(sine_latitude))


@cache
def _load_zero_point_tables() -> None:
    zpt.load_tables()


def zero_point(
    magnitude: ArrayLike,
    wavenumber: ArrayLike,
    pseudocolour: ArrayLike,
    ecliptic_latitude: ArrayLike,
    parameters_solved: ArrayLike,
) -> Float64:
    """Return the parallax zero point Z of Lindegren et al. (2021); the corrected parallax is PARALLAX - Z.

    Parameters
    ----------
    magnitude
        PHOT_G_MEAN_MAG in mag, valid between 6 and 21.
    wavenumber
        NU_EFF_USED_IN_ASTROMETRY in um^-1, valid between 1.1 and 1.9; read for five-parameter solutions.
    pseudocolour
        PSEUDOCOLOUR in um^-1, valid between 1.24 and 1.72; read for six-parameter solutions.
    ecliptic_latitude
        ECL_LAT in deg.
    parameters_solved
        ASTROMETRIC_PARAMS_SOLVED: 31 for five parameters, 95 for six.

    Returns
    -------
    ndarray of float64
        Z in mas, rounded to 1e-6. NaN for other solutions, missing or masked values, and outside the ranges.
    """
    values = np.broadcast_arrays(
        *(_plain(v) for v in (magnitude, wavenumber, pseudocolour, ecliptic_latitude, parameters_solved))
    )
    valid = _zero_point_defined(*values)
    rows = np.flatnonzero(valid)
    found = np.empty(len(rows))
    _load_zero_point_tables()
    for block in ranges(len(rows), _ZERO_POINT_BLOCK):
        # A single row other than 31 or 95 makes the call fail, and so do scalars under numpy 2: valid rows only, 1-d.
        found[block] = zpt.get_zpt(*(v.ravel()[rows[block]] for v in values))
    result = np.full(valid.shape, np.nan)
    result[valid] = found
    return result


def _zero_point_defined(g: Float64, nu: Float64, pseudocolour: Float64, latitude: Float64, solved: Float64) -> Bool:
    """Tell where the recipe is defined; comparisons with NaN are False."""
    five = (solved == 31) & (nu > 1.1) & (nu < 1.9)
    six = (solved == 95) & (pseudocolour > 1.24) & (pseudocolour < 1.72)
    return np.asarray((five | six) & (g > 6) & (g < 21) & np.isfinite(latitude))


def error_inflation(magnitude: ArrayLike) -> Float64:
    """Return true over published parallax error, at least 1 (El-Badry, Rix & Heintz 2021, Eq. 16)."""
    g = _plain(magnitude)
    bump = 0.21 * np.exp(-(((g - 12.65) / 0.90) ** 2))
    return np.maximum(bump + 1.141 + 0.0040 * g - 0.00062 * g**2, 1.0)


def sqrt_flux(magnitude: ArrayLike) -> Float64:
    """Return sqrt(F_G) = 10^(2 - m_G/5) (Eq. 3): the parallax in mas of a star is its label times this."""
    return np.asarray(10.0 ** (2.0 - _plain(magnitude) / 5.0))


def label(parallax: ArrayLike, magnitude: ArrayLike) -> Float64:
    """Return the label 1/sqrt(L_G) (Eq. 3) of a parallax in mas and a dereddened G; linear in parallax, any sign."""
    return np.asarray(_plain(parallax) / sqrt_flux(magnitude))


def parallax(label: ArrayLike, magnitude: ArrayLike) -> Float64:
    """Return the parallax in mas of a label and a dereddened G: the inverse of `label`, the model of Eq. 4."""
    return np.asarray(_plain(label) * sqrt_flux(magnitude))


def absolute_magnitude(label: ArrayLike) -> Float64:
    """Return M_G = 5 log10(label); NaN where the label is not positive."""
    return np.asarray(5.0 * np.log10(_positive(label)))


def label_of_magnitude(absolute_magnitude: ArrayLike) -> Float64:
    """Return the label 10^(M_G/5) of an absolute magnitude."""
    return np.asarray(10.0 ** (_plain(absolute_magnitude) / 5.0))


def geometric_magnitude(parallax: ArrayLike, error: ArrayLike, magnitude: ArrayLike) -> tuple[Float64, Float64]:
    """Return M_G,geo, the absolute magnitude from the parallax alone, and its error to first order.

    Parameters
    ----------
    parallax, error
        Corrected parallax and its error in mas.
    magnitude
        Dereddened G in mag.

    Returns
    -------
    tuple of ndarray of float64
        m_G + 5 log10(parallax/100) and 5/ln(10) error/parallax in mag; NaN where the parallax is not positive.
    """
    return absolute_magnitude(label(parallax, magnitude)), 5.0 / np.log(10.0) * _plain(error) / _positive(parallax)


def distance(label: ArrayLike, magnitude: ArrayLike) -> Float64:
    """Return the distance in kpc of a label and a dereddened G; NaN where the label is not positive."""
    return np.asarray(1.0 / (_positive(label) * sqrt_flux(magnitude)))


def distance_modulus(distance: ArrayLike) -> Float64:
    """Return m - M = 5 log10(distance / 10 pc) of a distance in kpc; NaN where it is not positive."""
    return np.asarray(5.0 * np.log10(_positive(distance)) + 10.0)


def distance_of_modulus(modulus: ArrayLike) -> Float64:
    """Return the distance in kpc of a distance modulus in mag."""
    return np.asarray(10.0 ** (_plain(modulus) / 5.0 - 2.0))


def relative_distance_error(magnitude_error: ArrayLike) -> Float64:
    """Return the relative distance error 10^(sigma/5) - 1 as the paper quotes it: 0.24 for 0.48 mag."""
    return np.asarray(10.0 ** (_plain(magnitude_error) / 5.0) - 1.0)


def corrected(stars: Mapping[str, Array], settings: PhotometrySettings) -> dict[str, Array]:
    """Return the photometric columns of the sample.

    Parameters
    ----------
    stars
        EBV, TEFF, RA, DEC, the parallax, the magnitudes and the columns for the zero point, shape (star,).
    settings
        The section `[photometry]`.

    Returns
    -------
    dict
        EBV_SCALED, A_G, A_G_ERR (mag, 0 where E(B-V) is missing), A_G_SOURCE, INSIDE_DUST_WITHIN (kpc), PARALLAX_ZPC
        (NaN where not defined; 0 everywhere without a zero point), PARALLAX_CORRECTED (as published where the zero
        point is not defined), PARALLAX_ERROR_USED and G_0, each of shape (star,).
    """
    g, published, error = (_plain(stars[name]) for name in ("PHOT_G_MEAN_MAG", "PARALLAX", "PARALLAX_ERROR"))
    ebv = settings.ebv_scale * _plain(stars["EBV"])
    a_g, source = extinction(ebv, stars["TEFF"], stars["PHOT_BP_MEAN_MAG"] - stars["PHOT_RP_MEAN_MAG"], settings)
    offset = np.zeros(len(g))
    if settings.zero_point == "lindegren2021":
        names = ("NU_EFF_USED_IN_ASTROMETRY", "PSEUDOCOLOUR", "ECL_LAT", "ASTROMETRIC_PARAMS_SOLVED")
        offset = zero_point(g, *(stars[name] for name in names))
    if settings.error_inflation == "el-badry2021":
        error = error * error_inflation(g)
    return {
        "EBV_SCALED": ebv.astype(np.float32),
        "A_G": a_g.astype(np.float32),
        "A_G_ERR": a_g_error(ebv, a_g, settings).astype(np.float32),
        "A_G_SOURCE": source,
        "INSIDE_DUST_WITHIN": inside_dust_within(a_g, stars["RA"], stars["DEC"], settings).astype(np.float32),
        "PARALLAX_ZPC": offset,
        "PARALLAX_CORRECTED": published - np.nan_to_num(offset, nan=0.0),
        "PARALLAX_ERROR_USED": error,
        "G_0": g - a_g,
    }


def _plain(values: ArrayLike) -> Float64:
    """Return float64 values with NaN for masked ones: the zero-point package would read below the mask."""
    return np.asarray(np.ma.filled(np.ma.asarray(values, dtype=np.float64), np.nan))


def _positive(values: ArrayLike) -> Float64:
    """Return float64 values, NaN where they are not positive."""
    plain = _plain(values)
    return np.where(plain > 0, plain, np.nan)
