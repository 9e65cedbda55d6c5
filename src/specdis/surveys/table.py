"""The spectra table: stars, wavelengths and fluxes of any survey in one FITS file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import fitsio
import numpy as np

from specdis.arrays import Array, Int64, ranges
from specdis.errors import InputError
from specdis.log import logger
from specdis.surveys.base import ROWS, STAR_COLUMNS, Arm, Fault, Spectra, Stars, Survey, flux_unit
from specdis.surveys.coadd import SPECTRA_AT_ONCE, with_good_pixels
from specdis.surveys.fits import (
    FileError,
    NegativeVariances,
    Table,
    canonical,
    read_image_rows,
    read_wavelength,
    reading_fits,
    require,
    require_shape,
)
from specdis.surveys.values import NO_SOURCE, cleaned
from specdis.surveys.wavelengths import air_to_vacuum

ARM = "A"
"""The only arm of a spectra table."""

# Columns of S/N: the first pair that the table has.
_SN = (("SN", "SN"), ("SN_B", "SN_R"), ("SN_G", "SN_R"))


class TableSurvey(Survey):
    """One FITS file with the HDUs STARS, WAVELENGTH, FLUX, and where there are any IVAR and MASK.

    STARS has SOURCE_ID or TARGETID, which must be unique, and any other columns: those of `STAR_COLUMNS` under these
    names, the rest carried along as it is. Where TARGETID is missing it is SOURCE_ID; SURVEY is then `table`.
    Units are those of `STAR_COLUMNS` unless the header gives others, which are converted. Missing values are those of
    the module `values`, as in every survey.

    WAVELENGTH is in Angstrom unless BUNIT says otherwise, strictly increasing, on any grid. Its header says WAVEMED =
    vacuum or air, and FRAME = rest or observed; observed needs STARS.VRAD (km/s).

    Without IVAR the error of a pixel is abs(flux) over S/N: the column SN, else the mean of SN_B and SN_R, else of
    SN_G and SN_R. Without both there are no errors. Every spectrum is divided by a power of two near its mean flux, so
    that fluxes in any unit fit into single precision; nothing that follows depends on their scale.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    InputError
        When an HDU, a column or a header key is missing or wrong, an identifier comes twice, or wavelengths are not
        sorted.
    """

    name = "table"
    predicts_every_row = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self.inputs: Sequence[Path] = [path]
        with reading_fits(path) as file:
            table = Table(path, file, "STARS")
            self._names = self._readable(table)
            self._sn = next((pair for pair in _SN if {*pair} <= {*self._names}), None)
            self._identifiers = self._unique(table)
            self.wavelength = read_wavelength(path, file, "WAVELENGTH")
            header = require(path, file, "WAVELENGTH").read_header()
            if self._choice(header, "WAVEMED", ("vacuum", "air")) == "air":
                self.wavelength = air_to_vacuum(self.wavelength)
            self.frame = self._choice(header, "FRAME", ("rest", "observed"))
            self._images = [name for name in ("FLUX", "IVAR", "MASK") if name == "FLUX" or name in file]
            for name in self._images:
                dims = require(path, file, name).get_dims()
                require_shape(f"{path}[{name}]", dims, (len(table), len(self.wavelength)))
        if self.frame == "observed" and "VRAD" not in self._names:
            raise InputError(
                f"{path}[STARS]",
                expected="a column VRAD, since FRAME is observed",
                found="none of that name",
                remedy="Add heliocentric velocities in km/s, NaN where unknown, or bring the spectra to rest.",
            )
        self.columns = frozenset({*self._names} & {*STAR_COLUMNS}) | {"TARGETID", *(["SN"] if self._sn else [])}

    def _readable(self, table: Table) -> tuple[str, ...]:
        """Return the columns to read, after checking those of `STAR_COLUMNS`."""
        if "TARGETID" not in table:
            table.require(["SOURCE_ID"])
        table.present(STAR_COLUMNS)
        table.present(name for pair in _SN for name in pair)
        if left := [name for name in table.names if name not in table.scalars]:
            logger.info(f"{table.place}: columns with several values per row are ignored: {', '.join(left)}")
        return table.scalars

    def _choice(self, header: fitsio.FITSHDR, key: str, choices: tuple[str, str]) -> str:
        value = str(header.get(key, "")).strip().lower()
        if value not in choices:
            raise InputError(
                f"{self.path}[WAVELENGTH]",
                expected=f"the header key {key} = '{choices[0]}' or '{choices[1]}'",
                found=f"'{value}'" if value else "no such key",
                remedy=f"Write {key} into the header of WAVELENGTH.",
            )
        return value

    def _unique(self, table: Table) -> Int64:
        """Return the identifier of every row."""
        column = "TARGETID" if "TARGETID" in table else "SOURCE_ID"
        identifiers = table.read([column])[column].astype(np.int64)
        values, count = np.unique(identifiers, return_counts=True)
        if column == "SOURCE_ID" and (none := int(count[(values <= 0) | (values == NO_SOURCE)].sum())) > 1:
            raise InputError(
                f"{table.place}, column {column}",
                expected="an identifier of its own for every row, since there is no TARGETID",
                found=f"{none:,} rows without one (null, {NO_SOURCE} or not positive)",
                remedy="Add a column TARGETID with a number of its own for every spectrum.",
            )
        if not len(values):
            raise InputError(
                table.place,
                expected="at least one row",
                found="none",
                remedy="Leave this file out, or write one row for every spectrum.",
            )
        if len(twice := values[count > 1]):
            raise InputError(
                f"{table.place}, column {column}",
                expected="an identifier of its own for every row",
                found=f"{len(twice)} that come twice or more: {', '.join(map(str, twice[:3]))}",
                remedy="Leave out repeated rows, or add a column TARGETID with a number of its own for every spectrum.",
            )
        return identifiers

    def parts(self, block: int = ROWS) -> Iterator[slice]:
        """Yield parts of `block` rows, or one part for a compressed file, which is unpacked at each opening."""
        rows = len(self._identifiers)
        yield from ranges(rows, rows if self.path.suffix == ".gz" else block)

    def part(self, rows: slice) -> Stars:
        """Return the stars of these rows, with every column that has one value per row."""
        with reading_fits(self.path) as file:
            return self._canonical(Table(self.path, file, "STARS").read(self._names, rows))

    def _canonical(self, data: dict[str, Array]) -> Stars:
        columns, missing = cleaned(data, f"{self.path}[STARS]")
        identifier = data["TARGETID"] if "TARGETID" in data else data["SOURCE_ID"]
        rows = len(identifier)
        columns["TARGETID"] = identifier
        columns.setdefault("SURVEY", np.full(rows, b"table"))
        columns.setdefault("PROGRAM", np.full(rows, b""))
        columns.setdefault("HEALPIX", np.full(rows, STAR_COLUMNS["HEALPIX"].missing))
        if self._sn:
            columns["SN"] = (columns[self._sn[0]] + columns[self._sn[1]]) / 2
        return Stars(canonical(columns), missing)

    def spectra(self, stars: Stars) -> Iterator[Spectra | Fault]:
        """Yield the spectra of the given stars in their order; every row appears once, in a block or in a fault."""
        negative = NegativeVariances()
        place = self._locate(stars["TARGETID"])
        for block in ranges(len(stars), SPECTRA_AT_ONCE):
            rows = np.arange(block.start, block.stop)
            try:
                with reading_fits(self.path) as file:
                    image = {
                        name: read_image_rows(require(self.path, file, name), place[block]) for name in self._images
                    }
            except FileError as error:
                yield Fault(error.fault, error.place, str(error), rows)
                continue
            if "IVAR" in image:
                negative.add(f"{self.path}[IVAR]", image["IVAR"])
            for chosen, arm in self._arms(image, stars.take(block)):
                velocity = stars.get("VRAD")[block][chosen]
                shift = velocity if self.frame == "observed" else np.zeros(len(velocity))
                yield from with_good_pixels(str(self.path), Spectra(rows[chosen], {ARM: arm}, shift, velocity))
        negative.log()

    def _locate(self, identifiers: Int64) -> Int64:
        """Return the row of each identifier in the file."""
        order = np.argsort(self._identifiers)
        place = order[np.searchsorted(self._identifiers, identifiers, sorter=order).clip(max=len(order) - 1)]
        if (other := self._identifiers[place] != identifiers).any():
            raise InputError(
                f"{self.path}[STARS]",
                expected="the stars that the table had before",
                found=f"no row for {other.sum()} of them, the first {identifiers[np.argmax(other)]}",
                remedy="The table changed: start again from the stage `sample`.",
            )
        return np.asarray(place)

    def _arms(self, image: dict[str, Array], stars: Stars) -> Iterator[tuple[Int64, Arm]]:
        """Yield arms with errors and arms without, each with its stars."""
        flux, masked = image["FLUX"], np.zeros(image["FLUX"].shape, bool)
        if "MASK" in image:
            masked = image["MASK"] != 0
        scale = flux_unit(flux)
        flux = flux / scale
        if "IVAR" in image:
            yield np.arange(len(flux)), Arm.cleaned(self.wavelength, flux, image["IVAR"] * scale**2, masked)
            return
        sn = stars.get("SN").astype(np.float64)
        with_errors = np.isfinite(sn) & (sn > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            ivar = (sn[:, None] / flux) ** 2
        for rows, errors in ((np.flatnonzero(with_errors), ivar), (np.flatnonzero(~with_errors), None)):
            if len(rows):
                ours = None if errors is None else errors[rows]
                yield rows, Arm.cleaned(self.wavelength, flux[rows], ours, masked[rows])
