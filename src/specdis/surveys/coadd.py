"""DESI spectra, one file at a time: coadds, and the survey's own continuum-normalised spectra (spmod).

Rows are joined by TARGETID, because every kind of file holds a different subset of the targets in an order of its
own. Both kinds give the B and R arms; the Z arm is discarded (section 2.4 of the paper).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import fitsio
import numpy as np

from specdis.arrays import Array, Bool, Float64, Int64
from specdis.surveys.base import Arm, Fault, Spectra, Stars
from specdis.surveys.fits import (
    FileError,
    NegativeVariances,
    Table,
    read_image_rows,
    read_wavelength,
    reading_fits,
    require,
    require_shape,
)
from specdis.surveys.layout import NATIVE_GRID
from specdis.surveys.wavelengths import SPEED_OF_LIGHT

SpectraKind = Literal["coadd", "spmod"]

ARMS = ("B", "R")

SPECTRA_AT_ONCE = 2048
"""Largest number of stars in one block of spectra."""

SPMOD_ERROR_MAX = 100.0
"""Larger errors of normalised flux mark bad pixels: spmod has no mask, but an error of about 1000 where it had none."""


_FATAL = (2, 8, 9, 16, 17, 18, 19, 20, 21)
"""Bits of COADD_FIBERSTATUS that DESI's pipeline calls fatal: a broken or bad fibre, one whose position is not known or
more than 100 microns off, a bad trace, flat field or arc, too many bad columns or rejected pixels."""


class Fibres(NamedTuple):
    """Fibres of a file as FIBERMAP describes them, shape (row,)."""

    target: Bool
    """Whether the fibre was on a target (OBJTYPE = TGT), and not on the sky or bad."""
    fatal: Bool
    """Whether COADD_FIBERSTATUS has a fatal bit: the spectrum cannot be that of the target."""


def fibres(table: Table) -> Fibres:
    """Read the fibres from FIBERMAP; without the columns all are good."""
    target, fatal = np.ones(len(table), bool), np.zeros(len(table), bool)
    if "OBJTYPE" in table:
        table.check_kind("OBJTYPE", "S")
        target = table.read(["OBJTYPE"])["OBJTYPE"] == b"TGT"
    if "COADD_FIBERSTATUS" in table:
        table.check_kind("COADD_FIBERSTATUS", "i")
        status = table.read(["COADD_FIBERSTATUS"])["COADD_FIBERSTATUS"].astype(np.int64)
        fatal = (status & sum(1 << bit for bit in _FATAL)) != 0
    return Fibres(np.asarray(target), np.asarray(fatal))


class SpectraFile(ABC):
    """An open file of spectra.

    Parameters
    ----------
    path
        The file, for messages.
    file
        The open file.
    negative
        Counts pixels of negative inverse variance.
    """

    parts: ClassVar[Sequence[str]]
    """The parts of an arm, as they end the names of its HDUs."""

    def __init__(self, path: Path, file: fitsio.FITS, negative: NegativeVariances) -> None:
        self.path, self.file, self.negative = path, file, negative
        table = Table(path, file, "FIBERMAP")
        table.require(["TARGETID"])
        table.present(["TARGETID"])
        self.targets: Int64 = table.read(["TARGETID"])["TARGETID"].astype(np.int64)
        self.fibres = fibres(table)
        present = [arm for arm in ARMS if any(f"{arm}_{part}" in file for part in self.parts)]
        if not present:
            require(path, file, f"{ARMS[0]}_{self.parts[0]}")
        self.wavelength = {arm: read_wavelength(path, file, f"{arm}_WAVELENGTH") for arm in present}

    def locate(self, targets: Int64) -> tuple[Int64, Int64]:
        """Return the row of each TARGETID and how often the file has it; unless that is once, the row is arbitrary."""
        order = np.argsort(self.targets, kind="stable")
        first = np.searchsorted(self.targets, targets, sorter=order)
        last = np.searchsorted(self.targets, targets, side="right", sorter=order)
        return np.append(order, -1)[first], last - first

    @abstractmethod
    def spectra(self, place: Int64, rows: Int64, stars: Stars) -> Spectra:
        """Read the rows `place` of the file, which belong to `stars`, `rows` of the requested ones."""


class CoaddFile(SpectraFile):
    """A coadd: flux in the observed frame, its inverse variance and its mask."""

    parts = ("WAVELENGTH", "FLUX", "IVAR")

    def spectra(self, place: Int64, rows: Int64, stars: Stars) -> Spectra:
        """Read spectra in the observed frame; VRAD takes them to the rest frame."""
        arms = {name: self._arm(name, place) for name in self.wavelength}
        return Spectra(rows, arms, stars.get("VRAD"), stars.get("VRAD"))

    def _arm(self, name: str, place: Int64) -> Arm:
        """Read one arm; a pixel is bad with any bit of MASK, or with IVAR <= 0."""
        flux, ivar = self._image(f"{name}_FLUX", place), self._image(f"{name}_IVAR", place)
        self.negative.add(f"{self.path}[{name}_IVAR]", ivar)
        has_mask = f"{name}_MASK" in self.file
        masked = self._image(f"{name}_MASK", place) != 0 if has_mask else np.zeros(flux.shape, bool)
        return Arm.cleaned(self.wavelength[name], flux, ivar, masked)

    def _image(self, name: str, place: Int64) -> Array:
        hdu = require(self.path, self.file, name)
        require_shape(f"{self.path}[{name}]", hdu.get_dims(), (len(self.targets), len(self.wavelength[name[0]])))
        return read_image_rows(hdu, place)


class SpmodFile(SpectraFile):
    """Normalised spectra at rest: columns `obs` and `err` of one table per arm."""

    parts = ("WAVELENGTH", "MODEL")

    def spectra(self, place: Int64, rows: Int64, stars: Stars) -> Spectra:
        """Read spectra at rest, divided by their continuum."""
        velocity = _adopted_velocity(stars)
        arms = {name: self._arm(name, place, velocity) for name in self.wavelength}
        return Spectra(rows, arms, np.zeros(len(rows)), velocity, normalised=True)

    def _arm(self, name: str, place: Int64, velocity: Float64) -> Arm:
        """Read one arm; pixels beyond the data, where the file repeats the last value, are bad."""
        table = Table(self.path, self.file, f"{name}_MODEL")
        table.require(["OBS", "ERR"])
        needed, back = np.unique(place, return_inverse=True)
        columns = table.read(["OBS", "ERR"], needed)
        wavelength, error = self.wavelength[name], columns["ERR"]
        require_shape(table.place, (len(table), *error.shape[1:]), (len(self.targets), len(wavelength)))
        with np.errstate(divide="ignore", invalid="ignore"):
            ivar = np.where((error > 0) & (error < SPMOD_ERROR_MAX), error**-2, 0)
        to_rest = 1 - np.nan_to_num(velocity)[:, None] / SPEED_OF_LIGHT
        native = NATIVE_GRID[name].wavelength()
        outside = (wavelength < native[0] * to_rest) | (wavelength > native[-1] * to_rest)
        return replace(Arm.cleaned(wavelength, columns["OBS"][back], ivar[back], outside), native=native)


def _adopted_velocity(stars: Stars) -> Float64:
    """Return the velocity by which spmod was brought to rest: RV_ADOP, else VRAD."""
    if "RV_ADOP" not in stars:
        return stars.get("VRAD")
    return np.where(np.isfinite(stars["RV_ADOP"]), stars["RV_ADOP"], stars.get("VRAD"))


_KINDS: Mapping[SpectraKind, type[SpectraFile]] = {"coadd": CoaddFile, "spmod": SpmodFile}


def read_spectra(
    path: Path, kind: SpectraKind, stars: Stars, rows: Int64, negative: NegativeVariances
) -> Iterator[Spectra | Fault]:
    """Yield the spectra of some stars from one file; every row comes once, in a block or in a fault.

    Parameters
    ----------
    path
        The file.
    kind
        What it holds.
    stars
        The requested stars: TARGETID, VRAD, and for spmod RV_ADOP where the survey gives it.
    rows
        Those of `stars` that the file should hold, shape (star,).
    negative
        Counts pixels of negative inverse variance.
    """
    pending = rows
    try:
        with reading_fits(path) as opened:
            file = _KINDS[kind](path, opened, negative)
            place, count = file.locate(stars["TARGETID"][rows])
            yield from _not_once(path, stars, rows, count)
            pending, place = rows[count == 1], place[count == 1]
            good = file.fibres.target[place] & ~file.fibres.fatal[place]
            yield from _bad_fibres(path, stars, pending[~good])
            pending, place = pending[good], place[good]
            while len(pending):
                block = stars.take(pending[:SPECTRA_AT_ONCE])
                yield from with_good_pixels(
                    str(path), file.spectra(place[:SPECTRA_AT_ONCE], pending[:SPECTRA_AT_ONCE], block)
                )
                pending, place = pending[SPECTRA_AT_ONCE:], place[SPECTRA_AT_ONCE:]
    except FileError as error:
        yield Fault(error.fault, error.place, str(error), pending)


def _not_once(path: Path, stars: Stars, rows: Int64, count: Int64) -> Iterator[Fault]:
    """Yield the faults of targets that the file lacks or repeats."""
    for name, wrong, found, remedy in (
        ("missing-row", count == 0, "none", "Check that catalogue and spectra come from one production."),
        ("duplicate-row", count > 1, "several", "Leave one row per target in the file."),
    ):
        if wrong.any():
            targets = ", ".join(map(str, stars["TARGETID"][rows[wrong]][:3]))
            error = FileError(
                name,
                f"{path}[FIBERMAP]",
                expected="one row per target",
                found=f"{found} for {wrong.sum()} targets (TARGETID {targets}{', ...' if wrong.sum() > 3 else ''})",
                remedy=remedy,
            )
            yield Fault(name, error.place, str(error), rows[wrong])


def _bad_fibres(path: Path, stars: Stars, rows: Int64) -> Iterator[Fault]:
    """Yield the fault of targets whose fibre was on the sky, or bad."""
    if len(rows):
        targets = ", ".join(map(str, stars["TARGETID"][rows][:3]))
        error = FileError(
            "bad-fibre",
            f"{path}[FIBERMAP]",
            expected="OBJTYPE = TGT, and no fatal bit in COADD_FIBERSTATUS",
            found=f"{len(rows)} fibres otherwise (TARGETID {targets}{', ...' if len(rows) > 3 else ''})",
            remedy="Leave these stars out: these spectra are of other sources or defective.",
        )
        yield Fault(error.fault, error.place, str(error), rows)


def with_good_pixels(place: str, spectra: Spectra) -> Iterator[Spectra | Fault]:
    """Yield the spectra that have a good pixel in any arm, and a `no-good-pixel` fault for the others."""
    good = np.any([~arm.bad.all(axis=1) for arm in spectra.arms.values()], axis=0)
    if good.any():
        yield spectra if good.all() else spectra.take(good)
    if not good.all():
        error = FileError(
            "no-good-pixel",
            place,
            expected="at least one good pixel in every spectrum",
            found=f"none in {np.sum(~good)} of {len(good)} spectra",
            remedy="Leave these stars out, or check their flux, inverse variance and mask.",
        )
        yield Fault(error.fault, place, str(error), spectra.row[~good])
