"""What a number in a column means: its unit, what stands for a missing one, and what no star can have.

One table, `LIMITS`, and one rule for every file and for arrays in Python. Nothing is dropped: a value that is missing
or impossible becomes NaN, or the column's own missing value, and is counted by column and reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from specdis.arrays import Array, Bool, Float64
from specdis.errors import InputError
from specdis.log import logger
from specdis.surveys.base import STAR_COLUMNS, Missing, StarColumn

if TYPE_CHECKING:
    from astropy.units import UnitBase

FILLERS = (-999.0, -9999.0)
"""What many surveys write into a column of floats where they have no value."""

NO_SOURCE = 999_999
"""What DESI's catalogue writes as SOURCE_ID where a target has no Gaia source, and astropy for a masked integer."""


class Limits(NamedTuple):
    """What a column of floats can hold, both ends included; anything else counts as missing."""

    low: float
    high: float
    zero: bool = True
    """False where 0 is no value: files hold it where they have none."""


# Wide enough for any star, and for the errors of a measurement; narrow enough for what files write in place of a value.
LIMITS: Mapping[str, Limits] = {
    "RA": Limits(-180, 360),
    "DEC": Limits(-90, 90),
    "PMRA": Limits(-20_000, 20_000),
    "PMRA_ERROR": Limits(0, 1_000, zero=False),
    "PMDEC": Limits(-20_000, 20_000),
    "PMDEC_ERROR": Limits(0, 1_000, zero=False),
    "PARALLAX": Limits(-800, 800),
    "PARALLAX_ERROR": Limits(0, 1_000, zero=False),
    "PHOT_G_MEAN_MAG": Limits(-2, 30, zero=False),
    "PHOT_BP_MEAN_MAG": Limits(-2, 30, zero=False),
    "PHOT_RP_MEAN_MAG": Limits(-4, 30, zero=False),
    "RUWE": Limits(0, 1_000, zero=False),
    "NU_EFF_USED_IN_ASTROMETRY": Limits(0, 10, zero=False),
    "PSEUDOCOLOUR": Limits(-20, 20, zero=False),
    "ECL_LAT": Limits(-90, 90),
    "EBV": Limits(-0.05, 50),
    "VRAD": Limits(-3_000, 3_000),
    "TEFF": Limits(1_000, 300_000),
    "LOGG": Limits(-2, 10),
    "FEH": Limits(-8, 2),
    "ALPHAFE": Limits(-3, 3),
    "SN_B": Limits(-50, 1e6),
    "SN_R": Limits(-50, 1e6),
    "SN": Limits(-50, 1e6),
}
"""The table of the documentation. A parallax or a proper motion of exactly 0 is missing too where its error is no
positive number. Right ascensions below 0 are wrapped to 0..360. E(B-V) below 0, by the noise of a map, is 0: no dust
makes a star brighter."""

_MEANS: Mapping[str, str] = {
    "TARGET_RA": "RA",
    "TARGET_DEC": "DEC",
    "GAIA_PHOT_G_MEAN_MAG": "PHOT_G_MEAN_MAG",
    "GAIA_PHOT_BP_MEAN_MAG": "PHOT_BP_MEAN_MAG",
    "GAIA_PHOT_RP_MEAN_MAG": "PHOT_RP_MEAN_MAG",
    "RV_ADOP": "VRAD",
    "SN_G": "SN",
}
"""Other columns that are read, and the one of `STAR_COLUMNS` that has their unit and limits."""

_REFUSED = ("RA", "DEC")
"""Outside of their limits they are no value of a single star gone wrong, but columns that were confused."""

WITH_ERROR = ("PARALLAX", "PMRA", "PMDEC")
"""Columns whose 0 is missing without a positive error."""

NULL_OF_OTHERS = -1
"""What a null integer of a column that is not in `STAR_COLUMNS` becomes."""

WAVELENGTHS = (2_000.0, 30_000.0)
"""Angstrom: the middle of a spectrum lies in here, or its wavelengths are in another unit."""

_SHORTEST, _LONGEST = 900.0, 300_000.0
"""Angstrom: hydrogen between the stars lets nothing of a star's light through below its Lyman limit, and no
spectrum that is optical in the middle goes on beyond 30 micron. One wrong number there would make a grid that fills the
memory."""


class Cleaned(NamedTuple):
    """Columns with NaN, or their own missing value, for what is missing or impossible, and how many values that is."""

    columns: dict[str, Array]
    missing: Counter[Missing]


def cleaned(columns: Mapping[str, Array], place: str) -> Cleaned:
    """Find what is missing or impossible in the columns of stars.

    Parameters
    ----------
    columns
        Name to plain array in the units of `STAR_COLUMNS`, shape (star,). Columns that are not known stay as they are.
    place
        File and HDU, or the name of the function, for messages.

    Returns
    -------
    Cleaned
        The columns, floats as float64; and the number of values by column and reason. NaN, the missing value that
        everybody knows, is not counted.

    Raises
    ------
    InputError
        When positions lie beyond any sky: RA outside -180..360, DEC outside -90..90.
    """
    missing: Counter[Missing] = Counter()
    found = dict(columns)
    for name in columns:
        if name == "SOURCE_ID":
            source = np.asarray(columns[name]).astype(np.int64)  # what is beyond its range comes out negative
            none = (source < 0) | (source == NO_SOURCE)
            found[name] = np.where(none, STAR_COLUMNS[name].missing, source)
            _count(missing, place, name, {"no Gaia source": none})
        elif _MEANS.get(name, name) in LIMITS:
            found[name], reasons = measured(name, np.asarray(columns[name], dtype=np.float64), place)
            _count(missing, place, name, reasons)
    for name in WITH_ERROR:
        if name in found and f"{name}_ERROR" in found:
            none = (found[name] == 0) & ~(found[f"{name}_ERROR"] > 0)
            found[name] = np.where(none, np.nan, found[name])
            _count(missing, place, name, {"0 without an error": none})
    return Cleaned(found, missing)


def measured(
    name: str, values: Float64, place: str, limits: Mapping[str, Limits] = LIMITS
) -> tuple[Float64, dict[str, Bool]]:
    """Return the values of one column that is in `limits`, NaN where they are missing or impossible, and why they are.

    Parameters
    ----------
    name, values, place
        As in `cleaned`.
    limits
        What columns can hold.

    Returns
    -------
    tuple
        The values, and for each reason where it holds, one at most for each value; shape (star,).
    """
    means = _MEANS.get(name, name)
    low, high, zero = limits[means]
    filler, infinite = np.isin(values, FILLERS), np.isinf(values)
    outside = ~filler & ~infinite & ((values < low) | (values > high))
    if means in _REFUSED and outside.any():
        raise InputError(
            f"{place}, column {name}",
            expected=f"degrees from {low:g} to {high:g}",
            found=f"{outside.sum():,} beyond, the first {values[outside][0]:g}",
            remedy="Check that RA and DEC were not confused and are in degrees; write NaN where there is no position.",
        )
    unit = f" {STAR_COLUMNS[means].unit}".rstrip() if means in STAR_COLUMNS else ""
    reasons = {"-999 or -9999": filler, "infinite": infinite, f"outside {low:,g} to {high:,g}{unit}": outside}
    if not zero:
        reasons["0"] = values == 0
    values = np.where(np.any(list(reasons.values()), axis=0), np.nan, values)
    if means == "RA":
        values = np.where(values < 0, values + 360.0, values)
    return (np.where(values < 0, 0.0, values) if means == "EBV" else values), reasons


def _count(missing: Counter[Missing], place: str, name: str, reasons: Mapping[str, Bool]) -> None:
    for reason, rows in reasons.items():
        if count := int(np.count_nonzero(rows)):
            missing[Missing(place, name, reason)] += count


def say(missing: Iterable[Mapping[str, Any]]) -> None:
    """Log what counts as missing (`missing_values` of the cut flow), one line for each place."""
    places: dict[str, list[str]] = {}
    for kind in missing:
        places.setdefault(kind["place"], []).append(f"{kind['column']} of {kind['stars']:,} stars ({kind['reason']})")
    for place, said in places.items():
        logger.warning("%s: taken as missing: %s", place, "; ".join(said))


def without_nulls(name: str, values: Array, null: Array | int | None) -> Array:
    """Return a column of integers whose nulls are missing: NaN where `STAR_COLUMNS` has floats, else its missing value.

    Parameters
    ----------
    name
        The column.
    values
        The column as the file has it, shape (row,).
    null
        The integer that marks missing values (TNULL), a mask that is True where they are, or None.
    """
    if null is None or values.dtype.kind not in "iu":
        return values
    rows = np.asarray(null if isinstance(null, np.ndarray) else values == null)
    if not rows.any():
        return values
    column = _column(name)
    if column is not None and np.dtype(column.dtype).kind == "f":
        return np.where(rows, np.nan, values.astype(np.float64))
    return np.where(rows, np.int64(NULL_OF_OTHERS if column is None else column.missing), values.astype(np.int64))


def _column(name: str) -> StarColumn | None:
    """Return what is known of a column, under this name or as one that means the same."""
    return STAR_COLUMNS.get(_MEANS.get(name, name))


# Units


_SPELLINGS = {
    **dict.fromkeys(("angstroms", "ang", "aa", "å", "Å", "Å"), "Angstrom"),
    **dict.fromkeys(("microns", "micrometer", "micrometers", "micrometre", "micrometres", "µm", "μm"), "um"),
    **dict.fromkeys(("nanometer", "nanometers", "nanometre", "nanometres"), "nm"),
    **dict.fromkeys(("kms-1", "km/sec", "kms^-1", "kms**-1", "kmps"), "km/s"),
    **dict.fromkeys(("milliarcsec", "milliarcsecond", "milliarcseconds"), "mas"),
    **dict.fromkeys(("degrees", "degree", "degs"), "deg"),
    **dict.fromkeys(("abmag", "mag(ab)", "mag(st)", "stmag", "vegamag", "mag(vega)", "mags", "magnitude"), "mag"),
    **dict.fromkeys(("parsec", "parsecs"), "pc"),
    "kiloparsec": "kpc",
    # Lower case would make it a milliparsec.
    "mpc": "Mpc",
}
"""Spellings of units, in lower case, that the library does not know or takes for something else."""

_NO_UNIT = ("", "1", "-", "--", "---", "none", "null", "nan", "n/a", "unitless", "dimensionless", "adimensional")


def converted(name: str, values: Array, unit: str | UnitBase | None, place: str) -> Array:
    """Return values in the unit that this software uses for a column.

    Parameters
    ----------
    name
        A column of `STAR_COLUMNS`, or WAVELENGTH, which is in Angstrom. Columns that have no unit there, and columns
        that are not known, stay as they are.
    values
        Numbers, any shape.
    unit
        What they are in: the text of a FITS header (TUNIT, BUNIT) or a unit of astropy. Empty or None: as expected.
    place
        File and HDU, or the name of the function, for messages.

    Raises
    ------
    InputError
        When the unit is unknown, or is none of the column's kind.
    """
    column = _column(name)
    expected = "Angstrom" if name == "WAVELENGTH" else "" if column is None else column.unit
    text = "" if unit is None else str(unit).strip()
    if not expected or values.dtype.kind not in "iuf":
        return values
    if expected == "dex":
        return _logarithm(name, values, text, place)
    by = factor(text, expected)
    if by is None:
        raise InputError(
            place if column is None else f"{place}, column {name}",
            expected=f"a unit that can be converted to {expected}",
            found=f"'{text}'",
            remedy=f"Convert the values to {expected}, and write that as their unit.",
        )
    return values if by == 1 else values * by


def factor(text: str, expected: str) -> float | None:
    """Return what a number in one unit is multiplied by to be in another; None where there is no such number.

    Parameters
    ----------
    text
        The unit as a header gives it; 1 is returned where it is empty.
    expected
        The unit that is wanted, by its name in astropy.
    """
    if text.strip().lower() in _NO_UNIT:
        return 1.0
    from astropy import units as u

    target = u.Unit(expected)
    if expected == "Angstrom" and text == "A":  # which is an Ampere otherwise
        return 1.0
    for spelling in dict.fromkeys((_SPELLINGS.get(text.lower(), text), text.lower())):
        try:
            parsed = u.Unit(spelling)
        except (ValueError, TypeError):
            continue
        # Logarithms of a length and the like convert, but not by a factor; dex and dB are magnitudes to the library.
        if isinstance(parsed, u.UnitBase) and parsed.is_equivalent(target) and not {u.dex, u.dB} & {*parsed.bases}:
            return float(parsed.to(target))
    return None


def _logarithm(name: str, values: Array, text: str, place: str) -> Array:
    """Return logarithms as they are, whatever they are of; refuse what is none, such as an acceleration itself."""
    if text.lower() in _NO_UNIT or text.lower().startswith(("dex", "log", "[", "lg")):
        return values
    raise InputError(
        f"{place}, column {name}",
        expected="dex, a decimal logarithm",
        found=f"'{text}'",
        remedy="Take the logarithm, or correct the unit.",
    )


def plain(name: str, values: Any, place: str) -> Array:
    """Return what a user gives for a column as a plain array in the unit of `STAR_COLUMNS`.

    Parameters
    ----------
    name
        A column of `STAR_COLUMNS`, or WAVELENGTH.
    values
        A number or several; a Quantity or a column of a table, whose unit is converted; masked where one is missing.
    place
        Name of the function, for messages.

    Raises
    ------
    InputError
        When the unit is unknown or of another kind, or a value is no number.
    """
    unit, mask = getattr(values, "unit", None), getattr(values, "mask", np.ma.nomask)
    if callable(mask):  # a method of pandas' columns
        mask = np.ma.nomask
    plainly = getattr(values, "unmasked", values)
    numbers = np.asarray(getattr(plainly, "value", plainly) if unit is not None else np.ma.getdata(plainly))
    column = _column(name)
    if column is None or np.dtype(column.dtype).kind == "f":
        try:
            numbers = numbers.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{place}, {name}", expected="numbers", found=str(numbers.dtype), remedy="Give numbers."
            ) from error
    numbers = converted(name, numbers, unit, place)
    if mask is np.ma.nomask or not np.any(mask):
        return numbers
    return np.where(mask, np.nan if column is None else column.missing, numbers)


def wavelengths(values: Array, unit: str | UnitBase | None, place: str) -> Float64:
    """Return wavelengths in Angstrom, of numbers that can be wavelengths of a star's spectrum.

    Parameters
    ----------
    values
        Numbers, shape (pixel,).
    unit
        As in `converted`.
    place
        File and HDU, or the name of the function, for messages.

    Raises
    ------
    InputError
        When the unit is none of a length, or the numbers cannot be Angstrom: it says what they look like.
    """
    angstrom = converted("WAVELENGTH", np.asarray(values, dtype=np.float64), unit, place)
    usable = angstrom[np.isfinite(angstrom) & (angstrom > 0)]  # what is neither is refused elsewhere
    if len(usable):
        middle, least, most = float(np.median(usable)), float(usable.min()), float(usable.max())
        low, high = WAVELENGTHS
        if not (low <= middle <= high and least >= _SHORTEST and most <= _LONGEST):
            raise InputError(
                place,
                expected=f"wavelengths in Angstrom, from {_SHORTEST:,.0f} to {_LONGEST:,.0f} and in the middle between "
                f"{low:,.0f} and {high:,.0f}",
                found=f"{least:.6g} to {most:.6g}{_look_like(middle)}",
                remedy="Correct those that are none." if low <= middle <= high else "Convert them to Angstrom.",
            )
    return np.asarray(angstrom)


def _look_like(middle: float) -> str:
    """Say what unit wavelengths seem to have, by the middle of those of an optical spectrum."""
    for low, high, unit in (
        (3.3, 4.5, "the logarithm of Angstrom"),
        (0.2, 3.0, "micron"),
        (200.0, 3_000.0, "nm"),
        (2e-7, 3e-6, "metres"),
        (1e14, 1.5e15, "Hz"),
    ):
        if low <= middle <= high:
            return f", which look like {unit}"
    return ""
