"""Colours of stars, dereddened, with their errors: what the networks may see beside the spectrum (section 4.4).

Only differences of magnitudes are used, never a magnitude, so that a colour says nothing of a star's distance. Bands
are kept apart until the networks' inputs are made: two colours with a common band share its error, all colours share
that of E(B-V), and the light of a companion adds to each band.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from specdis import rng
from specdis.arrays import Array, Bool, Float32, Float64
from specdis.photometry import (
    LAW_RANGE,
    R_V,
    SF11_SCALE,
    PhotometrySettings,
    ebv_error,
    extinction_ratio,
    intrinsic_colour,
)

_MAGNITUDES = float(2.5 / np.log(10))
"""Magnitudes per unit relative error of a flux."""
_NANOMAGGY = 22.5  # mag


class Band(NamedTuple):
    """A band: the columns of a sample that hold its measurements, and its extinction.

    Parameters
    ----------
    value, error
        Columns: a magnitude and its error or the S/N of the flux, or a flux in nanomaggies and its inverse variance.
    by_teff
        Extinction of the Gaia EDR3 law in terms of Teff, as `photometry.extinction_ratio`; None for a constant.
    per_ebv
        Extinction per E(B-V) on the scale of SFD98, where there is no law.
    floor
        Error in mag that comes in addition: of the calibration, and of the reddening law.
    typical
        Error in mag at magnitude 17 where a table has none; it grows as 10^(0.3 m), as the median errors of Gaia DR3 do
        between the noise of a star's own photons and that of the sky.
    """

    value: str
    error: str
    by_teff: tuple[float, ...] | None = None
    per_ebv: float = 0.0
    floor: float = 0.01
    typical: float = 0.0


# Gaia EDR3 extinction law in its Teff form, as in `photometry`; terms 1, X, X^2, X^3, A0, A0^2, A0^3, X A0, X^2 A0,
# X A0^2 with X = Teff / 5040 K (ESA, cosmos.esa.int/web/gaia/edr3-extinction-law; Riello et al. 2021).
# fmt: off
_G = (
    0.259021858973784, 0.93676111876298, -0.437446499585492, 0.0783508476444952,
    -0.00136127433235224, 0.000797222688660053, -2.52364537395233e-05,
    -0.029981504413869, 0.00555506017434798, 0.000402778419603886,
)
_BP = (
    0.888088914696666, 0.11318390480077, 0.0846337732558566, -0.0371265818793239,
    -0.00296140793334905, 0.000538660562947277, -1.31018008013512e-05,
    -0.0164152179931537, 0.00323902299833464, 0.000169011297620409,
)
_RP = (
    0.382719668454633, 0.505895415656219, -0.314981478333036, 0.0665302085130136,
    -0.00383780468169498, 6.50490784002505e-05, 1.57894227640801e-06,
    -0.00348740736346628, 0.00110877159426768, -1.8313141658225e-05,
)
# fmt: on

# Constants per E(B-V) of SFD98 at R_V = 3.1: Schlafly & Finkbeiner (2011), Table 6 for 2MASS, and as the Legacy Surveys
# use them (legacysurvey.org/dr9/catalogs, Galactic extinction coefficients).
BANDS: Mapping[str, Band] = {
    "G": Band("PHOT_G_MEAN_MAG", "PHOT_G_MEAN_FLUX_OVER_ERROR", _G, floor=0.005, typical=0.0008),
    "BP": Band("PHOT_BP_MEAN_MAG", "PHOT_BP_MEAN_FLUX_OVER_ERROR", _BP, floor=0.005, typical=0.0045),
    "RP": Band("PHOT_RP_MEAN_MAG", "PHOT_RP_MEAN_FLUX_OVER_ERROR", _RP, floor=0.005, typical=0.0065),
    "g": Band("FLUX_G", "FLUX_IVAR_G", per_ebv=3.214),
    "r": Band("FLUX_R", "FLUX_IVAR_R", per_ebv=2.165),
    "z": Band("FLUX_Z", "FLUX_IVAR_Z", per_ebv=1.211),
    "W1": Band("FLUX_W1", "FLUX_IVAR_W1", per_ebv=0.184, floor=0.02),
    "W2": Band("FLUX_W2", "FLUX_IVAR_W2", per_ebv=0.113, floor=0.02),
    "J": Band("J_M", "J_MSIGCOM", per_ebv=0.723),
    "H": Band("H_M", "H_MSIGCOM", per_ebv=0.460),
    "Ks": Band("KS_M", "KS_MSIGCOM", per_ebv=0.310),
}
"""Bands by the names that colours are made of: `BP-RP`, `g-r`, `W1-W2`, ..."""
GROUPS = (("G", "BP", "RP"), ("g", "r", "z"), ("W1", "W2"), ("J", "H", "Ks"))
"""Bands of one instrument, which are mostly known or missing together."""

_FLOOR = 0.01  # mag, of colours from a table
_FAINTEST = 3.0
"""S/N of a flux below which a band counts as missing: its magnitude has no Gaussian error."""


class Bands(NamedTuple):
    """Dereddened magnitudes of stars, one row per star and one column per band of a list of colours.

    Parameters
    ----------
    magnitude
        mag; 0 where missing.
    error
        Of the photometry, mag, without that of E(B-V); 0 where missing.
    reddening
        Extinction in the band per E(B-V).
    known
        Whether the star has the band and an E(B-V).
    ebv_error
        Error of E(B-V), mag, shape (star,).
    """

    magnitude: Float32
    error: Float32
    reddening: Float32
    known: Bool
    ebv_error: Float32

    @classmethod
    def none(cls, stars: int) -> Bands:
        """Return stars without any band."""
        empty = np.zeros((stars, 0), np.float32)
        return cls(empty, empty, empty, empty > 0, np.zeros(stars, np.float32))

    def take(self, rows: Array | slice) -> Bands:
        """Select some of the stars."""
        return Bands._make(values[rows] for values in self)

    def blended(self, other: Bands, fainter: Float64) -> Bands:
        """Return the stars with the light of a companion added to each band.

        Parameters
        ----------
        other
            Stars like the companions, at any distance; a band that they lack stays as it is.
        fainter
            Number of magnitudes by which the companion must be fainter than this other star, shape (star,).
        """
        share = 10.0 ** (-0.4 * (other.magnitude + fainter[:, None] - self.magnitude))
        both = self.magnitude - 2.5 * np.log10(1.0 + np.where(self.known & other.known, share, 0.0))
        return self._replace(magnitude=both.astype(np.float32))


class Colours:
    """A list of colours, and how to make them from the columns of a sample.

    Parameters
    ----------
    names
        Differences of bands, as in `BANDS`, or names of columns of the survey's table: dereddened colours, with errors
        in the column of the same name with _ERROR, if there is one.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._pairs = tuple(pair_of(name) or (name, "") for name in names)
        self.bands = tuple(dict.fromkeys(band for pair in self._pairs for band in pair if band))

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def difference(self) -> Float32:
        """The matrix that makes colours of magnitudes, shape (band, colour)."""
        found = np.zeros((len(self.bands), len(self.names)), np.float32)
        for column, (blue, red) in enumerate(self._pairs):
            found[self.bands.index(blue), column] += 1
            if red:
                found[self.bands.index(red), column] -= 1
        return found

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Places of the bands of each instrument; a column of the table is one of its own."""
        own = (*GROUPS, *((band,) for band in self.bands if band not in BANDS))
        found = (tuple(self.bands.index(band) for band in group if band in self.bands) for group in own)
        return tuple(group for group in found if group)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of a sample that `of` reads, shape (star,)."""
        if not self.bands:
            return ()
        errors = (BANDS[band].error if band in BANDS else f"{band}_ERROR" for band in self.bands)
        return ("EBV_SCALED", "TEFF", "PHOT_BP_MEAN_MAG", "PHOT_RP_MEAN_MAG", *self.measured, *errors)

    @property
    def measured(self) -> tuple[str, ...]:
        """Columns of magnitudes, fluxes and colours, without which there are no such colours."""
        return tuple(BANDS[band].value if band in BANDS else band for band in self.bands)

    def of(self, stars: Mapping[str, Array], settings: PhotometrySettings) -> Bands:
        """Return the dereddened bands of stars.

        Parameters
        ----------
        stars
            The `columns`; one that is absent is missing for all stars.
        settings
            Section [photometry]: the error of E(B-V).
        """
        if not self.bands:
            return Bands.none(len(next(iter(stars.values()))))
        ebv = np.asarray(stars["EBV_SCALED"], np.float64)
        measured = [self._measured(band, stars, len(ebv)) for band in self.bands]
        reddening = np.stack([_reddening(band, stars, ebv) for band in self.bands], axis=1)
        magnitude = np.stack([magnitude for magnitude, _ in measured], axis=1)
        magnitude = magnitude - reddening * ebv[:, None]
        error = np.stack([error for _, error in measured], axis=1)
        known = np.isfinite(magnitude) & np.isfinite(error)
        return Bands(
            np.where(known, magnitude, 0).astype(np.float32),
            np.where(known, error, 0).astype(np.float32),
            reddening.astype(np.float32),
            known,
            np.nan_to_num(ebv_error(ebv, settings)).astype(np.float32),
        )

    def _measured(self, band: str, stars: Mapping[str, Array], rows: int) -> tuple[Float64, Float64]:
        """Return magnitudes and errors of a band, NaN where missing.

        Tables often give magnitudes without errors; those then are the typical ones.
        """
        missing = np.full(rows, np.nan)
        if band not in BANDS:
            value, error = (np.asarray(stars.get(name, missing), np.float64) for name in (band, f"{band}_ERROR"))
            return value, np.hypot(np.nan_to_num(error), _FLOOR)
        columns = BANDS[band]
        value, error = (np.asarray(stars.get(name, missing), np.float64) for name in columns[:2])
        with np.errstate(divide="ignore", invalid="ignore"):
            if columns.error.endswith("OVER_ERROR"):
                error = _MAGNITUDES / error
            elif columns.error.startswith("FLUX_IVAR"):
                snr = value * np.sqrt(error)
                value = np.where(snr > _FAINTEST, _NANOMAGGY - 2.5 * np.log10(value), np.nan)
                error = _MAGNITUDES / snr
        typical = columns.typical * 10 ** (0.3 * (value - 17))
        return value, np.hypot(np.where(np.isfinite(error), error, typical), columns.floor)


_HIDDEN_ALL, _HIDDEN = 0.1, 0.15
"""Shares of copies without any colour, and of the others without those of one instrument."""
_NOISIER = 4.0
"""Largest factor of the photometric error of copies."""


def noisier(bands: Bands, colours: Colours, seed: int, number: int, identifier: Sequence[Array]) -> Bands:
    """Return the bands of noisier copies of stars: with larger errors, and some without an instrument's bands.

    Networks learn from them what colours of fainter stars are worth, and to do without colours.

    Parameters
    ----------
    bands, colours
        The stars' bands, and the colours that they are for.
    seed, number
        Random seed of the run, and number of the copy.
    identifier
        Integer columns that name the stars, shape (star,).
    """

    def chance(purpose: str) -> Float64:
        return rng.uniform(rng.stream(seed, f"colours of copies {number}, {purpose}"), *identifier)

    factor = _NOISIER ** chance("noise")[:, None]
    normal = np.stack([ndtri(chance(band)) for band in colours.bands], axis=1)
    hidden = np.repeat(chance("all")[:, None] < _HIDDEN_ALL, len(colours.bands), axis=1)
    for place, group in enumerate(colours.groups):
        hidden[:, group] |= (chance(f"instrument {place}") < _HIDDEN)[:, None]
    known = bands.known & ~hidden
    magnitude = bands.magnitude + np.sqrt(factor**2 - 1) * bands.error * normal
    return bands._replace(
        magnitude=np.where(known, magnitude, 0).astype(np.float32),
        error=np.where(known, factor * bands.error, 0).astype(np.float32),
        known=known,
    )


def pair_of(name: str) -> tuple[str, str] | None:
    """Return the two bands of a colour's name, or None for the name of a column.

    Raises
    ------
    ValueError
        When the name is neither.
    """
    parts = name.split("-")
    if len(parts) == 2 and {*parts} <= {*BANDS} and parts[0] != parts[1]:
        return parts[0], parts[1]
    if re.fullmatch(r"[A-Za-z]\w*", name) and name not in BANDS:
        return None
    raise ValueError(
        f"{name!r} is no colour: expected the difference of two of {', '.join(BANDS)}, such as BP-RP, or the name of a "
        "column of the survey's table"
    )


def _reddening(band: str, stars: Mapping[str, Array], ebv: Float64) -> Float64:
    """Return the extinction in a band per true E(B-V), shape (star,)."""
    if band not in BANDS:
        return np.zeros(len(ebv))
    law = BANDS[band].by_teff
    if law is None:
        return np.full(len(ebv), BANDS[band].per_ebv / SF11_SCALE)
    a_0, teff = R_V * ebv, np.asarray(stars["TEFF"], np.float64)
    bp_rp = np.asarray(stars["PHOT_BP_MEAN_MAG"], np.float64) - stars["PHOT_RP_MEAN_MAG"]
    # The law differs by a few per cent between Teff of the star and of a dwarf of its colour. That of the colour comes
    # first, because it is the same whatever else a survey measures.
    of_colour = _teff_of_colour(intrinsic_colour(bp_rp, a_0))
    teff = np.where(np.isfinite(of_colour), of_colour, teff)
    teff = np.where(np.isfinite(teff), teff, _TYPICAL_TEFF)
    return R_V * extinction_ratio(law, np.clip(teff, *LAW_RANGE) / 5040.0, a_0)


_TYPICAL_TEFF = 5500.0  # K


def _teff_of_colour(bp_rp: Float64) -> Float64:
    """Return Teff in K by intrinsic BP-RP: dwarfs of solar metallicity, Mucciarelli et al. (2021), Table 1."""
    theta = 0.4929 + 0.5092 * bp_rp - 0.0353 * bp_rp**2
    return np.asarray(5040.0 / theta)
