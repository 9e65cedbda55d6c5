"""Compute, compress and check the grid of stellar spectra that the mock ships (src/specdis/data/spectra_grid.npz).

    cd tools && python -m spectra_grid.compute_grid --work WORK

It needs numpy, scipy and numba (`pip install numba`; nothing else of the project uses numba), and specdis itself for
the check of the interpolation. Spectra are kept in the working directory as they are made, so an interrupted run goes
on where it stopped. The 2448 nodes take about a quarter of an hour on one core.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spectra_grid.gas import Array
from spectra_grid.synthesis import Synthesis

WAVELENGTH_RANGE = (3550.0, 7680.0)
"""Vacuum Angstrom at rest: DESI's B and R arms (3600-7630 A observed) and velocities to 2000 km/s."""
LOG_STEP = 1.05e-4
"""Step of ln(wavelength): 0.37 A in the blue and 0.81 A in the red."""
RESOLUTION = 1.8
"""FWHM in Angstrom, close to DESI's in both arms (R of 2000-3200 in B, 3200-4200 in R)."""
NORMALISATION = (5450.0, 5550.0)
"""Angstrom over which the mean of ln(flux) is zero."""
TEFF_RANGE = (3500.0, 12_000.0)
LOGG_TOP = 5.0
LOGG_FLOOR_HOTTEST = 2.5
FEH_RANGE = (-3.0, 0.5)
ALPHAFE_RANGE = (0.0, 0.4)
NODES = (17, 6, 8, 3)
CROWDING = 1.25
"""Power that draws nodes together at the cool and at the metal-rich end."""
COMPONENTS = 80
PRECISION = 2e-4
"""Step of ln(flux) to which each component's part is rounded."""
GRID = Path(__file__).parents[2] / "src/specdis/data/spectra_grid.npz"


def axes(counts: tuple[int, int, int, int]) -> tuple[Array, Array, Array, Array]:
    """Return the nodes of Teff, gravity fraction, [Fe/H] and [alpha/Fe].

    Nodes are closer in cool and in metal-rich stars, where lines change most. The gravity fraction runs from 0 at the
    lowest log g that stars of a Teff have (`logg_floor`) to 1 at log g = 5.
    """
    n_teff, n_gravity, n_feh, n_alphafe = counts
    coolest, hottest = TEFF_RANGE
    return (
        coolest * (hottest / coolest) ** (np.linspace(0.0, 1.0, n_teff) ** CROWDING),
        np.linspace(0.0, 1.0, n_gravity),
        FEH_RANGE[1] - (FEH_RANGE[1] - FEH_RANGE[0]) * np.linspace(1.0, 0.0, n_feh) ** CROWDING,
        np.linspace(*ALPHAFE_RANGE, n_alphafe),
    )


def logg_floor(teff: Array) -> Array:
    """Return the lowest log g of the grid: 0 at 3500 K, 2.5 at 12,000 K, linear between."""
    return np.interp(teff, TEFF_RANGE, (0.0, LOGG_FLOOR_HOTTEST))


def pixels() -> Array:
    """Return the wavelengths of the grid, uniform in their logarithm."""
    start, stop = np.log(WAVELENGTH_RANGE)
    return np.exp(np.arange(start, stop, LOG_STEP))


def compute(counts: tuple[int, int, int, int], work: Path) -> NDArray[np.float32]:
    """Synthesise every node that is not yet in the working directory.

    Returns
    -------
    ndarray of float32, shape (teff, gravity, feh, alphafe, pixel)
        ln(flux), its mean over 5450-5550 A removed.
    """
    teff, gravity, feh, alphafe = axes(counts)
    wavelength = pixels()
    path = work / f"nodes-{'-'.join(map(str, counts))}.npy"
    shape = (*counts, len(wavelength))
    if path.exists():
        spectra = np.lib.format.open_memmap(path, mode="r+")
    else:
        spectra = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        spectra[:] = np.nan
    synthesis = Synthesis(wavelength, RESOLUTION)
    missing = np.argwhere(np.isnan(spectra[..., 0]))
    started = time.perf_counter()
    for done, node in enumerate(map(tuple, missing)):
        hot, high, rich, enhanced = node
        floor = logg_floor(teff[hot])
        logg = floor + gravity[high] * (LOGG_TOP - floor)
        spectra[node] = normalised(synthesis(teff[hot], logg, feh[rich], alphafe[enhanced]), wavelength)
        if (done + 1) % 100 == 0:
            pace = (time.perf_counter() - started) / (done + 1)
            print(f"{done + 1} of {len(missing)} spectra, {pace:.2f} s each", flush=True)
    spectra.flush()
    return spectra


def normalised(flux: Array, wavelength: Array) -> Array:
    """Return ln(flux) less its mean over the normalisation window."""
    log_flux = np.log(flux)
    window = (wavelength >= NORMALISATION[0]) & (wavelength <= NORMALISATION[1])
    return log_flux - log_flux[window].mean()


def compress(spectra: NDArray[np.float32], counts: tuple[int, int, int, int]) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of the grid file: the mean of ln(flux), its principal components and their coefficients.

    Components have unit rms, so a coefficient is the rms it adds to ln(flux). Both are rounded to what `PRECISION` of
    ln(flux) needs and no finer: small integers compress well.
    """
    flat = spectra.reshape(-1, spectra.shape[-1]).astype(np.float64)
    mean = flat.mean(axis=0)
    centred = flat - mean
    _, nodes = np.linalg.eigh(centred @ centred.T)
    strongest = nodes[:, ::-1][:, :COMPONENTS]
    components = strongest.T @ centred
    rms = np.sqrt(np.mean(components**2, axis=1))
    coefficients, components = strongest * rms, components / rms[:, None]
    step = PRECISION / np.sqrt(np.mean(coefficients**2, axis=0))
    names = ("teff", "gravity", "feh", "alphafe")
    return dict(zip(names, axes(counts), strict=True)) | {
        "logg_floor": logg_floor(axes(counts)[0]),
        "logg_top": np.array(LOGG_TOP),
        "log_wavelength": np.array([np.log(WAVELENGTH_RANGE[0]), LOG_STEP]),
        "resolution": np.array(RESOLUTION),
        "mean": mean.astype(np.float32),
        "components": rounded(components / step[:, None]),
        "component_step": step,
        "coefficients": rounded(coefficients / PRECISION).reshape(*counts, -1),
        "coefficient_step": np.array(PRECISION),
    }


def rounded(values: Array) -> NDArray[np.int16]:
    """Return the nearest 16-bit integers."""
    if np.abs(values).max() > np.iinfo(np.int16).max:
        raise OverflowError("PRECISION is too fine for 16 bits")
    return np.round(values).astype(np.int16)


def check(count: int) -> None:
    """Compare interpolated spectra with direct synthesis at random parameters, by bins of Teff."""
    from specdis.mock.atmospheres import spectra

    generator = np.random.default_rng(1)
    wavelength = pixels()[50:-50]
    synthesis = Synthesis(wavelength, RESOLUTION)
    teff = np.geomspace(3550.0, 11_800.0, count)
    floor = logg_floor(teff)
    logg = floor + generator.uniform(0.03, 0.97, count) * (LOGG_TOP - floor)
    feh = generator.triangular(-2.9, 0.2, 0.45, count)
    alphafe = generator.uniform(*ALPHAFE_RANGE, count)
    print("Teff log g [Fe/H] [alpha/Fe]: rms error of ln(flux), and of flux over the scatter of its lines")
    error = np.empty((2, count))
    for star in range(count):
        truth = np.exp(normalised(synthesis(teff[star], logg[star], feh[star], alphafe[star]), wavelength))
        one = (np.array([value[star]]) for value in (teff, logg, feh, alphafe))
        ratio = spectra(*one, wavelength)[0] / truth
        continuum = running_mean(truth)
        lines = truth / continuum
        error[:, star] = np.log(ratio).std(), (lines * ratio - lines).std() / lines.std()
        print(f"{teff[star]:6.0f} {logg[star]:5.2f} {feh[star]:5.2f} {alphafe[star]:5.2f}: {error[:, star].round(4)}")
    for half in np.array_split(np.arange(count), 4):
        print(f"{teff[half[0]]:.0f}-{teff[half[-1]]:.0f} K: median {np.median(error[:, half], axis=1).round(4)}")


def running_mean(flux: Array) -> Array:
    """Return the mean over 501 pixels, about 250 A, the ends repeated."""
    total = np.cumsum(np.concatenate([[0.0], np.pad(flux, 250, mode="edge")]))
    return (total[501:] - total[:-501]) / 501.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="directory that keeps the spectra")
    parser.add_argument("--nodes", type=int, nargs=4, default=NODES, help="of Teff, gravity, [Fe/H], [alpha/Fe]")
    parser.add_argument("--check", type=int, default=40, help="number of direct syntheses to compare with")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    counts = tuple(options.nodes)
    grid = compress(compute(counts, options.work), counts)
    np.savez_compressed(GRID, **grid)
    print(f"{GRID}: {GRID.stat().st_size / 1e3:.0f} kB")
    check(options.check)


if __name__ == "__main__":
    main()
