"""The layout of DESI DR1 files: columns of every table, and the wavelength grids of the three arms.

The columns follow the data models of the DESI coadds and of the Milky Way Survey's DR1 catalogue (DESI collaboration,
desidatamodel and desi-mws-dr1-datamodel), with the row widths of the published files. Readers go by name, since
the order of HDUs and columns varies; this layout serves to write new files.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np

from specdis.arrays import Float64

_NUMPY_TYPE = {"L": "?", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}


class Grid(NamedTuple):
    """Pixels of equal width: `start` and `step` in Angstrom, and their number."""

    start: float
    step: float
    pixels: int

    def wavelength(self) -> Float64:
        """Return the wavelength of every pixel in Angstrom, shape (pixel,), rounded as in the files to 0.1 A."""
        return np.round(self.start + self.step * np.arange(self.pixels), 1)


NATIVE_GRID = {"B": Grid(3600.0, 0.8, 2751), "R": Grid(5760.0, 0.8, 2326), "Z": Grid(7520.0, 0.8, 2881)}
"""Vacuum wavelengths of the coadds, observed (barycentric) frame."""

SPMOD_GRID = {"B": Grid(3579.2, 0.5, 4759), "R": Grid(5635.2, 0.5, 4231), "Z": Grid(7445.2, 0.5, 4797)}
"""Vacuum wavelengths of the continuum-normalised spectra, rest frame; they reach beyond the data."""


class ColumnLayout(NamedTuple):
    """One column of a FITS table: its name, TFORM, unit (empty where the file has none) and TDIM as numpy shape."""

    name: str
    tform: str
    unit: str = ""
    shape: tuple[int, ...] = ()

    @property
    def field(self) -> tuple[str, str] | tuple[str, str, int | tuple[int, ...]]:
        """The column as a field of a numpy record."""
        repeat, code = re.fullmatch(r"(\d*)([A-Z])", self.tform).groups()  # type: ignore[union-attr]
        if code == "A":
            return self.name, f"S{repeat}"
        if repeat:
            return self.name, _NUMPY_TYPE[code], self.shape or int(repeat)
        return self.name, _NUMPY_TYPE[code]


@cache
def _layouts() -> dict[str, dict[str, list[list[Any]]]]:
    content = (files("specdis") / "data" / "desi_columns.json").read_text(encoding="utf-8")
    return dict(json.loads(content))


@cache
def columns(file: str, hdu: str) -> tuple[ColumnLayout, ...]:
    """Return the columns of one table, in file order.

    Parameters
    ----------
    file
        `mwsall`, `coadd`, `spmod_coadd` or `rvtab_coadd`.
    hdu
        EXTNAME of the table: `RVTAB`, `FIBERMAP`, ...
    """
    return tuple(ColumnLayout(*column[:3], *map(tuple, column[3:])) for column in _layouts()[file][hdu])


@cache
def dtype(file: str, hdu: str) -> np.dtype[np.void]:
    """Return the big-endian record of one table; its itemsize is NAXIS1, logicals are numpy booleans.

    Parameters are those of `columns`.
    """
    return np.dtype([column.field for column in columns(file, hdu)])
