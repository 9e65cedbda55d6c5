"""Real stars in place of computed ones: each mock star clones one, at a new distance and with new noise.

Spectrum, parameters and luminosity of a clone are those of one real star, its parent, named by PARENT_ID.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.ndimage import spline_filter1d
from scipy.spatial import cKDTree

from specdis.arrays import Array, Bool, Float32, Float64, Int64, ranges
from specdis.errors import InputError
from specdis.log import logger
from specdis.mock import gaia
from specdis.mock.atmospheres import LIGHT_SPEED, evaluate_spline
from specdis.mock.draws import Draws
from specdis.mock.stars import TEFF_RANGE, Population
from specdis.surveys.base import Fault, Spectra, Stars
from specdis.surveys.table import ARM, TableSurvey

LIBRARY_PARALLAX_SNR, EBV_MAX, BAD_MAX = 15.0, 0.15, 0.1
"""Parents have a larger parallax over its error, a smaller E(B-V) and a smaller share of bad pixels."""

_LIKE = {"TEFF": 0.04, "LOGG": 0.3, "FEH": 0.25}  # differences of equal weight: relative in Teff, dex in the others
_FEWEST = 50
_STARS_PER_BLOCK = 64


@dataclass(frozen=True)
class Library:
    """Real stars of known luminosity and their spectra.

    Parameters
    ----------
    identifier
        TARGETID or SOURCE_ID of the table, shape (parent,).
    stars
        TEFF (K), LOGG, FEH (dex) and M_G (mag), each of shape (parent,).
    log_start, log_step
        ln(wavelength) of the first knot, and the step.
    splines
        Coefficients of cubic B-splines in ln(wavelength), shape (parent, knot).
    ends
        ln(wavelength) of the first and last good pixel of each star, shape (2, parent).
    doppler
        ln(1 + v / c) of each star's own velocity in these wavelengths, shape (parent,).
    """

    identifier: Int64
    stars: Mapping[str, Float64]
    log_start: float
    log_step: float
    splines: Float32
    ends: Float64
    doppler: Float64

    def copies(self, population: Population, seed: int) -> Population:
        """Return a population with each point replaced by a real star of similar Teff, log g and [Fe/H].

        Parameters
        ----------
        population
            The points' HR diagram and weights, which the real stars inherit.
        seed
            Seed of the universe, for the choice among equally similar stars.
        """
        draws = Draws(seed, (np.arange(len(population.columns["M_G"])),))
        place, wanted = (np.stack(self._scaled(columns), axis=1) for columns in (self.stars, population.columns))
        jitter = np.stack([draws.normal(f"like {name}") for name in _LIKE], axis=1)
        _, parent = cKDTree(place).query(wanted + 0.5 * jitter)
        columns = {**population.columns, **{name: values[parent] for name, values in self.stars.items()}}
        columns["PARENT"] = parent.astype(np.int64)
        order = np.argsort(columns["M_G"], kind="stable")
        share = np.concatenate([[0.0], np.cumsum(np.diff(population.number)[order])])
        return Population({name: values[order] for name, values in columns.items()}, share / share[-1])

    def _scaled(self, columns: Mapping[str, Array]) -> list[Array]:
        return [(np.log(columns[name]) if name == "TEFF" else columns[name]) / step for name, step in _LIKE.items()]

    def spectra(self, parent: Int64, wavelength: Float64, velocity: Array) -> Float32:
        """Return the relative flux of clones, NaN beyond the library's wavelengths; shape (star, pixel).

        Parameters
        ----------
        parent
            Row of the real star, shape (star,).
        wavelength
            Observed wavelengths in vacuum, Angstrom, shape (pixel,).
        velocity
            Radial velocity of each clone in km/s, shape (star,).
        """
        shift = self.doppler[parent] - np.log1p(np.asarray(velocity, np.float64) / LIGHT_SPEED)
        flux = np.empty((len(parent), len(wavelength)), np.float32)
        for rows in ranges(len(flux), _STARS_PER_BLOCK):
            at = np.log(wavelength) + shift[rows, None]
            first, last = self.ends[:, parent[rows]]
            known = (at >= first[:, None]) & (at <= last[:, None])
            position = np.clip((at - self.log_start) / self.log_step, 1.0, self.splines.shape[1] - 3.0)
            flux[rows] = np.where(known, evaluate_spline(self.splines[parent[rows]], position), np.nan)
        return flux


@lru_cache(maxsize=1)
def load(path: Path) -> Library:
    """Read the possible parents from a spectra table.

    They have a parallax above `LIBRARY_PARALLAX_SNR` times its error, E(B-V) below `EBV_MAX`, and TEFF, LOGG, FEH and
    PHOT_G_MEAN_MAG. Absolute magnitudes follow from the table's EBV, taken as true, and its parallaxes,
    without zero point.

    Raises
    ------
    InputError
        When the table lacks one of these columns, or has too few such stars.
    """
    table = TableSurvey(path)
    needed = ("PARALLAX", "PARALLAX_ERROR", "PHOT_G_MEAN_MAG", "TEFF", "LOGG", "FEH", "EBV")
    if lacking := [name for name in needed if name not in table.columns]:
        raise InputError(
            f"{path}[STARS]",
            expected=f"the columns {', '.join(needed)}",
            found=f"no {', '.join(lacking)}",
            remedy="Add them: without them a star cannot be moved to a new distance.",
        )
    stars = Stars.concatenate(list(table.stars()))
    stars = stars.take(_can_be_parents(stars))
    parts = [part for part in table.spectra(stars) if not isinstance(part, Fault)]
    good = np.concatenate([part.row[part.arms[ARM].bad.mean(axis=1) < BAD_MAX] for part in parts] or [[]]).astype(int)
    if len(good) < _FEWEST:
        raise InputError(
            str(path),
            expected=f"at least {_FEWEST} stars with parallax over error above {LIBRARY_PARALLAX_SNR:g}, E(B-V) below "
            f"{EBV_MAX:g}, parameters, G magnitude and a good spectrum",
            found=str(len(good)),
            remedy="Give a larger library.",
        )
    logger.info(f"mock: {len(good)} real stars of {path.name} can be parents")
    order = np.argsort(good)
    return _library(stars.take(good[order]), [part.take(part.arms[ARM].bad.mean(axis=1) < BAD_MAX) for part in parts])


def _can_be_parents(stars: Stars) -> Bool:
    values = [stars[name].astype(np.float64) for name in ("TEFF", "LOGG", "FEH", "PHOT_G_MEAN_MAG", "EBV")]
    parallax, error = stars["PARALLAX"].astype(np.float64), stars["PARALLAX_ERROR"].astype(np.float64)
    near = (error > 0) & (parallax > LIBRARY_PARALLAX_SNR * error)
    like_computed_ones = (stars["TEFF"] > TEFF_RANGE[0]) & (stars["TEFF"] < TEFF_RANGE[1])
    known = np.asarray(np.isfinite(values).all(axis=0))
    return known & near & (stars["EBV"] < EBV_MAX) & like_computed_ones


def _library(stars: Stars, parts: list[Spectra]) -> Library:
    """Join the parents and their spectra, both in the order of the table."""
    columns = {name: stars[name].astype(np.float64) for name in ("TEFF", "LOGG", "FEH")}
    g, ebv = stars["PHOT_G_MEAN_MAG"].astype(np.float64), stars["EBV"].astype(np.float64)
    a_g = gaia.true_extinction(columns["TEFF"], ebv / gaia.EBV_SCALE, "G")
    columns["M_G"] = g + 5.0 * np.log10(stars["PARALLAX"].astype(np.float64)) - 10.0 - a_g

    row = np.argsort(np.concatenate([part.row for part in parts]))
    flux, bad = (np.concatenate([getattr(part.arms[ARM], name) for part in parts])[row] for name in ("flux", "bad"))
    doppler = np.log1p(np.concatenate([part.velocity for part in parts])[row] / LIGHT_SPEED)
    log_wavelength = np.log(parts[0].arms[ARM].wavelength)
    filled, first, last = _filled(flux.astype(np.float64), ~bad)
    knots = np.linspace(log_wavelength[0], log_wavelength[-1], 2 * len(log_wavelength))
    resampled = CubicSpline(log_wavelength, filled, axis=1)(knots)
    return Library(
        identifier=np.where(stars.get("SOURCE_ID") > 0, stars.get("SOURCE_ID"), stars["TARGETID"]),
        stars=columns,
        log_start=float(knots[0]),
        log_step=float(knots[1] - knots[0]),
        splines=spline_filter1d(resampled, order=3, axis=1, mode="mirror").astype(np.float32),
        ends=log_wavelength[np.stack([first, last])],
        doppler=doppler,
    )


def _filled(flux: Float64, good: Bool) -> tuple[Float64, Int64, Int64]:
    """Interpolate over bad pixels; return the flux and the first and last good pixel of each spectrum."""
    pixel = np.arange(flux.shape[1])
    before = np.maximum.accumulate(np.where(good, pixel, -1), axis=1)
    after = np.minimum.accumulate(np.where(good, pixel, len(pixel))[:, ::-1], axis=1)[:, ::-1]
    first, last = after[:, 0], before[:, -1]
    before, after = np.maximum(before, first[:, None]), np.minimum(after, last[:, None])
    share = (pixel - before) / np.maximum(after - before, 1)
    low, high = (np.take_along_axis(flux, place, axis=1) for place in (before, after))
    return low + np.clip(share, 0.0, 1.0) * (high - low), first, last
