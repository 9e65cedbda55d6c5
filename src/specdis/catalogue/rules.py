"""Rules for every row of a catalogue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.special import ndtr

from specdis.arrays import Array, Bool, Float64
from specdis.catalogue.columns import COLUMNS
from specdis.flags import Flag
from specdis.network.settings import MIXTURE_PARTS, RELEASED
from specdis.photometry import distance_modulus, geometric_magnitude

Rows = Mapping[str, Array]

TOLERANCE = 1e-5
"""Tolerance, mag: G is stored in single precision, to 1e-6 mag."""

_OF_A_NETWORK = ("M_G_NN", "M_G_NN_ERR", "DIST", "DISTERR")
"""Columns that exist without a suffix and with that of each network."""

_WEIGHTS, _MEANS, _SIGMAS = (tuple(f"{name}_{number}" for number in range(1, RELEASED + 1)) for name in MIXTURE_PARTS)

_DESI_SURVEYS = (b"main", b"sv1", b"sv2", b"sv3", b"special", b"cmx")


@dataclass(frozen=True)
class Rule:
    """A statement about a single row.

    Parameters
    ----------
    columns
        Its columns; violations are reported under the first.
    text
        The statement.
    broken
        Returns the rows that violate it, shape (star,).
    warning
        Whether a violation is unusual rather than wrong.
    """

    columns: tuple[str, ...]
    text: str
    broken: Callable[[Rows], Bool]
    warning: bool = False


def _within(name: str, low: float, high: float, text: str, warning: bool = False) -> Rule:
    """Return the rule that a value, where it is not missing, lies between two others."""
    null = COLUMNS[name].null

    def broken(rows: Rows) -> Bool:
        values = rows[name]
        outside = (values < low) | (values > high)
        return np.asarray(outside if null is None else outside & (values != null))

    return Rule((name,), f"{name} {text}", broken, warning)


def _flagged(rows: Rows, flags: Flag) -> Bool:
    return np.asarray((rows["FLAGS"] & flags) != 0)


def _flag_means(flag: Flag, name: str, text: str, expected: Callable[[Array], Bool]) -> Rule:
    """Return the rule that a flag is set if and only if a column agrees."""

    def broken(rows: Rows) -> Bool:
        return np.asarray(_flagged(rows, flag) != expected(rows[name]))

    return Rule(("FLAGS", name), f"{flag.name} where, and only where, {text}", broken)


def _differ(found: Array, expected: Array) -> Bool:
    """Tell where two values differ by more than the tolerance, or only one of them is NaN."""
    return np.asarray((np.abs(found - expected) > TOLERANCE) | (np.isnan(found) != np.isnan(expected)))


def _g_0(rows: Rows) -> Float64:
    return np.asarray(rows["PHOT_G_MEAN_MAG"].astype(np.float64) - rows["A_G"])


def _distance_differs(rows: Rows) -> Bool:
    beyond = np.isnan(rows["DIST"]) & _flagged(rows, Flag.BEYOND_REACH)
    return np.asarray(_differ(distance_modulus(rows["DIST"]), _g_0(rows) - rows["M_G_NN"]) & ~beyond)


def _modulus_differs(rows: Rows) -> Bool:
    return _differ(rows["DISTMOD"], distance_modulus(rows["DIST"]))


def _geometric_magnitude_differs(rows: Rows) -> Bool:
    corrected = rows["PARALLAX"] - np.nan_to_num(rows["PARALLAX_ZPC"])
    return _differ(rows["M_G_GEO"], geometric_magnitude(corrected, np.nan, _g_0(rows))[0])


def _quantiles_disordered(rows: Rows) -> Bool:
    return np.asarray((rows["DIST_16"] > rows["DIST_50"]) | (rows["DIST_50"] > rows["DIST_84"]))


def _posterior_disordered(rows: Rows) -> Bool:
    quantiles = [rows[f"DIST_POST{level}"] for level in ("_05", "_16", "", "_84", "_95")]
    return np.asarray(np.any([low > high for low, high in pairwise(quantiles)], axis=0))


def _stacked_gaussians(rows: Rows) -> tuple[Float64, Float64, Float64]:
    """Return fractions, means and standard deviations of the Gaussians, shape (component, star)."""
    weight, mean, sigma = (
        np.stack([rows[name] for name in names]).astype(np.float64) for names in (_WEIGHTS, _MEANS, _SIGMAS)
    )
    return weight, mean, sigma


def _weights_incomplete(rows: Rows) -> Bool:
    weight = np.sum([rows[name] for name in _WEIGHTS], axis=0, dtype=np.float64)
    return np.asarray(np.abs(weight - 1) > TOLERANCE)


def _median_elsewhere(rows: Rows) -> Bool:
    """Tell where the median contradicts the Gaussians; the star's own parallax moves it, so it is not checked then."""
    weight, mean, sigma = _stacked_gaussians(rows)
    below = (weight * ndtr((rows["M_G_NN_MIX"] - mean) / sigma)).sum(0)
    return np.asarray((np.abs(below - 0.5) > 0.15) | (np.isnan(below) != np.isnan(rows["M_G_NN_MIX"])))


def _prediction_unexplained(rows: Rows) -> Bool:
    explained = _flagged(rows, Flag.LABEL_NOT_POSITIVE | Flag.NO_SPECTRUM)
    return np.asarray(np.isnan(rows["M_G_NN_LABEL"]) != explained)


def _mixture_unexplained(rows: Rows) -> Bool:
    return np.asarray(np.isnan(rows["M_G_NN_MIX"]) != _flagged(rows, Flag.NO_SPECTRUM))


def _error_unexplained(rows: Rows) -> Bool:
    missing = np.isnan(rows["DISTERR_LABEL"])
    impossible = np.isnan(rows["DIST_LABEL"]) | _flagged(rows, Flag.DRAW_NOT_POSITIVE)
    return np.asarray((impossible & ~missing) | (missing & ~impossible & ~_flagged(rows, Flag.NO_ERROR_SPECTRUM)))


def _of_neither_network(rows: Rows) -> Bool:
    """Tell where the columns without suffix equal neither the label network's nor the mixture network's."""

    def equal(suffix: str) -> Bool:
        pairs = [(rows[name], rows[f"{name}_{suffix}"]) for name in _OF_A_NETWORK]
        return np.asarray(np.all([(a == b) | (np.isnan(a) & np.isnan(b)) for a, b in pairs], axis=0))

    return ~equal("LABEL") & ~equal("MIX")


def _another_pixel(rows: Rows) -> Bool:
    of_desi = (rows["SOURCE_ID"] > 0) & np.isin(rows["SURVEY"], _DESI_SURVEYS)
    return np.asarray(of_desi & (rows["HEALPIX"] != rows["SOURCE_ID"] >> 47))


RULES: tuple[Rule, ...] = (
    *(_within(name, *column.allowed, column.range) for name, column in COLUMNS.items() if column.allowed is not None),
    Rule(("A_G",), "A_G is never missing", lambda rows: np.isnan(rows["A_G"])),
    Rule(
        ("DIST", "M_G_NN", "PHOT_G_MEAN_MAG", "A_G", "FLAGS"),
        "DIST = 10^((PHOT_G_MEAN_MAG - A_G - M_G_NN) / 5 - 2), missing where one of these is and with BEYOND_REACH",
        _distance_differs,
    ),
    Rule(("DISTMOD", "DIST"), "DISTMOD = 5 log10(DIST) + 10", _modulus_differs),
    Rule(
        ("M_G_GEO", "PARALLAX", "PARALLAX_ZPC", "PHOT_G_MEAN_MAG", "A_G"),
        "M_G_GEO = PHOT_G_MEAN_MAG - A_G + 5 log10((PARALLAX - PARALLAX_ZPC) / 100), missing where that is not defined",
        _geometric_magnitude_differs,
    ),
    Rule(("DIST_16", "DIST_50", "DIST_84"), "DIST_16 <= DIST_50 <= DIST_84", _quantiles_disordered),
    Rule(
        ("DIST_POST", "DIST_POST_05", "DIST_POST_16", "DIST_POST_84", "DIST_POST_95"),
        "DIST_POST_05 <= DIST_POST_16 <= DIST_POST <= DIST_POST_84 <= DIST_POST_95",
        _posterior_disordered,
    ),
    Rule(
        ("DISTMOD_POST_DRAWS", "DIST_POST"),
        "DISTMOD_POST_DRAWS is missing where, and only where, DIST_POST is",
        lambda rows: (np.isnan(rows["DISTMOD_POST_DRAWS"]) != np.isnan(rows["DIST_POST"])[:, None]).any(axis=1),
    ),
    Rule(_WEIGHTS, "MIX_WEIGHT_1, ... add up to 1", _weights_incomplete),
    Rule(
        ("M_G_NN_MIX", "M_G_NN_ERR_MIX", *_WEIGHTS, *_MEANS, *_SIGMAS),
        "M_G_NN_MIX between the 35 and the 65 per cent quantiles of its Gaussians, all present where it is",
        _median_elsewhere,
    ),
    Rule(
        ("M_G_NN_LABEL", "FLAGS"),
        "M_G_NN_LABEL is missing where, and only where, LABEL_NOT_POSITIVE or NO_SPECTRUM",
        _prediction_unexplained,
    ),
    Rule(("M_G_NN_MIX", "FLAGS"), "M_G_NN_MIX is missing where, and only where, NO_SPECTRUM", _mixture_unexplained),
    Rule(
        ("DISTERR_LABEL", "DIST_LABEL", "FLAGS"),
        "DISTERR_LABEL is missing without DIST_LABEL or with DRAW_NOT_POSITIVE, and else only with NO_ERROR_SPECTRUM",
        _error_unexplained,
    ),
    Rule(
        ("FLAGS", "SELECTED"),
        "OUTSIDE_CUTS or NOT_TRAINABLE where, and only where, SELECTED is false",
        lambda rows: _flagged(rows, Flag.OUTSIDE_CUTS | Flag.NOT_TRAINABLE) == rows["SELECTED"],
    ),
    Rule(
        (*_OF_A_NETWORK, *(f"{name}_{network}" for network in ("LABEL", "MIX") for name in _OF_A_NETWORK)),
        "DIST, DISTERR, M_G_NN and M_G_NN_ERR equal those of one network, _LABEL or _MIX",
        _of_neither_network,
    ),
    _flag_means(Flag.NO_MAGNITUDE, "PHOT_G_MEAN_MAG", "PHOT_G_MEAN_MAG is missing", np.isnan),
    _flag_means(Flag.DRAW_NOT_POSITIVE, "FRACTION_UNBOUND", "FRACTION_UNBOUND > 0", lambda share: share > 0),
    Rule(
        ("FLAGS", "PARALLAX", "PARALLAX_ZPC"),
        "NO_ZERO_POINT where, and only where, there is a PARALLAX and no PARALLAX_ZPC",
        lambda rows: _flagged(rows, Flag.NO_ZERO_POINT) != np.isnan(rows["PARALLAX_ZPC"]) & ~np.isnan(rows["PARALLAX"]),
    ),
    _flag_means(Flag.NO_EBV, "EBV", "EBV is missing", np.isnan),
    _within("M_G_NN", -30, 30, "from -30 to 30", warning=True),
    _within("M_G_GEO", -30, 30, "from -30 to 30", warning=True),
    Rule(("PARALLAX_ERR",), "PARALLAX_ERR > 0", lambda rows: rows["PARALLAX_ERR"] <= 0, warning=True),
    Rule(("HEALPIX", "SOURCE_ID", "SURVEY"), "HEALPIX = SOURCE_ID >> 47", _another_pixel, warning=True),
)
"""All rules, in the order of the report."""
