"""The survey's continuum-normalised spectra at rest (spmod), as its stellar-parameter pipeline makes them from coadds.

The recipe is that of piferre and FERRE for DR1, independent of `specdis.spectra`: rest frame and resampling in one
linear interpolation, errors interpolated like flux, and a running mean of 501 pixels as the continuum. It has no mask:
where the inverse variance is zero, the error is a thousand times the largest flux.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy.ndimage import uniform_filter1d

from specdis.arrays import Array, Float64, Int64
from specdis.fitsfiles import created
from specdis.mock import files
from specdis.mock.observation import ArmData
from specdis.storage import atomic
from specdis.surveys.layout import NATIVE_GRID, SPMOD_GRID, dtype

_WIDTH = 501  # pixels of the running mean
_FASTEST = 0.01  # of the speed of light: faster targets are not stars
_SPEED_OF_LIGHT = 299_792.458  # km/s


def write_spmod(path: Path, rows: Mapping[str, Array], arms: Mapping[str, ArmData], snr: Mapping[str, Array]) -> None:
    """Write spmod_coadd-SURVEY-PROGRAM-PIXEL.fits for the stars of one coadd.

    Parameters
    ----------
    path
        The file.
    rows
        Targets and fibres on empty sky, as in `files.write_coadd`; VRAD as measured (km/s). Sky and targets that
        are too fast are left out.
    arms, snr
        Their spectra and S/N by arm.
    """
    found = np.flatnonzero((rows["TARGETID"] > 0) & (np.abs(rows["VRAD"]) < _FASTEST * _SPEED_OF_LIGHT))
    stars, signal = ({name: values[found] for name, values in table.items()} for table in (rows, snr))
    with atomic(path) as temporary, created(temporary) as file:
        file.write(None, header={"FCONFIG": "desi-sm.yaml", "NSPEC": len(found)})
        for arm, data in arms.items():
            file.write(SPMOD_GRID[arm].wavelength(), extname=f"{arm}_WAVELENGTH")
            spectra = normalised_arm(arm, data, found, stars["VRAD"])
            table = files.record("spmod_coadd", f"{arm}_MODEL", spectra, np.nan)
            files.append_table(file, "spmod_coadd", f"{arm}_MODEL", table)
        for hdu, columns in (("FIBERMAP", files.fibermap(stars)), ("SCORES", files.scores(stars, signal))):
            files.append_table(file, "spmod_coadd", hdu, files.record("spmod_coadd", hdu, columns, 0.0))
        pixels = sum(grid.pixels for grid in SPMOD_GRID.values())
        files.append_table(file, "spmod_coadd", "FILTER", np.zeros(pixels, dtype("spmod_coadd", "FILTER")))


def normalised_arm(arm: str, data: ArmData, rows: Int64, velocity: Float64) -> dict[str, Float64]:
    """Return obs and err of some spectra of a coadd, each of shape (star, pixel)."""
    flux, ivar = data.flux[rows].astype(np.float64), data.ivar[rows].astype(np.float64)
    known = ivar > 0.0
    error = np.where(known, 1.0 / np.sqrt(np.where(known, ivar, 1.0)), 1e3 * data.flux.max())
    # the recipe multiplies by 1 - v / c where 1 / (1 + v / c) would be exact
    shift = (1.0 - velocity / _SPEED_OF_LIGHT)[:, None]
    place = (SPMOD_GRID[arm].wavelength() / shift - data.wavelength[0]) / NATIVE_GRID[arm].step
    flux, error = _interpolated(flux, place), _interpolated(error, place)
    continuum = uniform_filter1d(flux, _WIDTH, axis=1, mode="nearest")
    with np.errstate(divide="ignore", invalid="ignore"):
        observed = np.where(continuum != 0.0, flux / continuum, flux)
        return {"obs": observed, "err": error / flux * observed}


def _interpolated(values: Float64, place: Float64) -> Float64:
    """Interpolate each row linearly at fractional pixels; beyond the ends their values are repeated."""
    place = np.clip(place, 0.0, values.shape[1] - 1.0)
    low = np.minimum(place.astype(np.int64), values.shape[1] - 2)
    share = place - low
    first, second = (np.take_along_axis(values, low + step, axis=1) for step in (0, 1))
    return np.asarray((1.0 - share) * first + share * second)
