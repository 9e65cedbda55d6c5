import jax
import numpy as np
import pytest
from pydantic import ValidationError

from specdis import rng
from specdis.errors import InputError
from specdis.jaxed import jnp
from specdis.network.mlp import MLP
from specdis.network.objectives import TrainingStars
from specdis.network.settings import LabelSettings, NetworkSettings, TrainingSettings
from specdis.network.training import (
    TrainingState,
    early_stopping_split,
    epoch_batches,
    train_label,
    train_mixture,
)
from synthetic_spectra import ensemble

NETWORK = NetworkSettings(hidden=(8,))
SETTINGS = TrainingSettings(batch=32, epochs=6, patience=6, n_seeds=2, learning_rate=1e-2)


def population(stars=300, folds=3, **changes):
    """Return stars whose label depends on their first coefficient, each twice under one identifier."""
    random = np.random.default_rng(4)
    inputs = random.standard_normal((stars, 4)).astype(np.float32)
    factor = random.uniform(0.2, 2, stars)
    columns = {
        "inputs": inputs,
        "factor": factor,
        "parallax": (2 + 0.5 * inputs[:, 0]) * factor + 0.2 * random.standard_normal(stars),
        "error": np.full(stars, 0.2),
        "fold": (np.arange(stars) // 2 % (folds + 1) - 1).astype(np.int16),
        "identifier": np.arange(stars) // 2,
    }
    return TrainingStars(**{**columns, **changes})


def leaves(networks: MLP):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(networks)]


class Memory:
    """A checkpoint that keeps the state after some epochs, through arrays alone, as a file would."""

    def __init__(self, after=None, kept=None):
        self.after, self.kept, self.epochs = after, kept, []

    def load(self, state):
        if self.kept is None:
            return state
        return jax.tree.unflatten(jax.tree.structure(state), [leaf.copy() for leaf in self.kept])

    def save(self, state: TrainingState):
        self.epochs.append(int(state.epoch))
        if int(state.epoch) == self.after:
            self.kept = [np.array(leaf) for leaf in jax.tree.leaves(state)]
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def trained():
    return train_label(population(), NETWORK, SETTINGS, 1)


def test_a_resumed_training_gives_identical_networks(trained):
    (whole, history), stars, memory = trained, population(), Memory(after=4)
    with pytest.raises(KeyboardInterrupt):
        train_label(stars, NETWORK, SETTINGS, 1, memory)
    second = Memory(kept=memory.kept)
    resumed, again = train_label(stars, NETWORK, SETTINGS, 1, second)
    assert second.epochs == [5, 6]
    np.testing.assert_array_equal(again, history)
    for one, other in zip(leaves(whole.networks), leaves(resumed.networks), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_network_never_sees_the_stars_of_its_fold(trained):
    stars = population()
    spoilt = stars._replace(parallax=np.where(stars.fold == 1, 1000.0, stars.parallax))
    labels = np.asarray(trained[0].labels(stars.inputs))
    spoilt_labels = np.asarray(train_label(spoilt, NETWORK, SETTINGS, 1)[0].labels(stars.inputs))
    assert labels.shape == (3, 2, 300)
    for fold in (0, 2):
        assert not np.allclose(labels[fold], spoilt_labels[fold], rtol=0.1)
    np.testing.assert_array_equal(labels[1], spoilt_labels[1])


@pytest.mark.parametrize("batch", [7, 32, 1000])
def test_an_epoch_shows_every_network_all_its_stars_once(batch):
    """Folds of any size: a network of fewer stars takes as many steps as the others, with smaller batches."""
    training = np.random.default_rng(5).random((3, 300)) < np.array([[0.9], [0.5], [0.1]])
    steps = -(-int(training.sum(1).max()) // batch)
    rows, counts = epoch_batches(training, jax.random.key(1), steps)
    assert rows.shape == counts.shape
    assert rows.shape[:2] == (steps, 3)
    assert rows.shape[2] <= batch
    for network in range(3):
        seen = np.bincount(rows[:, network][counts[:, network]], minlength=300)
        np.testing.assert_array_equal(seen, training[network])
        # What fills a batch is a star of the network's own, never one that it is to be tested on.
        assert training[network][rows[:, network]].all()
        sizes = counts[:, network].sum(1)
        assert sizes.max() - sizes.min() <= 1
    other, _ = epoch_batches(training, jax.random.key(2), steps)
    assert (other != rows).any()


def test_what_fills_a_batch_does_not_train():
    """A network of few stars beside one of many learns the same whichever comes first."""
    stars = population(fold=np.where(np.arange(300) < 100, 0, 1))
    alone = train_label(stars, NETWORK, SETTINGS.model_copy(update={"batch": 300}), 1)[0].labels(stars.inputs)
    # Fold 0 trains on 200 stars and fold 1 on 100. One batch holds all of either, so that its order is of no matter.
    swapped = stars._replace(fold=1 - stars.fold)
    both = train_label(swapped, NETWORK, SETTINGS.model_copy(update={"batch": 300}), 1)[0].labels(stars.inputs)
    np.testing.assert_allclose(np.asarray(alone)[::-1], np.asarray(both), rtol=1e-4)


@pytest.mark.parametrize(
    "ignored", [{"huber": 3.0}, {"intrinsic_scatter": 0.1}, {"huber": 3.0, "intrinsic_scatter": 0.1}]
)
def test_a_setting_of_another_loss_is_an_error(ignored):
    with pytest.raises(ValidationError, match=f'{" and ".join(ignored)} would do nothing with loss = "chi2"'):
        LabelSettings(**ignored)
    assert LabelSettings(loss="robust", **ignored).loss == "robust"


def test_seeds_differ(trained):
    labels = np.asarray(trained[0].labels(population().inputs))
    assert not np.allclose(labels[:, 0], labels[:, 1])


def test_training_learns():
    stars = population(stars=2000)
    settings = TrainingSettings(batch=128, epochs=40, patience=40, n_seeds=2, learning_rate=1e-2)
    found, history = train_label(stars, NETWORK, settings, 1)
    label = np.asarray(found.held_out_labels(jnp.asarray(stars.inputs), jnp.asarray(stars.fold))).mean(0)
    truth = 2 + 0.5 * stars.inputs[:, 0]
    assert np.corrcoef(label, truth)[0, 1] > 0.98
    assert np.nanmean(history[-1]) < 0.3 * np.nanmean(history[0])
    # Chi-square per star of parallaxes whose errors are right.
    assert np.nanmin(history[..., 1], 0).mean() == pytest.approx(1, abs=0.15)


def test_the_exponential_output_and_the_robust_loss_train():
    stars = population()
    label = LabelSettings(output="exp", loss="robust", intrinsic_scatter=0.05)
    found, history = train_label(stars, NetworkSettings(hidden=(8,), label=label), SETTINGS, 1)
    assert (np.asarray(found.labels(stars.inputs)) > 0).all()
    assert (history[-1] < history[0]).all()


def test_the_best_epoch_is_kept_and_patience_ends_the_training():
    # Inner stars that say the opposite of the training stars: the first epochs are the best.
    stars = population(stars=400, fold=np.full(400, -1))
    inner = rng.uniform(rng.stream(1, "inner 0"), stars.identifier) < 0.3
    stars = stars._replace(parallax=np.where(inner, -1.0, 5.0) * stars.factor)
    settings = TrainingSettings(
        batch=32, epochs=50, patience=3, n_seeds=1, learning_rate=1e-2, early_stopping_fraction=0.3, weight_decay=0.0
    )
    found, history = train_label(stars, NETWORK, settings, 1)
    assert len(history) == 3 + np.argmin(history[:, 0, 1]) + 1
    assert len(history) < 50
    model = np.asarray(found.labels(stars.inputs))[0, 0] * stars.factor
    loss = ((model - stars.parallax) / stars.error) ** 2
    assert loss[inner].mean() == pytest.approx(np.nanmin(history[:, 0, 1]), rel=1e-5)


def test_copies_of_a_star_stay_on_one_side():
    stars = population()
    training, inner = early_stopping_split(stars, stars.fold[None] != np.arange(3)[:, None], SETTINGS, 1)
    assert (training[:, ::2] == training[:, 1::2]).all()
    assert (inner[:, ::2] == inner[:, 1::2]).all()
    assert not (training & inner).any()
    assert inner.sum(1).min() > 5


def test_stars_that_are_not_to_be_used_neither_train_nor_stop():
    stars = population()
    use = np.arange(len(stars.fold)) % 4 > 0
    outside = (stars.fold[None] != np.arange(3)[:, None]) & use
    training, inner = early_stopping_split(stars, outside, SETTINGS, 1)
    assert not training[:, ~use].any()
    assert not inner[:, ~use].any()
    assert (training | inner)[:, use].any(0).all()


def test_too_few_stars_is_a_clear_error():
    stars = population(stars=2, fold=np.zeros(2))
    with pytest.raises(InputError, match="outside every fold, found 2 stars in 1 folds"):
        train_label(stars, NETWORK, SETTINGS, 1)


def test_a_training_that_diverges_is_a_clear_error():
    stars = population(folds=1)
    stars.parallax[7] = np.nan
    settings = SETTINGS.model_copy(update={"n_seeds": 1})
    with pytest.raises(InputError, match=r"finite loss.*none in 1 of 1 networks.*learning_rate"):
        train_label(stars, NetworkSettings(hidden=()), settings, 1)


@pytest.mark.parametrize(
    "key",
    [{"n_seeds": 0}, {"epochs": 0}, {"early_stopping_fraction": 0.0}, {"early_stopping_fraction": 1.0}, {"batch": 0}],
)
def test_settings_out_of_range_are_refused(key):
    with pytest.raises(ValidationError):
        TrainingSettings(**key)


# Networks and ensembles


def test_eq_5_by_hand():
    network = MLP(
        (jnp.array([[1.0, -1.0]]), jnp.array([[2.0], [3.0]])), (jnp.array([0.5, 0.0]), jnp.array([0.25])), "linear"
    )
    # ReLU(2 + 0.5) 2 + ReLU(-2) 3 + 0.25, in units of the typical label and counted from it.
    np.testing.assert_allclose(network(jnp.array([[2.0], [-2.0]])), [1 + 5.25, 1 + 6.25])
    exponential = MLP(network.weights, network.biases, "exp")
    np.testing.assert_allclose(exponential(jnp.array([[2.0]])), [np.exp(5.25)], rtol=1e-6)


def test_networks_start_near_the_typical_label():
    inputs = jnp.asarray(np.random.default_rng(1).standard_normal((1000, 100)), jnp.float32)
    for output in ("linear", "exp"):
        label = np.asarray(
            MLP.initial(100, NetworkSettings(label=LabelSettings(output=output)), jax.random.key(3))(inputs)
        )
        assert np.abs(label - 1).std() < 0.5
        assert label.dtype == np.float32


def test_held_out_labels_are_those_of_the_stars_own_fold():
    networks = ensemble(4, NETWORK, n_folds=3, n_seeds=2)
    inputs = jnp.asarray(np.random.default_rng(1).standard_normal((6, 4)), jnp.float32)
    labels = np.asarray(networks.labels(inputs))
    fold = np.array([0, 1, 2, 1, -1, -1])
    found = np.asarray(networks.held_out_labels(inputs, jnp.asarray(fold)))
    assert found.shape == (2, 6)
    for star in range(4):
        np.testing.assert_array_equal(found[:, star], labels[fold[star], :, star])
    np.testing.assert_allclose(found[:, 4:], labels.mean(0)[:, 4:], rtol=1e-6)


def test_labels_of_an_ensemble_are_those_of_its_networks():
    networks = ensemble(4, NETWORK, n_folds=2, n_seeds=3)
    inputs = jnp.asarray(np.random.default_rng(1).standard_normal((6, 4)), jnp.float32)
    labels = np.asarray(networks.labels(inputs))
    for number in range(6):
        one = jax.tree.map(lambda leaf, k=number: leaf[k], networks.networks)
        fold, seed = divmod(number, 3)
        np.testing.assert_allclose(labels[fold, seed], networks.typical[fold] * one(inputs), rtol=1e-6)


def test_stars_that_are_not_to_be_used_leave_no_trace():
    use = np.arange(300) % 3 > 0
    stars = population(folds=1)
    spoilt = stars._replace(
        inputs=np.where(use[:, None], stars.inputs, 9).astype(np.float32), parallax=np.where(use, stars.parallax, 50.0)
    )
    network = NetworkSettings(hidden=())
    one, other = (train_mixture(given._replace(use=use), network, 2, SETTINGS, 1) for given in (stars, spoilt))
    for mine, theirs in zip(leaves(one[0].networks), leaves(other[0].networks), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(one[1], other[1])
