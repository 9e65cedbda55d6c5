"""Print what a model says of the stars of its own library as other telescopes would see them, as Markdown.

    .venv/bin/specdis run configs/library.toml
    .venv/bin/python tools/telescopes.py runs/library miles.fits

Each star of the table that was trained on is predicted by networks that were not trained on it, and compared with the
M_G of its parallax, of S/N above 10. The telescopes are this tool's own, so that they are not the ones for which the
training's copies stand: the flux is sampled on logarithmic pixels in vacuum, observed at a velocity that is known to
5 km/s, with a tilt and a ripple of the response, a joint of two arms, noise of stars and sky that rises at both ends,
and sky lines without data. S/N is the median per pixel.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import fitsio
import numpy as np
from closure_tables import table
from scipy.ndimage import gaussian_filter1d
from strangers import STRANGE, C, middle, spread

import specdis
from specdis.arrays import Array, Float64
from specdis.photometry import geometric_magnitude
from specdis.storage import read_table
from specdis.stores.paths import RunPaths
from specdis.surveys.table import TableSurvey

DWARF_LOGG = 3.8
PARALLAX_SNR = 10.0
SKY = ((5575, 5581), (5889, 5898), (6299, 6303), (6862, 6872))
"""Sky lines and the telluric B band, which no telescope's spectra have, Angstrom."""
SEED = 1


class Telescope(NamedTuple):
    """A telescope.

    Parameters
    ----------
    first, last
        Wavelengths, Angstrom.
    pixel
        Width of a pixel, km/s.
    blur
        What it adds to the library's lines: the sigma of a Gaussian, km/s.
    response
        Relative height of the ripple of its response.
    joint
        Where its arms meet, Angstrom, and the relative step there.
    """

    first: float
    last: float
    pixel: float
    blur: float
    response: float
    joint: tuple[float, float]


TELESCOPES = {
    "like SDSS": Telescope(3800, 7400, 69, 25, 0.01, (6000, 0.01)),
    "like LAMOST": Telescope(3700, 7400, 69, 60, 0.03, (5850, 0.05)),
    "badly calibrated": Telescope(3800, 7400, 69, 40, 0.10, (5850, 0.15)),
    "of low resolution": Telescope(3700, 7400, 140, 150, 0.02, (5850, 0.02)),
}
SNRS = (10, 20, 50)


def observed(telescope: Telescope, native: Float64, flux: Float64, snr: float) -> tuple[Float64, ...]:
    """Return wavelength, flux, inverse variance and the measured velocities of stars as a telescope sees them."""
    rng = np.random.default_rng((SEED, round(telescope.blur), round(snr)))
    step = telescope.pixel / C
    wavelength = np.exp(np.arange(np.log(telescope.first), np.log(telescope.last), step))
    fine = np.exp(np.arange(np.log(native[0]), np.log(native[-1]), 10 / C))
    true = rng.normal(0, 60, len(flux))
    good = (flux > 0) & np.isfinite(flux)
    seen = np.stack(
        [
            np.interp(
                np.log(wavelength) - np.log1p(v / C),
                np.log(fine),
                gaussian_filter1d(np.interp(fine, native[use], one[use]), telescope.blur / 10),
            )
            for one, use, v in zip(flux, good, true, strict=True)
        ]
    )
    x = (wavelength - wavelength[0]) / np.ptp(wavelength)
    phase, tilt, height = rng.normal(size=(3, len(flux), 1)) * [[[10]], [[0.2]], [[1]]]
    ripple = telescope.response * height * np.sin(wavelength / 30 + phase) + tilt * x
    step_at = telescope.joint[1] * rng.normal(size=(len(flux), 1)) * (wavelength > telescope.joint[0])
    seen *= np.exp(ripple + step_at)
    level = np.median(seen, axis=1, keepdims=True)
    variance = (seen + 0.5 * level) * level * (1 + 4 * np.exp(-x / 0.08) + np.exp((x - 1) / 0.05))
    variance *= (np.median(seen / np.sqrt(variance), axis=1, keepdims=True) / snr) ** 2
    ivar = 1 / variance
    for low, high in SKY:
        ivar[:, (wavelength > low) & (wavelength < high)] = 0
    return wavelength, seen + np.sqrt(variance) * rng.normal(size=seen.shape), ivar, true + rng.normal(0, 5, len(true))


def row(names: list[str], offset: Float64, error: Float64, z: Float64, strange: Array) -> list[str]:
    """Return one row: of the stars that are not flagged, and in brackets of all."""
    both = (~strange, np.ones(len(strange), bool))
    medians, spreads, widths = (
        [f(v[use]) for use in both] for f, v in ((middle, offset), (spread, offset), (spread, z))
    )
    inside = [f"{100 * np.mean(np.abs(z[use]) < 1):.0f}" if use.sum() >= 5 else "–" for use in both]
    cells = [f"{one} ({other})" for one, other in (medians, spreads, widths, inside)]
    return [*names, f"{100 * strange.mean():.0f}", *cells, f"{np.median(error):.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("run", type=Path, help="a finished run")
    parser.add_argument("library", type=Path, help="the table of its stars")
    arguments = parser.parse_args()
    paths = RunPaths(arguments.run)
    model = specdis.load_model(paths.model)
    columns = ("SOURCE_ID", "TRAINABLE", "FOLD", "G_0", "PARALLAX_CORRECTED", "PARALLAX_ERROR_USED", "LOGG")
    stars = read_table(paths.sample, columns)
    parallax, error = stars["PARALLAX_CORRECTED"], stars["PARALLAX_ERROR_USED"]
    use = stars["TRAINABLE"] & (stars["FOLD"] >= 0) & (parallax > PARALLAX_SNR * error)
    stars = {name: values[use] for name, values in stars.items()}
    known, known_error = geometric_magnitude(stars["PARALLAX_CORRECTED"], stars["PARALLAX_ERROR_USED"], stars["G_0"])
    library = TableSurvey(arguments.library)
    place = {number: at for at, number in enumerate(fitsio.read(str(arguments.library), ext="STARS")["SOURCE_ID"])}
    flux = fitsio.read(str(arguments.library), ext="FLUX")[[place[number] for number in stars["SOURCE_ID"]]]
    head = ("telescope", "S/N", "stars", "flagged, %", "median", "scatter", "z scatter", "in 68 %, %", "quoted")
    rows = []
    for name, telescope in TELESCOPES.items():
        for snr in SNRS:
            wavelength, seen, ivar, velocity = observed(telescope, library.wavelength, flux, snr)
            found = model.predict(wavelength, seen, ivar=ivar, vrad=velocity, source_id=stars["SOURCE_ID"])
            if not (np.asarray(found["HELD_OUT"], bool)).all():
                raise SystemExit("not all stars are held out: is this the table that the run was trained on?")
            magnitude, quoted = (np.ma.filled(np.ma.asarray(found[c], float), np.nan) for c in ("M_G_NN", "M_G_NN_ERR"))
            strange = (np.asarray(found["FLAGS"], np.int64) & STRANGE) != 0
            offset = magnitude - known
            z = offset / np.hypot(quoted, known_error)
            for kind, which in (("dwarfs", stars["LOGG"] > DWARF_LOGG), ("giants", stars["LOGG"] <= DWARF_LOGG)):
                which = which & np.isfinite(offset)
                rows.append(row([name, f"{snr}", kind], offset[which], quoted[which], z[which], strange[which]))
    print(table(list(head), rows))


if __name__ == "__main__":
    main()
