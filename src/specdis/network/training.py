"""Training (section 3.2 of the paper)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import equinox as eqx
import numpy as np
import optax

from specdis import rng
from specdis.arrays import Array, Bool, Float64, Int, Int64
from specdis.errors import InputError
from specdis.jaxed import jax, jnp
from specdis.network.ensemble import LabelEnsemble, MixtureEnsemble
from specdis.network.mlp import Perceptron
from specdis.network.nuisances import Nuisances
from specdis.network.objectives import Objective, TrainingStars, joint_objective, label_objective, mixture_objective
from specdis.network.settings import NetworkSettings, TrainingSettings

_TILE = 4096


class TrainingState(NamedTuple):
    """State from which an interrupted training resumes exactly; all leaves are arrays.

    Parameters
    ----------
    networks, optimiser
        State after `epoch` epochs; arrays have a leading axis of length fold x seed.
    best, best_loss, best_epoch
        Each network at the lowest loss of its early-stopping stars.
    epoch
        Number of finished epochs.
    history
        Mean loss per training and per early-stopping star, shape (epoch, network, 2), NaN if not reached.
    """

    networks: Any
    optimiser: optax.OptState
    best: Any
    best_loss: Float64
    best_epoch: Int64
    epoch: Int64
    history: Float64


class Checkpoint(Protocol):
    """Storage of an unfinished training."""

    def load(self, state: TrainingState) -> TrainingState:
        """Return the last saved state, or `state` if there is none."""
        ...

    def save(self, state: TrainingState) -> None:
        """Take the state after an epoch; it may decide that it is too early to keep it."""
        ...


def train_label(
    stars: TrainingStars,
    network: NetworkSettings,
    settings: TrainingSettings,
    seed: int,
    checkpoint: Checkpoint | None = None,
) -> tuple[LabelEnsemble, Float64]:
    """Train one label network per fold and seed on the stars outside the fold (Eqs 3-5).

    All networks take each step together, and an epoch is one compiled program. The result is each network at the lowest
    loss of its early-stopping stars, a hashed part of its own training set.

    Parameters
    ----------
    stars
        Stars that may be trained on.
    network, settings
        Sections [network] and [training].
    seed
        Random seed of the run.
    checkpoint
        Storage of the state of an unfinished training.

    Returns
    -------
    ensemble : LabelEnsemble
    history : ndarray, shape (epoch, fold x seed, 2)
        Mean loss per training star and per early-stopping star.

    Raises
    ------
    InputError
        When a fold leaves too few stars to train on, or the loss of a network is never finite.
    """
    objective = label_objective(stars, network)
    trained, typical, history = _train(stars, objective, settings, seed, checkpoint)
    return LabelEnsemble(trained, typical, len(typical), settings.n_seeds), history


def train_mixture(
    stars: TrainingStars,
    network: NetworkSettings,
    n_mixture: int,
    settings: TrainingSettings,
    seed: int,
    checkpoint: Checkpoint | None = None,
) -> tuple[MixtureEnsemble, Float64]:
    """Train mixture networks, as `train_label` does label networks (Eqs 7 and 8).

    The loss is -2 ln of the probability of the parallax in units of its error, which for a distribution
    without width is the chi-square of Eq. 4 up to a constant.

    Parameters
    ----------
    n_mixture
        Number of Gaussians.
    """
    objective = mixture_objective(stars, network, n_mixture)
    trained, typical, history = _train(stars, objective, settings, seed, checkpoint)
    return MixtureEnsemble(trained, typical, len(typical), settings.n_seeds), history


def train_joint(
    stars: TrainingStars,
    network: NetworkSettings,
    n_mixture: int,
    settings: TrainingSettings,
    seed: int,
    checkpoint: Checkpoint | None = None,
) -> tuple[tuple[MixtureEnsemble, Nuisances], Float64]:
    """Train mixture networks as `train_mixture`, and with each the nuisances of the stars' own parallaxes."""
    objective = joint_objective(stars, network, n_mixture, settings)
    trained, typical, history = _train(stars, objective, settings, seed, checkpoint)
    ensemble = MixtureEnsemble(trained.network, typical, len(typical), settings.n_seeds)
    return (ensemble, Nuisances.of_parameters(trained.nuisances)), history


def _train(
    stars: TrainingStars,
    objective: Objective,
    settings: TrainingSettings,
    seed: int,
    checkpoint: Checkpoint | None,
) -> tuple[Any, Float64, Float64]:
    """Train one network per fold and seed, all together; return them, the typical answer of each fold, the history."""
    n_folds = int(stars.fold.max(initial=0)) + 1
    outside = stars.fold[None, :] != np.arange(n_folds)[:, None]
    if stars.use is not None:
        outside &= stars.use
    training, inner = early_stopping_split(stars, outside, settings, seed)
    typical = objective.typical(_typical_labels(stars, outside))
    units = jnp.repeat(jnp.asarray(typical, jnp.float32), settings.n_seeds)
    data = jnp.asarray(stars.inputs, jnp.float32), objective.data
    steps = -(-int(training.sum(1).max()) // settings.batch)
    schedule = optax.cosine_decay_schedule(settings.learning_rate, settings.epochs * steps)
    optimiser = optax.adamw(schedule, weight_decay=settings.weight_decay, mask=objective.decays)
    run_epoch = _epoch_program(objective, optimiser)
    early_stopping_loss = _loss_program(objective)
    state = _start(objective, settings, optimiser, n_folds, seed)
    if checkpoint is not None:
        state = checkpoint.load(state)
    key = jax.random.key(rng.stream(seed, "batches") >> 1)
    index = _padded_index(inner)
    while state.epoch < settings.epochs and (state.epoch - state.best_epoch < settings.patience).any():
        batches = epoch_batches(training, jax.random.fold_in(key, int(state.epoch)), steps)
        networks, moments, loss = run_epoch(state.networks, state.optimiser, units, data, batches)
        inner_now = np.asarray(early_stopping_loss(networks, units, data, *index))
        state = _after_epoch(state, networks, moments, np.asarray(loss), inner_now, settings.patience)
        if checkpoint is not None:
            checkpoint.save(state)
    lost = int((~np.isfinite(state.best_loss)).sum())
    if lost:
        raise InputError(
            "training",
            expected="a finite loss of the early-stopping stars",
            found=f"none in {lost} of {len(state.best_loss)} networks",
            remedy="Lower training.learning_rate.",
        )
    return state.best, typical, state.history[: int(state.epoch)]


def early_stopping_split(
    stars: TrainingStars, outside: Bool, settings: TrainingSettings, seed: int
) -> tuple[Bool, Bool]:
    """Return masks of training and early-stopping stars per network, shape (fold x seed, star)."""
    purposes = (f"inner {number}" for number in range(settings.n_seeds))
    chance = np.stack([rng.uniform(rng.stream(seed, purpose), stars.identifier) for purpose in purposes])
    kept_back = chance < settings.early_stopping_fraction
    shape = len(outside) * settings.n_seeds, len(stars.fold)
    training = (outside[:, None] & ~kept_back[None]).reshape(shape)
    inner = (outside[:, None] & kept_back[None]).reshape(shape)
    if min(training.sum(1).min(), inner.sum(1).min()) < 1:
        raise InputError(
            "sample",
            expected="stars for training and for early stopping outside every fold",
            found=f"{len(stars.fold)} stars in {len(outside)} folds",
            remedy="Select more stars, use fewer folds or raise training.early_stopping_fraction.",
        )
    return training, inner


def _typical_labels(stars: TrainingStars, outside: Bool) -> Float64:
    """Return the single label with the best fit to all parallaxes outside a fold, shape (fold,)."""
    weight = stars.factor / stars.error**2
    return np.asarray(np.abs((outside @ (weight * stars.parallax)) / (outside @ (weight * stars.factor))))


def _start(
    objective: Objective,
    settings: TrainingSettings,
    optimiser: optax.GradientTransformation,
    n_folds: int,
    seed: int,
) -> TrainingState:
    """Return untrained networks: a seed starts from the same weights in every fold."""
    seeds = [jax.random.key(rng.stream(seed, f"weights {number}") >> 1) for number in range(settings.n_seeds)]
    networks = eqx.filter_vmap(objective.initial)(jnp.stack(seeds * n_folds))
    n_networks = n_folds * settings.n_seeds
    return TrainingState(
        networks,
        optimiser.init(networks),
        networks,
        np.full(n_networks, np.inf),
        np.zeros(n_networks, np.int64),
        np.zeros((), np.int64),
        np.full((settings.epochs, n_networks, 2), np.nan),
    )


def epoch_batches(training: Bool, key: jax.Array, steps: int) -> tuple[Int, Bool]:
    """Return the rows of an epoch's batches, and a mask of those that count, both of shape (step, network, batch).

    Each network has its own order, in which each of its stars counts once. Stars are spread evenly over the steps, so
    that none is left over; batches of networks with fewer stars are padded with rows that do not count. numpy sorts
    three times faster than JAX on a CPU.
    """

    def chances(key: jax.Array) -> jax.Array:
        return jax.random.uniform(key, training.shape[1:], jnp.float32)

    place = np.where(training, np.asarray(jax.vmap(chances)(jax.random.split(key, len(training)))), 2)
    stars = training.sum(1, keepdims=True)
    position = np.arange(-(-int(stars.max()) // steps) * steps)
    order = np.argsort(place, axis=1, kind="stable").astype(np.int32)
    rows = np.take_along_axis(order, position % stars, axis=1)
    # Positions run through all steps before a batch gets its next star.
    shape = len(training), -1, steps
    return rows.reshape(shape).transpose(2, 0, 1), (position < stars).reshape(shape).transpose(2, 0, 1)


def _epoch_program(
    objective: Objective, optimiser: optax.GradientTransformation
) -> Callable[..., tuple[Perceptron, optax.OptState, jax.Array]]:
    """Compile one epoch: every network is trained once on each of its training stars, in batches."""

    def batch_loss(network: Perceptron, unit: jax.Array, inputs: jax.Array, data: Any, counts: jax.Array) -> jax.Array:
        loss = objective.loss(network, unit, inputs, data)
        return jnp.where(counts, loss, 0).sum() / jnp.maximum(counts.sum(), 1)

    def step(
        carry: tuple[Perceptron, optax.OptState],
        batch: tuple[jax.Array, jax.Array],
        units: jax.Array,
        data: tuple[jax.Array, Any],
    ) -> tuple[tuple[Perceptron, optax.OptState], jax.Array]:
        networks, moments = carry
        rows, counts = batch
        stars = jax.tree.map(lambda column: column[rows], data)
        loss, gradient = jax.vmap(jax.value_and_grad(batch_loss))(networks, units, *stars, counts)
        updates, moments = optimiser.update(gradient, moments, networks)
        return (optax.apply_updates(networks, updates), moments), loss

    @jax.jit
    def epoch(
        networks: Perceptron,
        moments: optax.OptState,
        units: jax.Array,
        data: tuple[jax.Array, Any],
        batches: tuple[jax.Array, jax.Array],
    ) -> tuple[Perceptron, optax.OptState, jax.Array]:
        (networks, moments), loss = jax.lax.scan(lambda c, b: step(c, b, units, data), (networks, moments), batches)
        return networks, moments, loss.mean(0)

    return epoch


def _padded_index(chosen: Bool) -> tuple[jax.Array, jax.Array]:
    """Return the rows in each network's mask, in tiles, and their weight, 0 for padding."""
    most = -(-int(chosen.sum(1).max()) // _TILE) * _TILE
    rows = np.argsort(~chosen, axis=1, kind="stable")[:, :most]
    rows = np.pad(rows, ((0, 0), (0, most - rows.shape[1])))
    weight = np.arange(most) < chosen.sum(1, keepdims=True)
    shape = (len(chosen), -1, _TILE)
    return jnp.asarray(rows.reshape(shape), jnp.int32), jnp.asarray(weight.reshape(shape))


def _loss_program(objective: Objective) -> Callable[..., jax.Array]:
    """Compile the mean loss per star of each network over its own stars, tile by tile."""

    def one(
        network: Perceptron, unit: jax.Array, data: tuple[jax.Array, Any], rows: jax.Array, weight: jax.Array
    ) -> jax.Array:
        def tile(total: jax.Array, part: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            loss = objective.loss(network, unit, *jax.tree.map(lambda column: column[part[0]], data))
            return total + jnp.where(part[1], loss, 0).sum(dtype=jnp.float64), None

        total, _ = jax.lax.scan(tile, jnp.zeros((), jnp.float64), (rows, weight))
        return total / weight.sum()

    return jax.jit(jax.vmap(one, in_axes=(0, 0, None, 0, 0)))


def _after_epoch(
    state: TrainingState, networks: Perceptron, moments: optax.OptState, loss: Array, inner: Array, patience: int
) -> TrainingState:
    """Update the best networks; a network that ran out of patience stays unchanged."""
    better = (inner < state.best_loss) & (state.epoch - state.best_epoch < patience)

    def keep(new: jax.Array, old: jax.Array) -> jax.Array:
        return jnp.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    state.history[int(state.epoch)] = np.stack([loss, inner], axis=1)
    return TrainingState(
        networks,
        moments,
        jax.tree.map(keep, networks, state.best),
        np.where(better, inner, state.best_loss),
        np.where(better, state.epoch + 1, state.best_epoch),
        state.epoch + 1,
        state.history,
    )
