"""The meaning of numbers in columns: units, missing values, and limits that no star exceeds.

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
"""Values that many surveys write for a missing float."""

NO_SOURCE = 999_999
"""SOURCE_ID of a target without a Gaia source in DESI's catalogue; also astropy's value for a masked integer."""


class ValueLimits(NamedTuple):
    """Limits of a column of floats, inclusive; values beyond count as missing."""

    low: float
    high: float
    zero: bool = True
    """False where 0 stands for a missing value."""


# Wide enough for any star with errors of measurement; narrow enough to exclude the placeholders that files contain.
LIMITS: Mapping[str, ValueLimits] = {
    "RA": ValueLimits(-180, 360),
    "DEC": ValueLimits(-90, 90),
    "PMRA": ValueLimits(-20_000, 20_000),
    "PMRA_ERROR": ValueLimits(0, 1_000, zero=False),
    "PMDEC": ValueLimits(-20_000, 20_000),
    "PMDEC_ERROR": ValueLimits(0, 1_000, zero=False),
    "PARALLAX": ValueLimits(-800, 800),
    "PARALLAX_ERROR": ValueLimits(0, 1_000, zero=False),
    "PHOT_G_MEAN_MAG": ValueLimits(-2, 30, zero=False),
    "PHOT_BP_MEAN_MAG": ValueLimits(-2, 30, zero=False),
    "PHOT_RP_MEAN_MAG": ValueLimits(-4, 30, zero=False),
    **{f"PHOT_{band}_MEAN_FLUX_OVER_ERROR": ValueLimits(0, 1e8, zero=False) for band in ("G", "BP", "RP")},
    **{f"FLUX_{band}": ValueLimits(-1e6, 1e9) for band in ("G", "R", "Z", "W1", "W2")},
    **{f"FLUX_IVAR_{band}": ValueLimits(0, 1e12) for band in ("G", "R", "Z", "W1", "W2")},
    **{f"{band}_M": ValueLimits(-6, 30, zero=False) for band in ("J", "H", "KS")},
    **{f"{band}_MSIGCOM": ValueLimits(0, 10, zero=False) for band in ("J", "H", "KS")},
    "RUWE": ValueLimits(0, 1_000, zero=False),
    "NU_EFF_USED_IN_ASTROMETRY": ValueLimits(0, 10, zero=False),
    "PSEUDOCOLOUR": ValueLimits(-20, 20, zero=False),
    "ECL_LAT": ValueLimits(-90, 90),
    "EBV": ValueLimits(-0.05, 50),
    "VRAD": ValueLimits(-3_000, 3_000),
    "TEFF": ValueLimits(1_000, 300_000),
    "LOGG": ValueLimits(-2, 10),
    "FEH": ValueLimits(-8, 2),
    "ALPHAFE": ValueLimits(-3, 3),
    "SN_B": ValueLimits(-50, 1e6),
    "SN_R": ValueLimits(-50, 1e6),
    "SN": ValueLimits(-50, 1e6),
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
"""Other columns that are read, with the one of `STAR_COLUMNS` whose unit and limits they share."""

_REFUSED = ("RA", "DEC")
"""Values beyond these limits mean that columns were confused, not that single values are wrong."""

WITH_ERROR = ("PARALLAX", "PMRA", "PMDEC")
"""Columns whose 0 is missing without a positive error."""

NULL_OF_OTHERS = -1
"""Missing value of an integer column that is not in `STAR_COLUMNS`."""

WAVELENGTHS = (2_000.0, 30_000.0)
"""Range of the middle wavelength of a spectrum, Angstrom; beyond it the wavelengths are in another unit."""

SHORTEST, LONGEST = 900.0, 300_000.0
"""Range of wavelengths, Angstrom: from the Lyman limit, below which interstellar hydrogen absorbs all light, to 30
micron. One wrong number beyond it would make a grid that fills the memory."""


class Cleaned(NamedTuple):
    """Columns whose missing and impossible values are replaced, with the number of these."""

    columns: dict[str, Array]
    missing: Counter[Missing]


def cleaned(columns: Mapping[str, Array], place: str) -> Cleaned:
    """Replace missing and impossible values in columns of stars.

    Parameters
    ----------
    columns
        Name to plain array in the units of `STAR_COLUMNS`, shape (star,). Unknown columns stay unchanged.
    place
        File and HDU, or the name of the function, for messages.

    Returns
    -------
    Cleaned
        The columns, floats as float64, and the number of replaced values by column and reason. NaN is not counted.

    Raises
    ------
    InputError
        When positions are impossible: RA outside -180..360, DEC outside -90..90.
    """
    missing: Counter[Missing] = Counter()
    found = dict(columns)
    for name in columns:
        if name == "SOURCE_ID":
            source = np.asarray(columns[name]).astype(np.int64)  # overflow makes it negative
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
    name: str, values: Float64, place: str, limits: Mapping[str, ValueLimits] = LIMITS
) -> tuple[Float64, dict[str, Bool]]:
    """Return the values of one column with NaN for missing and impossible ones, and the reasons.

    Parameters
    ----------
    name, values, place
        As in `cleaned`.
    limits
        ValueLimits by column.

    Returns
    -------
    tuple
        The values, and a mask for each reason; a value has one reason at most. Shape (star,).
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
    """Log the values that count as missing (`missing_values` of the cut flow), one line for each place."""
    places: dict[str, list[str]] = {}
    for kind in missing:
        places.setdefault(kind["place"], []).append(f"{kind['column']} of {kind['stars']:,} stars ({kind['reason']})")
    for place, said in places.items():
        logger.warning("%s: taken as missing: %s", place, "; ".join(said))


def without_nulls(name: str, values: Array, null: Array | int | None) -> Array:
    """Replace the nulls of an integer column: by NaN where `STAR_COLUMNS` has floats, else by its missing value.

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
    """Return the entry of a column in `STAR_COLUMNS`, under its name or one of the same meaning."""
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
    # In lower case it would be a milliparsec.
    "mpc": "Mpc",
}
"""Spellings of units, in lower case, that astropy does not know or misreads."""

_NO_UNIT = ("", "1", "-", "--", "---", "none", "null", "nan", "n/a", "unitless", "dimensionless", "adimensional")


def converted(name: str, values: Array, unit: str | UnitBase | None, place: str) -> Array:
    """Convert values to the unit that this software uses for a column.

    Parameters
    ----------
    name
        A column of `STAR_COLUMNS`, or WAVELENGTH, which is in Angstrom. Columns without a unit and unknown columns stay
        unchanged.
    values
        Numbers, any shape.
    unit
        Their unit: the text of a FITS header (TUNIT, BUNIT) or a unit of astropy. Empty or None means the expected one.
    place
        File and HDU, or the name of the function, for messages.

    Raises
    ------
    InputError
        When the unit is unknown, or of another dimension.
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
    """Return the factor from one unit to another, or None if they do not convert.

    Parameters
    ----------
    text
        The unit as a header gives it; 1 is returned where it is empty.
    expected
        The target unit, by its name in astropy.
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
        # Logarithmic units convert, but not by a factor; astropy treats dex and dB as magnitudes.
        if isinstance(parsed, u.UnitBase) and parsed.is_equivalent(target) and not {u.dex, u.dB} & {*parsed.bases}:
            return float(parsed.to(target))
    return None


def _logarithm(name: str, values: Array, text: str, place: str) -> Array:
    """Return logarithms of any unit unchanged; refuse linear values, such as an acceleration."""
    if text.lower() in _NO_UNIT or text.lower().startswith(("dex", "log", "[", "lg")):
        return values
    raise InputError(
        f"{place}, column {name}",
        expected="dex, a decimal logarithm",
        found=f"'{text}'",
        remedy="Take the logarithm, or correct the unit.",
    )


def plain_argument(name: str, values: Any, place: str) -> Array:
    """Convert an argument of a user to a plain array in the unit of `STAR_COLUMNS`.

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
        When the unit is unknown or of another dimension, or a value is not a number.
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
