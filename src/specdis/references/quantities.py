"""Quantities of a published table and their names: one list for members and rivals of every origin."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from specdis.arrays import Array, Bool, Float64, Int64
from specdis.errors import InputError
from specdis.gaia import RELEASES, Release
from specdis.log import logger
from specdis.references.names import NAMES, NO_NUMBER, SEXAGESIMAL
from specdis.references.tables import ListColumns, ReferenceTable
from specdis.surveys import values
from specdis.surveys.values import NO_SOURCE, ValueLimits, factor, measured, say

UNITS: Mapping[str, str] = {
    **dict.fromkeys(("RA", "DEC"), "deg"),
    **dict.fromkeys(("PMRA", "PMDEC"), "mas / yr"),
    **dict.fromkeys(("DIST", "DISTERR", "DIST_LOW", "DIST_HIGH"), "kpc"),
    **dict.fromkeys(("DIST_PC", "DIST_PC_ERR", "DIST_PC_LOW", "DIST_PC_HIGH"), "pc"),
    **dict.fromkeys(("PHOT_G_MEAN_MAG", "DISTMOD", "DISTMOD_ERR", "M_G", "M_G_ERR", "EBV"), "mag"),
    "VRAD": "km / s",
}
"""Units of the quantities. A column in another unit is converted; one whose unit has another dimension is not taken
for the quantity: a DIST in degrees is a separation on the sky."""

_ONLY_WITH_UNIT = ("mg", "mu", "dm")
"""Names that also stand for magnesium, a proper motion and a measure of dispersion: taken only with the unit mag."""

_ANY_DISTANCE = ("dist", "distance")
"""Names that, without a unit and an error, also stand for a separation on the sky: another distance of the table takes
precedence."""

QUANTITY_LIMITS: Mapping[str, ValueLimits] = {
    **{name: values.LIMITS[name] for name in ("RA", "DEC", "PMRA", "PMDEC", "PHOT_G_MEAN_MAG", "VRAD", "EBV")},
    **dict.fromkeys(
        ("DIST", "DIST_LOW", "DIST_HIGH", "DIST_PC", "DIST_PC_LOW", "DIST_PC_HIGH"), ValueLimits(0, np.inf, zero=False)
    ),
    **dict.fromkeys(("DISTERR", "DIST_PC_ERR", "DISTMOD_ERR", "M_G_ERR"), ValueLimits(0, np.inf)),
    "DISTMOD": ValueLimits(-10, 35, zero=False),
    "M_G": ValueLimits(-15, 30),
}
"""Limits of a quantity; values beyond count as missing."""

_KPC_PER_PC = 1e-3
_FARTHEST = 1000.0  # kpc; a larger median is not in kpc
_PER_MAG = 0.2 * np.log(10.0)


class Quantities:
    """The quantities of a published table.

    Parameters
    ----------
    table
        The table.
    columns
        Quantity to the table's name for it, if that is not in `NAMES` or another name is meant; an empty name means
        that the table lacks the quantity.
    gaia
        Gaia release of SOURCE_ID, if known.
    """

    def __init__(
        self, table: ReferenceTable, columns: Mapping[str, str] | None = None, gaia: Release | None = None
    ) -> None:
        self.table = table
        self._gaia = gaia
        self._given = dict(columns or {})
        self._found: dict[str, str | None] = {}
        for quantity, name in self._given.items():
            if quantity not in NAMES:
                raise InputError(
                    table.path, expected=f"quantities among {', '.join(NAMES)}", found=quantity, remedy="Correct it."
                )
            if name and not table.has(name):
                table.read([], required=[name])

    def name(self, quantity: str) -> str | None:
        """Return the table's name for a quantity, or None."""
        if quantity in self._given:
            return self._given[quantity] or None
        if quantity not in self._found:
            there = (name for name in self._candidates(quantity) if self.table.has(name))
            self._found[quantity] = next((name for name in there if self._may_be(quantity, name)), None)
        return self._found[quantity]

    def _candidates(self, quantity: str) -> Sequence[str]:
        """Return the names of a quantity; a bound belongs to the distance at the same place in the list."""
        distance = quantity.removesuffix("_LOW").removesuffix("_HIGH")
        if distance == quantity or (used := self.name(distance)) is None:
            return NAMES[quantity]
        of = [name.lower() for name in NAMES[distance]]
        place = of.index(used.lower()) if used.lower() in of else 0
        return NAMES[quantity][place : place + 1]

    def _may_be(self, quantity: str, name: str) -> bool:
        """Tell by its unit whether a column with a known name is the quantity."""
        unit = self.table.unit(name)
        if quantity not in UNITS or (not unit and name not in _ONLY_WITH_UNIT) or unit.strip('"') in SEXAGESIMAL:
            return True
        if unit and factor(unit, UNITS[quantity]) is not None:
            return True
        logger.warning(
            "%s: the column %s %s is not taken for %s, which is in %s; if it is, name it in `columns`",
            *(self.table.path, name, f"in '{unit}'" if unit else "without a unit", quantity, UNITS[quantity]),
        )
        return False

    def has(self, *quantities: str) -> bool:
        """Tell whether the table has all of these."""
        return all(self.name(quantity) is not None for quantity in quantities)

    def require_identifier(self) -> None:
        """Raise an `InputError` unless the table has SOURCE_ID, TARGETID, or RA and DEC, to be matched by."""
        if not (self.has("SOURCE_ID") or self.has("TARGETID") or self.has("RA", "DEC")):
            raise self._lacking("SOURCE_ID, TARGETID, or RA and DEC", "Name one in the section's `columns`.")

    def _lacking(self, expected: str, remedy: str, like: str = "") -> InputError:
        """Return an error that lists the columns, first those with a word of `like` in their names."""
        first = sorted(self.table.names, key=lambda name: not re.search(like, name, re.IGNORECASE))
        names = ", ".join(first[:20]) + (", ..." if len(first) > 20 else "")
        return InputError(self.table.path, expected=expected, found=f"the columns {names}", remedy=remedy)

    def read(self, *quantities: str) -> ListColumns:
        """Read the quantities that the table has: identifiers as integers, NAME as text, all others as floats.

        A SOURCE_ID that was stored as float and lost its last digits is left out with a warning, if positions can
        replace it.

        Raises
        ------
        InputError
            When identifiers are or were floats and there are no positions, or a value is not a number.
        """
        names = {quantity: self.name(quantity) for quantity in quantities}
        loaded = self.table.read(dict.fromkeys(name for name in names.values() if name))
        found = {quantity: self._cast(quantity, loaded[name]) for quantity, name in names.items() if name}
        if "SOURCE_ID" in found and were_floats(found["SOURCE_ID"]):
            if not self.has("RA", "DEC"):
                raise self._wrong("SOURCE_ID", "integers with all their digits", found["SOURCE_ID"])
            place = f"{self.table.path}, column {self.name('SOURCE_ID')}"
            logger.warning("%s: the identifiers were stored as floats and lost digits; matched on the sky", place)
            del found["SOURCE_ID"]
        return found

    def _cast(self, quantity: str, values: Array) -> Array:
        if quantity in ("SOURCE_ID", "TARGETID"):
            identifiers = self._identifiers(quantity, np.ma.filled(values, "" if values.dtype.kind in "SU" else 0))
            none = (identifiers < 0) | (identifiers == NO_SOURCE)
            return np.where(none, 0, identifiers) if quantity == "SOURCE_ID" else identifiers
        if quantity == "NAME":
            return _words(values)
        if quantity == "PRIMARY" and values.dtype.kind in "SU":
            return np.isin(np.char.lower(np.ma.filled(values, "").astype("U")), ("true", "t", "yes", "1"))
        if quantity == "PRIMARY":
            return np.asarray(np.ma.filled(values, False), dtype=np.bool_)
        try:
            if quantity in ("RA", "DEC") and (degrees := _of_sexagesimal(quantity, values)) is not None:
                return self._measured(quantity, degrees)
            numbers = as_numbers(values)
        except ValueError as error:
            raise self._wrong(quantity, "numbers", values) from error
        return self._measured(quantity, self._converted(quantity, numbers))

    def _converted(self, quantity: str, numbers: Float64) -> Float64:
        """Convert numbers to the unit of the quantity; probabilities above 1 are per cent."""
        unit = self.table.unit(str(self.name(quantity)))
        if quantity == "PROBABILITY":
            return numbers / 100 if np.any((numbers > 1) & (numbers <= 100)) else numbers
        by = factor(unit, UNITS[quantity]) if quantity in UNITS else 1.0
        if by is None:
            raise InputError(
                f"{self.table.path}, column {self.name(quantity)}",
                expected=f"{quantity} in a unit that can be converted to {UNITS[quantity]}",
                found=f"'{unit}'",
                remedy="Name another column in `columns`, or correct its unit.",
            )
        return numbers * by

    def _measured(self, quantity: str, numbers: Float64) -> Float64:
        """Replace missing and impossible numbers by NaN, and log how many there are."""
        if quantity not in QUANTITY_LIMITS:
            return numbers
        found, reasons = measured(quantity, numbers, str(self.table.path), QUANTITY_LIMITS)
        place = {"place": str(self.table.path), "column": self.name(quantity)}
        say({**place, "reason": reason, "stars": int(rows.sum())} for reason, rows in reasons.items() if rows.any())
        return found

    def _identifiers(self, quantity: str, values: Array) -> Int64:
        if values.dtype.kind in "iu" or not len(values):
            return values.astype(np.int64)  # overflow makes it negative
        if values.dtype.kind not in "SU":
            raise self._wrong(quantity, "integers", values)
        words = [str(word) for word in (np.char.decode(values) if values.dtype.kind == "S" else values)]
        said = [_release(word) for word in words]
        named = [release for release in RELEASES if release in said]
        if self._gaia is None and named:
            self._gaia = named[0]
        # Identifiers of another release may name other stars.
        numbers = (
            _last_number(word) if one in (None, self._gaia) else 0 for word, one in zip(words, said, strict=True)
        )
        return np.fromiter(numbers, dtype=np.int64, count=len(words))

    def _wrong(self, quantity: str, expected: str, values: Array) -> InputError:
        return InputError(
            f"{self.table.path}, column {self.name(quantity)}",
            expected=f"{quantity}: {expected}",
            found=values.dtype.name,
            remedy="Write the column again from its source in the right type, or name another in `columns`.",
        )

    @property
    def release(self) -> Release | None:
        """Gaia release of SOURCE_ID, as given or by the name of the column or, once read, by the texts in it."""
        of_name = _release(self.name("SOURCE_ID") or "")
        return self._gaia or next((release for release in RELEASES if release == of_name), None)

    @property
    def epoch(self) -> float:
        """Epoch of the positions, year: 2000 if the name of the column says so, else that of the Gaia release."""
        if (self.name("RA") or "").lower().endswith("2000"):
            return 2000.0
        return RELEASES[self.release or "dr3"].epoch

    def distance(self, magnitude: Array | None = None) -> tuple[Float64, Float64]:
        """Read distances and their errors in kpc, NaN where missing, shape (row,) each.

        They come from the first of these that the table has: distances, distance moduli or, if `magnitude` is given,
        absolute magnitudes in G.

        Parameters
        ----------
        magnitude
            Apparent G magnitude without extinction, shape (row,).

        Raises
        ------
        InputError
            When the table has none of them, or distances in pc where kpc are expected.
        """
        used = self._distance_quantity(magnitude)
        logger.info("%s: distances from the column %s, taken as %s", self.table.path, self.name(used), used)
        distance, error = self._distance_from(used, magnitude)
        distance = np.where(distance > 0.0, distance, np.nan)
        if np.any(np.isfinite(distance)) and np.nanmedian(distance) > _FARTHEST:
            raise InputError(
                self.table.path,
                expected="distances in kpc",
                found=f"a median of {np.nanmedian(distance):,.0f}",
                remedy='If they are in pc, set `columns = { DIST = "", DIST_PC = "their name" }`.',
            )
        return distance, np.full(len(distance), np.nan) if error is None else np.asarray(error)

    def _distance_quantity(self, magnitude: Array | None) -> str:
        """Return the quantity from which distances are computed."""
        quantities = ["DIST", "DIST_PC", "DISTMOD"]
        if self._may_be_separation():
            quantities = ["DIST_PC", "DISTMOD", "DIST"]
        if magnitude is not None:
            quantities.append("M_G")
        for quantity in quantities:
            if self.has(quantity):
                return quantity
        if self.has("FLUX_G", "FLUX_R", "EBV"):
            return "FLUX_G"
        raise self._lacking(
            "a distance, a distance modulus or an absolute G magnitude",
            "Name one in the section's `columns`: DIST (kpc), DIST_PC, DISTMOD or M_G.",
            like="dist|mod|dm|mag|plx|parallax",
        )

    def _may_be_separation(self) -> bool:
        """Tell whether DIST may be a separation: its name has two meanings, and no unit or error decides."""
        name = self.name("DIST") or ""
        plain = "DIST" not in self._given and name.lower() in _ANY_DISTANCE
        return plain and not self.table.unit(name) and not self.has("DISTERR")

    def _distance_from(self, used: str, magnitude: Array | None) -> tuple[Float64, Array | None]:
        """Return distances in kpc from a quantity, with errors if the table has them."""
        if used in ("DIST", "DIST_PC"):
            by, spread = (1.0, "DISTERR") if used == "DIST" else (_KPC_PER_PC, "DIST_PC_ERR")
            low, high = f"{used}_LOW", f"{used}_HIGH"
            found = self.read(used, spread, low, high)
            if spread in found:
                return by * found[used], by * found[spread]
            if {low, high} <= {*found}:
                half = 0.5 * by * (found[high] - found[low])
                return by * found[used], np.where(half > 0.0, half, np.nan)
            return by * found[used], None
        if used == "FLUX_G":
            found = self.read("FLUX_G", "FLUX_R", "EBV")
            return horizontal_branch_distance(found["FLUX_G"], found["FLUX_R"], found["EBV"]), None
        found = self.read(used, f"{used}_ERR")
        modulus = found[used] if magnitude is None or used == "DISTMOD" else magnitude - found[used]
        distance = 10.0 ** (0.2 * modulus - 2.0)
        error = found.get(f"{used}_ERR")
        return distance, None if error is None else _PER_MAG * distance * error


def _release(word: str) -> str | None:
    """Return the Gaia release in `Gaia EDR3 4418642906513912320` or the name `gaia_dr3`: `dr3`; None without one."""
    found = re.search(r"DR\d(?!\d)", word, re.IGNORECASE)
    return found[0].lower() if found else None


def _last_number(word: str) -> int:
    """Return the identifier in `Gaia DR3 4418642906513912320`, or 0 if there is no valid one."""
    found = re.search(r"(?<!\d)(\d{1,19})\s*$", word)
    number = int(found[1]) if found else 0
    return number if number <= np.iinfo(np.int64).max else 0


def were_floats(identifiers: Int64) -> bool:
    """Tell whether Gaia's identifiers were stored as double-precision floats and lost their last digits.

    Beyond 2^60 neighbouring floats differ by 256 or more. Identifiers are multiples of 128, so each is a float by
    chance with a probability of at most 1/2, and all of twenty are with one of 10^-6.
    """
    large = identifiers[identifiers >= 1 << 60]
    return len(large) >= 20 and bool(np.all(large.astype(np.float64).astype(np.int64) == large))


def as_numbers(values: Array) -> Float64:
    """Return a column as float64; masked values and the words for a missing number become NaN.

    Raises
    ------
    ValueError
        When another word is not a number.
    """
    if values.dtype.kind not in "SU":
        return np.asarray(np.ma.filled(np.ma.asarray(values, dtype=np.float64), np.nan))
    words = _words(values)
    return np.asarray(np.where(words == "", "nan", words), dtype=np.float64)


def _words(values: Array) -> Array:
    """Return a column as stripped text, empty where missing, with ASCII minus signs."""
    filled = np.ma.filled(np.ma.asarray(values), "") if values.dtype.kind in "SU" else np.ma.filled(values, 0)
    words = np.char.strip(np.char.decode(filled) if filled.dtype.kind == "S" else filled.astype("U"))
    if not len(words):  # NumPy cannot replace in an empty array
        return words
    return np.where(np.isin(np.char.lower(words), NO_NUMBER), "", np.char.replace(words, "\N{MINUS SIGN}", "-"))


def _of_sexagesimal(quantity: str, values: Array) -> Float64 | None:
    """Convert sexagesimal positions to degrees; return None for other texts."""
    if values.dtype.kind not in "SU":
        return None
    words = _words(values)
    known = words != ""
    if not known.any() or not all(re.search(r"\d[ :]+\d", word) for word in words[known]):
        return None
    from astropy.coordinates import Angle

    degrees = np.full(len(words), np.nan)
    degrees[known] = Angle(words[known], unit="hourangle" if quantity == "RA" else "deg").degree
    return degrees


def horizontal_branch_distance(flux_g: Float64, flux_r: Float64, ebv: Float64) -> Float64:
    """Return distances in kpc of blue horizontal-branch stars from their colour, NaN outside -0.25 < g - r < 0.

    The absolute magnitude in g as a polynomial of the colour is equation 7 of Deason, Belokurov & Evans (2011, MNRAS
    416, 2903); the extinction is that of the Legacy Surveys' bands per unit of E(B-V) of Schlegel et al. (1998).

    Parameters
    ----------
    flux_g, flux_r
        Fluxes in the Legacy Surveys' g and r, nanomaggies, shape (star,).
    ebv
        E(B-V) of Schlegel et al. (1998), mag, shape (star,).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        g = 22.5 - 2.5 * np.log10(flux_g) - 3.214 * ebv
        colour = g - (22.5 - 2.5 * np.log10(flux_r) - 2.165 * ebv)
    absolute = np.polynomial.polynomial.polyval(colour, (0.434, -0.169, 2.319, 20.449, 94.517))
    known: Bool = (colour > -0.25) & (colour < 0.0)
    return np.where(known, 10.0 ** (0.2 * (g - absolute) - 2.0), np.nan)
