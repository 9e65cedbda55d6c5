import numpy as np
import pytest

from specdis.statistics import bootstrap_errors, coverage, fraction, paired_difference, robust_scatter


def test_robust_scatter_by_hand():
    # Median 3, absolute deviations 2 1 0 1 997, their median 1.
    assert robust_scatter([1, 2, 3, 4, 1000]) == pytest.approx(1.4826)


def test_robust_scatter_of_a_gaussian_is_its_standard_deviation():
    values = np.random.default_rng(1).normal(5.0, 2.0, 100_000)
    # The standard error of 1.4826 MAD is 1.17 sigma / sqrt(n) = 0.0074; four of them.
    assert robust_scatter(values) == pytest.approx(2.0, abs=0.03)


def test_robust_scatter_reduces_the_last_axis():
    values = np.random.default_rng(1).normal(size=(3, 4, 50))
    expected = [[robust_scatter(values[i, j]) for j in range(4)] for i in range(3)]
    np.testing.assert_array_equal(robust_scatter(values), expected)


def test_robust_scatter_of_nothing_is_nan():
    assert np.isnan(robust_scatter([]))


def test_coverage_by_hand():
    truth = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    low = [0.0, 2.0, 3.5, 3.0, 0.0, np.nan]
    high = [2.0, 2.5, 4.0, np.inf, np.nan, 9.0]
    # Inside, on the edge, outside, inside an open interval; the last two say nothing.
    assert coverage(truth, low, high) == (0.75, pytest.approx(np.sqrt(0.75 * 0.25 / 4)))
    assert np.isnan(coverage([np.nan], [0.0], [1.0])).all()


def test_coverage_of_one_sigma_intervals():
    random = np.random.default_rng(2)
    truth = random.normal(size=20_000)
    measured = truth + random.normal(size=20_000)
    # Binomial error 0.0033; four of them.
    assert coverage(truth, measured - 1, measured + 1).value == pytest.approx(0.6827, abs=0.013)


def test_fraction_and_its_error():
    assert fraction([True, True, False, False]) == (0.5, 0.25)
    assert fraction([True]) == (1.0, 0.0)


def mean(values):
    return values.mean(axis=-1)


def test_bootstrapped_errors_are_those_of_theory():
    random = np.random.default_rng(6)
    statistics = {"median": lambda x: np.median(x, axis=-1), "mean": lambda x: np.mean(x, axis=-1)}
    for n in (400, 40_000):  # the second has more stars than one resample draws
        errors = bootstrap_errors(statistics, random.normal(size=n))
        # 200 resamples know an error to 5 %; four times that, and the density of a sample at its median
        assert errors["mean"] == pytest.approx(1 / np.sqrt(n), rel=0.2)
        assert errors["median"] == pytest.approx(np.sqrt(np.pi / 2 / n), rel=0.3)
    assert np.isnan(bootstrap_errors(statistics, [1.0])["mean"])
    scatter = bootstrap_errors({"x": robust_scatter}, random.normal(size=2000))["x"]
    assert scatter == pytest.approx(1.17 / np.sqrt(2000), rel=0.3)  # 1.17 sigma / sqrt(n) of a Gaussian's MAD


def test_paired_difference_cancels_what_is_common():
    random = np.random.default_rng(4)
    common = random.normal(0, 10, 500)
    first, second = common + random.normal(0.5, 0.1, 500), common
    value, error = paired_difference(mean, first, second, seed=1, purpose="test")
    assert value == pytest.approx(np.mean(first - second), rel=1e-12)
    # The mean of 500 numbers of scatter 0.1, not of 10.
    assert error == pytest.approx(0.1 / np.sqrt(500), rel=0.15)


def test_paired_difference_of_scatters_sees_a_real_one():
    random = np.random.default_rng(5)
    noise = random.normal(size=630)
    value, error = paired_difference(robust_scatter, 0.32 * noise, 0.26 * noise, seed=1, purpose="test")
    assert value == pytest.approx(0.06, rel=0.1)
    assert value > 5 * error


def test_paired_difference_needs_pairs():
    with pytest.raises(ValueError, match="pairs"):
        paired_difference(mean, [1.0, 2.0], [1.0], seed=1, purpose="test")
