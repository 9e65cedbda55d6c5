"""Training against answers known on paper: weighted least squares, and why negative parallaxes stay (section 3.2)."""

import numpy as np
import pytest

from specdis import photometry, rng
from specdis.jaxed import jnp
from specdis.network.likelihood import chi2, robust
from specdis.network.objectives import TrainingStars
from specdis.network.settings import NetworkSettings, TrainingSettings
from specdis.network.training import train_label
from specdis.sample import SampleSettings
from specdis.sample.split import split

LINEAR = NetworkSettings(hidden=())
SEED = 11


def least_squares(inputs, factor, parallax, error):
    """Return coefficients and covariance of parallax = factor (a + b inputs), weighted by 1/error^2."""
    design = np.column_stack([np.ones(len(inputs)), inputs]) * (factor / error)[:, None]
    solution, *_ = np.linalg.lstsq(design, parallax / error)
    return solution, np.linalg.inv(design.T @ design)


def fit(inputs, terms, factor, parallax, error, identifier, settings):
    """Train a linear network; return its labels, the history, and solution and covariance of least squares in `terms`.

    The stars that a hash keeps back for early stopping are laid on that solution, so that it does not matter when they
    stop the training.
    """
    kept_back = rng.uniform(rng.stream(SEED, "inner 0"), identifier) < settings.early_stopping_fraction
    solution, covariance = least_squares(*(column[~kept_back] for column in (terms, factor, parallax, error)))
    parallax = np.where(kept_back, factor * (solution[0] + terms @ solution[1:]), parallax)
    stars = TrainingStars(inputs, factor, parallax, error, np.full(len(parallax), -1), identifier)
    ensemble, history = train_label(stars, LINEAR, settings, SEED)
    return np.asarray(ensemble.labels(jnp.asarray(inputs)))[0, 0], history, solution, covariance


def linear_population(stars=3000, n_inputs=6):
    """Return stars whose label is linear in their coefficients, with parallaxes of both signs."""
    random = np.random.default_rng(2)
    inputs = random.standard_normal((stars, n_inputs)).astype(np.float32)
    truth = np.array([2.0, 0.3, -0.2, 0.1, 0.05, -0.15, 0.25])
    label = truth[0] + inputs @ truth[1:]
    factor = photometry.sqrt_flux(random.uniform(14, 19, stars))
    error = random.uniform(0.02, 0.3, stars)
    parallax = label * factor + error * random.standard_normal(stars)
    return inputs, factor, parallax, error


def test_chi_square_training_on_a_linear_truth_is_weighted_least_squares():
    inputs, factor, parallax, error = linear_population()
    assert (parallax < 0).mean() > 0.02
    settings = TrainingSettings(learning_rate=0.03, batch=10_000, epochs=700, patience=700, n_seeds=1)
    found, history, solution, covariance = fit(
        inputs, inputs, factor, parallax, error, np.arange(len(parallax)), settings
    )
    expected = solution[0] + inputs @ solution[1:]
    design = np.column_stack([np.ones(len(inputs)), inputs])
    uncertain = np.sqrt(np.einsum("ij,jk,ik->i", design, covariance, design))
    # Adam in single precision ends within a fiftieth of what the data know, for every star.
    assert np.abs((found - expected) / uncertain).max() < 0.02
    # And the solution is not the truth: the noise of the data is in it.
    assert np.abs((solution - [2.0, 0.3, -0.2, 0.1, 0.05, -0.15, 0.25]) / np.sqrt(np.diag(covariance))).max() > 0.5
    # The history holds Eq. 4: chi-square per star at the end, n stars less the parameters.
    used = 0.9 * len(parallax)
    assert history[-1, 0, 0] == pytest.approx(1 - 7 / used, abs=4 * np.sqrt(2 / used))


def test_a_robust_loss_without_scatter_or_outliers_is_chi_square():
    random = np.random.default_rng(1)
    model, error = random.uniform(0.5, 2, 100), random.uniform(0.1, 0.2, 100)
    parallax = model + error * random.uniform(-4.9, 4.9, 100)
    # Single-precision logarithms of 1 and squares up to 24.
    np.testing.assert_allclose(robust(model, parallax, error, 5.0, 0.0), chi2(model, parallax, error), rtol=1e-12)


def test_chi_square_of_eq_4():
    np.testing.assert_allclose(chi2(np.array([1.0, 0.2]), np.array([1.3, -0.2]), np.array([0.1, 0.2])), [9.0, 4.0])


def test_the_robust_loss_grows_linearly_and_counts_the_scatter():
    # 10 sigma with the bend at 5: 5 (2 10 - 5) = 75 instead of 100.
    assert float(robust(np.array(2.0), np.array(1.0), np.array(0.1), 5.0, 0.0)) == pytest.approx(75.0)
    # Error 0.3, scatter 20 % of 2: sigma = 0.5, residual 2 sigma, and ln(0.25 / 0.09).
    expected = 4 + np.log(0.25 / 0.09)
    assert float(robust(np.array(2.0), np.array(1.0), np.array(0.3), 5.0, 0.2)) == pytest.approx(expected)


# The paper's central claim


TRUE_MAGNITUDE = 1.0
"""Absolute magnitude of every star of the population: giants, far enough away for parallaxes of either sign."""


def one_luminosity(stars=20_000):
    """Return the sample's columns for stars of one luminosity at 7 to 100 kpc, a third with negative parallaxes.

    Their parallax errors grow with distance as Gaia's do: 0.035 mas at G = 15, 0.5 mas at G = 21.
    """
    random = np.random.default_rng(6)
    distance = np.exp(random.uniform(np.log(7), np.log(100), stars))
    magnitude = TRUE_MAGNITUDE + photometry.distance_modulus(distance)
    error = 0.005 * distance
    return {
        "SOURCE_ID": np.arange(1, stars + 1),
        "TARGETID": np.arange(stars),
        "SELECTED": np.ones(stars, bool),
        "G_0": magnitude,
        "PARALLAX_CORRECTED": 1 / distance + error * random.standard_normal(stars),
        "PARALLAX_ERROR_USED": error,
        "PARALLAX_ERROR": error,
    }


def bias(**ablation):
    """Return bias of the trained label over its error, and the error relative to the label."""
    population = one_luminosity()
    chosen = split(population, SampleSettings(**ablation), SEED)["TRAINABLE"]
    parallax, error = (population[name][chosen] for name in ("PARALLAX_CORRECTED", "PARALLAX_ERROR_USED"))
    factor = photometry.sqrt_flux(population["G_0"][chosen])
    # One coefficient, the same for all: all that the network can learn is one label.
    inputs, none = np.ones((len(parallax), 1), np.float32), np.zeros((len(parallax), 0))
    settings = TrainingSettings(learning_rate=0.05, batch=100_000, epochs=120, patience=120, n_seeds=1)
    labels, _, (mean,), ((variance,),) = fit(
        inputs, none, factor, parallax, error, population["SOURCE_ID"][chosen], settings
    )
    found, uncertain = labels[0], np.sqrt(variance)
    # The network's one label is the weighted mean, to a twentieth of its error.
    assert found == pytest.approx(mean, abs=0.05 * uncertain)
    truth = float(photometry.label_of_magnitude(TRUE_MAGNITUDE))
    return (found - truth) / uncertain, uncertain / truth, (parallax < 0).mean()


def test_training_with_all_parallaxes_is_unbiased():
    sigma, relative, negative = bias()
    assert 0.3 < negative < 0.4
    assert abs(sigma) < 3
    # And worth something: the luminosity is known to 2 % in distance.
    assert relative < 0.02


@pytest.mark.parametrize("ablation", [{"train_drop_negative": True}, {"train_parallax_snr_min": 5.0}])
def test_dropping_negative_or_noisy_parallaxes_is_biased(ablation):
    # Who stays is who scattered up: labels too large, stars too faint, distances too small.
    sigma, _, negative = bias(**ablation)
    assert negative == 0
    assert sigma > 8
