"""What networks learn from: training stars, and the loss of each of them (Eqs 3 to 8)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from specdis.arrays import Bool, Float32, Float64, Int, Int64
from specdis.jaxed import jax, jnp
from specdis.network.likelihood import chi2, robust
from specdis.network.mixture import ParallaxInErrors, Spurious, log_probabilities
from specdis.network.mlp import MLP, MixtureNetwork
from specdis.network.nuisances import Joint, NuisanceData, Nuisances, OwnParallaxes
from specdis.network.settings import NetworkSettings, TrainingSettings
from specdis.photometry import absolute_magnitude


class TrainingStars(NamedTuple):
    """The training set, one row per trainable star.

    Parameters
    ----------
    inputs
        Scaled coefficients, float32, shape (star, component); arrays of `aligned_empty` are not copied on a CPU.
    factor
        10^(2 - m/5) with m the extinction-corrected G magnitude, shape (star,): model parallax = label x factor.
    parallax, error
        Zero-point corrected parallax and its error in mas, shape (star,).
    fold
        Fold that holds the star out, shape (star,); -1 for none.
    identifier
        Star identifier, shape (star,): all rows of one star are on one side of every split.
    use
        Stars to train on, shape (star,); all by default.
    own
        Parallaxes whose nuisances the mixture networks fit; None to fit none.
    """

    inputs: Float32
    factor: Float64
    parallax: Float64
    error: Float64
    fold: Int
    identifier: Int64
    use: Bool | None = None
    own: OwnParallaxes | None = None

    def without(self, nuisances: Nuisances) -> TrainingStars:
        """Return stars with own parallaxes without fitted nuisances, so that these are not fitted again."""
        assert self.own is not None
        parallax, error = self.own.corrected(nuisances)
        return self._replace(parallax=parallax, error=error, own=None)


class Objective(NamedTuple):
    """A kind of network with its data and its loss.

    Parameters
    ----------
    initial
        Makes an untrained network with a random key.
    data
        Data for the loss in addition to the inputs; the first axis of every array is the star.
    typical
        Converts the typical label to the reference of the outputs, shape (fold,).
    loss
        Takes a network, the fold's `typical`, inputs and data; returns the loss of each star.
    decays
        Which parts of a network the decay of weights applies to: a tree that begins as a network does.
    """

    initial: Callable[[jax.Array], Any]
    data: Any
    typical: Callable[[Float64], Float64]
    loss: Callable[[Any, jax.Array, jax.Array, Any], jax.Array]
    decays: Any = True


class _ParallaxData(NamedTuple):
    """Factor, parallax and error of the training stars, on the device."""

    factor: jax.Array
    parallax: jax.Array
    error: jax.Array


def label_objective(stars: TrainingStars, network: NetworkSettings) -> Objective:
    """Return what label networks learn."""
    label = network.label

    def loss(one: MLP, unit: jax.Array, inputs: jax.Array, data: _ParallaxData) -> jax.Array:
        model = one(inputs) * (unit * data.factor)
        if label.loss == "chi2":
            return chi2(model, data.parallax, data.error)
        return robust(model, data.parallax, data.error, label.huber, label.intrinsic_scatter)

    columns = (stars.factor, stars.parallax, stars.error)
    return Objective(
        lambda key: MLP.initial(stars.inputs.shape[1], network, key),
        _ParallaxData(*(jnp.asarray(column, jnp.float32) for column in columns)),
        lambda label: label,
        loss,
    )


def mixture_objective(stars: TrainingStars, network: NetworkSettings, n_mixture: int) -> Objective:
    """Return what mixture networks of a number of Gaussians learn."""
    settings = network.mixture

    def loss(one: MixtureNetwork, typical: jax.Array, inputs: jax.Array, data: ParallaxInErrors) -> jax.Array:
        answer = one(inputs)
        answer = answer._replace(mean=answer.mean + typical)
        each = log_probabilities(answer, data, settings.jacobian, Spurious.of(settings))
        return -2 * jax.nn.logsumexp(each, axis=-1)

    return Objective(
        lambda key: MixtureNetwork.initial(stars.inputs.shape[1], network.hidden, n_mixture, key),
        ParallaxInErrors.of(_magnitude(stars), stars.parallax, stars.error),
        absolute_magnitude,
        loss,
    )


def joint_objective(
    stars: TrainingStars, network: NetworkSettings, n_mixture: int, settings: TrainingSettings
) -> Objective:
    """Return what mixture networks learn that fit the nuisances of the parallaxes as well."""
    own = stars.own
    assert own is not None
    alone = mixture_objective(stars, network, n_mixture)
    spurious, tilt = Spurious.of(network.mixture), 1.0 if network.mixture.jacobian == "paper" else 0.0
    # A star and its copies are one; a network learns from those outside its fold that do not stop its training.
    learned = len(np.unique(stars.identifier[stars.fold != 0])) * (1 - settings.early_stopping_fraction)

    def initial(key: jax.Array) -> Joint:
        return Joint(alone.initial(key), jnp.zeros((2, own.terms.shape[1]), jnp.float32))

    def loss(one: Joint, typical: jax.Array, inputs: jax.Array, data: NuisanceData) -> jax.Array:
        parallaxes, more = one.parallaxes(data, spurious, tilt)
        return alone.loss(one.network, typical, inputs, parallaxes) - 2 * (more + one.log_prior() / learned)

    decays = Joint(True, False)  # type: ignore[arg-type]  # flags in place of arrays
    return Objective(initial, NuisanceData.of_stars(_magnitude(stars), own), alone.typical, loss, decays)


def _magnitude(stars: TrainingStars) -> Float64:
    """Return the extinction-corrected G magnitude of the factor, shape (star,)."""
    return 5 * (2 - np.log10(stars.factor))
