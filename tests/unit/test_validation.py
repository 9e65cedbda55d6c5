"""Numbers of the validation on catalogues small enough to count by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdis import storage, validation
from specdis.catalogue import COLUMNS
from specdis.errors import InputError
from specdis.flags import Flag
from synthetic_catalogue import Columns, catalogue


def stars(count: int, **columns: object) -> Columns:
    """`count` dwarfs at 1 kpc, held out, with precise parallaxes and perfect predictions, except for `columns`."""
    values: dict[str, object] = {
        "TARGETID": np.arange(count),
        "SURVEY": b"main",
        "PROGRAM": b"bright",
        "HEALPIX": 7,
        "FLAGS": 0,
        "SELECTED": True,
        "HELD_OUT": True,
        "RA": 180.0,
        "DEC": 30.0,
        "SN": 50.0,
        "FEH": -0.5,
        "ALPHAFE": 0.1,
        "TEFF": 5800.0,
        "LOGG": 4.5,
        "PARALLAX": 1.0,
        "PARALLAX_ERR": 0.01,
        "PARALLAX_ERR_USED": 0.01,
        "PARALLAX_ZPC": 0.0,
        "M_G_NN": 5.0,
        "M_G_GEO": 5.0,
        "M_G_NN_ERR": 0.2,
        "M_G_GEO_ERR": 0.02,
        "M_G_NN_ERR_TRAINING": 0.05,
        "DIST": 1.0,
        "DISTERR": 0.1,
        "DISTMOD_ERR": 0.2,
        "DIST_16": 0.9,
        "DIST_84": 1.1,
        "DIST_05": 0.8,
        "DIST_95": 1.2,
        "CALIBRATION": False,
        **{f"DIST_POST{ending}": np.nan for ending in ("", "_05", "_16", "_84", "_95")},
    }
    return {name: np.broadcast_to(value, count).copy() for name, value in (values | columns).items()}


def truth_of(columns: Columns, distance: object) -> Columns:
    identifiers = {name: columns[name] for name in ("TARGETID", "SURVEY", "PROGRAM", "HEALPIX")}
    return identifiers | {"DIST_TRUE": np.broadcast_to(distance, len(columns["TARGETID"])).astype(float)}


# -- section 4.1 -------------------------------------------------------------------------------------------------------


def test_internal_median_scatter_and_standard_deviation_by_hand() -> None:
    residual = np.array([-0.2, 0.0, 0.1, 0.3, 2.0])
    internal = validation.metrics(stars(5, M_G_NN=5.0 + residual))["internal"]["all"]
    assert internal["n"] == internal["n_finite"] == 5
    assert internal["median_mag"] == pytest.approx(0.1)
    assert internal["scatter_mag"] == pytest.approx(1.4826 * 0.2)  # deviations 0.3 0.1 0.0 0.2 1.9, median 0.2
    assert internal["std_mag"] == pytest.approx(np.std(residual))
    assert all(internal[f"{name}_mag_err"] > 0 for name in ("median", "scatter", "std", "q16", "q84"))
    assert internal["q16_mag"] == pytest.approx(-0.2 + 0.64 * 0.2)  # 0.16 of the way through four steps
    # quoted: 0.2 and 0.02 mag in quadrature
    assert internal["share_within_error"] == pytest.approx(3 / 5)
    assert (internal["z_n"], internal["z_median"]) == (5, pytest.approx(0.1 / np.hypot(0.2, 0.02)))


def test_snr_bins_include_their_lower_edge_and_are_open_at_both_ends() -> None:
    snr = [-1.0, 19.9, 20.0, 59.9, 60.0, 99.9, 100.0, 500.0, np.nan]
    internal = validation.metrics(stars(9, SN=snr))["internal"]
    assert [(cell["snr_min"], cell["snr_max"]) for cell in internal["by_snr"]] == [
        (-np.inf, 20.0), (20.0, 60.0), (60.0, 100.0), (100.0, np.inf),
    ]  # fmt: skip
    assert [cell["n"] for cell in internal["by_snr"]] == [2, 2, 2, 2]
    assert internal["n_without_snr"] == 1
    assert internal["all"]["n"] == 9


def test_reference_stars_are_selected_held_out_and_have_corrected_parallax_above_ten_times_the_error_in_use() -> None:
    columns = stars(
        6,
        PARALLAX=[1.0, 0.1, 0.09, 0.1001, 1.0, 1.0],
        PARALLAX_ZPC=[
            0.0,
            0.0,
            -0.02,
            np.nan,
            0.0,
            0.0,
        ],  # the third passes thanks to its zero point, NaN corrects nothing
        HELD_OUT=[True, True, True, True, False, True],
        SELECTED=[True, True, True, True, True, False],
        PARALLAX_ERR=0.001,  # as published: not what the run takes for the error
    )
    assert validation.has_reference_magnitude(columns).tolist() == [True, False, True, True, False, True]
    assert validation.metrics(columns)["internal"]["all"]["n"] == 3  # the last fails a cut


def test_stars_without_a_prediction_stay_visible() -> None:
    columns = stars(4, M_G_NN=[5.0, np.nan, 5.2, np.nan], LOGG=[2.0, 3.79, 3.8, np.nan])
    internal = validation.metrics(columns)["internal"]
    assert (internal["all"]["n"], internal["all"]["n_finite"], internal["all"]["n_giants"]) == (4, 2, 2)
    assert internal["by_snr"][1]["n_finite"] == 2


def test_an_empty_cell_has_no_numbers() -> None:
    cell = validation.metrics(stars(1))["internal"]["by_snr"][3]
    assert (cell["n"], cell["n_finite"]) == (0, 0)
    assert np.isnan([cell["median_mag"], cell["scatter_mag"], cell["std_mag"]]).all()


# -- sections 4.3 and 4.4 ----------------------------------------------------------------------------------------------


def test_a_distance_without_upper_bound_is_infinitely_uncertain_and_one_without_error_unknown() -> None:
    columns = stars(
        4,
        DIST=[1.0, 2.0, np.nan, 1.0],
        DISTERR=[0.1, np.nan, np.nan, np.nan],
        FLAGS=[0, Flag.DRAW_NOT_POSITIVE, Flag.LABEL_NOT_POSITIVE, Flag.NO_ERROR_SPECTRUM],
    )
    np.testing.assert_array_equal(validation.relative_error(columns), [0.1, np.inf, np.inf, np.nan])
    whole = validation.metrics(columns)["catalogue"]["all"]
    assert whole["share_precise"] == pytest.approx(1 / 3)
    assert whole["median_relative_error"] == np.inf
    assert (whole["n"], whole["n_finite"]) == (4, 3)


def test_errors_by_snr_and_of_giants() -> None:
    columns = stars(
        6, SN=[10, 10, 10, 200, 200, 200], DISTERR=[0.3, 0.2, 0.4, 0.05, 0.07, 0.5], LOGG=[5, 5, 2, 5, 5, 2]
    )
    statistics = validation.metrics(columns)["catalogue"]
    assert [cell["median_relative_error"] for cell in statistics["by_snr"]] == pytest.approx(
        [0.3, np.nan, np.nan, 0.07], nan_ok=True
    )
    assert statistics["by_snr"][3]["median_relative_error_giants"] == pytest.approx(0.5)
    assert statistics["all"]["share_precise"] == pytest.approx(0.5)
    assert statistics["share_precise_giants_above_snr_20"] == 0.0


def test_far_stars_and_their_negative_parallaxes() -> None:
    columns = stars(5, DIST=[1.0, 15.0, 16.0, 60.0, np.nan], PARALLAX=[1.0, -1.0, 0.01, 0.01, 1.0], PARALLAX_ZPC=0.03)
    statistics = validation.metrics(columns)["catalogue"]
    assert statistics["n_beyond_15_kpc"] == 2
    assert statistics["n_beyond_50_kpc"] == 1
    assert statistics["share_within_15_kpc"] == pytest.approx(0.5)
    assert statistics["share_negative_parallax_beyond_15_kpc"] == 1.0  # 0.01 - 0.03 mas


def test_counts_and_errors_of_the_ranges_that_the_paper_quotes() -> None:
    columns = stars(
        6,
        DIST=[1.0, 1.9, 5.0, 20.0, 60.0, 250.0],
        DISTERR=[0.1, 0.38, 0.5, 6.0, 6.0, 125.0],  # 10, 20, 10, 30, 10 and 50 per cent
        SN=[7.0, 200.0, 60.0, 30.0, 25.0, 8.0],
        LOGG=[4.5, 4.5, 2.0, 2.0, 2.0, np.nan],
    )
    found = validation.metrics(columns)["catalogue"]
    assert (found["n_precise"], found["n_beyond_50_kpc"], found["n_beyond_200_kpc"]) == (4, 2, 1)
    assert found["share_beyond_50_kpc"] == pytest.approx(1 / 3)
    assert found["share_beyond_50_kpc_err"] == pytest.approx(np.sqrt(2 / 9 / 6))
    error = "median_relative_error"
    assert found[f"{error}_within_2_kpc"] == pytest.approx(0.15)
    assert found[f"{error}_snr_150_250"] == pytest.approx(0.2)
    assert found[f"{error}_snr_5_10"] == pytest.approx(0.3)
    assert found[f"{error}_above_snr_50"] == pytest.approx(0.15)
    assert found[f"{error}_above_snr_20_within_15_kpc"] == pytest.approx(0.15)
    assert found["all"][f"{error}_dwarfs"] == pytest.approx(0.15)  # a star of unknown log g is neither
    assert found["all"][f"{error}_giants"] == pytest.approx(0.1)


def test_parallaxes_of_held_out_stars_against_predicted_ones_in_quoted_errors() -> None:
    columns = stars(
        4,
        DIST=[1.0, 2.0, 1.0, 1.0],
        DISTERR=[0.0, 0.2, np.nan, 0.1],  # the third has no upper bound, the last is not held out
        PARALLAX=[1.02, 0.47, 1.0, 5.0],
        PARALLAX_ERR_USED=[0.01, 0.12, 0.01, 0.01],
        PARALLAX_ZPC=[0.01, -0.04, 0.0, 0.0],
        HELD_OUT=[True, True, True, False],
    )
    found = validation.metrics(columns)["internal"]["parallax_z"]
    # (1.01 - 1) / 0.01 = 1, and (0.51 - 0.5) / hypot(0.12, 0.5 * 0.1) = 1 / 13
    assert (found["z_n"], found["z_median"]) == (2, pytest.approx((1 + 1 / 13) / 2))
    assert sum(found["pit"]) == 2


def test_the_training_error_is_the_standard_deviation_of_the_difference_of_two_networks() -> None:
    random = np.random.default_rng(6)
    n, sigma = 40_000, 0.05
    networks = random.normal(0.0, sigma, (4, n))
    columns = stars(n + 1, M_G_NN_ERR_TRAINING=np.append(networks.std(0, ddof=1), 9.9), HELD_OUT=np.arange(n + 1) < n)
    measured = validation.metrics(columns)
    found = measured["internal"]["training_error_mag"]
    assert found["n_finite"] == n  # the last trained
    difference = float(np.std(networks[0] - networks[1]))
    assert difference == pytest.approx(np.sqrt(2) * sigma, rel=0.02)
    assert found["difference_mag"] == pytest.approx(difference, rel=0.02)
    assert found["rms_mag"] == pytest.approx(sigma, rel=0.02)
    (row,) = [row for row in measured["paper"] if row["section"] == "3.3.2"]
    assert (row["here"], row["paper"]) == (found["difference_mag"], 0.05)


def test_parallax_z_uses_the_error_of_the_run_and_tells_apart_what_informs() -> None:
    random = np.random.default_rng(7)
    n, inflated = 20_000, 0.02
    far = np.arange(n) % 2 == 0  # at 1 kpc with 10 % the width is 0.1 mas, at 10 kpc 0.01 mas
    dist = np.where(far, 10.0, 1.0)
    true = 1.0 / dist + np.where(far, 0.01, 0.1) * random.normal(size=n)
    columns = stars(
        n,
        DIST=dist,
        DISTERR=0.1 * dist,
        PARALLAX=true + inflated * random.normal(size=n),
        PARALLAX_ERR=0.5 * inflated,
        PARALLAX_ERR_USED=inflated,
    )
    found = validation.metrics(columns)["internal"]["parallax_z"]
    for block in (found, found["informing"], found["others"]):
        assert block["z_scatter"] == pytest.approx(1.0, abs=0.05)
    assert (found["informing"]["z_n"], found["others"]["z_n"]) == (n // 2, n // 2)


def test_magnitudes_by_distance_and_parameters() -> None:
    columns = stars(4, DIST=[1.5, 1.5, 3.0, np.nan], FEH=[-2.2, -0.2, -0.2, np.nan], M_G_NN=[5.1, 5.2, 5.3, 5.4])
    internal = validation.metrics(columns)["internal"]
    near, middle = internal["by_distance_kpc"][:2]
    assert (near["n"], near["median_mag"], middle["n"]) == (2, pytest.approx(0.15), 1)
    cells = {(cell["FEH_min"], cell["FEH_max"]): cell for cell in internal["by_parameter"]["FEH"]}
    assert (cells[-2.5, -2.0]["n"], cells[-2.5, -2.0]["median_mag"]) == (1, pytest.approx(0.1))
    assert (cells[-0.5, 0.0]["n"], cells[-0.5, 0.0]["median_mag"]) == (2, pytest.approx(0.25))


def test_the_paper_stands_beside_our_numbers() -> None:
    measured = validation.metrics(catalogue()[0])
    rows = {row["quantity"]: row for row in measured["paper"]}
    assert [row["paper"] for row in measured["paper"] if row["section"] == "4.1"] == [0.48, 0.26, 0.24, 0.22, 0.9]
    table = [row["paper"] for row in measured["paper"] if row["section"] == "A1"]
    assert table == [5.50, 8.99, 8.28, 9.69, 11.4, 13.4, 12.6, 15.2, 17.5, 17.9, 21.5, 25.0, 69.2, 70.1, 59.0]
    row = rows["scatter of M_G_NN − M_G_GEO, S/N < 20"]
    cell = measured["internal"]["by_snr"][0]
    # The paper's scatter is a standard deviation; what bears outliers stands beside it.
    assert (row["here"], row["robust"]) == (cell["std_mag"], cell["scatter_mag"])
    assert row["half_width"] == pytest.approx(0.5 * (cell["q84_mag"] - cell["q16_mag"]))
    row = rows["median distance error, 20 ≤ S/N < 60"]
    assert (row["paper"], row["here"]) == (0.19, measured["catalogue"]["by_snr"][1]["median_relative_error"])
    assert rows["distance error below 25 %"]["paper"] == 0.60


# -- truth -------------------------------------------------------------------------------------------------------------


def test_bias_scatter_and_coverage_by_hand() -> None:
    columns = stars(
        5,
        DIST=[1.1, 1.65, 3.9, np.nan, 50.0],
        DIST_16=[1.0, 1.6, 2.0, 1.0, 40.0],
        DIST_84=[1.2, 1.7, np.inf, np.inf, np.nan],
        DISTERR=[0.1, 0.1, 1.2, np.nan, 1.0],  # 31 % for the third
    )
    truth = validation.metrics(columns, validation.Known(truth_of(columns, [1.0, 1.5, 3.0, 4.0, 40.0])))["truth"]
    near, middle = truth["by_distance"][:2]
    assert (near["distance_min_kpc"], near["distance_max_kpc"], near["n"], near["n_finite"]) == (1.0, 2.0, 2, 2)
    assert near["median_bias"] == pytest.approx(0.1)
    assert near["coverage68"] == 0.5  # 1.0 is the end of its interval and counts; 1.5 lies below 1.6
    assert (middle["n"], middle["n_finite"]) == (2, 1)
    assert middle["coverage68"] == 1.0  # an interval without upper end reaches everywhere
    assert [cell["n"] for cell in truth["by_distance"]] == [2, 2, 0, 0, 0, 1, 0, 0, 0]
    assert [cell["n"] for cell in truth["by_predicted_distance"]] == [2, 1, 0, 0, 0, 1, 0, 0, 0]
    assert truth["all"]["n"] == 5
    assert truth["all"]["median_bias"] == pytest.approx(np.median([0.1, 0.1, 0.3, 0.25]))
    assert truth["precise"]["all"]["n"] == 3
    assert [cell["n"] for cell in truth["precise"]["by_distance"]] == [2, 0, 0, 0, 0, 1, 0, 0, 0]


def test_truth_is_joined_by_identifier_whatever_its_order() -> None:
    columns, truth = catalogue(500)
    order = np.argsort(truth["TARGETID"])
    shuffled = {name: values[order] for name, values in truth.items()}
    assert np.any(truth["TARGETID"] != columns["TARGETID"])
    measured = validation.metrics(columns, validation.Known(truth))
    np.testing.assert_equal(measured, validation.metrics(columns, validation.Known(shuffled)))
    assert measured["truth"]["all"]["scatter"] < 0.2  # 0.15 as made; joined by position it is 1.3


def test_every_part_of_the_identifier_counts() -> None:
    columns = stars(3, TARGETID=5, SURVEY=[b"main", b"sv1", b"main"], HEALPIX=[1, 1, 2])
    truth = {name: values[::-1] for name, values in truth_of(columns, [1.0, 2.0, 3.0]).items()}
    assert validation.true_distance(columns, truth).tolist() == [1.0, 2.0, 3.0]
    elsewhere = columns | {"PROGRAM": np.full(3, b"dark")}
    assert np.isnan(validation.true_distance(elsewhere, truth)).all()


def test_stars_without_truth_are_counted() -> None:
    columns = stars(3)
    truth = {name: values[:1] for name, values in truth_of(columns, 1.0).items()}
    measured = validation.metrics(columns, validation.Known(truth))["truth"]
    assert (measured["all"]["n"], measured["n_without_truth"]) == (1, 2)


def test_a_repeated_identifier_in_the_truth_is_an_error() -> None:
    columns = stars(2)
    truth = {name: np.concatenate([values, values[:1]]) for name, values in truth_of(columns, 1.0).items()}
    with pytest.raises(InputError, match="1 repeated rows"):
        validation.metrics(columns, validation.Known(truth))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 2)), unique=True, max_size=12), st.data())
def test_join_equals_a_dictionary(known: list[tuple[int, int]], data: st.DataObject) -> None:
    wanted = data.draw(st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 2)), max_size=12))
    reference, asked = (
        stars(len(rows), TARGETID=[row[0] for row in rows] or 0, HEALPIX=[row[1] for row in rows] or 0)
        for rows in (known, wanted)
    )
    place = {row: number for number, row in enumerate(known)}
    assert validation.join(asked, reference).tolist() == [place.get(row, -1) for row in wanted]


def test_coverage_of_true_errors_is_68_per_cent() -> None:
    random = np.random.default_rng(3)
    n, sigma = 20_000, 0.4
    error = sigma * random.normal(size=n)  # in magnitudes, and the quoted interval is the true one
    dist = 10 ** (error / 5)
    columns = stars(n, DIST=dist, DIST_16=dist * 10 ** (-sigma / 5), DIST_84=dist * 10 ** (sigma / 5))
    covered = validation.metrics(columns, validation.Known(truth_of(columns, 1.0)))["truth"]["all"]["coverage68"]
    assert covered == pytest.approx(0.6827, abs=0.013)  # four standard errors of a fraction of 20,000


# -- the rest ----------------------------------------------------------------------------------------------------------


def test_percentiles_are_values_of_stars_and_bear_infinities() -> None:
    values = np.array([3.0, 1.0, np.inf, 2.0, np.nan, 7.0, 8.0])
    by = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 2.0, np.nan])
    found = validation.percentiles(values, by, (0.0, 1.5, 3.0), (0, 50, 100), least=2)
    np.testing.assert_array_equal(found, [[1.0, 3.0, np.inf], [np.nan] * 3])


@pytest.mark.parametrize(
    ("ends", "text"),
    [
        ((-np.inf, 20), "S/N < 20"),
        ((20.0, 60.0), "20 ≤ S/N < 60"),
        ((100, np.inf), "S/N ≥ 100"),
        ((None, 20), "S/N < 20"),
    ],
)
def test_names_of_cells(ends: tuple[float | None, float | None], text: str) -> None:
    assert validation.cell_name("S/N", *ends) == text


def test_the_catalogue_has_every_column_that_is_read() -> None:
    assert set(validation.VALIDATION_COLUMNS) <= set(COLUMNS)
    assert set(validation.VALIDATION_COLUMNS) <= set(catalogue(1)[0])


def test_metrics_become_json_with_null_for_open_ends_and_for_what_is_not_known(tmp_path: Path) -> None:
    columns, truth = catalogue(50)
    storage.write_json(tmp_path / "metrics.json", validation.metrics(columns, validation.Known(truth)))
    read = json.loads((tmp_path / "metrics.json").read_text())
    assert read["internal"]["by_snr"][0]["snr_min"] is None
    assert read["internal"]["by_snr"][0]["snr_max"] == 20.0
    numbers = ("median_bias", "scatter", "coverage68")
    wanted = {"distance_min_kpc", "distance_max_kpc", "n", "n_finite", *numbers, *(f"{name}_err" for name in numbers)}
    assert set(read["truth"]["by_distance"][0]) == set(read["truth"]["by_predicted_distance"][6]) == wanted
    numbers = (*(f"{name}_mag" for name in ("median", "scatter", "std", "q16", "q84")), "share_within_error")
    wanted = {"snr_min", "snr_max", "n", "n_finite", "n_giants", *numbers, *(f"{name}_err" for name in numbers)}
    assert set(read["internal"]["by_snr"][0]) == wanted
