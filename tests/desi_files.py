"""Fabricates DESI files with the layout of DR1: each is a mapping of HDU names to arrays, for tests to spoil."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import fitsio
import numpy as np

from specdis.surveys.layout import NATIVE_GRID, SPMOD_GRID, columns, dtype

SURVEY, PROGRAM, HEALPIX = "main", "bright", 10813

Hdus = dict[str, Any]


def targets(n: int) -> np.ndarray:
    """Return identifiers that single precision and double precision would spoil, one of them negative."""
    values = 39_633_086_291_379_507 + np.arange(n, dtype=np.int64)
    values[n // 2] = -24_360_048
    return values


def table(file: str, hdu: str, n: int) -> np.ndarray:
    """Return zeros with the big-endian record of DR1."""
    return np.zeros(n, dtype(file, hdu))


def catalogue(n: int = 6) -> Hdus:
    """Return the five tables of an mwsall file: stars of one pixel, all with a Gaia source."""
    hdus = {hdu: table("mwsall", hdu, n) for hdu in ("RVTAB", "SPTAB", "FIBERMAP", "SCORES", "GAIA")}
    rows = np.arange(n)
    for hdu in ("RVTAB", "SPTAB", "FIBERMAP", "SCORES"):
        hdus[hdu]["TARGETID"] = targets(n)
    rv, gaia = hdus["RVTAB"], hdus["GAIA"]
    rv["SURVEY"], rv["PROGRAM"], rv["HEALPIX"] = SURVEY.encode(), PROGRAM.encode(), HEALPIX
    rv["VRAD"], rv["TEFF"], rv["LOGG"], rv["FEH"] = 10.0 * rows - 20, 5000 + rows, 4.5, -0.5
    rv["SN_B"], rv["SN_R"] = 10 + rows, 20 + rows
    gaia["SOURCE_ID"] = (HEALPIX << 47) + 1 + rows
    gaia["RA"], gaia["DEC"] = 150 + 0.5 * rows, 30 + 0.2 * rows
    rv["TARGET_RA"], rv["TARGET_DEC"] = gaia["RA"] + 1e-4, gaia["DEC"] - 1e-4
    gaia["PARALLAX"], gaia["PARALLAX_ERROR"], gaia["PHOT_G_MEAN_MAG"] = 0.5 - 0.2 * rows, 0.1, 16 + 0.1 * rows
    gaia["PHOT_VARIABLE_FLAG"], gaia["ASTROMETRIC_PARAMS_SOLVED"] = b"NOT_AVAILABLE", 31
    gaia["EBV"] = 0.3
    hdus["FIBERMAP"]["EBV"] = 0.1
    hdus["SPTAB"]["RV_ADOP"] = rv["VRAD"] + 1
    return hdus


def fibermap(ids: np.ndarray) -> np.ndarray:
    """Return the FIBERMAP of a coadd."""
    rows = table("coadd", "FIBERMAP", len(ids))
    rows["TARGETID"], rows["OBJTYPE"], rows["EBV"] = ids, b"TGT", 0.1
    rows["TARGET_RA"], rows["TARGET_DEC"], rows["GAIA_PHOT_G_MEAN_MAG"] = 150, 30, 17
    return rows


def coadd(ids: np.ndarray) -> Hdus:
    """Return the B and R arms of a coadd, whose flux tells target, arm and pixel, with one masked pixel a star."""
    hdus: Hdus = {"FIBERMAP": fibermap(ids)}
    for arm in "BR":
        grid = NATIVE_GRID[arm]
        hdus[f"{arm}_WAVELENGTH"] = grid.wavelength()
        hdus[f"{arm}_FLUX"] = flux(ids, arm)
        hdus[f"{arm}_IVAR"] = np.full((len(ids), grid.pixels), 4, np.float32)
        hdus[f"{arm}_MASK"] = np.zeros((len(ids), grid.pixels), np.int32)
        hdus[f"{arm}_MASK"][:, 7] = 1 << 5
    hdus["SCORES"] = table("coadd", "SCORES", len(ids))
    hdus["SCORES"]["TARGETID"] = ids
    hdus["SCORES"]["MEDIAN_COADD_SNR_B"], hdus["SCORES"]["MEDIAN_COADD_SNR_R"] = 30, 50
    return hdus


def flux(ids: np.ndarray, arm: str) -> np.ndarray:
    """Return the flux that `coadd` gives to targets, shape (target, pixel)."""
    return (np.abs(ids)[:, None] % 1000 + 1 + np.arange(NATIVE_GRID[arm].pixels) / 4096).astype(np.float32)


def spmod(ids: np.ndarray) -> Hdus:
    """Return a file of normalised spectra: obs 1, err 0.1, with the bad pixels that such files have."""
    hdus: Hdus = {}
    for arm in "BRZ":
        model = table("spmod_coadd", f"{arm}_MODEL", len(ids))
        model["obs"], model["err"] = 1 + 0.01 * np.arange(len(ids))[:, None], 0.1
        model["err"][:, 1000:1004] = [np.nan, 950.0, -0.2, np.inf]
        model["obs"][:, 1000:1004] = 0
        hdus |= {f"{arm}_WAVELENGTH": SPMOD_GRID[arm].wavelength(), f"{arm}_MODEL": model}
    return {**hdus, "FIBERMAP": fibermap(ids)}


def rvtab(ids: np.ndarray, vrad: np.ndarray) -> Hdus:
    """Return the velocities that lie beside a coadd."""
    rows = table("rvtab_coadd", "RVTAB", len(ids))
    rows["TARGETID"], rows["VRAD"], rows["TEFF"], rows["RVS_WARN"] = ids, vrad, 5100, 1
    return {"RVTAB": rows}


def write(
    path: Path, hdus: Mapping[str, Any], header: Mapping[str, Any] | None = None, compressed: Collection[str] = ()
) -> Path:
    """Write the arrays as HDUs in the order given, after an empty primary HDU."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with fitsio.FITS(str(path), "rw", clobber=True) as file:
        file.write(None, header=dict(header or {}))
        for name, values in hdus.items():
            file.write(values, extname=name, compress="rice" if name in compressed else None)
    return path


def coadd_path(root: Path, survey: str = SURVEY, program: str = PROGRAM, healpix: int = HEALPIX) -> Path:
    """Return where the coadd of a pixel lies."""
    name = f"coadd-{survey}-{program}-{healpix}.fits"
    return root / "healpix" / survey / program / str(healpix // 100) / str(healpix) / name


def units(file: str, hdu: str) -> list[str]:
    """Return the units of a table, as a writer takes them."""
    return [column.unit for column in columns(file, hdu)]
