"""Fabricates spectra tables: stars whose lines tell their luminosity, as arrays for tests to spoil."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fitsio
import numpy as np

from specdis.surveys.wavelengths import SPEED_OF_LIGHT

Hdus = dict[str, Any]

WAVELENGTH = np.geomspace(4000, 5200, 900)
"""Vacuum Angstrom, steps of 1.2 to 1.5 A."""

SETTINGS = """
[sample]
n_folds = 2

[photometry]
zero_point = "none"

[spectra]
grid.step = 1.0
join = "none"
sky_windows = "none"

[components]
n_components = 4

[network]
hidden = [8]
label.output = "exp"

[training]
learning_rate = 0.01
batch = 32
epochs = 15
n_seeds = 2

[distances]
n_draws = 4
"""

UNEVEN_SETTINGS = SETTINGS.replace('zero_point = "none"', 'error_inflation = "el-badry2021"')
UNEVEN_SETTINGS = UNEVEN_SETTINGS.replace("n_draws = 4", "n_draws = 2")
"""For `uneven_table`, whose parallaxes have all that the zero point needs; as many draws as `ablate` takes."""


def table(stars: int, seed: int = 1, snr: float = 50.0) -> Hdus:
    """Return the HDUs of a table in the observed frame, with errors and masks."""
    random = np.random.default_rng(seed)
    strength, other = random.uniform(0.1, 0.9, (2, stars))
    absolute = 6 * strength - 1
    parallax = random.uniform(0.2, 5, stars)
    g_magnitude = absolute + 10 - 5 * np.log10(parallax)
    velocity = random.uniform(-100, 100, stars)
    rest = WAVELENGTH * (1 - velocity[:, None] / SPEED_OF_LIGHT)
    lines = np.random.default_rng(0).uniform(4020, 5180, (2, 30))
    depth = [sum(np.exp(-0.5 * ((rest - centre) / 4) ** 2) for centre in centres) for centres in lines]
    signal = 100 * (rest / 4500) ** 2 * np.exp(-0.5 * (strength[:, None] * depth[0] + other[:, None] * depth[1]))
    noise = signal / snr
    hdus: Hdus = {
        "STARS": {
            "SOURCE_ID": (10813 << 47) + 7 * np.arange(stars),
            "PHOT_G_MEAN_MAG": g_magnitude.astype("f4"),
            "PARALLAX": parallax + 0.1 * random.standard_normal(stars),
            "PARALLAX_ERROR": np.full(stars, 0.1, "f4"),
            "EBV": np.full(stars, 0.02, "f4"),
            "VRAD": velocity,
            "TEFF": (4500 + 2000 * other).astype("f4"),
        },
        "WAVELENGTH": WAVELENGTH.copy(),
        "FLUX": (signal + noise * random.standard_normal(signal.shape)).astype("f4"),
        "IVAR": (noise**-2).astype("f4"),
        "MASK": np.zeros(signal.shape, np.int16),
    }
    hdus["MASK"][:, 333] = 4
    return hdus


def uneven_table() -> Hdus:
    """Return a table of stars that lack this and that, some of them twice, with all that the zero point needs."""
    stars = 420
    hdus, number, random = table(stars, seed=5), np.arange(stars), np.random.default_rng(6)
    columns = hdus["STARS"]
    columns["TARGETID"] = 5000 - number
    columns["SOURCE_ID"][410:] = columns["SOURCE_ID"][:10]  # spectra of the same stars
    columns |= {
        "ASTROMETRIC_PARAMS_SOLVED": np.where(number % 50 == 7, 3, np.where(number % 3, 31, 95)).astype("i2"),
        "NU_EFF_USED_IN_ASTROMETRY": np.where(number % 3, 1.5, np.nan).astype("f4"),
        "PSEUDOCOLOUR": np.where(number % 3, np.nan, 1.4).astype("f4"),
        "ECL_LAT": random.uniform(-90, 90, stars),
        "RUWE": np.where(number % 20 == 3, 1.5, 1.0).astype("f4"),
        "FEH": np.where(number % 40 == 9, -5.0, -1.0).astype("f4"),
        "LOGG": np.where(number % 2, 4.5, 3.0).astype("f4"),
        "SN": random.uniform(5, 90, stars).astype("f4"),
        "RA": random.uniform(0, 360, stars),
    }
    columns["PARALLAX"][number % 25 == 4] = np.nan
    columns["PHOT_G_MEAN_MAG"][number % 60 == 11] = np.nan
    columns["EBV"][number % 30 == 13] = 0.7
    columns["EBV"][number % 30 == 14] = np.nan
    columns["TEFF"][number % 30 == 15] = np.nan
    hdus["MASK"][20, :300] = 1
    hdus["MASK"][21] = 1
    return hdus


def write(path: Path, hdus: Mapping[str, Any], medium: str = "vacuum", frame: str = "observed") -> Path:
    """Write a table."""
    header = {"WAVEMED": medium, "FRAME": frame}
    with fitsio.FITS(str(path), "rw", clobber=True) as file:
        for name, values in hdus.items():
            file.write(values, extname=name, header=header if name == "WAVELENGTH" else None)
    return path


def write_config(table: Path, settings: str = SETTINGS) -> Path:
    """Write the configuration of a run on a table, beside it."""
    path = table.with_suffix(".toml")
    survey = f'[survey]\nkind = "table"\nspectra = "{table.name}"\n'
    path.write_text(f'[run]\nname = "table"\ndirectory = "run"\n{survey}{settings}')
    return path
