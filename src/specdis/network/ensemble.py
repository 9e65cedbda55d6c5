"""Networks of all folds and seeds, evaluated together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from specdis.arrays import Array, Float64
from specdis.jaxed import jax, jnp
from specdis.network.inputs import ColourScale
from specdis.network.mixture import Mixture
from specdis.network.mlp import MLP, MixtureNetwork, Perceptron
from specdis.network.nuisances import Nuisances
from specdis.network.settings import NetworkSettings

Layers = tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]


@dataclass(frozen=True)
class LabelEnsemble:
    """Trained label networks, stacked.

    Parameters
    ----------
    networks
        A network whose weights have a leading axis of length fold x seed.
    typical
        The label in units of which the networks of each fold answer, shape (fold,).
    n_folds, n_seeds
        Sizes of the two axes.
    """

    networks: MLP
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

    def arrays(self) -> dict[str, Array]:
        """Return the arrays to save: `of` is the inverse."""
        return _arrays(self)

    @classmethod
    def of(cls, arrays: Mapping[str, Array], settings: NetworkSettings) -> LabelEnsemble:
        """Return an ensemble that was saved as `arrays`, of networks with the last step of the settings."""
        return cls(MLP(*_layers(arrays), settings.label.output), *_axes(arrays))


@dataclass(frozen=True)
class MixtureEnsemble:
    """Trained mixture networks, stacked.

    Parameters
    ----------
    networks
        A network whose weights have a leading axis of length fold x seed.
    typical
        The magnitude to which the networks of each fold add, shape (fold,).
    n_folds, n_seeds
        Sizes of the two axes.
    """

    networks: MixtureNetwork
    typical: Float64
    n_folds: int
    n_seeds: int

    def held_out_mixture(self, inputs: jax.Array, fold: jax.Array, *, own: bool = False) -> Mixture:
        """Return the mean distribution of all networks not trained on the star, shape (star, network, component).

        Fractions add up to 1 over networks and components; those of networks that were trained on the star are 0.

        Parameters
        ----------
        inputs
            The networks' inputs, shape (star, input).
        fold
            Fold that holds each star out, shape (star,); -1 for the mean over all folds.
        own
            Whether there is no star of fold -1: then the networks of a star's own fold alone are returned, and what
            follows costs a fraction.
        """
        each = jax.vmap(MixtureNetwork.__call__, in_axes=(0, None))(self.networks, inputs)
        if own:
            return self._of_own_fold(each, fold)
        networks_fold = jnp.repeat(jnp.arange(self.n_folds), self.n_seeds)
        unseen = (fold[None, :] < 0) | (fold[None, :] == networks_fold[:, None])
        log_share = jnp.where(unseen, -jnp.log(unseen.sum(0).astype(jnp.float32)), -jnp.inf)
        typical = jnp.repeat(jnp.asarray(self.typical, jnp.float32), self.n_seeds)[:, None, None]
        pooled = Mixture(each.log_weight + log_share[..., None], each.mean + typical, each.sigma)
        return Mixture._make(jnp.moveaxis(values, 0, 1) for values in pooled)

    def _of_own_fold(self, each: Mixture, fold: jax.Array) -> Mixture:
        """Return the answers of the networks that hold each star out, shape (star, seed, component)."""

        def chosen(values: jax.Array) -> jax.Array:
            folds = values.reshape(self.n_folds, self.n_seeds, *values.shape[1:])
            return jnp.moveaxis(jnp.take_along_axis(folds, fold[None, None, :, None], axis=0)[0], 0, 1)

        log_weight, mean, sigma = (chosen(values) for values in each)
        typical = jnp.asarray(self.typical, jnp.float32)[fold][:, None, None]
        return Mixture(log_weight - np.float32(np.log(self.n_seeds)), mean + typical, sigma)

    def arrays(self) -> dict[str, Array]:
        """Return the arrays to save: `of` is the inverse."""
        return _arrays(self)

    @classmethod
    def of(cls, arrays: Mapping[str, Array]) -> MixtureEnsemble:
        """Return an ensemble that was saved as `arrays`."""
        return cls(MixtureNetwork.of(*_layers(arrays)), *_axes(arrays))


class Networks(NamedTuple):
    """All networks of a model.

    Parameters
    ----------
    label
        Label networks (section 3.2).
    mixture
        Mixture networks for the full sample.
    binaries
        Binary networks (section 5); None if too few stars had precise parallaxes.
    colours
        Centre and width of the colours that they see; None without colours.
    nuisances
        Zero point and inflation that the mixture networks found; None if they did not fit them.
    """

    label: LabelEnsemble
    mixture: MixtureEnsemble
    binaries: MixtureEnsemble | None
    colours: ColourScale | None = None
    nuisances: Nuisances | None = None

    def corrected(self, stars: Mapping[str, Array]) -> dict[str, Array]:
        """Return stars with the nuisances taken out of their parallaxes; they must have `NUISANCE_COLUMNS`."""
        return {**stars, **({} if self.nuisances is None else self.nuisances.applied(stars))}

    def arrays(self) -> dict[str, dict[str, Array]]:
        """Return the arrays to save of each part, by its name."""
        return {name: part.arrays() for name, part in self._asdict().items() if part is not None}

    @classmethod
    def of(cls, arrays: Mapping[str, Mapping[str, Array]], settings: NetworkSettings) -> Networks:
        """Return networks that were saved as `arrays`."""
        pairs = MixtureEnsemble.of(arrays["binaries"]) if "binaries" in arrays else None
        colours = ColourScale.of(arrays["colours"]) if "colours" in arrays else None
        nuisances = Nuisances.of(arrays["nuisances"]) if "nuisances" in arrays else None
        label, mixture = LabelEnsemble.of(arrays["label"], settings), MixtureEnsemble.of(arrays["mixture"])
        return cls(label, mixture, pairs, colours, nuisances)


def _arrays(ensemble: LabelEnsemble | MixtureEnsemble) -> dict[str, Array]:
    networks: Perceptron = ensemble.networks
    layers = enumerate(zip(networks.weights, networks.biases, strict=True))
    return {
        "typical": ensemble.typical,
        "n_folds": np.asarray(ensemble.n_folds),
        "n_seeds": np.asarray(ensemble.n_seeds),
        **{f"{what}{k}": np.asarray(v) for k, pair in layers for what, v in zip(("weight", "bias"), pair, strict=True)},
    }


def _layers(arrays: Mapping[str, Array]) -> Layers:
    layers = range(sum(name.startswith("weight") for name in arrays))
    weights, biases = (tuple(jnp.asarray(arrays[f"{what}{k}"]) for k in layers) for what in ("weight", "bias"))
    return weights, biases


def _axes(arrays: Mapping[str, Array]) -> tuple[Float64, int, int]:
    return arrays["typical"], int(arrays["n_folds"]), int(arrays["n_seeds"])
