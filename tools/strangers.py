"""Print what models say of strangers and of another telescope's stars, as Markdown.

    .venv/bin/python tools/strangers.py demo/run/model [MODEL ...] [--objects 50] [--real]

1. Mock strangers on a grid like DESI's and on a logarithmic one like that of SDSS: how many are flagged.
2. Real SDSS spectra, quasars and galaxies among them.
3. Real LAMOST spectra: dwarfs against the main sequence of Pecaut & Mamajek (2013), giants against what LASP's Teff and
   log g give for a star of one solar mass. The raw files of DR1 lack errors in the cores of deep lines, so they are
   shown as published and with those errors interpolated.

`--real` leaves out the first.

Real spectra are read from the folder that SPECDIS_REAL_DATA names; what needs them is left out where it is missing.
A share of flagged ones is that with OUTSIDE_DOMAIN or MANY_BAD_PIXELS. Strangers should have 100 %, stars about as many
as the training stars. The physics is simple on purpose and only this tool's, but for the mock stars:

quasars
    Power law of index -1.56 +- 0.3 (+0.45 redward of 5000 A) with the lines of Vanden Berk et al. (2001, AJ 122, 549,
    Table 2), equivalent widths scattered by 0.15 dex; absorption by the Lyman forest with the mean optical depth
    0.0023 (1 + z)^3.65 (Kim et al. 2007, MNRAS 382, 1657) and at the Lyman limit. Redshift 0.1-3.5. The radial velocity
    is what a template of a star would find: anything within 300 km/s. So it is for spectra without lines.
white dwarfs
    Black bodies: DA of 8,000-30,000 K with Balmer lines 50-150 A wide and 0.3-0.6 deep, the higher ones weaker and
    narrower; DB of 12,000-28,000 K with He I lines. Wavelengths from the NIST database. Velocities wrong by 50 km/s.
carbon stars
    Black bodies of 2,500-3,800 K (N) and mock giants of 3,900-5,000 K (CH), behind heads of C2 (Swan, degraded to the
    violet), CN violet (to the violet) and CN red (to the red) from Pearse & Gaydon (1976). Velocities wrong by 30 km/s.
galaxies
    Mixtures of MILES stars, broadened by 150-300 km/s (old giants and dwarfs), or by 100-200 km/s with H II lines of
    50-150 km/s (hot dwarfs and giants; ratios as in Osterbrock & Ferland 2006). At rest: the redshift is removed.
M dwarfs with emission
    Mock spectra of 3,500-4,000 K with Balmer lines of 3-30 A, Ca II H and K. They are stars: flags are no merit here.
stars
    Mock spectra (`specdis.mock.atmospheres`) and MILES spectra (a model of MILES has seen them), half dwarfs and half
    giants; as they are, with wavelengths in air taken for vacuum, and with a velocity wrong by 500 km/s.
"""

from __future__ import annotations

import argparse
import csv
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import fitsio
import numpy as np
from closure_tables import table
from scipy.ndimage import gaussian_filter1d

import specdis
from specdis.arrays import Array, Bool, Float64
from specdis.flags import Flag
from specdis.mock import atmospheres
from specdis.statistics import robust_scatter
from specdis.surveys.wavelengths import air_to_vacuum

REAL = Path(os.environ.get("SPECDIS_REAL_DATA", "../shared/real"))
SEED = 1
SNR = (8, 15, 30, 60)
"""Median S/N per pixel of the mock spectra."""
C = 299_792.458  # km/s
STEP = 2.5e-5
FINE = 10 ** np.arange(3.5515, 3.8835, STEP)
"""Wavelengths on which spectra are made, vacuum Angstrom: 17 km/s, 3560-7647 A."""
LOG_PIXELS = np.arange(35_563, 38_809)
"""Pixels of SDSS and LAMOST between 3600 and 7600 A: 10,000 times log10 of the wavelength."""
GRIDS = {"DESI-like": 3600 + 0.8 * np.arange(5001), "SDSS-like": 10 ** (1e-4 * LOG_PIXELS)}
SDSS_BLUR = 47.0  # km/s: takes DESI's resolution of about 2800 to the 2000 of SDSS
MOST = 640  # spectra in one call: bounds the memory

STRANGE = Flag.OUTSIDE_DOMAIN | Flag.MANY_BAD_PIXELS
EXPECTED = Flag.NO_MAGNITUDE | Flag.NO_EBV | Flag.NO_ZERO_POINT | Flag.A_G_FALLBACK
"""Flags that say only that these spectra come without photometry."""

MAIN_SEQUENCE = np.array(
    [
        *((3430, 10.05), (3560, 9.29), (3660, 8.82), (3770, 8.45), (3850, 8.10), (3930, 7.90), (3990, 7.80)),
        *((4090, 7.57), (4300, 7.15), (4440, 6.85), (4600, 6.59), (4870, 6.22), (5100, 5.83), (5170, 5.65)),
        *((5290, 5.553), (5380, 5.34), (5480, 5.098), (5600, 4.914), (5660, 4.801), (5770, 4.635), (5860, 4.462)),
        *((5930, 4.325), (6050, 4.105), (6180, 3.90), (6350, 3.56), (6550, 3.26), (6670, 3.10), (6820, 2.89)),
        *((7020, 2.69), (7220, 2.51), (7400, 2.37), (7590, 2.27), (7760, 2.19), (7910, 2.09), (8100, 1.98)),
        *((8250, 1.92), (8600, 1.69), (8840, 1.345), (9300, 1.16), (9700, 1.00)),
    ]
)
"""Teff and M_G of dwarfs of M3 to A0: Pecaut & Mamajek (2013, ApJS 208, 9), with the magnitudes that E. Mamajek's table
"A Modern Mean Dwarf Stellar Color and Effective Temperature Sequence", version 2024.05.15, adds to theirs."""
INTRINSIC_SCATTER = 0.3
"""Spread of dwarfs about that relation in mag, with metallicity, age and companions; stated, not measured."""
DWARF_LOGG = 4.0
GIANT_LOGG = 3.5
BOLOMETRIC = {
    4000.0: (6.000e-2, 6.731e-5, -6.647e-8, 2.859e-11, -7.197e-15),
    3300.0: (1.749, 1.977e-3, 3.737e-7, -8.966e-11, -4.183e-14),
}
"""Bolometric correction of G above these Teff: powers of Teff - 5772 K (Andrae et al. 2018, A&A 616, A8, Table 4)."""
GIANT_SCATTER = 0.6
"""Error of a giant's M_G from LASP's log g, of 0.2 dex, and its unknown mass, mag; stated, not measured."""
SDSS_HEAD = ("file", "class", "z", "S/N", "taken", "covered", "M_G", "error", "flags")
GIANT_HEAD = ("Teff, log g", "S/N (g)", "expected", "M_G", "error", "z", "flags")
DWARF_HEAD = (
    "S/N (g)",
    "dwarfs",
    "flagged",
    *(f"{what}, {which}" for what in ("median", "scatter", "z-scatter") for which in ("unflagged", "all")),
    "quoted error",
)
LAMOST_SNR = ((0.0, 10.0), (10.0, 20.0), (20.0, 40.0), (40.0, np.inf), (10.0, np.inf), (0.0, np.inf))

QUASAR_LINES = np.array(
    [
        *((1033.03, 9.77, 7.76), (1216.25, 92.91, 19.46), (1396.76, 8.13, 14.26), (1546.15, 23.78, 14.33)),
        *((1905.97, 21.19, 23.58), (2800.26, 32.28, 34.95), (3729.66, 1.56, 3.32), (3869.77, 1.38, 5.31)),
        *((4102.73, 5.05, 18.62), (4346.42, 12.62, 20.32), (4853.13, 46.21, 40.44), (4960.36, 3.50, 3.85)),
        *((5008.22, 13.23, 6.04), (5877.41, 4.94, 23.45), (6564.93, 194.52, 47.39)),
        *((2450.0, 25.0, 100.0), (4564.71, 14.0, 61.69), (5250.0, 12.0, 55.0)),  # bumps of Fe II, rounded
    ]
)
"""Rest wavelength (vacuum), equivalent width and sigma in Angstrom of the composite of Vanden Berk et al. (2001)."""
BALMER = np.array([6564.61, 4862.68, 4341.68, 4102.89, 3971.20, 3890.15])
"""H alpha to H 8 in vacuum."""
DA_DEPTH, DA_WIDTH = np.array([0.7, 1.0, 1.0, 0.85, 0.55, 0.35]), np.array([0.8, 1.0, 0.9, 0.75, 0.6, 0.45])
"""Of the Balmer lines of a DA relative to H beta: pressure dissolves the high ones."""
HELIUM = air_to_vacuum(
    np.array([3888.65, 4026.19, 4120.82, 4387.93, 4471.48, 4713.15, 4921.93, 5015.68, 5875.62, 6678.15, 7065.19])
)
DB_DEPTH = np.array([0.8, 0.9, 0.3, 0.5, 1.0, 0.5, 0.6, 0.4, 0.8, 0.5, 0.5])
"""Of the He I lines relative to 4471."""
SWAN = np.array(
    [
        *((4382.5, 0.5), (4697.6, 0.4), (4715.2, 0.6), (4737.1, 1.0), (5129.3, 0.6), (5165.2, 1.4), (5540.7, 0.4)),
        *((5585.5, 0.6), (5635.5, 1.0), (6122.1, 0.3), (6191.2, 0.5)),
    ]
)
CN_VIOLET = np.array([(3883.4, 3.0), (4197.2, 1.0), (4216.0, 1.6)])
CN_RED = np.array(
    [
        *((5730.0, 0.2), (5858.2, 0.2), (5992.3, 0.2), (6206.5, 0.2), (6332.2, 0.3), (6478.5, 0.3), (6631.0, 0.3)),
        *((6926.0, 0.6), (7090.0, 0.6), (7259.0, 0.6), (7437.0, 0.5), (7600.0, 0.3)),
    ]
)
"""Heads of bands in air and their relative optical depths: wavelengths of Pearse & Gaydon (1976), depths by eye."""
NEBULAR = np.array(
    [
        *((3727.09, 1.2), (3729.88, 1.6), (3869.86, 0.3), (4102.89, 0.26), (4341.68, 0.47), (4862.68, 1.0)),
        *((4960.30, 0.5), (5008.24, 1.5), (5877.25, 0.12), (6302.05, 0.1), (6549.86, 0.3), (6564.61, 2.86)),
        *((6585.27, 0.9), (6718.29, 0.5), (6732.67, 0.4)),
    ]
)
"""Vacuum wavelengths of lines of H II regions, and fluxes relative to H beta (case B for hydrogen)."""


class Spectra(NamedTuple):
    """Spectra without noise on FINE, shape (object, pixel), and the velocities that the model is told, km/s."""

    flux: Float64
    velocity: Float64


class Kind(NamedTuple):
    """A kind of objects; those of one seed are the same ones, with the same noise."""

    name: str
    make: Callable[[np.random.Generator, int], Spectra]
    seed: str = ""
    blurred: bool = False
    """Whether the spectra have the resolution of SDSS already."""
    real: bool = False
    """Whether the real data are needed."""


class Prediction(NamedTuple):
    """What a model says, each of shape (star,)."""

    magnitude: Float64
    error: Float64
    flags: Array

    @property
    def strange(self) -> Bool:
        return (self.flags & STRANGE) != 0

    def only(self, rows: slice) -> Prediction:
        return Prediction(*(column[rows] for column in self))


def predict(model: specdis.Model, wavelength: Float64, flux: Float64, ivar: Float64, velocity: Float64) -> Prediction:
    """Predict observed-frame spectra in vacuum, in blocks."""
    parts = []
    for start in range(0, len(flux), MOST):
        rows = slice(start, start + MOST)
        found = model.predict(wavelength, flux[rows], ivar=ivar[rows], vrad=velocity[rows])
        numbers = [np.ma.filled(np.ma.asarray(found[n], np.float64), np.nan) for n in ("M_G_NN", "M_G_NN_ERR")]
        parts.append((*numbers, np.asarray(found["FLAGS"], np.int64)))
    return Prediction(*map(np.concatenate, zip(*parts, strict=True)))


# ---------------------------------------------------------------------------------------------------- mock spectra


def planck(teff: Float64) -> Float64:
    """Return the flux of black bodies, 1 at 5500 A, shape (star, pixel)."""
    power = 1.4388e8 / teff[:, None]
    return (5500 / FINE) ** 5 * np.expm1(power / 5500) / np.expm1(power / FINE)


def gaussians(centres: Array, sigmas: Array) -> Float64:
    """Return Gaussians of area 1 per Angstrom, shape (..., pixel)."""
    centres, sigmas = np.asarray(centres)[..., None], np.asarray(sigmas)[..., None]
    return np.exp(-0.5 * ((FINE - centres) / sigmas) ** 2) / (np.sqrt(2 * np.pi) * sigmas)


def broadened(flux: Float64, sigma: Array) -> Float64:
    """Blur spectra by Gaussians of so many km/s, one for each or one for all."""
    pixels = np.broadcast_to(np.asarray(sigma) / (C * STEP * np.log(10)), len(flux))
    return np.stack([gaussian_filter1d(one, width, mode="nearest") for one, width in zip(flux, pixels, strict=True)])


def moved(flux: Float64, velocity: Float64) -> Float64:
    """Doppler-shift spectra by so many km/s."""
    return np.stack([np.interp(FINE / (1 + v / C), FINE, one) for one, v in zip(flux, velocity, strict=True)])


def on_the_sky(rng: np.random.Generator, flux: Float64, wrong: float) -> Spectra:
    """Give spectra velocities, which are then measured with an error of `wrong` km/s."""
    velocity = np.clip(rng.normal(0, 100, len(flux)), -300, 300)
    return Spectra(moved(flux, velocity), velocity + rng.normal(0, wrong, len(flux)))


def no_velocity(rng: np.random.Generator, flux: Float64) -> Spectra:
    """Give spectra a velocity that means nothing."""
    return Spectra(flux, rng.uniform(-300, 300, len(flux)))


def quasars(rng: np.random.Generator, n: int) -> Spectra:
    z = rng.uniform(0.1, 3.5, n)
    rest = FINE / (1 + z[:, None])
    index = rng.normal(-1.56, 0.3, n)[:, None]
    flux = np.where(rest < 5000, (rest / 5000) ** index, (rest / 5000) ** (index + 2.01))
    lines = np.zeros_like(flux)
    width = rng.uniform(0.7, 1.5, n)[:, None]
    for centre, equivalent, sigma in QUASAR_LINES:
        narrow = sigma < 7 and centre > 3000
        own = sigma * (1 if narrow else width)
        strength = equivalent * 10 ** rng.normal(0, 0.15, n)[:, None] / (np.sqrt(2 * np.pi) * own)
        lines += strength * np.exp(-0.5 * ((rest - centre) / own) ** 2)
    clouds = gaussian_filter1d(rng.normal(size=flux.shape), 8, axis=1)
    clouds = np.exp(1.5 * clouds / clouds.std() - 1.5**2 / 2)
    depth = np.where(rest < 1215.67, 0.0023 * (FINE / 1215.67) ** 3.65 * clouds, 0) + 2.0 * (rest < 911.8)
    return no_velocity(rng, flux * (1 + lines) * np.exp(-depth))


def white_dwarfs(teff: tuple[float, float], lines: Array, depths: Array, widths: Array) -> Callable[..., Spectra]:
    """Return what makes white dwarfs with lines of these relative depths and widths; wings fall with power 2.5."""

    def make(rng: np.random.Generator, n: int) -> Spectra:
        flux = planck(rng.uniform(*teff, n))
        deepest, widest = rng.uniform(0.3, 0.6, n)[:, None], rng.uniform(50, 150, n)[:, None]
        for line, depth, width in zip(lines, depths, widths, strict=True):
            distance = np.abs(FINE - line) / (0.5 * widest * width)
            flux *= 1 - deepest * depth / (1 + distance**2.5)
        return on_the_sky(rng, flux, 50)

    return make


def carbon_bands(rng: np.random.Generator, n: int, weakest: float, strongest: float) -> Float64:
    """Return the transmission of C2 and CN, shape (star, pixel)."""
    depth = np.zeros((n, len(FINE)))
    for bands, sign in ((SWAN, -1), (CN_VIOLET, -1), (CN_RED, 1)):
        strength = 10 ** rng.uniform(np.log10(weakest), np.log10(strongest), n)
        length = rng.uniform(50, 110, n)[:, None]
        heads = air_to_vacuum(bands[:, 0])
        for head, relative in zip(heads, bands[:, 1], strict=True):
            beyond = sign * (FINE - head)
            shape = np.exp(-np.clip(beyond, 0, None) / length) / (1 + np.exp(-np.clip(beyond / 1.5, -30, 30)))
            depth += strength[:, None] * relative * shape
    return np.exp(-depth)


def cool_carbon_stars(rng: np.random.Generator, n: int) -> Spectra:
    sodium = 1 - gaussians([5891.58, 5897.56], [2.0, 2.0]).sum(0) * rng.uniform(1, 4, n)[:, None]
    return on_the_sky(rng, planck(rng.uniform(2500, 3800, n)) * sodium * carbon_bands(rng, n, 0.7, 2.5), 30)


def ch_stars(rng: np.random.Generator, n: int) -> Spectra:
    teff = rng.uniform(3900, 5000, n)
    logg, feh = 0.5 + (teff - 3900) / 700, rng.uniform(-1.5, 0, n)
    flux = atmospheres.spectra(teff, logg, feh, np.full(n, 0.2), FINE)
    return on_the_sky(rng, flux * carbon_bands(rng, n, 0.3, 1.5), 30)


def active_m_dwarfs(rng: np.random.Generator, n: int) -> Spectra:
    flux = atmospheres.spectra(
        rng.uniform(3500, 4000, n), np.full(n, 4.8), rng.normal(-0.2, 0.2, n), np.zeros(n), FINE
    ).astype(np.float64)
    strength = 10 ** rng.uniform(np.log10(3), np.log10(30), n)[:, None]
    lines = gaussians([*BALMER[:5], 3934.78, 3969.59], np.full(7, 0.9))
    return on_the_sky(rng, flux * (1 + strength * (np.array([1, 1, 0.8, 0.7, 0.6, 0.7, 0.5]) @ lines)), 5)


def featureless(rng: np.random.Generator, n: int) -> Spectra:
    return no_velocity(rng, (FINE / 5500) ** rng.uniform(-3, 2, n)[:, None])


def noise_alone(rng: np.random.Generator, n: int) -> Spectra:
    return no_velocity(rng, np.zeros((n, len(FINE))))


def mock_stars(rng: np.random.Generator, n: int) -> Spectra:
    dwarf = np.arange(n) % 2 == 0
    teff = np.where(dwarf, rng.uniform(4200, 7000, n), rng.uniform(4000, 5200, n))
    logg = np.where(dwarf, 4.7 - 0.5 * (teff - 4200) / 2800, 1 + 2 * (teff - 4000) / 1200)
    feh = np.clip(rng.normal(-0.4, 0.4, n), -2, 0.3)
    flux = atmospheres.spectra(teff, logg, feh, np.clip(-0.4 * feh, 0, 0.4), FINE)
    return on_the_sky(rng, flux.astype(np.float64), 2)


class Miles(NamedTuple):
    """Spectra of MILES on FINE, 1 at 5500 A, and parameters. Beyond 7410 A, where they end, they are black bodies."""

    flux: Float64
    teff: Float64
    logg: Float64
    feh: Float64

    def mixed(self, rng: np.random.Generator, rows: Array, stars: int) -> Float64:
        """Return the mean of so many of these stars, shape (pixel,)."""
        return rng.dirichlet(np.full(stars, 2.0)) @ self.flux[rng.choice(np.flatnonzero(rows), stars)]


@cache
def miles() -> Miles:
    with fitsio.FITS(str(REAL / "miles.fits")) as file:
        stars = file["STARS"].read(columns=["TEFF", "LOGG", "FEH"])
        wavelength, flux = air_to_vacuum(file["WAVELENGTH"].read()), file["FLUX"].read().astype(np.float64)
    good = np.isfinite([stars[name] for name in stars.dtype.names]).all(0)
    teff, logg, feh = (stars[name][good].astype(np.float64) for name in ("TEFF", "LOGG", "FEH"))
    fine = np.stack([np.interp(FINE, wavelength, one) for one in flux[good]])
    black = planck(teff)
    last, end = (np.searchsorted(FINE, wavelength[-1] - before) for before in (60, 3))
    level = np.median((fine / black)[:, last:end], axis=1, keepdims=True)
    fine[:, end:] = (level * black)[:, end:]
    pivot = (FINE > 5450) & (FINE < 5550)
    return Miles(fine / fine[:, pivot].mean(1, keepdims=True), teff, logg, feh)


def miles_stars(rng: np.random.Generator, n: int) -> Spectra:
    _, teff, logg, feh = miles()
    usual = (teff > 4000) & (teff < 7500) & (feh > -2.5)
    dwarfs, giants = (np.flatnonzero(usual & rows) for rows in (logg > DWARF_LOGG, logg < GIANT_LOGG))
    rows = np.concatenate([rng.choice(dwarfs, n - n // 2), rng.choice(giants, n // 2)])
    return on_the_sky(rng, miles().flux[rows], 2)


def old_galaxies(rng: np.random.Generator, n: int) -> Spectra:
    _, teff, logg, feh = miles()
    giants = (logg < GIANT_LOGG) & (teff > 4000) & (teff < 5300) & (feh > -1)
    dwarfs, coolest = (logg > DWARF_LOGG) & (teff > 4500) & (teff < 6500), (logg < 2) & (teff > 3600) & (teff < 4000)
    parts = ((giants, 4, 0.6), (dwarfs, 3, 0.3), (coolest, 1, 0.1))
    share = [rng.dirichlet([10 * weight for *_, weight in parts]) for _ in range(n)]
    flux = [s @ np.stack([miles().mixed(rng, rows, k) for rows, k, _ in parts]) for s in share]
    return Spectra(broadened(np.stack(flux), rng.uniform(150, 300, n)), rng.normal(0, 30, n))


def emission_galaxies(rng: np.random.Generator, n: int) -> Spectra:
    _, teff, logg, feh = miles()
    hot = (logg > GIANT_LOGG) & (teff > 6500) & (teff < 11_000) & (feh > -1)
    giants = (logg < GIANT_LOGG) & (teff > 4000) & (teff < 5300) & (feh > -1)
    share = rng.uniform(0.2, 0.8, n)
    flux = np.stack([s * miles().mixed(rng, hot, 3) + (1 - s) * miles().mixed(rng, giants, 3) for s in share])
    flux = broadened(flux, rng.uniform(100, 200, n))
    sigma = np.hypot(rng.uniform(50, 150, n), 60)  # the instrument's resolution included
    beta = 10 ** rng.uniform(np.log10(3), np.log10(60), n)  # equivalent width of H beta, Angstrom
    for line, relative in NEBULAR:
        hydrogen = np.isin(line, BALMER)
        strength = beta * relative * (1 if hydrogen else 10 ** rng.normal(0, 0.2, n))
        flux += strength[:, None] * gaussians(np.full(n, line), line * sigma / C)
    return Spectra(flux, rng.normal(0, 30, n))


def in_air(make: Callable[..., Spectra]) -> Callable[..., Spectra]:
    """Return what makes the same objects with wavelengths in air that are taken for vacuum."""

    def wrong(rng: np.random.Generator, n: int) -> Spectra:
        flux, velocity = make(rng, n)
        return Spectra(np.stack([np.interp(air_to_vacuum(FINE), FINE, one) for one in flux]), velocity)

    return wrong


def at_another_velocity(make: Callable[..., Spectra]) -> Callable[..., Spectra]:
    """Return what makes the same objects, their velocities wrong by 500 km/s."""

    def wrong(rng: np.random.Generator, n: int) -> Spectra:
        flux, velocity = make(rng, n)
        return Spectra(flux, velocity + 500 * (-1) ** np.arange(n))

    return wrong


KINDS = (
    Kind("quasars", quasars),
    Kind("white dwarfs, DA", white_dwarfs((8000, 30_000), BALMER, DA_DEPTH, DA_WIDTH)),
    Kind("white dwarfs, DB", white_dwarfs((12_000, 28_000), HELIUM, DB_DEPTH, np.full(len(HELIUM), 0.5))),
    Kind("carbon stars, N", cool_carbon_stars),
    Kind("carbon stars, CH", ch_stars),
    Kind("galaxies with emission", emission_galaxies, blurred=True, real=True),
    Kind("galaxies without", old_galaxies, blurred=True, real=True),
    Kind("M dwarfs with emission", active_m_dwarfs),
    Kind("power laws without lines", featureless),
    Kind("noise alone", noise_alone),
    Kind("mock stars", mock_stars),
    Kind("mock stars, air for vacuum", in_air(mock_stars), "mock stars"),
    Kind("mock stars, 500 km/s wrong", at_another_velocity(mock_stars), "mock stars"),
    Kind("MILES stars", miles_stars, blurred=True, real=True),
    Kind("MILES stars, air for vacuum", in_air(miles_stars), "MILES stars", blurred=True, real=True),
    Kind("MILES stars, 500 km/s wrong", at_another_velocity(miles_stars), "MILES stars", blurred=True, real=True),
)


def observed(rng: np.random.Generator, flux: Float64, wavelength: Float64, snr: float) -> tuple[Float64, Float64]:
    """Return flux and ivar with noise; half of the variance is the sky's, and it rises below 3900 A as DESI's does."""
    seen = np.stack([np.interp(wavelength, FINE, one) for one in flux])
    level = np.median(seen, axis=1, keepdims=True)
    seen /= np.where(level > 0, level, 1)
    variance = (0.5 * seen + 0.5) * (1 + np.exp((3900 - wavelength) / 130))
    signal = np.median(seen / np.sqrt(variance), axis=1, keepdims=True)
    variance *= (np.where(signal > 0, signal, 1) / snr) ** 2
    return seen + np.sqrt(variance) * rng.normal(size=seen.shape), 1 / variance


def mock_predictions(model: specdis.Model, objects: int) -> dict[tuple[str, str, int], Prediction]:
    """Return what a model says of all kinds, by the names of kind and grid and by S/N."""
    kinds = [kind for kind in KINDS if REAL.is_dir() or not kind.real]
    answers = {}
    for grid, wavelength in GRIDS.items():
        cells, spectra = [], []
        for kind in kinds:
            seeds = (SEED, zlib.crc32((kind.seed or kind.name).encode()))
            flux, velocity = kind.make(np.random.default_rng(seeds), objects)
            if grid == "SDSS-like" and not kind.blurred:
                flux = broadened(flux, SDSS_BLUR)
            for snr in SNR:
                cells.append((kind.name, grid, snr))
                rng = np.random.default_rng((*seeds, snr))
                spectra.append((*(x.astype(np.float32) for x in observed(rng, flux, wavelength, snr)), velocity))
        found = predict(model, wavelength, *(np.concatenate(parts) for parts in zip(*spectra, strict=True)))
        answers |= {cell: found.only(slice(i * objects, (i + 1) * objects)) for i, cell in enumerate(cells)}
    return answers


def flagged_rows(answers: dict[tuple[str, str, int], Prediction]) -> Iterator[list[str]]:
    """Yield the share of flagged objects by kind."""
    for name in dict.fromkeys(name for name, *_ in answers):
        yield [name, *(f"{100 * answers[name, grid, snr].strange.mean():.0f}" for grid in GRIDS for snr in SNR)]


def shift_rows(answers: dict[tuple[str, str, int], Prediction]) -> Iterator[list[str]]:
    """Yield by how much mistakes move the magnitudes of stars that are not flagged with them."""
    for kind in KINDS:
        if not kind.seed or (kind.name, "DESI-like", SNR[0]) not in answers:
            continue
        line = [kind.name]
        for grid in GRIDS:
            for snr in SNR:
                wrong, right = answers[kind.name, grid, snr], answers[kind.seed, grid, snr]
                change = (wrong.magnitude - right.magnitude)[~wrong.strange]
                line.append(f"{middle(change)}, {spread(change)} ({len(change)})")
        yield line


# ---------------------------------------------------------------------------------------------------- real spectra


def words(flags: int) -> str:
    """Return the names of the flags that tell something."""
    return ", ".join(flag.name or "" for flag in Flag if flag & flags & ~EXPECTED) or "–"


def middle(values: Float64) -> str:
    values = values[np.isfinite(values)]
    return f"{np.median(values):+.2f}" if len(values) else "–"


def spread(values: Float64) -> str:
    values = values[np.isfinite(values)]
    return f"{robust_scatter(values):.2f}" if len(values) >= 5 else "–"


def at_pixels(first: int, values: Array, wanted: Array) -> Array:
    """Return rows of values whose first pixel has this number at the wanted pixels, 0 where there are none."""
    place = wanted - first
    inside = (place >= 0) & (place < values.shape[-1])
    return np.where(inside, values[..., np.clip(place, 0, values.shape[-1] - 1)], 0.0)


def sdss_rows(model: specdis.Model) -> Iterator[list[str]]:
    """Yield what a model says of each SDSS spectrum, brought to rest by its redshift and as it is.

    A redshift moves a logarithmic grid by a whole number of pixels, and what is left is a velocity: one grid for all.
    """
    told, spectra = [], []
    for path in sorted((REAL / "sdss").glob("spec-*.fits")):
        with fitsio.FITS(str(path)) as file:
            coadd, about = file["COADD"].read(), file["SPALL"].read()
        class_, subclass = (str(about[name][0]).strip() for name in ("CLASS", "SUBCLASS"))
        z, first = float(about["Z"][0]), round(1e4 * float(coadd["loglam"][0]))
        snr = np.median(coadd["flux"] * np.sqrt(coadd["ivar"]))
        for taken, redshift in (("at rest", z),) if class_ == "STAR" else (("at rest", z), ("z = 0", 0.0)):
            pixels = round(1e4 * np.log10(1 + redshift))
            velocity = C * ((1 + redshift) * 10 ** (-1e-4 * pixels) - 1)
            flux, ivar = (at_pixels(first - pixels, coadd[name], LOG_PIXELS) for name in ("flux", "ivar"))
            told.append([path.stem, f"{class_} {subclass}".strip(), f"{z:.4f}", f"{snr:.0f}", taken])
            told[-1].append(f"{100 * (ivar > 0).mean():.0f} %")
            spectra.append((flux, ivar, velocity))
    found = predict(model, GRIDS["SDSS-like"], *map(np.array, zip(*spectra, strict=True)))
    for line, magnitude, error, flags in zip(told, *found, strict=True):
        numbers = (f"{value:.2f}" if np.isfinite(value) else "–" for value in (magnitude, error))
        yield [*line, *numbers, words(flags)]


class Stars(NamedTuple):
    """LAMOST stars: wavelength (pixel,), flux and ivar (star, pixel), the rest (star,); NaN where unknown."""

    wavelength: Float64
    flux: Float64
    ivar: Float64
    velocity: Float64
    teff: Float64
    logg: Float64
    snr: Float64
    subclass: Array


def lamost_files() -> Stars:
    """Read the raw files of lamost/; the pipeline's redshift where LASP gives no velocity, S/N of the g band."""
    with (REAL / "lamost" / "stars.csv").open() as file:
        rows = list(csv.DictReader(file))
    wanted = LOG_PIXELS[LOG_PIXELS >= 35_682]
    flux, ivar, header = [], [], []
    for row in rows:
        with fitsio.FITS(str(REAL / "lamost" / row["filename"])) as file:
            image = file[0].read().astype(np.float64)
            header.append(file[0].read_header())
        good = (image[1] > 0) & (image[3] == 0)
        first = round(1e4 * header[-1]["COEFF0"])
        flux.append(at_pixels(first, image[0], wanted))
        ivar.append(at_pixels(first, np.where(good, image[1], 0), wanted))
    rv, teff, logg = (np.array([float(row[name] or "nan") for row in rows]) for name in ("rv", "teff", "logg"))
    velocity = np.where(np.isfinite(rv), rv, [C * one["Z"] for one in header])
    snr, subclass = np.array([one["SN_G"] for one in header]), np.array([row["subclass"] for row in rows])
    return Stars(10 ** (1e-4 * wanted), np.array(flux), np.array(ivar), velocity, teff, logg, snr, subclass)


def mended(stars: Stars) -> Stars:
    """Interpolate the inverse variance where it is 0.

    LAMOST DR1 has zeros in the cores of deep lines of good spectra (Ca II H and K, the Balmer lines), where the flux is
    right, and in the telluric A band, which ends these spectra.
    """
    ivar = stars.ivar.copy()
    for one in ivar:
        good = np.flatnonzero(one > 0)
        one[:] = np.interp(np.arange(len(one)), good, one[good])
    return stars._replace(ivar=ivar)


def lamost_table() -> Stars:
    """Read lamost.fits."""
    with fitsio.FITS(str(REAL / "lamost.fits")) as file:
        stars, wavelength, mask = file["STARS"].read(), file["WAVELENGTH"].read(), file["MASK"].read()
        flux, ivar = (file[name].read().astype(np.float64) for name in ("FLUX", "IVAR"))
    inside = wavelength < GRIDS["SDSS-like"][-1] + 0.5
    ivar = np.where(mask == 0, ivar, 0)
    told = (stars[name].astype(np.float64) for name in ("VRAD", "TEFF", "LOGG", "SN_G"))
    return Stars(wavelength[inside], flux[:, inside], ivar[:, inside], *told, stars["SUBCLASS"])


def dwarf_rows(stars: Stars, found: Prediction) -> Iterator[list[str]]:
    """Yield how far dwarfs lie from the main sequence by S/N."""
    expected = np.interp(stars.teff, *MAIN_SEQUENCE.T, left=np.nan, right=np.nan)
    offset = found.magnitude - expected
    z = offset / np.hypot(found.error, INTRINSIC_SCATTER)
    for low, high in LAMOST_SNR:
        rows = (stars.logg > DWARF_LOGG) & np.isfinite(expected) & (stars.snr >= low) & (stars.snr < high)
        calm = rows & ~found.strange
        name = "all" if (low, high) == (0.0, np.inf) else f"{low:g}-{high:g}" if high < np.inf else f"> {low:g}"
        numbers = [f"{np.count_nonzero(rows)}", f"{np.count_nonzero(rows & found.strange)}"]
        medians = [middle(offset[calm]), middle(offset[rows])]
        spreads = [spread(values[use]) for values in (offset, z) for use in (calm, rows)]
        yield [name, *numbers, *medians, *spreads, middle(found.error[rows]).lstrip("+")]


def of_gravity(teff: Float64, logg: Float64) -> Float64:
    """Return M_G of stars of one solar mass."""
    high, low = (np.polynomial.polynomial.polyval(teff - 5772.0, terms) for terms in BOLOMETRIC.values())
    magnitude = 4.74 - 2.5 * (4 * np.log10(teff / 5772.0) - (logg - 4.438))
    return np.asarray(magnitude - np.where(teff > 4000.0, high, low))


def giant_rows(stars: Stars, found: Prediction) -> Iterator[list[str]]:
    """Yield how far giants lie from what their gravity says: first each, then all."""
    rows = stars.logg < GIANT_LOGG
    expected = of_gravity(stars.teff, stars.logg)
    offset = found.magnitude - expected
    z = offset / np.hypot(found.error, GIANT_SCATTER)
    for i in np.flatnonzero(rows):
        numbers = (expected[i], found.magnitude[i], found.error[i], z[i])
        parameters = f"{stars.teff[i]:.0f} K, {stars.logg[i]:.2f}"
        yield [parameters, f"{stars.snr[i]:.0f}", *(f"{value:+.2f}" for value in numbers), words(found.flags[i])]
    calm = rows & ~found.strange
    yield ["median offset, unflagged", "", "", middle(offset[calm]), "", spread(z[calm]), f"{calm.sum()} stars"]
    yield ["median offset, all", "", "", middle(offset[rows]), "", spread(z[rows]), f"{rows.sum()} stars"]


def other_rows(stars: Stars, found: Prediction) -> Iterator[list[str]]:
    """Yield number and flags of the stars that are no dwarfs, or not known to be."""
    groups = {
        f"log g {GIANT_LOGG}-{DWARF_LOGG}": (stars.logg >= GIANT_LOGG) & (stars.logg <= DWARF_LOGG),
    }
    unknown = ~np.isfinite(stars.logg)
    letters = np.array([str(name)[:1] for name in stars.subclass])
    groups |= {f"no parameters, {letter}": unknown & (letters == letter) for letter in "AFGKM"}
    for name, rows in groups.items():
        if rows.any():
            strange = np.count_nonzero(found.strange[rows])
            yield [name, f"{np.count_nonzero(rows)}", f"{strange}", middle(found.magnitude[rows])]


def show(title: str, head: Iterable[str], rows: Iterable[list[str]]) -> None:
    print(f"\n{title}\n")
    print(table(list(head), rows), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    parser.add_argument("--objects", type=int, default=50, help="of each kind")
    parser.add_argument("--real", action="store_true", help="real spectra alone")
    arguments = parser.parse_args()
    columns = [f"{grid}, {snr}" for grid in GRIDS for snr in SNR]
    for path in arguments.models:
        model = specdis.load_model(path)
        print(f"\n## {path}")
        if arguments.real:
            real(model)
            continue
        answers = mock_predictions(model, arguments.objects)
        title = f"Flagged in per cent, by grid and S/N per pixel ({arguments.objects} of each kind)"
        show(title, ["", *columns], flagged_rows(answers))
        title = "Median and robust scatter (mag) by which mistakes move M_G where nothing is flagged (number)"
        show(title, ["", *columns], shift_rows(answers))
        if REAL.is_dir():
            real(model)


def real(model: specdis.Model) -> None:
    """Show what a model says of real spectra."""
    show("SDSS spectra", SDSS_HEAD, sdss_rows(model))
    raw = lamost_files()
    sets = {"lamost/": raw, "lamost/, gaps of ivar filled": mended(raw), "lamost.fits": lamost_table()}
    for name, stars in sets.items():
        found = predict(model, *stars[:4])
        title = f"{name}: M_G - M_G(main sequence), mag; z with {INTRINSIC_SCATTER} mag of intrinsic scatter"
        show(title, DWARF_HEAD, dwarf_rows(stars, found))
        title = f"{name}: giants, M_G - M_G(log g), mag; z with {GIANT_SCATTER} mag of the reference's error"
        show(title, GIANT_HEAD, giant_rows(stars, found))
        show(f"{name}: the others", ("", "stars", "flagged", "median M_G"), other_rows(stars, found))


if __name__ == "__main__":
    main()
