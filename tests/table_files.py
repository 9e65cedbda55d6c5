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
