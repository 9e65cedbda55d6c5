"""Distances beyond 5 kpc against known ones: numbers that can be counted by hand, and toy universes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr

from specdis import validation
from specdis.report.figures.halo import draw_halo
from specdis.storage import as_json
from specdis.validation.halo import HALO_EDGES, listed_distances, measure_halo, ranks_of, slope_of
from synthetic_catalogue import Columns

LEVELS = {"05": -1.645, "16": -1.0, "84": 1.0, "95": 1.645}


def stars(true: Any, residual: Any, error: Any = 0.2, **columns: Any) -> Columns:
    """Return held-out stars whose predicted modulus is off by `residual`, with Gaussian intervals of `error` mag."""
    residual = np.broadcast_to(np.asarray(residual, np.float64), np.shape(true))
    predicted = np.asarray(true, np.float64) * 10 ** (0.2 * residual)
    values: dict[str, Any] = {"HELD_OUT": True, "CALIBRATION": False, "SN": 30.0, "M_G_NN": 0.5, "FEH": -1.2}
    for name in ("DIST", "DIST_POST"):
        values[name] = predicted
        values |= {f"{name}_{level}": predicted * 10 ** (0.2 * k * error) for level, k in LEVELS.items()}
    return {name: np.broadcast_to(value, np.shape(true)).copy() for name, value in (values | columns).items()}


def known(true: Any) -> validation.KnownDistances:
    return validation.KnownDistances("truth", np.asarray(true, np.float64), np.zeros(len(true)))


def test_bias_scatter_coverage_and_z_by_hand() -> None:
    true = np.array([6.0, 6.0, 6.0, 6.0, 6.0, 30.0, 3.0])
    residual = np.array([-0.5, 0.0, 0.1, 0.1, 0.3, 0.1, 9.0])
    found = measure_halo(stars(true, residual), known(true))
    assert [(row["distance_min_kpc"], row["distance_max_kpc"]) for row in found["by_distance"]] == [
        (5, 10), (10, 20), (20, 40), (40, 70), (70, 100), (100, 150), (150, 200),
    ]  # fmt: skip
    near = found["by_distance"][0]["likelihood"]
    assert near["n"] == near["n_finite"] == 5
    assert near["median_bias"] == pytest.approx(10**0.02 - 1)
    assert near["scatter_mag"] == pytest.approx(1.4826 * 0.1)
    assert near["coverage68"] == pytest.approx(3 / 5)
    assert near["coverage90"] == pytest.approx(4 / 5)
    assert near["z_median"] == pytest.approx(0.5)
    assert near["median_bias_err"] > 0
    assert found["by_distance"][2]["posterior"]["n"] == 1
    assert found["n"] == 6


def test_cells_of_predicted_distance_are_of_the_estimate_s_own() -> None:
    columns = stars([15.0], 0.0, DIST=[15.0], DIST_POST=[25.0])
    rows = measure_halo(columns, known([15.0]))["by_predicted_distance"]
    assert [row["likelihood"]["n"] for row in rows][:3] == [0, 1, 0]
    assert [row["posterior"]["n"] for row in rows][:3] == [0, 0, 1]


def test_stars_of_the_recalibration_do_not_judge_it_but_short_lists_keep_them() -> None:
    columns = stars([6.0] * 4, 0.0, CALIBRATION=[True, False, False, True], HELD_OUT=[True, True, False, True])
    found = measure_halo(columns, known([6.0] * 4))
    assert (found["n"], found["n_recalibration"]) == (1, 2)
    listed = measure_halo(columns, validation.KnownDistances("lists", np.full(4, 6.0), np.zeros(4)))
    assert (listed["n"], listed["n_recalibration"]) == (3, 2)
    assert [listed["by_distance"][0]["posterior"][name] for name in ("n", "n_recalibration")] == [3, 2]


def test_lists_give_distances_with_errors() -> None:
    members = {"ROW": np.array([2, 0]), "DIST_REF": np.array([10.0, 20.0]), "DIST_REF_ERR": np.array([1.0, np.nan])}
    found = listed_distances(members, 3)
    np.testing.assert_array_equal(found.kpc, [20.0, np.nan, 10.0])
    np.testing.assert_allclose(found.error, [0.0, 0.0, 0.1 * 5 / np.log(10)])
    columns = stars(found.kpc, 0.3)
    wide, narrow = (
        measure_halo(columns, found._replace(error=found.error * factor))["by_distance"][1]["likelihood"]["z_median"]
        for factor in (1.0, 0.0)
    )
    assert (wide, narrow) == (pytest.approx(0.3 / np.hypot(0.2, found.error[2])), pytest.approx(1.5))


def test_a_truth_counts_before_lists() -> None:
    columns = {name: np.arange(2) for name in ("TARGETID", "SURVEY", "PROGRAM", "HEALPIX")}
    truth = {**columns, "DIST_TRUE": np.array([7.0, 8.0])}
    members = {"ROW": np.array([1]), "DIST_REF": np.array([9.0]), "DIST_REF_ERR": np.array([0.1])}
    both = validation.known_distances(columns, validation.Known(truth, members))
    assert both is not None
    assert (both.source, both.kpc.tolist()) == ("truth", [7.0, 8.0])
    listed = validation.known_distances(columns, validation.Known(None, members))
    assert listed is not None
    assert listed.source == "lists"
    assert validation.known_distances(columns, validation.Known()) is None


# -- slopes and ranks --------------------------------------------------------------------------------------------------


def test_a_slope_is_found_with_its_error_whatever_a_few_outliers_do() -> None:
    random = np.random.default_rng(3)
    x = random.uniform(13.5, 21.0, 4000)
    y = 16.0 + 0.9 * (x - 16.0) + random.normal(0, 0.4, len(x))
    y[: len(x) // 20] -= 5.0
    found = slope_of(x, y)
    assert found["slope_err"] == pytest.approx(0.0045, rel=0.5)
    assert found["slope"] == pytest.approx(0.9, abs=4 * found["slope_err"])


def test_stars_of_one_distance_have_no_slope() -> None:
    assert np.isnan(slope_of(np.full(5, 17.0), np.arange(5.0))["slope"])


def test_ranks_are_flat_for_right_posteriors_and_not_for_narrow_ones() -> None:
    z = np.random.default_rng(4).normal(size=20_000)
    right, narrow = ranks_of(np.append(ndtr(z), np.nan)), ranks_of(ndtr(1.1 * z))
    assert right["n"] == sum(right["counts"]) == 20_000
    assert right["p_value"] > 1e-3
    assert narrow["p_value"] < 1e-6
    assert narrow["counts"][0] > narrow["counts"][10]
    assert np.isnan(ranks_of(np.array([np.nan]))["p_value"])


def universe(count: int = 60_000) -> tuple[Columns, validation.KnownDistances]:
    """Return stars of a Gaussian density in modulus with a right posterior, and its ranks."""
    random = np.random.default_rng(5)
    modulus = random.normal(15.5, 1.5, count)
    seen = modulus + random.normal(0, 0.8, count)
    share = 1.5**2 / (1.5**2 + 0.8**2)
    middle, width = 15.5 + share * (seen - 15.5), 0.8 * np.sqrt(share)
    true = 10 ** (0.2 * modulus - 2)
    columns = stars(true, seen - modulus, 0.8, SN=random.uniform(5, 150, count), FEH=random.uniform(-2.5, 0, count))
    columns["DIST_POST"] = 10 ** (0.2 * middle - 2)
    for level, k in LEVELS.items():
        columns[f"DIST_POST_{level}"] = columns["DIST_POST"] * 10 ** (0.2 * k * width)
    return {**columns, validation.RANK: ndtr((modulus - middle) / width)}, known(true)


def test_a_right_posterior_is_unbiased_and_flat_by_predicted_distance_and_the_likelihood_by_true_distance() -> None:
    columns, distances = universe()
    found = measure_halo(columns, distances)
    assert [row["distance_min_kpc"] for row in found["ranks"]] == [5.0, 20.0]
    assert all(row["p_value"] > 1e-3 and row["n"] > 1000 for row in found["ranks"])
    for row in found["by_predicted_distance"][:4]:
        cell = row["posterior"]
        assert cell["coverage68"] == pytest.approx(0.683, abs=4 * cell["coverage68_err"])
        assert cell["coverage90"] == pytest.approx(0.90, abs=4 * cell["coverage90_err"])
        assert abs(cell["median_bias"]) < 4 * cell["median_bias_err"]
        assert row["likelihood"]["median_bias"] > 0.05 or row["distance_max_kpc"] <= 20
    for row in found["by_distance"][:4]:
        assert abs(row["likelihood"]["median_bias"]) < 4 * row["likelihood"]["median_bias_err"]
    for row in found["slopes"]:
        assert row["likelihood"]["slope"] == pytest.approx(1.0, abs=4 * row["likelihood"]["slope_err"])
        assert row["posterior"]["slope"] < 0.9
    by_kind = [cell for cell in found["coverage"] if cell["distance_min_kpc"] == 20]
    assert len(by_kind) > 10
    for cell in by_kind:
        assert cell["n"] >= 100
        assert cell["posterior"]["coverage68"] == pytest.approx(0.683, abs=4.5 * cell["posterior"]["coverage68_err"])


def test_without_a_prior_there_are_no_ranks_and_stars_are_chosen_by_dist() -> None:
    true = np.full(200, 30.0)
    posterior = dict.fromkeys(("DIST_POST", *(f"DIST_POST_{level}" for level in LEVELS)), np.nan)
    found = measure_halo(stars(true, 0.1, **posterior), known(true))
    assert found["ranks"] == []
    assert [cell["distance_min_kpc"] for cell in found["coverage"]] == [0.0, 20.0]
    assert found["coverage"][1]["likelihood"]["coverage68"] == 1.0
    assert np.isnan(found["coverage"][1]["posterior"]["coverage68"])


# -- the figure --------------------------------------------------------------------------------------------------------


def test_the_figure_draws_the_numbers() -> None:
    found = as_json(measure_halo(*universe()))
    plot = draw_halo(found)
    table = plot.data
    rows = table[table["panel"] == "predicted, posterior"]
    expected = [
        100 * row["posterior"]["median_bias"]
        for row in found["by_predicted_distance"]
        if row["posterior"]["n_finite"] >= 20
    ]
    np.testing.assert_allclose(rows["BIAS"][: len(expected)], expected)
    ranks = table[table["panel"] == "ranks beyond 20 kpc"]["DENSITY"]
    np.testing.assert_allclose(np.sum(ranks), len(ranks))
    assert len(plot.figure.axes) == 6
    assert all(axis.get_xlim() == (HALO_EDGES[0], HALO_EDGES[-1]) for axis in plot.figure.axes[:4])


@pytest.mark.parametrize(
    ("halo", "reason"),
    [
        (None, "no distances are known"),
        (measure_halo(stars([6.0], 0.1), known([6.0])), "too few stars"),
    ],
)
def test_without_stars_nothing_is_drawn(halo: Any, reason: str) -> None:
    plot = draw_halo(halo)
    assert not plot.is_drawn
    assert reason in plot.caption
