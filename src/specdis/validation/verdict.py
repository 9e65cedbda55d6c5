"""Whether a catalogue is as good as it should be: goals that were fixed before, and what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from specdis.validation.calibration import coverage_cells
from specdis.validation.measures import cell_name

_LARGE_CELL = 1000
"""Stars from which a cell's coverage is judged."""
_LEAST = 20
"""Stars from which a cell's bias is judged."""


class Finding(NamedTuple):
    """A goal and whether it is met; None where the run cannot tell.

    Parameters
    ----------
    goal
        What is asked for.
    met
        Whether it is met.
    measured
        The numbers that decide, in words.
    """

    goal: str
    met: bool | None
    measured: str


def reach_verdict(measured: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the goals with what was measured, of held-out stars wherever predictions are judged.

    Parameters
    ----------
    measured
        What the chapters of the validation have measured.
    """
    return [finding._asdict() for finding in _findings(measured)]


def _findings(measured: Mapping[str, Any]) -> Iterator[Finding]:
    external, truth = measured.get("external"), measured.get("truth")
    for name, title in (("members", "members of clusters, dwarfs and streams"), ("bhb", "BHB stars")):
        block = None if external is None else external[name]
        yield _modulus_bias(f"|median bias| < 0.2 mag of {title} with quoted error < 0.5 mag, to 100 kpc", block)
    goal = "|median bias| < 5 % to 40 kpc and < 10 % to 100 kpc, by {} distance, quoted error < 25 %"
    for key, word in (("by_distance", "true"), ("by_predicted_distance", "predicted")):
        yield _distance_bias(goal.format(word), None if truth is None else truth["precise"][key])
    yield _coverage(truth)
    whole = measured["catalogue"]["all"]["share_precise"]
    yield _at_least("60 % of the stars have a quoted error < 25 %", whole, 0.60)
    giants = measured["catalogue"]["share_precise_giants_above_snr_20"]
    yield _at_least("half the giants at S/N > 20 have a quoted error < 25 %", giants, 0.50)


def _modulus_bias(goal: str, block: Mapping[str, Any] | None) -> Finding:
    cells = [] if block is None else [c for c in block["precise_held_out_by_modulus"] if c["n_finite"] >= _LEAST]
    if not cells:
        return Finding(goal, None, f"no bin of modulus with {_LEAST} such stars")
    worst = max(cells, key=lambda cell: abs(cell["median_mag"]))
    where = cell_name("m − M", worst["modulus_min"], worst["modulus_max"])
    found = f"{_signed(worst['median_mag'], 2)} ± {worst['median_mag_err']:.2f} mag at worst ({where})"
    return Finding(goal, abs(worst["median_mag"]) < 0.2, found)


def _distance_bias(goal: str, cells: Sequence[Mapping[str, Any]] | None) -> Finding:
    judged = [cell for cell in cells or () if cell["n_finite"] >= _LEAST]
    if not judged:
        return Finding(goal, None, "true distances are not known" if cells is None else f"no bin with {_LEAST} stars")
    excess = [abs(cell["median_bias"]) - (0.05 if cell["distance_max_kpc"] <= 40.0 else 0.10) for cell in judged]
    worst = judged[int(np.argmax(excess))]
    where = cell_name("kpc", worst["distance_min_kpc"], worst["distance_max_kpc"])
    found = f"{_signed(100 * worst['median_bias'], 1)} ± {100 * worst['median_bias_err']:.1f} % at worst ({where})"
    return Finding(goal, max(excess) < 0.0, found)


def _coverage(truth: Mapping[str, Any] | None) -> Finding:
    goal = (
        "the 68 % interval covers 64 to 72 % in every cell of S/N and log g, of predicted M_G and of [Fe/H] with "
        f"{_LARGE_CELL:,} stars"
    )
    named = [(words, cell) for words, cell in coverage_cells(truth or {}) if cell["n"] >= _LARGE_CELL]
    if not named:
        return Finding(goal, None, "true distances are not known" if truth is None else "no cell is large enough")
    words, worst = max(named, key=lambda one: abs(one[1]["coverage68"] - 0.68))
    met = all(0.64 <= cell["coverage68"] <= 0.72 for _, cell in named)
    share, error = 100 * worst["coverage68"], 100 * worst["coverage68_err"]
    return Finding(goal, met, f"{share:.1f} ± {error:.1f} % at worst ({words}), of {len(named)} cells")


def _at_least(goal: str, value: float, least: float) -> Finding:
    if np.isnan(value):
        return Finding(goal, None, "no such stars")
    return Finding(goal, value >= least, f"{100 * value:.0f} %")


def _signed(value: float, decimals: int) -> str:
    return f"{value:+.{decimals}f}".replace("-", "−")
