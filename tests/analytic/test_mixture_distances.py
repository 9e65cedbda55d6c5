"""Distances from mixtures, their recalibration, and training on a known mixture: answers known on paper."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from specdis import photometry
from specdis.calibration import Calibration, CalibrationSettings, Traits, calibration_stars, fit
from specdis.distances.answers import Labels, Magnitudes, between_networks, distribution
from specdis.distances.columns import summarise, summarise_labels, summarise_mixture
from specdis.distances.settings import DistancesSettings
from specdis.flags import Flag
from specdis.jaxed import jax, jnp
from specdis.network.mixture import (
    Mixture,
    ParallaxInErrors,
    Spurious,
    log_probabilities,
    points,
    points_with_parallax,
)
from specdis.network.objectives import TrainingStars
from specdis.network.settings import MixtureSettings, NetworkSettings, TrainingSettings
from specdis.network.training import train_mixture
from synthetic_spectra import targets_at

ONE_GAUSSIAN = np.ones((5, 1)), np.zeros((5, 1)), np.ones((5, 1))
"""Released Gaussians, which no test of quantiles reads."""
PAIR = ((0.7, 4.0, 0.2), (0.3, 1.0, 0.8))
"""Fraction, mean and standard deviation of two Gaussians."""


def mixture(*components, stars=1):
    """Return one mixture for all stars, shape (star, component)."""
    weight, mean, sigma = (np.tile(np.array(part, np.float32), (stars, 1)) for part in zip(*components, strict=True))
    return Mixture(np.log(weight), mean, sigma)


def test_quantiles_and_probability_of_giants_are_those_of_the_distribution():
    levels = np.array([0.05, 0.16, 0.5, 0.84, 0.95], np.float32)

    @jax.jit
    def of(pair):
        found = points(pair)
        return found.quantiles(levels), found.below(jnp.asarray([3.5]))

    magnitudes, share = of(mixture(*PAIR))
    magnitudes = np.asarray(magnitudes)[:, 0]
    below = sum(weight * norm.cdf(magnitudes, mean, sigma) for weight, mean, sigma in PAIR)
    # Points a quarter of a width apart, and straight lines between: 0.002 of probability for one Gaussian.
    np.testing.assert_allclose(below, levels, atol=0.004)
    expected = sum(weight * norm.cdf(3.5, mean, sigma) for weight, mean, sigma in PAIR)
    assert float(share[0]) == pytest.approx(expected, abs=0.004)


@jax.jit
def quantiles_with_parallax(mixture, data, spurious=None):
    return points_with_parallax(mixture, data, spurious).quantiles(jnp.asarray([0.16, 0.5, 0.84]))


@pytest.mark.parametrize("snr", [-1.0, 0.3, 3.0, 30.0])
@pytest.mark.parametrize("share", [0.0, 0.1])
def test_the_own_parallax_multiplies_the_distribution(share, snr):
    magnitude, error = 15.0, 0.05
    data = ParallaxInErrors.of([magnitude], [snr * error], [error])
    found = quantiles_with_parallax(mixture(*PAIR), data, Spurious(share, 5.0) if share else None)
    found = np.asarray(found)[:, 0]

    def density(m):
        residual = (10 ** ((m - magnitude + 10) / 5) - snr * error) / error
        likelihood = (1 - share) * np.exp(-0.5 * residual**2) + share / 5 * np.exp(-0.5 * (residual / 5) ** 2)
        return likelihood * sum(w * norm.pdf(m, mean, sigma) for w, mean, sigma in PAIR)

    edges = np.linspace(-4, 6, 201)
    mass = np.cumsum([quad(density, a, b)[0] for a, b in pairwise(edges)])
    expected = np.interp([0.16, 0.5, 0.84], mass / mass[-1], edges[1:])
    np.testing.assert_allclose(found, expected, atol=0.03)


def test_the_own_parallax_is_used_where_there_is_one_and_where_it_is_asked_for():
    data = ParallaxInErrors.of([15.0, 15.0], [1.0, 1.0], [0.01, 0.01])
    both, there = mixture(*PAIR, stars=2), np.array([True, False])

    def medians(**settings):
        found = jax.jit(lambda *given: distribution(*given, DistancesSettings(**settings)).quantiles(jnp.array([0.5])))
        return np.asarray(found(both, data, there))[0]

    without, found = medians(), medians(use_own_parallax=True)
    assert without[0] == without[1] == found[1]
    # 1 mas at G = 15 is M_G = 5; a parallax S/N of 100 leaves 0.02 mag.
    assert found[0] == pytest.approx(5.0, abs=0.03)


def test_a_spurious_parallax_of_its_own_does_not_move_a_star():
    # M_G = 5.0 +- 0.1 at 1 kpc, so a parallax of 1 mas; the measured one of 1.5 +- 0.05 mas says M_G = 5.9.
    data = ParallaxInErrors.of([15.0, 15.0], [1.5, 1.0], [0.05, 0.05])
    given = mixture((1.0, 5.0, 0.1), stars=2)
    trusting, robust = (
        np.asarray(quantiles_with_parallax(given, data, spurious))[1] for spurious in (None, Spurious(0.02, 5.0))
    )
    assert trusting[0] - 5 > 0.3
    # A Gaussian of 5 errors, 0.25 mas or 0.54 mag, takes a star of 0.1 mag along by a thirtieth of 0.9 mag.
    assert abs(robust[0] - 5) < 0.06
    # An honest one counts as before.
    assert robust[1] == pytest.approx(trusting[1], abs=0.01)


def test_a_mixture_becomes_distances_by_hand():
    quantiles = np.array([[5.4], [5.2], [5.0], [4.7], [4.5]])
    draws = np.array([[5.1], [4.9]])
    one = np.ones(1)
    found = summarise_mixture(
        Magnitudes(quantiles, 0.25 * one, 0.1 * one, draws, 0 * one, one, *ONE_GAUSSIAN), targets_at(np.array([15.0]))
    )
    assert found["M_G_NN"][0] == 5.0
    assert found["DIST"][0] == pytest.approx(1.0)
    np.testing.assert_allclose(
        [found[f"DIST_{level}"][0] for level in ("05", "16", "50", "84", "95")],
        10 ** (np.array([-0.4, -0.2, 0.0, 0.3, 0.5]) / 5),
    )
    assert found["M_G_NN_ERR"][0] == pytest.approx(0.25)
    assert found["DISTERR"][0] == pytest.approx((10**0.06 - 10**-0.04) / 2)
    assert found["M_G_NN_ERR_NOISE"][0] == pytest.approx(np.std([5.1, 4.9], ddof=1))
    assert found["M_G_NN_ERR_TRAINING"][0] == pytest.approx(0.1)
    assert found["PROB_GIANT"][0] == pytest.approx(0.25)
    assert found["FLAGS"][0] == 0


def test_the_error_of_extinction_widens_distances_of_a_mixture():
    """As the convolution with a Gaussian of that error: exact for a Gaussian, within 4 % of a width for a pair."""
    dust, levels, one = 0.2, np.array([0.05, 0.16, 0.5, 0.84, 0.95], np.float32), np.ones(1)
    for pair, within in ((((1.0, 4.0, 0.3),), 0.01), (((0.7, 4.0, 0.3), (0.3, 3.6, 0.4)), 0.04)):
        given = mixture(*pair)
        exact = given._replace(sigma=np.hypot(given.sigma, dust).astype(np.float32))
        quantiles, wider = (np.asarray(points(one_of).quantiles(1 - levels), float) for one_of in (given, exact))
        found = summarise_mixture(
            Magnitudes(quantiles, one, one, np.zeros((2, 1)), 0 * one, one, *ONE_GAUSSIAN),
            targets_at(np.array([15.0]), dust),
        )
        moduli = [5 * np.log10(found[f"DIST_{name}"][0]) + 10 for name in ("05", "16", "50", "84", "95")]
        np.testing.assert_allclose(moduli, 15.0 - wider[:, 0], atol=within)
        assert found["M_G_NN_ERR"][0] == pytest.approx(0.5 * (quantiles[1, 0] - quantiles[3, 0]))
        assert found["DISTMOD_ERR"][0] == pytest.approx(np.hypot(found["M_G_NN_ERR"][0], dust))


@pytest.mark.parametrize(("kind", "distance"), [("label", 2.0), ("mixture", 3.0)])
def test_the_kind_of_network_says_which_distance_stands_under_the_plain_name(kind, distance):
    names = ("DIST", "DISTERR", "M_G_NN", "M_G_NN_ERR")
    labels = {name: np.array([2.0]) for name in names} | {"LABEL": np.array([1.0]), "FLAGS": np.array([0])}
    mixed = {name: np.array([3.0]) for name in names} | {"PROB_GIANT": np.array([0.5]), "FLAGS": np.array([0])}
    found = summarise(labels, mixed, kind)
    assert [found[f"DIST{ending}"][0] for ending in ("", "_LABEL", "_MIX")] == [distance, 2.0, 3.0]
    assert (found["LABEL"][0], found["PROB_GIANT"][0]) == (1.0, 0.5)


@pytest.mark.parametrize("kind", ["label", "mixture"])
def test_flags_tell_of_both_kinds_of_network(kind):
    """Columns _LABEL and binaries depend on the label in either mode: what is wrong with it is flagged in either."""
    label, draws = np.array([[-0.2, 0.3, 0.3]]), np.array([[[-0.3, -0.1, 0.2], [0.1, 0.3, 0.4]]])
    magnitude = targets_at(np.full(3, 15.0))
    labels = summarise_labels(Labels(label, draws), magnitude, np.nan, DistancesSettings())
    quantiles = np.repeat([[5.4], [5.2], [5.0], [4.7], [4.5]], 3, axis=1)
    one = np.ones(3)
    mixed = summarise_mixture(
        Magnitudes(quantiles, one, one, np.array([5.1 * one, 4.9 * one]), 0 * one, one, *ONE_GAUSSIAN), magnitude
    )
    found = summarise(labels, mixed, kind)
    both = Flag.LABEL_NOT_POSITIVE | Flag.DRAW_NOT_POSITIVE
    assert found["FLAGS"].tolist() == [both, Flag.DRAW_NOT_POSITIVE, 0]
    assert found["FRACTION_UNBOUND"].tolist() == [0.5, 0.5, 0.0]
    assert np.isfinite(found["DIST_MIX"]).all()
    assert np.isfinite(found["DIST"]).tolist() == ([False, True, True] if kind == "label" else [True] * 3)


def test_scatter_between_networks_leaves_out_those_that_saw_the_star():
    # Three networks of one Gaussian each; the second has no weight for the first star.
    mean = np.array([[[5.0], [9.0], [5.4]], [[5.0], [5.2], [5.4]]])
    weight = np.array([[[0.5], [0.0], [0.5]], [[1 / 3], [1 / 3], [1 / 3]]])
    with np.errstate(divide="ignore"):
        given = Mixture(*(jnp.asarray(values) for values in (np.log(weight), mean, np.full(mean.shape, 0.1))))
    np.testing.assert_allclose(between_networks(given), [np.std([5.0, 5.4], ddof=1), np.std([5.0, 5.2, 5.4], ddof=1)])
    single = Mixture(*(values[:1, :1] for values in given))
    assert np.isnan(between_networks(single)).all()


# Training


def test_the_mixture_of_a_population_is_found_through_its_parallaxes():
    random = np.random.default_rng(3)
    stars = 8000
    faint = random.random(stars) < 0.7
    magnitude = np.where(faint, random.normal(5.0, 0.15, stars), random.normal(4.1, 0.15, stars))
    apparent = random.uniform(12, 16, stars)
    error = np.full(stars, 0.05)
    parallax = 10 ** ((magnitude - apparent + 10) / 5) + error * random.standard_normal(stars)
    inputs = np.zeros((stars, 1), np.float32)
    given = TrainingStars(inputs, photometry.sqrt_flux(apparent), parallax, error, np.full(stars, -1), np.arange(stars))
    settings = TrainingSettings(learning_rate=0.02, batch=2000, epochs=100, patience=100, n_seeds=1)
    ensemble, history = train_mixture(given, NetworkSettings(hidden=()), 2, settings, 1)
    found = ensemble.held_out_mixture(jnp.asarray(inputs[:1]), jnp.asarray([-1])).pooled()
    weight, mean, sigma = np.exp(found.log_weight[0]), np.asarray(found.mean[0]), np.asarray(found.sigma[0])
    assert (mean[0] > mean[1]).all()
    # Known to 0.15 mag / sqrt(5600) = 0.002 mag and 0.005 of the stars; the last steps of Adam wander by more.
    np.testing.assert_allclose(weight, [0.7, 0.3], atol=0.02)
    np.testing.assert_allclose(mean, [5.0, 4.1], atol=0.02)
    np.testing.assert_allclose(sigma, [0.15, 0.15], atol=0.02)
    assert history[-1, 0, 1] < history[0, 0, 1]


def test_spurious_parallaxes_do_not_move_the_distances_of_a_population():
    """3 % of parallaxes that scatter by five errors, at a parallax S/N of 2 to 5 where they pull most."""
    random = np.random.default_rng(8)
    stars = 8000
    magnitude, apparent = random.normal(5.0, 0.15, stars), random.uniform(16.5, 18.5, stars)
    error = np.full(stars, 0.1)
    noise = error * random.standard_normal(stars)
    inputs = np.zeros((stars, 1), np.float32)
    settings = TrainingSettings(learning_rate=0.03, batch=4000, epochs=100, patience=100, n_seeds=1)

    def found(share, spurious):
        parallax = 10 ** ((magnitude - apparent + 10) / 5) + np.where(np.arange(stars) < share * stars, 5, 1) * noise
        given = (photometry.sqrt_flux(apparent), parallax, error, np.full(stars, -1), np.arange(stars))
        network = NetworkSettings(hidden=(), mixture=MixtureSettings(spurious_share=spurious))
        ensemble, _ = train_mixture(TrainingStars(inputs, *given), network, 1, settings, 1)
        pooled = ensemble.held_out_mixture(jnp.asarray(inputs[:1]), jnp.asarray([-1])).pooled()
        return float(pooled.mean[0, 0]), float(pooled.sigma[0, 0])

    clean, trusting, robust = found(0.0, 0.0), found(0.03, 0.0), found(0.03, 0.02)
    # 1 % of the distance is 0.022 mag.
    assert abs(robust[0] - clean[0]) < 0.022 < abs(trusting[0] - clean[0])
    assert abs(robust[1] - clean[1]) < 0.03 < abs(trusting[1] - clean[1])


# Recalibration


def predicted_and_seen(stretch, shift, stars=20_000, seed=1, spurious=0.0):
    """Return distributions of width 0.2 mag whose truth is wider and off, parallaxes of S/N around 7, and their traits.

    A share of the parallaxes scatters by five errors.
    """
    random = np.random.default_rng(seed)
    centre = random.uniform(4.5, 7.0, stars)
    true = centre + shift + stretch * 0.2 * random.standard_normal(stars)
    # Independent of the magnitude at given spectrum, as the likelihood takes it to be.
    apparent = random.uniform(13.0, 16.0, stars)
    error = 0.15 * photometry.parallax(photometry.label_of_magnitude(centre), apparent)
    scatter = error * random.standard_normal(stars)
    scatter *= np.where(np.arange(stars) < spurious * stars, 5, 1)
    parallax = 10 ** ((true - apparent + 10) / 5) + scatter
    shape = (stars, 1, 1)
    given = Mixture(np.zeros(shape), centre.reshape(shape), np.full(shape, 0.2))
    data = ParallaxInErrors(*map(np.asarray, ParallaxInErrors.of(apparent, parallax, error)))
    snr, feh = np.exp(random.uniform(1.5, 4.5, stars)), random.uniform(-2.5, 0.3, stars)
    return given, data, Traits(snr, feh, random.uniform(size=stars) < 0.05)


corrections = jax.jit(Calibration.corrections)


def test_recalibration_finds_a_known_shift_and_stretch():
    given, data, traits = predicted_and_seen(stretch=1.5, shift=0.1)
    shift, stretch, _ = corrections(fit(given, data, traits), given, traits)
    # The parallaxes, good to 0.33 mag, know 0.3 mag of width to 0.006 mag times 2 in 20,000 stars: 4 %.
    assert np.median(stretch) == pytest.approx(1.5, rel=0.06)
    assert np.median(shift) == pytest.approx(0.1, abs=0.02)


def test_spurious_parallaxes_do_not_widen_honest_distributions():
    given, data, traits = predicted_and_seen(stretch=1.0, shift=0.0, seed=2, spurious=0.03)
    plain, robust = fit(given, data, traits), fit(given, data, traits, Spurious(0.01, 4.0))
    assert np.median(corrections(plain, given, traits)[1]) > 1.3
    assert np.median(corrections(robust, given, traits)[1]) == pytest.approx(1.0, abs=0.1)
    # 600 of 20,000, of which those within two errors, a third, do not stand out.
    assert robust.spurious.share == pytest.approx(0.03, abs=0.01)
    assert robust.spurious.width == pytest.approx(5.0, abs=0.8)
    assert plain.spurious is None


def test_recalibration_leaves_honest_distributions_alone():
    given, data, traits = predicted_and_seen(stretch=1.0, shift=0.0, seed=2)
    shift, stretch, _ = corrections(fit(given, data, traits), given, traits)
    assert np.median(stretch) == pytest.approx(1.0, abs=0.1)
    assert np.abs(np.median(shift)) < 0.02


def traits_of_one(*, snr=20.0, feh=-1.0, outside=False):
    return Traits(*(jnp.asarray([value]) for value in (snr, feh, outside)))


def test_stars_outside_the_domain_get_a_width_of_their_own():
    given, data, traits = predicted_and_seen(stretch=1.0, shift=0.0, seed=4)
    # They, and nobody else, have half the width that they need.
    narrow = given._replace(sigma=np.where(traits.outside[:, None, None], 0.5, 1) * given.sigma)
    _, stretch, _ = corrections(fit(narrow, data, traits), narrow, traits)
    inside, outside = (np.median(np.asarray(stretch)[rows]) for rows in (~traits.outside, traits.outside))
    # A thousand stars know their width to 9 %. The prior, 0.25 about 0, takes a ninth of ln 2: 1.85 is expected.
    assert inside == pytest.approx(1.0, abs=0.06)
    assert outside == pytest.approx(2.0, rel=0.2)


def test_recalibration_knows_metallicity_clump_and_spread():
    given, data, traits = predicted_and_seen(stretch=1.0, shift=0.0, seed=3)
    poor = traits.feh < -1.1
    # Metal-poor stars have half the width that they need.
    narrow = given._replace(sigma=np.where(poor[:, None, None], 0.5, 1) * given.sigma)
    _, stretch, _ = corrections(fit(narrow, data, traits), narrow, traits)
    least, most = (np.median(np.asarray(stretch)[rows]) for rows in (traits.feh > -0.2, traits.feh < -2))
    # A straight line in [Fe/H] through a step: more than the half of it.
    assert most / least > 1.5
    # Each feature by hand: only its own stars are widened.
    one = np.zeros(10)
    by_hand = (5, 0.6, -1.0, 2.0), (5, 3.0, -1.0, 1.0), (7, -1.0, -0.5, 2.0), (6, 8.0, -1.5, 0.5)
    for feature, mean, feh, expected in by_hand:
        two = Mixture(*(jnp.asarray(v).reshape(1, 1, 1) for v in ([0.0], [mean], [0.2])))
        calibration = Calibration(one, np.log(2.0) * (np.arange(10) == feature))
        found = calibration.corrections(two, traits_of_one(feh=feh))[1]
        assert float(found[0]) == pytest.approx(expected, rel=2e-3), feature
    apart = Mixture(*(jnp.asarray(v).reshape(1, 2, 1) for v in ([np.log(0.5)] * 2, [5.0, 5.4], [0.2, 0.2])))
    calibration = Calibration(one, np.log(2.0) * (np.arange(10) == 8))
    found = calibration.corrections(apart, traits_of_one())[1]
    # Means 0.4 mag apart: a standard deviation between two of 0.283, and a width of hypot(0.2, 0.2).
    assert float(found[0]) == pytest.approx(2 ** (np.log(0.2828 / 0.2828) + 1), rel=1e-3)


def test_recalibration_finds_how_sure_of_one_magnitude_a_star_may_be():
    """Two magnitudes, the first said to have nine tenths of the weight where three quarters are right: a power of 1/2.

    A second network does not predict these stars; its weight of zero must not spoil the derivatives.
    """
    # 3/4 and 1/4 are to each other as the roots of 9/10 and 1/10.
    kinds = (predicted_and_seen(1.0, shift, stars, seed) for shift, stars, seed in ((0.0, 6000, 5), (2.0, 2000, 6)))
    given, data, traits = jax.tree.map(lambda *values: np.concatenate(values), *kinds)
    mean = given.mean[:, 0] + [0.0, 2.0]
    weight = np.broadcast_to(np.log([0.9, 0.1]), mean.shape)
    both = Mixture(
        np.stack([weight, np.full_like(weight, -np.inf)], axis=1),
        np.stack([mean, mean], axis=1),
        np.full((len(mean), 2, 2), 0.2),
    )
    _, _, power = corrections(fit(both, data, traits), both, traits)
    assert np.median(power) == pytest.approx(0.5, abs=0.1)


def test_recalibration_of_few_stars_is_the_most_probable_one():
    """No change of one coefficient is more probable, likelihood times a prior of 0.25 about no correction."""
    given, data, traits = predicted_and_seen(stretch=2.0, shift=0.5, stars=40)

    @jax.jit
    def surprise(values):
        moved = Calibration(*values).apply(given, traits).pooled()
        found = jax.nn.logsumexp(log_probabilities(moved, data, spurious=None), axis=-1)
        return -found.sum() + 0.5 * jnp.sum((values / 0.25) ** 2)

    best = np.array(fit(given, data, traits)[:3])
    least = surprise(best)
    for place in np.ndindex(*best.shape):
        for step in (-0.03, 0.03):
            other = best.copy()
            other[place] += step
            assert surprise(other) > least, place
    assert np.abs(best).max() > 0.1


def test_a_search_that_ends_too_early_says_so(monkeypatch, caplog):
    given, data, traits = predicted_and_seen(stretch=1.5, shift=0.1, stars=500)
    monkeypatch.setattr("specdis.calibration._ITERATIONS", 2)
    fit(given, data, traits)
    [message] = [record.getMessage() for record in caplog.records]
    assert "stopped after 2 steps, before it converged" in message
    caplog.clear()
    monkeypatch.undo()
    fit(given, data, traits)
    assert not caplog.records


def test_recalibration_changes_weights_by_hand():
    given = Mixture(*(jnp.asarray(v).reshape(1, 2, 1) for v in (np.log([0.2, 0.8]), [4.0, 6.0], [0.1, 0.2])))
    found = Calibration(*np.zeros((2, 10)), np.log(2.0) * (np.arange(10) == 0)).apply(given, traits_of_one())
    np.testing.assert_allclose(np.exp(np.ravel(found.log_weight)), [1 / 17, 16 / 17], rtol=1e-6)
    np.testing.assert_allclose(np.ravel(found.mean), [4.0, 6.0], rtol=1e-6)
    np.testing.assert_allclose(np.ravel(found.sigma), [0.1, 0.2], rtol=1e-6)


def test_recalibration_moves_and_widens_by_hand():
    given = Mixture(*(jnp.asarray(v).reshape(1, 2, 1) for v in ([np.log(0.5)] * 2, [4.0, 6.0], [0.1, 0.2])))
    first = np.arange(10) == 0
    calibration = Calibration(0.3 * first, np.log(2.0) * first)
    found = calibration.apply(given, traits_of_one(snr=np.nan, feh=np.nan))
    np.testing.assert_allclose(np.ravel(found.mean), [5.3 - 2, 5.3 + 2])
    np.testing.assert_allclose(np.ravel(found.sigma), [0.2, 0.4])
    unchanged = Calibration.identity().apply(given, traits_of_one(snr=10.0, feh=-0.5))
    np.testing.assert_allclose(np.ravel(unchanged.mean), [4.0, 6.0])


def test_calibration_stars_are_a_share_of_the_held_out_and_keep_copies_together():
    fold, star = np.repeat([-1, 0, 1, 2], 500), np.arange(2000) // 2
    chosen = calibration_stars(fold, star, CalibrationSettings(fraction=0.3), 1)
    assert not chosen[fold < 0].any()
    assert chosen[fold >= 0].mean() == pytest.approx(0.3, abs=0.05)
    assert (chosen[::2] == chosen[1::2]).all()
    assert not calibration_stars(fold, star, CalibrationSettings(on=False), 1).any()


@pytest.mark.parametrize(("apparent", "beyond"), [(19.9, False), (20.1, True), (99.0, True)])
def test_no_distance_lies_beyond_the_reach_of_spectra(apparent, beyond):
    # 10,000 kpc is a distance modulus of 30 mag, which G = 20 has for an absolute magnitude of -10.
    g = targets_at(np.array([apparent]))
    magnitudes = np.array([[-9.8], [-9.9], [-10.0], [-10.1], [-10.2]])
    draws, one = np.array([[-10.05], [-9.95]]), np.ones(1)
    mixed = summarise_mixture(Magnitudes(magnitudes, one, one, draws, 0 * one, one, *ONE_GAUSSIAN), g)
    labels = Labels(10 ** (np.full((2, 1), -10.0) / 5), 10 ** (np.broadcast_to(draws[None], (2, 2, 1)) / 5))
    for found in (mixed, summarise_labels(labels, g, 0.1, DistancesSettings())):
        assert found["M_G_NN"][0] == pytest.approx(-10.0)
        for name in ("DIST", "DISTERR", "DISTMOD", "DISTMOD_ERR", "DIST_16", "DIST_95"):
            assert np.isnan(found[name][0]) == beyond, name
        assert (found["FLAGS"][0] & Flag.BEYOND_REACH > 0) == beyond
