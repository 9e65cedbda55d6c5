"""The mock's files, to the byte of DESI DR1: the catalogue mwsall-pix-mock.fits and the coadds of each HEALPix pixel.

Columns without a value in the mock are 0, or NaN if the real ones are floats that can be missing. No date and
no path is written, so that equal settings give equal bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import fitsio
import numpy as np

from specdis import __version__
from specdis.arrays import Array, Columns
from specdis.fitsfiles import created
from specdis.mock import imaging
from specdis.mock.gaia import NO_MATCH, UNSAID
from specdis.mock.observation import LINE_WIDTH, ArmData
from specdis.mock.sky import NSIDE, SURVEY
from specdis.storage import atomic
from specdis.surveys.layout import NATIVE_GRID, columns, dtype

_MWS_ANY = 1 << 61  # bit of DESI_TARGET: a target of the Milky Way Survey
_ARM_UNITS = {
    "WAVELENGTH": "Angstrom",
    "FLUX": "10**-17 erg/(s cm2 Angstrom)",
    "IVAR": "10**+34 (s2 cm4 Angstrom2) / erg2",
}
_DIAGONALS = 11  # of the resolution matrix


def coadd_path(directory: Path, program: str, pixel: int) -> Path:
    """Return the path of the coadd of a programme and pixel: healpix/{survey}/{program}/{pixel // 100}/{pixel}/."""
    survey = SURVEY.decode()
    folder = directory / "healpix" / survey / program / str(pixel // 100) / str(pixel)
    return folder / f"coadd-{survey}-{program}-{pixel}.fits"


def write_coadd(path: Path, rows: Columns, arms: Mapping[str, ArmData], snr: Columns, *, resolution: bool) -> None:
    """Write the spectra of one programme and pixel.

    Parameters
    ----------
    path
        From `coadd_path`.
    rows
        Targets, including sky fibres, shape (star,).
    arms
        Their spectra, in the same order.
    snr
        Their S/N by arm.
    resolution
        Whether to write resolution matrices.
    """
    pixel, program = int(rows["HEALPIX"][0]), rows["PROGRAM"][0].decode()
    header = {
        "SPGRP": "healpix",
        "SPGRPVAL": pixel,
        "HPXPIXEL": pixel,
        "HPXNSIDE": NSIDE,
        "HPXNEST": True,
        "SURVEY": SURVEY.decode(),
        "PROGRAM": program,
        "DEPNAM00": "specdis",
        "DEPVER00": __version__,
    }
    with atomic(path) as temporary, created(temporary) as file:
        file.write(None, header=header)
        append_table(file, "coadd", "FIBERMAP", record("coadd", "FIBERMAP", fibermap(rows), 0.0))
        append_table(file, "coadd", "EXP_FIBERMAP", record("coadd", "EXP_FIBERMAP", _exposures(rows), 0.0))
        for arm, data in arms.items():
            images = {"WAVELENGTH": data.wavelength, "FLUX": data.flux, "IVAR": data.ivar, "MASK": data.mask}
            if resolution:
                images["RESOLUTION"] = resolution_matrices(len(data.flux), arm)
            for name, image in images.items():
                unit = {"BUNIT": _ARM_UNITS[name]} if name in _ARM_UNITS else None
                file.write(image, extname=f"{arm}_{name}", header=unit)
        append_table(file, "coadd", "SCORES", record("coadd", "SCORES", scores(rows, snr), 0.0))


HDUS = ("RVTAB", "SPTAB", "FIBERMAP", "SCORES", "GAIA")


def write_star_tables(
    path: Path, rows: Columns, gaia: Columns, rvs: Columns, snr: Columns, hdus: Sequence[str] = HDUS
) -> None:
    """Write tables of mwsall-pix-mock.fits, all of them by default.

    Parameters
    ----------
    path
        The file.
    rows
        Targets with their true parameters, one row per spectrum.
    gaia, rvs
        Results of Gaia and of the RVS pipeline for each row, from `gaia.catalogue` and `observation.rvs`.
    snr
        S/N by arm.
    hdus
        EXTNAME of the tables.
    """
    rv = _velocities(rows, rvs, snr) | {
        "HEALPIX": rows["HEALPIX"],
        "SURVEY": np.full(len(rows["TARGETID"]), SURVEY),
        "PROGRAM": rows["PROGRAM"],
        "PRIMARY": np.ones(len(rows["TARGETID"]), bool),
    }
    tables = {
        "RVTAB": (rv, np.nan),
        "SPTAB": (_stellar_parameters(rows, rvs, snr), np.nan),
        "FIBERMAP": (fibermap(rows), 0.0),
        "SCORES": (scores(rows, snr), 0.0),
        "GAIA": ({name: values for name, values in gaia.items() if name not in UNSAID}, np.nan),
    }
    with atomic(path) as temporary, created(temporary) as file:
        file.write(None)
        for hdu in hdus:
            table = record("mwsall", hdu, *tables[hdu])
            if hdu == "GAIA":
                _blank(table, ~gaia["MATCHED"])
            append_table(file, "mwsall", hdu, table)
            if hdu == "GAIA":
                _write_nulls(file[-1], table)


def write_velocities(path: Path, rows: Columns, rvs: Columns, snr: Columns) -> None:
    """Write rvtab_coadd-*.fits: results of the RVS pipeline for the targets of one coadd, without sky fibres.

    Arguments as of `write_star_tables`.
    """
    with atomic(path) as temporary, created(temporary) as file:
        file.write(None)
        table = record("rvtab_coadd", "RVTAB", _velocities(rows, rvs, snr), np.nan)
        append_table(file, "rvtab_coadd", "RVTAB", table)


def _velocities(rows: Columns, rvs: Columns, snr: Columns) -> dict[str, Array]:
    """Return the columns that RVTAB has both for a coadd and in the catalogue."""
    target = {name: values for name, values in _target(rows).items() if name != "HEALPIX"}
    return {
        **rvs,
        **target,
        **{f"SN_{arm}": values for arm, values in snr.items()},
        "RR_SPECTYPE": np.full(len(rows["TARGETID"]), b"STAR"),
        "RR_Z": rvs["VRAD"] / 299_792.458,
    }


def record(file: str, hdu: str, values: Columns, missing: float) -> Array:
    """Return the rows of a table in its DR1 layout, shape (star,).

    Parameters
    ----------
    file, hdu
        As in `layout.dtype`.
    values
        The known columns, at least one, each of shape (star, ...); unknown names are refused.
    missing
        Value of the other floats; other integers and strings are 0 and empty.
    """
    table = np.zeros(len(next(iter(values.values()))), dtype(file, hdu))
    for name in table.dtype.names or ():
        if table.dtype[name].base.kind == "f":
            table[name] = missing
    for name, column in values.items():
        table[name] = column
    return table


def fibermap(rows: Columns) -> dict[str, Array]:
    """Return the columns of FIBERMAP that the mock fills; sky fibres have no magnitude and no proper motion."""
    target = rows["TARGETID"] > 0
    result = {name: values for name, values in _target(rows).items() if name != "HEALPIX"}
    result |= {name: np.where(target, rows[name], 0.0) for name in ("PMRA", "PMDEC", "PARALLAX")}
    result |= {
        f"GAIA_{name}": np.where(target, rows[name], 0.0)
        for name in ("PHOT_G_MEAN_MAG", "PHOT_BP_MEAN_MAG", "PHOT_RP_MEAN_MAG")
    }
    result |= {name: np.where(target, rows[name], 0.0) for name in imaging.FLUX_COLUMNS}
    one = np.ones(len(target), np.int16)
    result |= {
        "OBJTYPE": np.where(target, b"TGT", b"SKY"),
        "REF_EPOCH": np.full(len(target), 2015.5),
        "FA_TYPE": np.where(target, 1, 4),
        "BRICKID": rows["HEALPIX"],
        "BRICK_OBJID": rows["NUMBER"],
        "EBV": rows["EBV"],
        "DESI_TARGET": np.where(target, _MWS_ANY, 0),
        "COADD_NUMEXP": one,
        "COADD_NUMNIGHT": one,
        "COADD_NUMTILE": one,
        "COADD_EXPTIME": rows["EXPTIME"],
        "MEAN_FIBER_RA": rows["RA"],
        "MEAN_FIBER_DEC": rows["DEC"],
    }
    return result


def scores(rows: Columns, snr: Columns) -> dict[str, Array]:
    """Return the columns of SCORES that the mock fills."""
    return {"TARGETID": rows["TARGETID"], **{f"MEDIAN_COADD_SNR_{arm}": values for arm, values in snr.items()}}


def _target(rows: Columns) -> dict[str, Array]:
    """Return the columns of a target in all tables."""
    matched = rows["TARGETID"] > 0
    return {
        "TARGETID": rows["TARGETID"],
        "TARGET_RA": rows["RA"],
        "TARGET_DEC": rows["DEC"],
        "REF_ID": np.where(matched, rows["SOURCE_ID"], 0),
        "REF_CAT": np.where(matched, b"G2", b""),
        "HEALPIX": rows["HEALPIX"],
    }


def _exposures(rows: Columns) -> dict[str, Array]:
    """Return EXP_FIBERMAP: one exposure per target."""
    n = len(rows["TARGETID"])
    fiber = np.arange(n) % 5000
    return {
        "TARGETID": rows["TARGETID"],
        "NIGHT": np.full(n, 20210601),
        "EXPID": 90_000 + rows["HEALPIX"],
        "MJD": np.full(n, 59_366.3),
        "TILEID": 20_000 + rows["HEALPIX"],
        "EXPTIME": rows["EXPTIME"],
        "PETAL_LOC": fiber // 500,
        "FIBER": fiber,
        "LAMBDA_REF": np.full(n, 5400.0),
        "FIBER_RA": rows["RA"],
        "FIBER_DEC": rows["DEC"],
    }


def _stellar_parameters(rows: Columns, rvs: Columns, snr: Columns) -> dict[str, Array]:
    """Return SPTAB: the parameters of the RVS pipeline again, since the mock has only one pipeline."""
    n = len(rows["TARGETID"])
    errors = np.stack([rvs[f"{name}_ERR"] for name in ("FEH", "ALPHAFE")] + [np.full(n, 0.1)])
    errors = np.concatenate([errors, [rvs["TEFF_ERR"], rvs["LOGG_ERR"]]])
    microturbulence = np.full(n, 0.18)
    root = [f"coadd-{SURVEY.decode()}-{p.decode()}-{h}" for p, h in zip(rows["PROGRAM"], rows["HEALPIX"], strict=True)]
    return {
        **_target(rows),
        **{name: rvs[name] for name in ("TEFF", "LOGG", "FEH", "ALPHAFE")},
        "SUCCESS": ((snr["B"] > 5.0) & (rvs["RVS_WARN"] == 0)).astype(np.int64),
        "SRCFILE": np.array(root, "S26"),
        "BESTGRID": np.full(n, b"m_rdesi1"),
        "LOG10MICRO": microturbulence,
        "PARAM": np.stack([rvs["FEH"], rvs["ALPHAFE"], microturbulence, rvs["TEFF"], rvs["LOGG"]], axis=1),
        "COVAR": np.eye(5) * errors.T[:, :, None] ** 2,
        "SNR_MED": snr["B"],
        "RV_ADOP": rvs["VRAD"],
        "RV_ERR": rvs["VRAD_ERR"],
    }


def _blank(table: Array, unmatched: Array) -> None:
    """Fill rows without a Gaia match as in DR1."""
    for name in table.dtype.names or ():
        kind = table.dtype[name].kind
        table[name][unmatched] = {"f": np.nan, "i": NO_MATCH.get(table.dtype[name].str[1:], 0)}.get(kind, 0)
        if kind == "S":
            table[name][unmatched] = b""


def append_table(file: fitsio.FITS, layout: str, hdu: str, table: Array) -> None:
    """Append a table with the units of its layout."""
    file.write(table, extname=hdu, units=[column.unit for column in columns(layout, hdu)])


def _write_nulls(hdu: Any, table: Array) -> None:
    """Write the null values of integer columns into the header."""
    for number, name in enumerate(table.dtype.names or (), start=1):
        if (null := NO_MATCH.get(table.dtype[name].str[1:])) is not None:
            hdu.write_key(f"TNULL{number}", null)


def resolution_matrices(stars: int, arm: str) -> Array:
    """Return the resolution matrices, the same Gaussian everywhere: shape (star, diagonal, pixel)."""
    offset = (_DIAGONALS // 2 - np.arange(_DIAGONALS)) * NATIVE_GRID[arm].step
    profile = np.exp(-0.5 * (offset / LINE_WIDTH) ** 2)
    shape = (stars, _DIAGONALS, NATIVE_GRID[arm].pixels)
    return np.broadcast_to((profile / profile.sum())[:, None], shape).astype(np.float32)
