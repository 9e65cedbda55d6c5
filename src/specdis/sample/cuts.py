"""The cuts of section 2.3, each with a name, and the cut flow, which counts every row of the survey."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from specdis.arrays import Bool, Int, Int64
from specdis.flags import Flag
from specdis.sample.settings import SampleSettings
from specdis.surveys.base import Stars


@dataclass(frozen=True)
class Cut:
    """One line of the cut flow.

    Parameters
    ----------
    name
        Short name: the value of CUT for the rows that it removes.
    description
        Reason for the cut.
    flag
        Flag of the rows that fail it: OUTSIDE_CUTS if their prediction is doubtful, NOT_TRAINABLE if they are only
        unsuitable for training.
    columns
        Columns of the survey that it reads; it is not applied if one is missing.
    fails
        Returns the rows that it removes, shape (star,); None if that depends on other rows.
    key
        Key of `[sample]` that governs it; empty if none does.
    on
        Whether the configuration applies it.
    """

    name: str
    description: str
    flag: Flag
    columns: tuple[str, ...]
    fails: Callable[[Stars], Bool] | None
    key: str = ""
    on: bool = True

    def reason(self, columns: frozenset[str]) -> str:
        """Return the reason why it is not applied to a survey with these columns; empty if it is."""
        if not self.on:
            return f"switched off by sample.{self.key}"
        lacking = [name for name in self.columns if name not in columns]
        return f"the survey has no {', '.join(lacking)}" if lacking else ""


def cuts(settings: SampleSettings) -> tuple[Cut, ...]:
    """Return the cuts of section 2.3, explicit and implicit, in the order in which they are applied.

    This list decides the kind of each cut. The label needs a good parallax and the magnitude of a star that does not
    vary, but a prediction does not. Cuts on the spectrum, its rest frame or the extinction concern the prediction.
    """
    return (
        _unlisted("wrong-survey", "SURVEY", settings.surveys, "surveys"),
        _unlisted("wrong-programme", "PROGRAM", settings.programs, "programs"),
        Cut(
            "no-gaia-match",
            "no Gaia source",
            _TRAINING,
            ("SOURCE_ID",),
            lambda stars: stars["SOURCE_ID"] <= 0,
        ),
        Cut(
            "two-parameter-solution",
            "ASTROMETRIC_PARAMS_SOLVED is neither 31 nor 95: Gaia gives no parallax",
            _TRAINING,
            ("ASTROMETRIC_PARAMS_SOLVED",),
            lambda stars: ~np.isin(stars["ASTROMETRIC_PARAMS_SOLVED"], (31, 95)),
        ),
        _missing("no-parallax", _TRAINING, "PARALLAX"),
        Cut(
            "invalid-parallax-error",
            "PARALLAX_ERROR is not a positive number",
            _TRAINING,
            ("PARALLAX_ERROR",),
            lambda stars: ~(np.isfinite(stars["PARALLAX_ERROR"]) & (stars["PARALLAX_ERROR"] > 0)),
        ),
        _missing("no-g-magnitude", _TRAINING, "PHOT_G_MEAN_MAG"),
        _missing("feh-missing", _PREDICTION, "FEH", settings.feh_min, "feh_min"),
        _outside("feh", _PREDICTION, "FEH", operator.gt, settings.feh_min, "feh_min"),
        _missing("ebv-missing", _PREDICTION, "EBV"),
        _outside("ebv", _PREDICTION, "EBV", operator.lt, settings.ebv_max, "ebv_max"),
        Cut(
            "rvs-warn",
            f"RVS_WARN has bits outside rvs_warn = {settings.rvs_warn}",
            _PREDICTION,
            ("RVS_WARN",),
            lambda stars: (stars["RVS_WARN"] & ~np.int64(settings.rvs_warn)) != 0,
            "rvs_warn",
            settings.rvs_warn != "none",
        ),
        _missing("ruwe-missing", _TRAINING, "RUWE", settings.ruwe_max, "ruwe_max"),
        _outside("ruwe", _TRAINING, "RUWE", operator.lt, settings.ruwe_max, "ruwe_max"),
        Cut(
            "variable",
            "PHOT_VARIABLE_FLAG is VARIABLE",
            _TRAINING,
            ("PHOT_VARIABLE_FLAG",),
            lambda stars: stars["PHOT_VARIABLE_FLAG"] == b"VARIABLE",
            "exclude_variable",
            settings.exclude_variable,
        ),
        Cut("duplicate-identifier", "TARGETID, SURVEY, PROGRAM and HEALPIX of an earlier row", _TRAINING, (), None),
        Cut("duplicate", "another spectrum of the same Gaia star has a higher S/N", _TRAINING, ("SOURCE_ID",), None),
    )


_PREDICTION, _TRAINING = Flag.OUTSIDE_CUTS, Flag.NOT_TRAINABLE


def _unlisted(name: str, column: str, kept: Sequence[str] | Literal["none"], key: str) -> Cut:
    values = np.array([value.encode() for value in kept])
    description = f"{column} is not in {key} = {kept if kept == 'none' else ', '.join(kept)}"
    listed = _TRAINING, (column,), lambda stars: ~np.isin(stars[column], values)
    return Cut(name, description, *listed, key, kept != "none")


def _missing(name: str, flag: Flag, column: str, limit: float | str = 0.0, key: str = "") -> Cut:
    return Cut(name, f"{column} is missing", flag, (column,), lambda s: ~np.isfinite(s[column]), key, limit != "none")


def _outside(name: str, flag: Flag, column: str, kept: Callable[[Any, Any], Any], limit: float | str, key: str) -> Cut:
    description = f"{column} is not {'above' if kept is operator.gt else 'below'} {key} = {limit}"
    return Cut(name, description, flag, (column,), lambda s: ~kept(s[column], limit), key, limit != "none")


def failures(stars: Stars, flow: Sequence[Cut], columns: frozenset[str]) -> tuple[Int, Int]:
    """Apply the cuts that depend on single rows.

    Returns
    -------
    first : ndarray of int8, shape (star,)
        Number of the first cut that each row fails, `len(flow)` where it passes them all.
    flags : ndarray of int32, shape (star,)
        The flags of all cuts that it fails.
    """
    first = np.full(len(stars), len(flow), dtype=np.int8)
    flags = np.zeros(len(stars), dtype=np.int32)
    for number, cut in reversed(list(enumerate(flow))):
        if cut.fails is not None and not cut.reason(columns):
            failed = cut.fails(stars)
            first[failed] = number
            flags[failed] |= cut.flag
    return first, flags


@dataclass(frozen=True)
class CutLine:
    """Counts of one cut: `stars_in` = `cut` + `stars_out`; `reason` says why it was not applied."""

    name: str
    description: str
    stars_in: int
    cut: int
    stars_out: int
    applied: bool
    reason: str


@dataclass(frozen=True)
class CutFlow:
    """Rows in, cut and out, cut by cut, with a summary.

    Parameters
    ----------
    lines
        One line per cut, in order; each starts from the rows left by the one before.
    summary
        `rows` of the survey, `selected`, `predicted_outside` the cuts, `duplicates_outside` (rows outside the cuts
        that repeat an identifier and are left out), `trainable`, `held_out`; `folds`: a list of `fold`, `stars` and
        `trainable`; and `missing_values`: a list of `place`, `column`, `reason` and `stars`, the values of the survey
        that count as missing.
    """

    lines: tuple[CutLine, ...]
    summary: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: the content of cutflow.json."""
        return {"cuts": [asdict(line) for line in self.lines], "summary": dict(self.summary)}


def lines(flow: Sequence[Cut], counts: Int64, columns: frozenset[str]) -> tuple[CutLine, ...]:
    """Return the lines of the cut flow from the number of rows that each cut removed, and that passed."""
    before = counts.sum() - np.concatenate([[0], np.cumsum(counts[:-1])])
    return tuple(
        CutLine(
            cut.name, cut.description, int(n), int(lost), int(n - lost), not cut.reason(columns), cut.reason(columns)
        )
        for cut, n, lost in zip(flow, before, counts)
    )
