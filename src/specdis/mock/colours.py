"""Absolute magnitudes of the mock's stars in Gaia's BP and RP, DECam's g, r and z, and WISE's W1 and W2.

Colours depend on Teff, log g and [M/H]. They are synthetic photometry of the ATLAS9 models of Castelli & Kurucz (2004),
a table in the package (`tools/make_colours.py` says how it is made). On the mock's giant branches and main sequences
BP - RP gives the temperatures of Casagrande et al. (2021), measured on stars, to 2 %; dwarf stars of the halo below
4500 K are redder than theirs. Colours below 3500 K, of companions alone, lie on straight lines in 1 / Teff, made for
this purpose.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import numpy as np
from scipy.interpolate import NdBSpline, make_interp_spline

from specdis.arrays import Array, Float64
from specdis.mock.draws import Draws
from specdis.mock.settings import MockSettings
from specdis.mock.stars import total_metallicity


@cache
def _spline() -> tuple[NdBSpline, tuple[Float64, ...], tuple[str, ...]]:
    """Return splines of the colours X - G in ln(Teff), log g and [M/H], their nodes, and the names of the bands."""
    with (files("specdis") / "data" / "colours.npz").open("rb") as file, np.load(file) as stored:
        nodes = (np.log(stored["teff"]), stored["logg"], stored["metallicity"])
        values, bands = stored["colours"] / 1000.0, tuple(str(name) for name in stored["bands"])
    knots = []
    for axis, places in enumerate(nodes):
        along = make_interp_spline(places, np.moveaxis(values, axis, 0))
        values = np.moveaxis(along.c, 0, axis)
        knots.append(along.t)
    return NdBSpline(tuple(knots), np.ascontiguousarray(values), 3), nodes, bands


def intrinsic_colours(teff: Array, logg: Array, metallicity: Array) -> dict[str, Float64]:
    """Return X - G for each band X, mag, shape (star,): Gaia's bands in Vega magnitudes, the others in AB magnitudes.

    Parameters
    ----------
    teff, logg, metallicity
        Effective temperature in K, log10 of the gravity in cm s^-2 and [M/H], each of shape (star,); values outside
        the table, 2750 to 12,000 K, log g 0 to 5 and [M/H] -2.5 to 0.5, are clipped to it.
    """
    spline, nodes, bands = _spline()
    wanted = (np.log(np.asarray(teff, np.float64)), logg, metallicity)
    place = [np.clip(value, axis[0], axis[-1]) for value, axis in zip(wanted, nodes, strict=True)]
    return dict(zip(bands, spline(np.stack(place, axis=-1)).T, strict=True))


def absolute_magnitudes(stars: Mapping[str, Array]) -> dict[str, Float64]:
    """Return the absolute magnitude of each star and its companion together in every band but G, mag, shape (star,).

    Parameters
    ----------
    stars
        TEFF, LOGG, FEH, ALPHAFE, and the columns of `binaries.with_companions`.
    """
    metallicity = total_metallicity(stars["FEH"], stars["ALPHAFE"])
    own = intrinsic_colours(stars["TEFF"], stars["LOGG"], metallicity)
    light = {band: stars["M_G_PRIMARY"] + colour for band, colour in own.items()}
    pair = np.flatnonzero(np.isfinite(stars["MASS_RATIO"]))
    companion = intrinsic_colours(stars["TEFF_COMPANION"][pair], stars["LOGG_COMPANION"][pair], metallicity[pair])
    for band, colour in companion.items():
        both = 10.0 ** (-0.4 * (stars["M_G_COMPANION"][pair] + colour)) + 10.0 ** (-0.4 * light[band][pair])
        light[band][pair] = -2.5 * np.log10(both)
    return light


def band_offset(settings: MockSettings, band: str) -> float:
    """Return the error of the zero point of a band's magnitudes, mag: the same for all stars."""
    draws = Draws(settings.seed, (np.zeros(1, np.int64),))
    return settings.band_zero_point * float(draws.normal(f"zero point {band}")[0])
