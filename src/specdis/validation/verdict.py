"""The verdict on a catalogue: goals fixed in advance, against the measurements.

A goal sets limits to one number, or to one in each cell of stars. Numbers have errors. So a goal counts as missed, or
met, only if the numbers decide beyond their errors; either answer is wrong in at most `CHANCE` of all runs:

- missed, if a number lies beyond its limit by more errors than chance gives in any of the cells (Bonferroni: the chance
  is divided by their number);
- met, if every number lies within its limit by more errors than chance gives in one (a cell that misses the goal seems
  to meet it no more often than that);
- otherwise undecided: too few stars to tell.

Errors count as Gaussian. The error of a share is taken at its limit, so that even 100 % of three stars has an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtri

from specdis.validation.calibration import coverage_cells
from specdis.validation.external import table_a1
from specdis.validation.measures import cell_name

CHANCE = 0.05
"""Largest probability that a goal that holds counts as missed, or one that does not counts as met."""
LARGE_CELL = 1000
"""Least number of stars for judging the coverage of a cell."""
COVERED = {68: (0.64, 0.72), 90: (0.87, 0.93)}
"""Limits of the share of true values within an interval, by its percentage."""
_LEAST = 20
"""Least number of stars for judging the bias of a cell: with fewer its error is uncertain."""
CELL_KINDS = {"snr": "S/N", "magnitude": "M_G", "feh": "[Fe/H]"}
"""Quantities of the cells of coverage, by their names in the measurements."""
_NEAR, _FAR = 40.0, 100.0
"""Ends of the cells with the narrow limit and with the wide one, kpc; farther cells have no goal."""


class Judgement(StrEnum):
    """Outcome of a goal."""

    MET = "met"
    MISSED = "missed"
    TOO_FEW = "too few stars to tell"
    NOT_MEASURED = "not measured"


class Finding(NamedTuple):
    """A goal and its outcome.

    Parameters
    ----------
    goal
        The goal in words.
    answer
        Its outcome.
    measured
        The deciding numbers in words.
    """

    goal: str
    answer: Judgement
    measured: str


class Number(NamedTuple):
    """A measured number of a goal.

    Parameters
    ----------
    excess
        Distance beyond its limit; negative within.
    error
        Its standard error.
    words
        The number, its error and its stars.
    """

    excess: float
    error: float
    words: str

    @property
    def score(self) -> float:
        """Excess in errors; infinite without an error or without scatter."""
        if self.error > 0.0:
            return self.excess / self.error
        return -np.inf if self.excess < 0.0 else np.inf


def reach_verdict(measured: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the goals with their outcomes; predictions are judged by held-out stars.

    Parameters
    ----------
    measured
        The metrics.
    """
    return [finding._asdict() for finding in _findings(measured)]


def judge(goal: str, numbers: Sequence[Number], without: str) -> Finding:
    """Decide whether a goal is met.

    Parameters
    ----------
    goal
        The goal in words.
    numbers
        One for each judged cell; all must lie within their limits.
    without
        Text if there are none.
    """
    known = [number for number in numbers if np.isfinite(number.excess) and np.isfinite(number.error)]
    if not known:
        return Finding(goal, Judgement.TOO_FEW, without)
    worst = max(known, key=lambda number: number.score)
    answer = Judgement.TOO_FEW
    if worst.score > ndtri(1.0 - CHANCE / len(known)):
        answer = Judgement.MISSED
    elif worst.score < ndtri(CHANCE):
        answer = Judgement.MET
    if len(known) == 1:
        return Finding(goal, answer, worst.words)
    return Finding(goal, answer, f"{worst.words}, the worst of {len(known)} cells")


def _findings(measured: Mapping[str, Any]) -> Iterator[Finding]:
    external, truth = measured.get("external"), measured.get("truth")
    for name, title in (("members", "members of clusters, dwarf galaxies and streams"), ("bhb", "BHB stars")):
        goal = f"|median bias| < 0.2 mag of {title} with quoted error < 0.5 mag, to 100 kpc"
        if external is None:
            yield Finding(goal, Judgement.NOT_MEASURED, "no list of stars of known distance")
        else:
            cells = external[name]["precise_held_out_by_modulus"]
            yield judge(goal, [*_modulus_biases(cells)], f"no bin of modulus with {_LEAST} such stars")
    goal = "|median bias| < 5 % to 40 kpc and < 10 % to 100 kpc, by {} distance, quoted error < 25 %"
    for key, word in (("by_distance", "true"), ("by_predicted_distance", "predicted")):
        if truth is None:
            yield Finding(goal.format(word), Judgement.NOT_MEASURED, "true distances are not known")
        else:
            biases = [*_distance_biases(truth["precise"][key], _NEAR, _FAR)]
            yield judge(goal.format(word), biases, f"no bin of distance with {_LEAST} such stars")
    goal = (
        "the 68 % interval covers 64 to 72 % in every cell of S/N and log g, of predicted M_G and of [Fe/H] with "
        f"{LARGE_CELL:,} stars"
    )
    if truth is None:
        yield Finding(goal, Judgement.NOT_MEASURED, "true distances are not known")
    else:
        yield judge(goal, [*_coverages(truth)], f"no cell with {LARGE_CELL:,} stars")
    found, whole = measured["catalogue"], measured["catalogue"]["all"]
    goal = "60 % of the stars have a quoted error < 25 %"
    yield _at_least(goal, 0.60, whole["share_precise"], whole["n_with_error"])
    goal = "half the giants at S/N > 20 have a quoted error < 25 %"
    yield _at_least(goal, 0.50, found["share_precise_giants_above_snr_20"], found["n_giants_above_snr_20"])
    yield from _of_the_halo(measured.get("halo"))
    goal = "the median distance of each system of Table A1 is right within 8 %"
    if external is None:
        yield Finding(goal, Judgement.NOT_MEASURED, "no list of stars of known distance")
    else:
        yield judge(goal, [*_systems(external["systems"])], f"no system with {_LEAST} members")


def _of_the_halo(halo: Mapping[str, Any] | None) -> Iterator[Finding]:
    """Yield the goals beyond 5 kpc, for all held-out stars, whatever their quoted error."""

    def reached(goal: str, numbers: Callable[[Mapping[str, Any]], Iterator[Number]], without: str) -> Finding:
        if halo is None:
            return Finding(goal, Judgement.NOT_MEASURED, "no distances are known")
        return judge(goal, [*numbers(halo)], without)

    few = f"no bin of distance with {_LEAST} such stars"
    limits = "< 5 % to {:g} kpc and < 10 % to {:g} kpc"
    yield reached(
        f"from 5 kpc on, |median bias| of DIST {limits.format(_NEAR, _FAR)}, by known distance",
        lambda found: _distance_biases(_part(found["by_distance"], "likelihood"), _NEAR, _FAR),
        few,
    )
    yield reached(
        f"from 5 kpc on, |median bias| of DIST_POST {limits.format(_FAR, 2 * _FAR)}, by predicted distance",
        lambda found: _distance_biases(_part(found["by_predicted_distance"], "posterior"), _FAR, 2 * _FAR),
        few,
    )
    yield reached(
        "from 5 kpc on, the modulus of DIST rises with the known one with a slope of 1 ± 0.03 at each S/N",
        lambda found: _slopes(_part(found["slopes"], "likelihood")),
        f"no range of S/N with {_LEAST} such stars",
    )
    yield reached(
        "16 to 84 % of DIST cover 64 to 72 %, and 5 to 95 % 87 to 93 %, in every cell of S/N, predicted M_G and [Fe/H] "
        f"with {LARGE_CELL:,} stars, at any distance and beyond 20 kpc",
        lambda found: _shares(found["coverage"]),
        f"no cell with {LARGE_CELL:,} stars",
    )


def _part(rows: Sequence[Mapping[str, Any]], estimate: str) -> list[dict[str, Any]]:
    """Return the cells of one of the two distances."""
    return [{**row, **row[estimate]} for row in rows]


def _modulus_biases(cells: Sequence[Mapping[str, Any]]) -> Iterator[Number]:
    for cell in cells:
        if cell["n_finite"] >= _LEAST:
            bias, error = cell["median_mag"], cell["median_mag_err"]
            where = cell_name("m − M", cell["modulus_min"], cell["modulus_max"])
            words = f"{_signed(bias, 2)} ± {error:.2f} mag, {cell['n_finite']:,} stars with {where}"
            yield Number(abs(bias) - 0.2, error, words)


def _distance_biases(cells: Sequence[Mapping[str, Any]], near: float, far: float) -> Iterator[Number]:
    """Yield the biases of cells that end at `far`, limited by 5 per cent in those that end at `near`, else by 10."""
    for cell in cells:
        if cell["n_finite"] >= _LEAST and cell["distance_max_kpc"] <= far:
            bias, error = cell["median_bias"], cell["median_bias_err"]
            where = cell_name("kpc", cell["distance_min_kpc"], cell["distance_max_kpc"])
            words = f"{_signed(100 * bias, 1)} ± {100 * error:.1f} %, {cell['n_finite']:,} stars with {where}"
            yield Number(abs(bias) - (0.05 if cell["distance_max_kpc"] <= near else 0.10), error, words)


def _slopes(cells: Sequence[Mapping[str, Any]]) -> Iterator[Number]:
    for cell in cells:
        if cell["n"] >= _LEAST:
            slope, error = cell["slope"], cell["slope_err"]
            words = f"{slope:.3f} ± {error:.3f}, {cell['n']:,} stars with "
            yield Number(abs(slope - 1.0) - 0.03, error, words + cell_name("S/N", cell["snr_min"], cell["snr_max"]))


def _systems(found: Sequence[Mapping[str, Any]]) -> Iterator[Number]:
    for row in table_a1(found):
        if row["N"] >= _LEAST and np.isfinite(row["D_PAPER"]):
            difference, error = row["DIFFERENCE"], np.hypot(row["D_NN_ERR"], row["D_REF_ERR"]) / row["D_REF"]
            words = f"{_signed(100 * difference, 1)} ± {100 * error:.1f} %, {row['NAME']} with {row['N']:,} members"
            yield Number(abs(difference) - 0.08, error, words)


def _coverages(truth: Mapping[str, Any]) -> Iterator[Number]:
    for where, cell in coverage_cells(truth):
        if cell["n"] >= LARGE_CELL:
            yield _covered(cell, 68, cell["n"], where)


def _shares(cells: Sequence[Mapping[str, Any]]) -> Iterator[Number]:
    for cell in cells:
        if cell["n"] >= LARGE_CELL:
            words = [cell_name(word, cell[f"{name}_min"], cell[f"{name}_max"]) for name, word in CELL_KINDS.items()]
            beyond = f", predicted beyond {cell['distance_min_kpc']:g} kpc" if cell["distance_min_kpc"] else ""
            for percent in (68, 90):
                yield _covered(cell["likelihood"], percent, cell["n"], ", ".join(words) + beyond)


def _covered(cell: Mapping[str, Any], percent: int, stars: int, where: str) -> Number:
    """Return the share of the true values within the intervals of that many per cent."""
    share, error = (cell[f"coverage{percent}{end}"] for end in ("", "_err"))
    least, most = COVERED[percent]
    excess, limit = max((share - most, most), (least - share, least))
    words = f"{100 * share:.1f} ± {100 * error:.1f} %, {stars:,} stars with {where}"
    return Number(excess, _error_at(limit, stars), words)


def _at_least(goal: str, least: float, share: float, stars: int) -> Finding:
    words = f"{100 * share:.0f} % of {stars:,} stars"
    return judge(goal, [Number(least - share, _error_at(least, stars), words)], "no such stars")


def _error_at(share: float, stars: int) -> float:
    """Return the standard error of a share of n stars, NaN for none."""
    return float(np.sqrt(share * (1.0 - share) / stars)) if stars else np.nan


def _signed(value: float, decimals: int) -> str:
    return f"{value:+.{decimals}f}".replace("-", "−")
