"""The verdict: goals are met or missed only where the numbers say so beyond their errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from specdis.validation.verdict import CHANCE, Judgement, Number, judge, reach_verdict

GOALS = 12
MET, MISSED, TOO_FEW, NOT_MEASURED = Judgement


def measured() -> dict[str, Any]:
    """Return what meets every goal, of many stars."""
    modulus = {"modulus_min": 15.0, "modulus_max": 16.0, "n_finite": 500, "median_mag": 0.1, "median_mag_err": 0.02}
    near = {"distance_min_kpc": 20.0, "distance_max_kpc": 40.0, "n_finite": 500, "median_bias": -0.02}
    far = near | {"distance_min_kpc": 40.0, "distance_max_kpc": 70.0, "median_bias": 0.08}
    by_distance = [cell | {"median_bias_err": 0.01} for cell in (near, far)]
    covered = {"n": 50_000, "coverage68": 0.68, "coverage68_err": 0.002}
    here = {"n": 500, "n_finite": 500, "slope": 1.01, "slope_err": 0.005, "median_bias_err": 0.01}
    kind = {
        "snr_min": 20.0,
        "snr_max": 60.0,
        "magnitude_min": 0.0,
        "magnitude_max": 1.0,
        "feh_min": -2.0,
        "feh_max": -1.5,
    }
    whole = covered | {"coverage90": 0.9, "coverage90_err": 0.001}
    system = {"system": "Sextans", "distance_kpc": 92.5, "n_finite": 40, "n_held_out": 40, "n_recalibration": 0}
    system |= {"median_distance_kpc": 92.0, "median_distance_kpc_err": 0.5}
    halo = {
        "by_distance": [{**cell, "likelihood": {**here, "median_bias": cell["median_bias"]}} for cell in (near, far)],
        "by_predicted_distance": [{**far, "posterior": {**here, "median_bias": -0.02}}],
        "slopes": [{**kind, "likelihood": {**here}}],
        "coverage": [{**kind, "n": 50_000, "distance_min_kpc": 20.0, "likelihood": {**whole}}],
    }
    external = {name: {"precise_held_out_by_modulus": [{**modulus}]} for name in ("members", "bhb")}
    return {
        "halo": halo,
        "external": external | {"systems": [system]},
        "catalogue": {
            "all": {"share_precise": 0.7, "n_with_error": 10_000},
            "share_precise_giants_above_snr_20": 0.6,
            "n_giants_above_snr_20": 2000,
        },
        "truth": {
            "precise": {"by_distance": by_distance, "by_predicted_distance": [{**by_distance[0]}]},
            "by_magnitude": [covered | {"magnitude_min": -np.inf, "magnitude_max": -1.0}],
            "by_feh": [covered | {"feh_min": -2.0, "feh_max": -1.5}],
        },
    }


def answers(found: dict[str, Any]) -> list[str]:
    return [finding["answer"] for finding in reach_verdict(found)]


def test_every_goal_is_met_where_all_is_well() -> None:
    assert answers(measured()) == [MET] * GOALS


@pytest.mark.parametrize(
    ("goal", "place", "change", "words"),
    [
        (0, ("external", "members", "precise_held_out_by_modulus", 0), {"median_mag": 0.25},
         "+0.25 ± 0.02 mag, 500 stars with 15 ≤ m − M < 16"),
        (1, ("external", "bhb", "precise_held_out_by_modulus", 0), {"median_mag": -0.25},
         "−0.25 ± 0.02 mag, 500 stars with 15 ≤ m − M < 16"),
        (2, ("truth", "precise", "by_distance", 0), {"median_bias": -0.08},
         "−8.0 ± 1.0 %, 500 stars with 20 ≤ kpc < 40, the worst of 2 cells"),
        (2, ("truth", "precise", "by_distance", 1), {"median_bias": 0.13},
         "+13.0 ± 1.0 %, 500 stars with 40 ≤ kpc < 70, the worst of 2 cells"),
        (3, ("truth", "precise", "by_predicted_distance", 0), {"median_bias": 0.08},
         "+8.0 ± 1.0 %, 500 stars with 20 ≤ kpc < 40"),
        (4, ("truth", "by_magnitude", 0), {"coverage68": 0.73},
         "73.0 ± 0.2 %, 50,000 stars with M_G < -1, the worst of 2 cells"),
        (4, ("truth", "by_feh", 0), {"coverage68": 0.63},
         "63.0 ± 0.2 %, 50,000 stars with -2 ≤ [Fe/H] < -1.5, the worst of 2 cells"),
        (5, ("catalogue", "all"), {"share_precise": 0.55}, "55 % of 10,000 stars"),
        (6, ("catalogue",), {"share_precise_giants_above_snr_20": 0.4}, "40 % of 2,000 stars"),
        (7, ("halo", "by_distance", 0, "likelihood"), {"median_bias": 0.08},
         "+8.0 ± 1.0 %, 500 stars with 20 ≤ kpc < 40, the worst of 2 cells"),
        (8, ("halo", "by_predicted_distance", 0, "posterior"), {"median_bias": -0.08},
         "−8.0 ± 1.0 %, 500 stars with 40 ≤ kpc < 70"),
        (9, ("halo", "slopes", 0, "likelihood"), {"slope": 0.95}, "0.950 ± 0.005, 500 stars with 20 ≤ S/N < 60"),
        (10, ("halo", "coverage", 0, "likelihood"), {"coverage90": 0.86},
         "86.0 ± 0.1 %, 50,000 stars with 20 ≤ S/N < 60, 0 ≤ M_G < 1, -2 ≤ [Fe/H] < -1.5, predicted beyond 20 kpc, "
         "the worst of 2 cells"),
        (11, ("external", "systems", 0), {"median_distance_kpc": 80.0},
         "−13.5 ± 2.8 %, Sextans with 40 members"),
    ],
)  # fmt: skip
def test_one_number_beyond_its_limit_misses_its_goal_alone(
    goal: int, place: tuple[Any, ...], change: dict[str, float], words: str
) -> None:
    found = measured()
    cell: Any = found
    for key in place:
        cell = cell[key]
    cell |= change
    assert answers(found) == [MISSED if number == goal else MET for number in range(GOALS)]
    assert reach_verdict(found)[goal]["measured"] == words
    # The same numbers of few stars miss nothing.
    found["halo"]["coverage"][0]["n"] = 1000
    for key in {*cell} & {"median_mag_err", "median_bias_err", "slope_err", "median_distance_kpc_err"}:
        cell[key] *= 20
    for key in {*cell} & {"n", "n_with_error", "n_giants_above_snr_20"}:
        cell[key] = max(cell[key] // 1000, 1000 if key == "n" else 2)
    if "coverage68" in cell:
        cell["coverage68"] = 0.68 + 0.9 * (cell["coverage68"] - 0.68)
    assert answers(found)[goal] == TOO_FEW


def test_what_is_not_known_is_not_measured_and_what_has_no_stars_has_too_few() -> None:
    found = measured()
    without = {"catalogue": {**found["catalogue"], "share_precise_giants_above_snr_20": np.nan}}
    without["catalogue"]["n_giants_above_snr_20"] = 0
    assert answers(without) == [NOT_MEASURED] * 5 + [MET, TOO_FEW] + [NOT_MEASURED] * 5
    for cell in found["truth"]["precise"]["by_distance"]:
        cell["n_finite"] = 19
    for cell in (*found["truth"]["by_magnitude"], *found["truth"]["by_feh"]):
        cell["n"] = 999
    halo = found["halo"]
    for cell in (halo["by_distance"][0]["likelihood"], halo["by_distance"][1]["likelihood"]):
        cell["n_finite"] = 19
    halo["slopes"][0]["likelihood"]["n"] = 19
    halo["coverage"][0]["n"] = 999
    found["external"]["systems"][0]["n_finite"] = 19
    assert [answers(found)[goal] for goal in (2, 4, 7, 9, 10, 11)] == [TOO_FEW] * 6


def test_cells_beyond_the_reach_of_a_goal_and_other_systems_do_not_count() -> None:
    found = measured()
    far = {"distance_min_kpc": 100.0, "distance_max_kpc": 150.0}
    wrong = {"n": 500, "n_finite": 500, "median_bias": 0.5, "median_bias_err": 0.01}
    found["halo"]["by_distance"].append({**far, "likelihood": wrong})
    found["external"]["systems"].append(
        {**found["external"]["systems"][0], "system": "Fornax", "median_distance_kpc": 5.0}
    )
    assert answers(found) == [MET] * GOALS
    found["halo"]["by_predicted_distance"].append({**far, "posterior": wrong})
    assert answers(found)[8] == MISSED


def test_three_stars_of_three_meet_no_goal() -> None:
    found = measured()
    found["catalogue"]["all"] = {"share_precise": 1.0, "n_with_error": 3}  # whose binomial error is 0
    assert answers(found)[5] == TOO_FEW


@pytest.mark.parametrize("cells", [1, 6, 20])
@pytest.mark.parametrize("beyond", [1, 6, 20])
def test_neither_answer_is_wrong_more_often_than_said(cells: int, beyond: int) -> None:
    """Draw runs of a goal whose cells lie exactly at their limits, or of which one alone does: the worst cases."""
    if beyond > cells:
        beyond = cells
    random = np.random.default_rng(cells)
    error = random.uniform(0.01, 0.1, cells)
    true = np.where(np.arange(cells) < beyond, 0.0, -20 * error)
    runs = 2000
    found = [
        judge("", [Number(excess, spread, "") for excess, spread in zip(drawn, error, strict=True)], "").answer
        for drawn in true + error * random.normal(size=(runs, cells))
    ]
    allowed = CHANCE * runs + 3 * np.sqrt(CHANCE * (1 - CHANCE) * runs)
    assert found.count(MISSED) <= allowed
    assert found.count(MET) <= allowed
    # The rule is no more timid than it has to be: one cell alone is called either way as often as is allowed.
    if beyond == 1:
        assert found.count(MET) >= 2 * CHANCE * runs - allowed
    if beyond == cells:
        assert found.count(MISSED) >= 2 * CHANCE * runs - allowed


def test_with_enough_stars_every_goal_is_decided() -> None:
    for excess, answer in ((-0.01, MET), (0.01, MISSED)):
        assert judge("", [Number(excess, 0.1 / np.sqrt(100_000), "") for _ in range(20)], "").answer is answer
