"""Networks of all folds and seeds, evaluated together."""

from __future__ import annotations

from typing import Any, NamedTuple

from specdis.arrays import Float64
from specdis.jaxed import jax, jnp
from specdis.network.mixture import Mixture
from specdis.network.mlp import MLP, MixtureNetwork


class Ensemble(NamedTuple):
    """Trained networks, stacked.

    Parameters
    ----------
    networks
        A network whose weights have a leading axis of length fold x seed.
    typical
        Reference of the outputs for each fold, shape (fold,): the label that is the unit of an `MLP`, or the magnitude
        that is the zero of a `MixtureNetwork`.
    n_folds, n_seeds
        Sizes of the two axes.
    """

    networks: Any
    typical: Float64
    n_folds: int
    n_seeds: int

    def labels(self, inputs: jax.Array) -> jax.Array:
        """Return the label of every network, shape (fold, seed, star), of scaled coefficients (star, component)."""
        labels: jax.Array = jax.vmap(MLP.__call__, in_axes=(0, None))(self.networks, inputs)
        unit = jnp.asarray(self.typical, jnp.float32)[:, None, None]
        return unit * labels.reshape(self.n_folds, self.n_seeds, -1)

    def held_out_labels(self, inputs: jax.Array, fold: jax.Array) -> jax.Array:
        """Return labels by networks that were not trained on the star, shape (seed, star).

        A star of fold f is predicted by the networks of fold f; a star of fold -1 by the mean over folds.
        """
        labels = self.labels(inputs)
        own = jnp.take_along_axis(labels, jnp.maximum(fold, 0)[None, None, :], axis=0)[0]
        return jnp.where(fold >= 0, own, labels.mean(0))

    def held_out_mixture(self, inputs: jax.Array, fold: jax.Array) -> Mixture:
        """Return the mean distribution of all networks not trained on the star, shape (star, network, component).

        Fractions add up to 1 over networks and components; those of networks that were trained on the star are 0.
        """
        each = jax.vmap(MixtureNetwork.__call__, in_axes=(0, None))(self.networks, inputs)
        networks_fold = jnp.repeat(jnp.arange(self.n_folds), self.n_seeds)
        unseen = (fold[None, :] < 0) | (fold[None, :] == networks_fold[:, None])
        log_share = jnp.where(unseen, -jnp.log(unseen.sum(0).astype(jnp.float32)), -jnp.inf)
        typical = jnp.repeat(jnp.asarray(self.typical, jnp.float32), self.n_seeds)[:, None, None]
        pooled = Mixture(each.log_weight + log_share[..., None], each.mean + typical, each.sigma)
        return Mixture._make(jnp.moveaxis(values, 0, 1) for values in pooled)
