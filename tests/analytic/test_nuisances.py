"""Zero point and inflation of parallaxes, fitted with the networks, against integrals and injected values."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from specdis.anchors import combine
from specdis.jaxed import jax, jnp
from specdis.network.nuisances import Joint, Nuisances, OwnParallaxes, nuisance_terms
from specdis.network.objectives import TrainingStars, joint_objective, mixture_objective
from specdis.network.settings import MixtureSettings, NetworkSettings, TrainingSettings
from specdis.network.training import train_joint
from specdis.photometry import sqrt_flux

TYPICAL = 4.0


def magnitudes(g, bp_rp):
    """Return the columns of `nuisance_terms`."""
    g, bp_rp = np.asarray(g, float), np.asarray(bp_rp, float)
    return {"PHOT_G_MEAN_MAG": g, "PHOT_BP_MEAN_MAG": bp_rp, "PHOT_RP_MEAN_MAG": 0 * bp_rp}


def some_stars(terms=4):
    """Return six stars of every kind: an ordinary one, a negative parallax, one of no zero point, and three anchors."""
    g = np.array([14.0, 18.0, 16.0, 15.0, 17.5, 19.0])
    parallax, error = np.array([1.5, -0.1, 0.4, 0.12, 0.3, 0.02]), np.array([0.03, 0.2, 0.05, 0.03, 0.1, 0.3])
    known = np.array([0, 0, 0, 0.1, 0.05, 0.01])
    known_error = np.array([np.inf, np.inf, np.inf, 0.005, 0.004, 0.001])
    own = OwnParallaxes(
        parallax,
        error,
        known,
        known_error,
        np.array([True, True, False, True, True, True]),
        nuisance_terms(magnitudes(g, [0.8, 1.2, np.nan, 1.6, 1.0, 0.5]), terms),
    )
    inputs = np.linspace(-1, 1, 12, dtype=np.float32).reshape(6, 2)
    together = combine(parallax, error, known, known_error)
    return TrainingStars(inputs, sqrt_flux(g), *together, np.full(6, -1), np.arange(6), own=own), g


def density(star, own, mixture, g, nuisances):
    """Return the probability density of a star's own parallax, and of its known one, by brute force; per mas."""
    mine = OwnParallaxes._make(column[star] for column in own)
    offset, inflation = nuisances[0] @ mine.terms, np.exp(nuisances[1] @ mine.terms)
    parallax = mine.parallax - (offset if mine.has_zero_point else 0)
    weight, mean, sigma = (np.asarray(values[star], float) for values in mixture)

    def integrand(magnitude):
        model = 10 ** ((magnitude - g[star] + 10) / 5)
        prior = (np.exp(weight) * norm.pdf(magnitude, mean + TYPICAL, sigma)).sum()
        known = norm.pdf(mine.known, model, mine.known_error) if np.isfinite(mine.known_error) else 1
        return prior * norm.pdf(parallax, model, mine.error * inflation) * known

    return quad(integrand, -3, 12, points=np.linspace(-2, 11, 27), limit=400)[0]


SMOOTH = np.array([[0.02, -0.01, 0.005, 0.01], [0.2, 0.1, -0.1, 0.05]])


@pytest.mark.parametrize("nuisances", [np.zeros((2, 4)), SMOOTH])
def test_the_likelihood_of_both_parallaxes_by_brute_force(nuisances):
    stars, g = some_stars()
    network = NetworkSettings(hidden=(4,))
    settings = TrainingSettings()
    objective = joint_objective(stars, network, 2, settings)
    one = objective.initial(jax.random.key(3))
    # A parameter of 1 is 0.1 mas.
    one = Joint(one.network, jnp.asarray(nuisances / [[0.1], [1.0]], jnp.float32))
    loss = np.asarray(objective.loss(one, jnp.float32(TYPICAL), jnp.asarray(stars.inputs), objective.data))
    mixture = one.network(jnp.asarray(stars.inputs))
    expected = np.log([density(star, stars.own, mixture, g, nuisances) for star in range(6)])
    # The loss is per error of the combined parallax, and the prior is shared by the stars that a network learns from.
    prior = float(one.log_prior()) / (6 * 0.9)
    np.testing.assert_allclose(-0.5 * loss - prior, expected + np.log(stars.error), atol=2e-4)


def test_without_nuisances_the_loss_is_that_of_the_mixture():
    stars, _ = some_stars()
    network = NetworkSettings(hidden=(4,), mixture=MixtureSettings(spurious_share=0.02))
    joint, alone = joint_objective(stars, network, 3, TrainingSettings()), mixture_objective(stars, network, 3)
    one = joint.initial(jax.random.key(1))
    arguments = jnp.float32(TYPICAL), jnp.asarray(stars.inputs)
    found, expected = joint.loss(one, *arguments, joint.data), alone.loss(one.network, *arguments, alone.data)
    # Anchors have a further constant: what their own parallax says of the known one.
    np.testing.assert_allclose(found[:3], expected[:3], rtol=1e-5)


def population(stars, offset, inflation, seed):
    """Return giants and dwarf stars from G = 13 to 19, which their inputs tell apart, but for 0.15 mag.

    Parallaxes are good to 0.02 to 0.11 mas; zero point and inflation are injected.
    """
    random = np.random.default_rng(seed)
    giant = random.random(stars) < 0.4
    inputs = random.standard_normal((stars, 4)).astype(np.float32)
    inputs[:, 0] = np.where(giant, 1, -1)
    magnitude = np.where(giant, 1 + 0.6 * inputs[:, 1], 5 + 0.6 * inputs[:, 2]) + 0.15 * random.standard_normal(stars)
    g = random.uniform(13, 19, stars)
    error = 0.02 * 10 ** (0.15 * np.maximum(g - 14, 0))
    parallax = 10 ** ((magnitude - g + 10) / 5) + offset + inflation * error * random.standard_normal(stars)
    nothing = np.zeros(stars), np.full(stars, np.inf)
    own = OwnParallaxes(parallax, error, *nothing, np.ones(stars, bool), nuisance_terms(magnitudes(g, g), 1))
    return TrainingStars(inputs, sqrt_flux(g), parallax, error, np.full(stars, -1), np.arange(stars), own=own)


@pytest.mark.parametrize(("offset", "inflation"), [(0.010, 1.2), pytest.param(0.0, 1.0, marks=pytest.mark.slow)])
def test_injected_zero_point_and_inflation_are_found(offset, inflation):
    """20,000 stars know them to 0.5 uas and 0.007; the prior, 10 uas and 0.2 wide, takes 0.03 of the 10 uas."""
    stars = population(20_000, offset, inflation, seed=1)
    settings = TrainingSettings(learning_rate=3e-3, batch=500, epochs=30, patience=30, n_seeds=2)
    (_, nuisances), history = train_joint(stars, NetworkSettings(hidden=(16, 16)), 1, settings, 5)
    found = nuisances.summary(stars.own.terms)
    assert found["zero_point_uas"] == pytest.approx(1000 * offset, abs=2)
    assert found["inflation"] == pytest.approx(inflation, abs=0.02)
    assert history[-1, :, 1].max() < history[0, :, 1].min()
    # What is taken out of the parallaxes is what was found.
    parallax, error = stars.without(nuisances)[2:4]
    np.testing.assert_allclose(1000 * (stars.parallax - parallax), found["zero_point_uas"])
    np.testing.assert_allclose(error / stars.error, found["inflation"], rtol=1e-3)


def test_terms_are_constant_outside_their_range_and_zero_where_missing():
    found = nuisance_terms(magnitudes([5, 12, 18, 25, np.nan], [-3, 0, 1.5, 4, np.nan]), 4)
    expected = [[1, -1, 1, -1], [1, -1, 1, -1], [1, 0.5, 0.25, 0.5], [1, 1, 1, 1], [1, 0, 0, 0]]
    np.testing.assert_allclose(found, expected)


def test_nuisances_move_what_the_zero_point_is_defined_for():
    nuisances = Nuisances(np.array([[[0.010, 0.004], [0.1, 0.0]], [[0.014, 0.0], [0.1, 0.2]]]))
    stars = {
        **magnitudes([16, 20, 20], [1, 1, 1]),
        "PARALLAX_ZPC": np.array([-0.04, 0.0, np.nan]),
        "PARALLAX_CORRECTED": np.array([0.5, 0.1, 0.3]),
        "PARALLAX_ERROR_USED": np.array([0.05, 0.1, 0.2]),
    }
    found = nuisances.applied(stars)
    np.testing.assert_allclose(found["PARALLAX_ZPC"], [-0.028, 0.014, np.nan])
    np.testing.assert_allclose(found["PARALLAX_CORRECTED"], [0.488, 0.086, 0.3])
    np.testing.assert_allclose(found["PARALLAX_ERROR_USED"], np.array([0.05, 0.1, 0.2]) * np.exp([0.1, 0.2, 0.2]))
