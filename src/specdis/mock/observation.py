"""DESI's data for each star: counts of star and sky in three arms, bad pixels, and the fit of the RVS pipeline.

Flux is in 1e-17 erg / (s cm2 Angstrom), as in the coadds. The noise of a pixel is that of the photons of star and
sky together, so that the error spectrum rises at sky lines and at low throughput.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.ndimage import maximum_filter1d

from specdis.arrays import Array, Bool, Float32, Float64, Int64
from specdis.mock import atmospheres, library
from specdis.mock.draws import Draws
from specdis.mock.settings import MockSettings
from specdis.surveys.layout import NATIVE_GRID

ALL_ARMS = ("B", "R", "Z")

COSMIC, NO_DATA, BAD_FIBRE, BAD_COLUMN = 1 << 2, 1 << 8, 1 << 9, 1 << 10
"""Bits of the coadds' MASK (desispec's SPECMASK) that occur in the mock."""

# Limits of the RVS pipeline's fit, and its errors: the least, and those at S/N 1, times (Teff / 5500 K)^2
_RVS_LIMITS = {"VRAD": (-1500.0, 1500.0), "TEFF": (2300.0, 15000.0), "FEH": (-4.0, 1.0)}
_RVS_ERRORS = {
    "VRAD": (0.6, 25.0),
    "TEFF": (20.0, 1000.0),
    "LOGG": (0.03, 2.5),
    "FEH": (0.02, 2.0),
    "ALPHAFE": (0.02, 1.2),
}
_LINES = 60.0  # chi-square that lines are worth at S/N 1, from 2,000 A with a mean square depth of 0.03

_G_ZERO = 2.5e8  # flux of a star of G = 0 at the pivot wavelength of the band
_SKY = 7.5  # flux of the sky in a fibre, continuum: that of a star of G = 18.8
_NOISE = 0.0165  # variance per Angstrom for unit flux, throughput and exposure: S/N 75 per sqrt(Angstrom) at G = 16
_EXPOSURE = {
    b"bright": (0.6, 0.35),
    b"backup": (0.15, 0.45),
    b"dark": (3.0, 0.25),
}  # exposure relative to that of _NOISE, and its scatter in ln
_BAD_COLUMNS = 8  # in each arm
_SYSTEMATIC = 0.002  # of the flux: bounds the S/N of the brightest stars, as flat fields do

# Airglow and lamp lines, wavelength in air (Angstrom) and peak over the sky's continuum: atoms, then the OH bands
# 6-1, 7-2 and 8-3 (wavelengths: Osterbrock et al. 1996, PASP 108, 277; strengths: typical of a dark site, round)
_SKY_LINES = np.array(
    [
        *((4046.6, 1.0), (4358.3, 1.5), (5460.7, 2.0), (5577.3, 60.0), (5890.0, 8.0), (5895.9, 5.0)),
        *((6300.3, 30.0), (6363.8, 10.0), (6498.7, 4.0), (6533.0, 4.0), (6553.6, 4.0), (6577.2, 3.0)),
        *((6834.0, 6.0), (6863.9, 9.0), (6889.3, 3.0), (6900.8, 6.0), (6923.2, 7.0), (6949.0, 5.0), (6978.3, 3.0)),
        *((7244.9, 6.0), (7276.4, 14.0), (7284.4, 6.0), (7303.7, 6.0), (7316.3, 13.0), (7329.1, 7.0)),
        *((7340.9, 16.0), (7358.7, 4.0), (7369.2, 11.0), (7392.2, 3.0), (7401.7, 7.0), (7524.1, 5.0), (7571.7, 6.0)),
    ]
)
LINE_WIDTH = 0.77  # Angstrom: FWHM 1.8, as the resolution of the model spectra
_VACUUM = 1.000277  # refractive index of air


class ArmData(NamedTuple):
    """Pixels of one arm: wavelength (pixel,), flux, ivar and mask (star, pixel)."""

    wavelength: Float64
    flux: Float32
    ivar: Float32
    mask: Array


def sky(wavelength: Float64) -> Float64:
    """Return the flux of the sky in a fibre, shape (pixel,), for vacuum wavelengths in Angstrom."""
    distance = wavelength[:, None] - _VACUUM * _SKY_LINES[:, 0]
    lines = np.exp(-0.5 * (distance / LINE_WIDTH) ** 2) @ _SKY_LINES[:, 1]
    return np.asarray(_SKY * (1.0 + lines))


def throughput(wavelength: Float64, arm: str) -> Float64:
    """Return the throughput relative to the R arm's: half in the B arm, poor below 4000 A and at the dichroics."""
    blue = (0.5 if arm == "B" else 1.0) / (1.0 + np.exp((3900.0 - wavelength) / 130.0))
    ends = NATIVE_GRID[arm].wavelength()[[0, -1]]
    red_edge = 1.0 / (1.0 + np.exp((wavelength - ends[1] + 20.0) / 15.0)) + 0.05
    blue_edge = 1.0 if arm == "B" else 1.0 / (1.0 + np.exp((ends[0] + 20.0 - wavelength) / 15.0)) + 0.05
    return np.asarray(blue * red_edge * blue_edge)


def model_flux(stars: Mapping[str, Array], parents: Path | None = None) -> dict[str, Float32]:
    """Return the flux of stars in each arm without noise, reddened and at their velocities, shape (star, pixel).

    Parameters
    ----------
    stars
        TEFF, LOGG, FEH, ALPHAFE, VRAD, EBV_IN_FRONT, PHOT_G_MEAN_MAG, and the columns of `binaries.with_companions`.
        The Z arm, which the pipeline discards, is flat. Clones need PARENT, and are NaN beyond the library's range.
    parents
        The spectra table of the real stars that these clone.
    """
    flux = _star_flux(stars, "", stars["M_G_PRIMARY"] - stars["M_G"], parents)
    rows = np.flatnonzero(np.isfinite(stars["MASS_RATIO"]))
    pairs = {name: values[rows] for name, values in stars.items()}
    for arm, values in _star_flux(pairs, "_COMPANION", pairs["M_G_COMPANION"] - pairs["M_G"]).items():
        flux[arm][rows] += values
    return flux


def _star_flux(
    stars: Mapping[str, Array], which: str, fainter: Array, parents: Path | None = None
) -> dict[str, Float32]:
    """Return the flux of one star of each pair, from its magnitude difference to both."""
    teff, logg = stars[f"TEFF{which}"], stars[f"LOGG{which}"]
    flux = {}
    for arm in ("B", "R"):
        wavelength = NATIVE_GRID[arm].wavelength()
        if parents is None:
            intrinsic = atmospheres.spectra(teff, logg, stars["FEH"], stars["ALPHAFE"], wavelength, stars["VRAD"])
        else:
            intrinsic = library.load(parents).spectra(stars["PARENT"], wavelength, stars["VRAD"])
        a0 = (3.1 * 0.86 * stars["EBV_IN_FRONT"]).astype(np.float32)[:, None]
        # optical extinction falls as this power of wavelength; it changes only the slope of the continuum
        flux[arm] = intrinsic * np.exp(-0.921 * a0 * (wavelength / 5500.0).astype(np.float32) ** -1.3)
    pivot = slice(*np.searchsorted(NATIVE_GRID["R"].wavelength(), [6000.0, 6500.0]))
    level = np.mean(flux["R"][:, pivot], axis=1, dtype=np.float64)
    received = _G_ZERO * 10.0 ** (-0.4 * (stars["PHOT_G_MEAN_MAG"] + fainter))
    flux = {arm: values * (received / level).astype(np.float32)[:, None] for arm, values in flux.items()}
    flux["Z"] = np.repeat(flux["R"][:, pivot].mean(axis=1, keepdims=True), NATIVE_GRID["Z"].pixels, axis=1)
    return flux


def observe(stars: Mapping[str, Array], settings: MockSettings, arms: Sequence[str] = ALL_ARMS) -> dict[str, ArmData]:
    """Observe stars: add noise, cosmic rays, bad columns and dead arms to their spectra.

    Parameters
    ----------
    stars
        The columns for `model_flux`, TARGETID and PROGRAM; one row per spectrum.
    settings
        Section `[mock]`.
    arms
        Names of the arms.
    """
    draws = Draws(settings.seed, (stars["TARGETID"],))
    time = exposure(stars, settings).astype(np.float32)[:, None]
    dead = _dead_arm(draws, settings)
    model = model_flux(stars, settings.library)
    data = {}
    for arm in arms:
        flux, wavelength = model[arm], NATIVE_GRID[arm].wavelength()
        step = NATIVE_GRID[arm].step
        efficiency = (throughput(wavelength, arm) * step).astype(np.float32)
        light = np.maximum(flux, 0.0)  # a real spectrum may have pixels below zero
        photons = (light + sky(wavelength).astype(np.float32)) / efficiency
        variance = _NOISE * photons / time + (_SYSTEMATIC * flux) ** 2
        noisy = flux + np.sqrt(variance) * draws.pixel_normal(f"noise {arm}", flux.shape[1])
        mask = _mask(draws, settings, arm, flux.shape[1], dead == arm)
        mask[np.isnan(flux)] |= NO_DATA
        good = mask == 0
        data[arm] = ArmData(wavelength, np.where(good, noisy, 0.0), np.where(good, 1.0 / variance, 0.0), mask)
    return data


def exposure(stars: Mapping[str, Array], settings: MockSettings) -> Float64:
    """Return the exposure of each spectrum, weather included, in units of that of `_NOISE`."""
    usual, scatter = np.array([_EXPOSURE[bytes(name)] for name in stars["PROGRAM"]]).T
    return np.asarray(usual * np.exp(scatter * Draws(settings.seed, (stars["TARGETID"],)).normal("exposure")))


def signal_to_noise(arms: Mapping[str, ArmData]) -> dict[str, Float64]:
    """Return S/N per Angstrom^(1/2) by arm, shape (star,): the median over all pixels, bad ones counting as 0."""
    return {
        arm: np.median(data.flux * np.sqrt(data.ivar), axis=1).astype(np.float64) / np.sqrt(NATIVE_GRID[arm].step)
        for arm, data in arms.items()
    }


def _dead_arm(draws: Draws, settings: MockSettings) -> Array:
    """Return the name of the dead arm, empty if there is none, shape (star,)."""
    place = draws.uniform("dead arm") / max(settings.dead_arm_fraction, 1e-12)
    return np.select([place < 0.5, place < 1.0], ["B", "R"], "")


def _mask(draws: Draws, settings: MockSettings, arm: str, pixels: int, dead: Bool) -> Array:
    """Return the MASK of one arm, int32, shape (star, pixel).

    Cosmic rays hit three pixels each, at random; bad columns of the detector affect the same pixels of every star whose
    trace crosses them.
    """
    mask = np.zeros((len(dead), pixels), np.int32)
    row = np.arange(len(dead))
    for number in range(4):
        struck = draws.uniform(f"cosmic {arm} {number}") < 0.5
        place = (draws.uniform(f"cosmic place {arm} {number}") * pixels).astype(np.int64)
        mask[row[struck], place[struck]] = COSMIC
    mask = np.asarray(maximum_filter1d(mask, 3, axis=1))
    columns = Draws(settings.seed, (np.arange(_BAD_COLUMNS),)).uniform(f"bad column {arm}")
    for number, place in enumerate((columns * pixels).astype(np.int64)):
        mask[draws.uniform(f"crosses {arm} {number}") < 0.15, place] |= BAD_COLUMN
    mask[dead] |= BAD_FIBRE
    return mask


def rvs(stars: Mapping[str, Array], snr: Mapping[str, Array], settings: MockSettings) -> dict[str, Array]:
    """Return the results of the RVS pipeline: the truth with errors that grow as S/N falls, and a few failures.

    Half of the failures end at a limit of the velocity range, the others at a random velocity with a large error.

    Parameters
    ----------
    stars
        TARGETID, TEFF, LOGG, FEH, ALPHAFE and VRAD, one row per spectrum.
    snr
        S/N by arm, shape (star,).

    Returns
    -------
    dict of ndarray, shape (star,)
        Columns of RVTAB by their names.
    """
    draws = Draws(settings.seed, (stars["TARGETID"],))
    best = np.maximum(snr["B"], snr["R"])
    noise = 1.0 / np.maximum(best, 1.0)
    failed = (draws.uniform("warning") < settings.warning_fraction) | (best < 2.0)
    hot = (stars["TEFF"] / 5500.0) ** 2
    columns: dict[str, Array] = {}
    for name, (floor, slope) in _RVS_ERRORS.items():
        error = np.hypot(floor, slope * hot * noise)
        columns[name] = stars[name] + error * draws.normal(f"measured {name}")
        columns[f"{name}_ERR"] = error
    for name, limits in _RVS_LIMITS.items():
        columns[name] = np.clip(columns[name], *limits)

    place = 2.0 * draws.uniform("failure") - 1.0
    at_limit = failed & (draws.uniform("kind of failure") < 0.5)
    columns["VRAD"] = np.where(failed, 400.0 * place, columns["VRAD"])
    columns["VRAD"] = np.where(at_limit, np.copysign(_RVS_LIMITS["VRAD"][1], place), columns["VRAD"])
    columns["VRAD_ERR"] = np.where(failed & ~at_limit, 101.0 + columns["VRAD_ERR"], columns["VRAD_ERR"])
    pixels = sum(NATIVE_GRID[arm].pixels for arm in ALL_ARMS)
    columns["CHISQ_TOT"] = pixels + np.sqrt(2.0 * pixels) * draws.normal("chi-square")
    columns["CHISQ_C_TOT"] = columns["CHISQ_TOT"] + _LINES * np.where(failed, 0.3, 1.0) * best**2
    columns["RVS_WARN"] = _warnings(columns)
    columns["SUCCESS"] = columns["RVS_WARN"] == 0
    return columns


def _warnings(found: Mapping[str, Array]) -> Int64:
    """Return the bits of RVS_WARN: lines not seen, velocity at a limit or uncertain, parameters at a limit."""
    lines = found["CHISQ_C_TOT"] - found["CHISQ_TOT"] < 50.0
    at_limit = {
        name: np.any([np.abs(found[name] - limit) < within for limit in _RVS_LIMITS[name]], axis=0)
        for name, within in (("VRAD", 5.0), ("TEFF", 10.0), ("FEH", 0.01))
    }
    uncertain = found["VRAD_ERR"] > 100.0
    return np.asarray(1 * lines + 2 * at_limit["VRAD"] + 4 * uncertain + 8 * (at_limit["TEFF"] | at_limit["FEH"]))
