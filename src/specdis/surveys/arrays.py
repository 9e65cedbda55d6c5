"""Python arrays of spectra on one wavelength grid, checked, converted and presented as a survey."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from specdis.arrays import Array, Bool, Float64, ranges
from specdis.errors import InputError
from specdis.surveys import values
from specdis.surveys.base import STAR_COLUMNS, Arm, Fault, Spectra, Stars, Survey, flux_unit
from specdis.surveys.coadd import SPECTRA_AT_ONCE, with_good_pixels
from specdis.surveys.fits import canonical
from specdis.surveys.table import ARM
from specdis.surveys.wavelengths import air_to_vacuum, wavelengths

_PLACE = "Model.predict"
_ROW = "ARRAY_ROW"
_KNOWN = (*STAR_COLUMNS, "PARENT_ID")
_UNNAMED = {"SURVEY": b"table", "PROGRAM": b"", "HEALPIX": STAR_COLUMNS["HEALPIX"].missing}
"""What a spectra table without these columns has: equal identifiers, equal random draws."""


class SpectraArrays(NamedTuple):
    """A user's arrays of spectra; `Model.predict` describes them.

    Parameters
    ----------
    wavelength, flux, ivar, mask
        The spectra: a list, an array, a masked array or a Quantity. `ivar` and `mask` may be None.
    medium
        `vacuum` or `air`.
    frame
        `observed` or `rest`.
    """

    wavelength: Any
    flux: Any
    ivar: Any = None
    mask: Any = None
    medium: str = "vacuum"
    frame: str = "observed"


class ArraySurvey(Survey):
    """Arrays of spectra as a survey.

    Parameters
    ----------
    spectra
        The arrays.
    stars
        Name of a column of `STAR_COLUMNS` or PARENT_ID, in any case, to its values: one for all stars, or one per star.
        None is ignored.

    Raises
    ------
    InputError
        When shapes disagree, a value is impossible for its argument, or the rest frame cannot be reached.

    Attributes
    ----------
    identified
        Whether the caller gave identifiers; otherwise they are row numbers.
    """

    name = _PLACE
    predicts_every_row = True
    inputs: Sequence[Path] = ()

    def __init__(self, spectra: SpectraArrays, stars: Mapping[str, Any]) -> None:
        wavelength, flux, ivar, mask, medium, frame = spectra
        _require_choice("medium", medium, ("vacuum", "air"))
        _require_choice("frame", frame, ("observed", "rest"))
        self.frame = frame
        self.flux, masked, unit = _pixels("flux", flux)
        self._masked = masked | _mask(mask, self.flux.shape)
        self.ivar: Float64 | None = None
        if ivar is not None:
            self.ivar, masked, ivar_unit = _pixels("ivar", ivar)
            _require_shape("ivar", self.ivar.shape, self.flux.shape)
            self._masked |= masked
            self.ivar *= _factor(unit, ivar_unit)
        self.wavelength = _wavelengths(wavelength, self.flux.shape[1])
        if medium == "air":
            self.wavelength = air_to_vacuum(self.wavelength)
        given = {_name(name): value for name, value in stars.items() if value is not None}
        self.columns = frozenset({*given} & {*STAR_COLUMNS}) | {"TARGETID"}
        self.identified = not {*given}.isdisjoint(("TARGETID", "SOURCE_ID", "PARENT_ID"))
        self._stars = self._columns(given)
        if frame == "observed" and "VRAD" not in self.columns:
            raise InputError(
                "vrad",
                expected="radial velocities for spectra in the observed frame",
                found="none",
                remedy="Pass vrad=, or frame='rest' for spectra at rest.",
            )

    def __len__(self) -> int:
        return len(self.flux)

    def _columns(self, given: Mapping[str, Any]) -> Stars:
        """Return the stars with all columns that a spectra table would have."""
        count = len(self.flux)
        data = {name: _column(name, value, count) for name, value in given.items()}
        columns, missing = values.cleaned(data, _PLACE)
        # As in a spectra table.
        columns["TARGETID"] = np.arange(count)
        if name := next((name for name in ("TARGETID", "SOURCE_ID") if name in data), None):
            columns["TARGETID"] = _unique("identifier" if name == "TARGETID" else "source_id", data[name])
        for other, constant in _UNNAMED.items():
            columns.setdefault(other, np.full(count, constant))
        if "SN" not in columns and {"SN_B", "SN_R"} <= {*columns}:
            columns["SN"] = (columns["SN_B"] + columns["SN_R"]) / 2
        return Stars({**canonical(columns), _ROW: np.arange(count)}, missing)

    def rows(self, stars: Stars) -> Array:
        """Return the row of each star in the arrays, shape (star,)."""
        return stars[_ROW]

    def parts(self, block: int = SPECTRA_AT_ONCE) -> Iterator[slice]:
        """Yield all rows as one part, since they are in memory."""
        yield slice(0, max(block, len(self)))

    def part(self, rows: slice) -> Stars:
        """Return the stars of these rows."""
        return Stars(self._stars.take(rows).columns, self._stars.missing)

    def spectra(self, stars: Stars) -> Iterator[Spectra | Fault]:
        """Yield the spectra of the given stars in their order; every row appears once, in a block or in a fault."""
        for block in ranges(len(stars), SPECTRA_AT_ONCE):
            place = self.rows(stars)[block]
            scale = flux_unit(self.flux[place])
            ivar = None if self.ivar is None else self.ivar[place] * scale**2
            arm = Arm.cleaned(self.wavelength, self.flux[place] / scale, ivar, self._masked[place])
            velocity = stars.get("VRAD")[block]
            shift = velocity if self.frame == "observed" else np.zeros(len(velocity))
            rows = np.arange(block.start, block.stop)
            yield from with_good_pixels("flux", Spectra(rows, {ARM: arm}, shift, velocity))


def _require_choice(name: str, value: Any, choices: tuple[str, str]) -> None:
    if value not in choices:
        raise InputError(
            name,
            expected=f"'{choices[0]}' or '{choices[1]}'",
            found=repr(value),
            remedy=f"Pass {name}='{choices[0]}' or {name}='{choices[1]}', in small letters.",
        )


def _require_shape(name: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if found != expected:
        raise InputError(
            name, expected=f"shape {expected}, that of flux", found=str(found), remedy="Pass one value per pixel."
        )


def _pixels(name: str, given: Any) -> tuple[Float64, Bool, Any]:
    """Return pixel values, shape (star, pixel), their mask, and their unit or None."""
    unit, mask = getattr(given, "unit", None), getattr(given, "mask", False)
    mask = False if callable(mask) else mask  # a method of pandas' tables
    bare = getattr(given, "unmasked", given)
    try:
        pixels = np.atleast_2d(np.array(np.ma.getdata(bare if unit is None else bare.value), dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise InputError(
            name, expected="numbers of shape (star, pixel)", found=str(error), remedy="Pass one row per star."
        ) from error
    if pixels.ndim != 2 or not pixels.size:
        raise InputError(name, expected="shape (star, pixel)", found=str(pixels.shape), remedy="Pass one row per star.")
    return pixels, np.array(np.broadcast_to(np.atleast_2d(mask), pixels.shape), dtype=np.bool_), unit


def _mask(given: Any, shape: tuple[int, ...]) -> Bool:
    """Return the pixels that a mask marks by True or by any bit; a masked value of the mask marks its pixel too."""
    if given is None:
        return np.zeros(shape, np.bool_)
    mask = np.atleast_2d(np.ma.filled(np.ma.asarray(given) != 0, True))
    _require_shape("mask", mask.shape, shape)
    return np.asarray(mask, dtype=np.bool_)


def _factor(flux: Any, ivar: Any) -> float:
    """Return the factor that converts inverse variances to the unit of the flux."""
    if ivar is None:
        return 1.0  # in the unit of the flux, as the documentation says
    from astropy import units as u

    try:
        return float(u.Unit(ivar).to((u.dimensionless_unscaled if flux is None else flux) ** -2))
    except u.UnitConversionError as error:
        raise InputError(
            "ivar",
            expected=f"the unit of flux to the power of -2, flux being {'without a unit' if flux is None else flux}",
            found=f"'{ivar}'",
            remedy="Convert it, or pass both as plain numbers in one unit.",
        ) from error


def _wavelengths(given: Any, pixels: int) -> Float64:
    """Return wavelengths in Angstrom, still in the given medium."""
    wavelength = np.asarray(values.plain_argument("WAVELENGTH", given, "wavelength"), np.float64)
    if wavelength.shape != (pixels,):
        raise InputError(
            "wavelength",
            expected=f"{pixels} increasing values, one per pixel of flux",
            found=f"shape {wavelength.shape}",
            remedy="Pass flux as (star, pixel).",
        )
    usable = np.isfinite(wavelength) & (wavelength > 0)
    if not usable.all():
        raise InputError(
            "wavelength",
            expected="finite, positive values in Angstrom",
            found=f"{np.sum(~usable)} that are not finite or not positive",
            remedy="Leave these pixels out of wavelength, flux and ivar.",
        )
    wavelength = wavelengths(wavelength, None, "wavelength")
    steps = int((np.diff(wavelength) <= 0).sum())
    if steps or pixels < 2:
        raise InputError(
            "wavelength",
            expected=f"{max(pixels, 2)} increasing values, one per pixel of flux",
            found=f"{steps} steps that do not increase" if steps else "one pixel",
            remedy="Sort wavelength and flux together, and pass flux as (star, pixel).",
        )
    return wavelength


def _name(name: str) -> str:
    """Return the name of a column in the spectra table."""
    upper = name.upper()
    if upper in _KNOWN:
        return upper
    near = get_close_matches(upper, _KNOWN, 1)
    raise InputError(
        name,
        expected="a column of the spectra table, in small or capital letters",
        found=f"'{name}'",
        remedy=f"Did you mean {near[0].lower()}?" if near else "The documentation lists them.",
    )


def _column(name: str, given: Any, stars: int) -> Array:
    """Return one value per star in the type and unit of `STAR_COLUMNS`, with its missing values."""
    lower = "identifier" if name == "TARGETID" else name.lower()
    column = np.asarray(values.plain_argument(name, given, _PLACE))
    if column.shape not in ((), (1,), (stars,)):
        raise InputError(
            lower, expected=f"one number, or {stars}", found=f"shape {column.shape}", remedy="Pass one per star."
        )
    kind = np.dtype(STAR_COLUMNS[name].dtype).kind if name in STAR_COLUMNS else "i"
    if kind == "i" and column.dtype.kind not in "iu":
        raise InputError(
            lower,
            expected="integers",
            found=str(column.dtype),
            remedy="Pass integers from their source: identifiers that were floats have lost digits.",
        )
    if kind == "S":
        column = np.char.encode(column.astype("U"), "utf-8")
    return np.broadcast_to(column, stars)


def _unique(name: str, identifiers: Array) -> Array:
    found, count = np.unique(identifiers, return_counts=True)
    if (count > 1).any():
        twice = found[count > 1]
        raise InputError(
            name,
            expected="a number of its own for every spectrum",
            found=f"{len(twice)} that come twice or more: {', '.join(map(str, twice[:3]))}",
            remedy="Pass identifier=, one number per spectrum; source_id may repeat beside it.",
        )
    return identifiers
