"""Magnitudes, distances and their errors from labels, against what can be computed by hand (section 3.3)."""

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.special import ndtri

from specdis.distances.answers import Labels, training_error
from specdis.distances.columns import summarise_labels
from specdis.distances.settings import DistancesSettings
from specdis.distances.targets import star_keys
from specdis.flags import Flag
from synthetic_spectra import targets_at

SETTINGS = DistancesSettings()


def one_star(label, draws, magnitude=15.0, constant=0.0, settings=SETTINGS, dust=0.0):
    """Summarise one star; `label` by seed, `draws` by seed and draw."""
    labels = Labels(np.array(label, float)[:, None], np.array(draws, float)[:, :, None])
    return {
        name: values[0]
        for name, values in summarise_labels(
            labels, targets_at(np.array([magnitude]), dust), constant, settings
        ).items()
    }


def test_magnitude_label_and_parallax_go_round():
    # M_G = 4.67 seen at G = 14.67: 1 kpc, 1 mas, label 10^(4.67/5).
    label = 10 ** (4.67 / 5)
    found = one_star([label], [[label, label]], 14.67)
    assert found["LABEL"] == label
    assert found["M_G_NN"] == pytest.approx(4.67, abs=1e-12)
    assert found["DIST"] == pytest.approx(1.0, rel=1e-12)
    assert found["DISTMOD"] == pytest.approx(10.0, abs=1e-12)
    assert found["M_G_NN_ERR"] == found["DISTERR"] == 0
    assert found["FLAGS"] == 0
    # Label x 10^(2 - G/5) is the parallax in mas.
    assert 1 / found["DIST"] == pytest.approx(found["LABEL"] * 10 ** (2 - 14.67 / 5), rel=1e-12)


def test_errors_of_gaussian_draws():
    # 3 % of noise on the label are 0.065 mag and 3 % of the distance; a constant of 0.05 mag is 2.3 %.
    random = np.random.default_rng(1)
    draws = 2.0 * (1 + 0.03 * random.standard_normal((1, 4000)))
    found = one_star([2.0, 2.0], np.repeat(draws, 2, 0), constant=0.05)
    sampling = 3 / np.sqrt(2 * 4000)
    noise = 5 / np.log(10) * 0.03
    assert found["M_G_NN_ERR_NOISE"] == pytest.approx(noise, rel=sampling)
    assert found["M_G_NN_ERR"] == pytest.approx(np.hypot(noise, 0.05), rel=sampling)
    assert found["DISTMOD_ERR"] == found["M_G_NN_ERR"]
    # The distance of a label that scatters has a tail: a thousandth more, within the sampling error.
    assert found["DISTERR"] / found["DIST"] == pytest.approx(np.hypot(0.03, 0.05 * np.log(10) / 5), rel=sampling)
    # Quantiles at -0.9945, 0 and 0.9945 sigma of noise and training together.
    expected = found["DIST"] * 10 ** (np.hypot(noise, 0.05) * 0.9945 * np.array([-1, 0, 1]) / 5)
    assert [found[f"DIST_{q}"] for q in (16, 50, 84)] == pytest.approx(expected, rel=2e-3)


def test_the_label_is_the_mean_over_seeds_and_so_are_the_draws():
    found = one_star([1.0, 3.0], [[1.0, 1.2], [3.0, 3.4]])
    assert found["LABEL"] == 2.0
    magnitudes = 5 * np.log10([2.0, 2.3])
    assert found["M_G_NN_ERR_NOISE"] == pytest.approx(magnitudes.std(ddof=1), rel=1e-6)
    assert found["M_G_NN_ERR_TRAINING"] == pytest.approx(5 * np.log10([1.0, 3.0]).std(ddof=1), rel=1e-6)


def test_quantiles_are_those_of_all_draws():
    draws = np.random.default_rng(2).uniform(1, 2, (3, 20))
    found = one_star([1.5, 1.5, 1.5], draws, 10.0)
    # At G = 10 the parallax in mas is the label; of 20 equal chances the k-th lies at k / 21.
    expected = 1 / np.quantile(draws.mean(0), [0.84, 0.5, 0.16], method="weibull")
    assert [found[f"DIST_{q}"] for q in (16, 50, 84)] == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("training", [0.02, 0.15, 0.6])
def test_quantiles_hold_the_training_error_as_random_numbers_say(training):
    # Near zero the label's noise is no Gaussian of the magnitude, and a tenth of the draws lies at infinity.
    random = np.random.default_rng(5)
    draws = 0.5 + 0.39 * random.standard_normal(2000)
    found = one_star([0.5, 0.5], [draws, draws], 10.0, training)
    many = random.choice(draws, 2_000_000) * 10 ** (training * random.standard_normal(2_000_000) / 5)
    assert np.mean(many <= 0) == pytest.approx(found["FRACTION_UNBOUND"], abs=1e-3)
    for level in (5, 16, 50, 84):
        # Shares that lie nearer, infinite ones among the farther: right to 0.5 per cent of all.
        assert np.mean(many > 1 / found[f"DIST_{level:02d}"]) == pytest.approx(level / 100, abs=0.006)
    assert found["DIST_95"] == np.inf


@pytest.mark.parametrize(("noise", "training"), [(0.2, 0.0), (0.2, 0.05), (0.2, 0.2), (0.05, 0.2), (0.0, 0.2)])
@pytest.mark.parametrize("method", ["monte-carlo", "linear"])
def test_intervals_hold_their_share_of_known_truths(noise, training, method):
    random = np.random.default_rng(6)
    stars, n_draws = 20_000, 20
    predicted = 10 ** ((noise * random.standard_normal(stars) + training * random.standard_normal(stars)) / 5)
    equal = (np.arange(n_draws) + 0.5) / n_draws
    points = ndtri(equal)[:, None] / ndtri(equal).std(ddof=1)
    deviate = random.standard_normal((n_draws, stars)) if method == "monte-carlo" else points
    draws = predicted * 10 ** (noise * deviate / 5)
    labels = Labels(np.stack([predicted, predicted]), np.stack([draws, draws]))
    settings = DistancesSettings(method=method)
    found = summarise_labels(labels, targets_at(np.full(stars, 10.0)), training, settings)
    true = 1.0
    # Three binomial errors, and what 20 draws and the lattice leave: 1.5 per cent of all.
    for low, high, share in (("05", "95", 0.90), ("16", "84", 0.68)):
        inside = (found[f"DIST_{low}"] < true) & (true < found[f"DIST_{high}"])
        assert inside.mean() == pytest.approx(share, abs=0.015 + 3 * np.sqrt(share * (1 - share) / stars))
    # The same share as the quoted error holds.
    within = np.abs(found["M_G_NN"]) < found["M_G_NN_ERR"]
    assert within.mean() == pytest.approx(0.683, abs=0.02)


@pytest.mark.parametrize("label", [0.0, -0.3])
def test_a_label_that_is_not_positive_has_no_distance(label):
    found = one_star([label], [[label, label + 1]])
    assert found["LABEL"] == label
    assert found["FRACTION_UNBOUND"] == 0.5
    assert found["FLAGS"] == Flag.LABEL_NOT_POSITIVE | Flag.DRAW_NOT_POSITIVE
    for name in set(found) - {"LABEL", "FRACTION_UNBOUND", "FLAGS", "M_G_NN_ERR_TRAINING"}:
        assert np.isnan(found[name]), name


def test_a_draw_that_is_not_positive_lies_at_infinity():
    # Of twenty draws three are at infinity: no standard deviation, but quantiles, the far one still finite.
    draws = np.concatenate([np.linspace(0.5, 1.5, 17), [0.0, -0.1, -2.0]])
    found = one_star([0.8], [draws], 10.0)
    assert found["FRACTION_UNBOUND"] == pytest.approx(0.15)
    assert found["FLAGS"] == Flag.DRAW_NOT_POSITIVE
    assert np.isnan([found[name] for name in ("M_G_NN_ERR", "M_G_NN_ERR_NOISE", "DISTERR", "DISTMOD_ERR")]).all()
    assert found["DIST"] == pytest.approx(1 / 0.8)
    expected = 1 / np.quantile(draws, [0.84, 0.5], method="weibull")
    assert [found[f"DIST_{q}"] for q in (16, 50)] == pytest.approx(expected, rel=3e-3)
    assert np.isfinite(found["DIST_84"])
    # With one more it is not: dropping them would have flattered a distant giant.
    draws[:2] = -1.0
    assert one_star([0.8], [draws], 10.0)["DIST_84"] == np.inf


def test_without_errors_there_are_no_draws():
    found = one_star([2.0, 2.2], np.full((2, 5), np.nan), constant=0.05)
    assert found["FLAGS"] == Flag.NO_ERROR_SPECTRUM
    assert np.isfinite([found[name] for name in ("LABEL", "M_G_NN", "DIST", "DISTMOD", "M_G_NN_ERR_TRAINING")]).all()
    missing = ("M_G_NN_ERR", "M_G_NN_ERR_NOISE", "DISTERR", "DISTMOD_ERR", "DIST_16", "DIST_84", "FRACTION_UNBOUND")
    assert np.isnan([found[name] for name in missing]).all()


def test_without_a_magnitude_there_is_no_distance():
    found = one_star([2.0], [[2.0, 2.1]], np.nan)
    assert found["FLAGS"] == Flag.NO_MAGNITUDE
    assert np.isfinite([found[name] for name in ("M_G_NN", "M_G_NN_ERR")]).all()
    missing = ("DIST", "DISTERR", "DIST_16", "DIST_50", "DIST_84", "DISTMOD", "DISTMOD_ERR")
    assert np.isnan([found[name] for name in missing]).all()


def test_without_a_spectrum_there_is_nothing():
    found = one_star([np.nan], [[np.nan, np.nan]])
    assert found["FLAGS"] == Flag.NO_SPECTRUM
    assert np.isnan([value for name, value in found.items() if name != "FLAGS"]).all()


def test_a_single_seed_has_no_training_error():
    found = one_star([2.0], [[1.9, 2.1]], constant=np.nan)
    assert np.isnan(found["M_G_NN_ERR_TRAINING"])
    assert found["M_G_NN_ERR"] == found["M_G_NN_ERR_NOISE"] > 0
    assert np.isfinite(found["DISTERR"])


def test_the_training_error_of_a_star_is_its_own_spread_if_asked():
    settings = DistancesSettings(training_error="star")
    found = one_star([1.8, 2.2], [[1.9, 2.1], [1.9, 2.1]], constant=9.0, settings=settings)
    assert found["M_G_NN_ERR"] == pytest.approx(np.hypot(found["M_G_NN_ERR_NOISE"], found["M_G_NN_ERR_TRAINING"]))
    # A seed that gives no magnitude leaves no spread of magnitudes; that of the labels makes the error large.
    unsure = one_star([-0.1, 2.2], [[1.9, 2.1], [1.9, 2.1]], settings=settings)
    assert unsure["M_G_NN"] == pytest.approx(5 * np.log10(1.05))
    assert np.isnan(unsure["M_G_NN_ERR_TRAINING"])
    large = 5 / np.log(10) * np.std([-0.1, 2.2], ddof=1) / 1.05
    assert unsure["M_G_NN_ERR"] == pytest.approx(np.hypot(unsure["M_G_NN_ERR_NOISE"], large))
    assert unsure["DISTERR"] > unsure["DIST"]


def test_training_error_is_the_scatter_between_seeds():
    random = np.random.default_rng(3)
    magnitude = random.uniform(-1, 8, 5000) + 0.05 * random.standard_normal((4, 5000))
    label = 10 ** (magnitude / 5)
    # 15,000 degrees of freedom.
    assert training_error(label) == pytest.approx(0.05, rel=4 / np.sqrt(2 * 15_000))
    label[2, :10] = -1
    assert training_error(label) == pytest.approx(0.05, rel=4 / np.sqrt(2 * 15_000))
    assert np.isnan(training_error(label[:1]))
    assert np.isnan(training_error(np.full((2, 3), -1.0)))


def test_the_error_of_extinction_widens_distances_and_not_magnitudes():
    random = np.random.default_rng(5)
    label, noise, dust = 10 ** (4.0 / 5), 0.1, 0.15
    draws = label * 10 ** (noise * random.standard_normal((1, 4000)) / 5)
    without, found = (one_star([label], draws, settings=SETTINGS, dust=error) for error in (0.0, dust))
    for name in ("M_G_NN", "M_G_NN_ERR", "DIST"):
        assert found[name] == without[name]
    # 4000 draws know a width to 1.1 %; the lattice knows a quantile to half a per cent of all.
    total = np.hypot(noise, dust)
    assert found["DISTMOD_ERR"] == pytest.approx(total, rel=0.04)
    assert found["DISTERR"] / found["DIST"] == pytest.approx(total * np.log(10) / 5, rel=0.04)
    for column, level in (("DIST_05", -1.645), ("DIST_16", -0.994), ("DIST_84", 0.994), ("DIST_95", 1.645)):
        assert 5 * np.log10(found[column] / found["DIST"]) == pytest.approx(
            level * total, abs=0.05 * total * abs(level)
        )


def test_columns_of_many_stars_are_those_of_each():
    random = np.random.default_rng(4)
    label, draws = random.uniform(-0.2, 2, (2, 30)), random.uniform(-0.1, 2, (2, 5, 30))
    draws[:, :, 3], label[:, 4], draws[:, :, 4] = np.nan, np.nan, np.nan
    magnitude = np.where(np.arange(30) == 5, np.nan, 15.0)
    found = summarise_labels(Labels(label, draws), targets_at(magnitude), 0.05, SETTINGS)
    for star in range(30):
        alone = one_star(label[:, star], draws[:, :, star], magnitude[star], 0.05)
        for name, values in found.items():
            np.testing.assert_array_equal(values[star], alone[name], name)
    assert found["FLAGS"].dtype == np.int32
    assert found["DIST"].dtype == np.float64
    assert found["DISTERR"].dtype == np.float32


def test_keys_depend_on_seed_and_identifier_alone():
    identifier = np.array([5, 6, 7]), np.array([b"main", b"main", b"sv1"])
    keys = star_keys(1, *identifier)
    assert keys.shape == (3, 2)
    assert keys.dtype == np.uint32
    np.testing.assert_array_equal(star_keys(1, *(column[::-1] for column in identifier)), keys[::-1])
    assert (star_keys(2, *identifier) != keys).any(1).all()
    assert len(np.unique(star_keys(1, np.arange(10_000)), axis=0)) == 10_000


@pytest.mark.parametrize("key", [{"n_draws": 1}, {"n_draws": 0}, {"noise": "none"}, {"training_error": "none"}])
def test_settings_out_of_range_are_refused(key):
    # One draw has no standard deviation.
    with pytest.raises(ValidationError):
        DistancesSettings(**key)
