"""Multilayer perceptrons that map coefficients to the label or to a mixture (section 3.2.2, Eqs 5 and 7)."""

from __future__ import annotations

from typing import Literal, Self

import equinox as eqx

from specdis.jaxed import jax, jnp
from specdis.network.mixture import Mixture
from specdis.network.settings import NetworkSettings

_LEAST_SIGMA = 0.02  # mag
_FIRST_GAP = 0.75  # mag; excess brightness of twins over one of them (Eq. 6)
_MAGNITUDES_PER_OUTPUT = 3.0


class Perceptron(eqx.Module):
    """Hidden layers with ReLU, and a last linear one.

    Parameters
    ----------
    weights, biases
        One array per layer, shapes (input, output) and (output,).
    """

    weights: tuple[jax.Array, ...]
    biases: tuple[jax.Array, ...]

    def outputs(self, inputs: jax.Array) -> jax.Array:
        """Return the last layer's output, shape (star, output), for scaled coefficients, shape (star, component)."""
        *hidden, last = zip(self.weights, self.biases, strict=True)
        for weight, bias in hidden:
            inputs = jax.nn.relu(inputs @ weight + bias)
        return inputs @ last[0] + last[1]


def _layers(
    n_inputs: int, hidden: tuple[int, ...], n_outputs: int, key: jax.Array
) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
    """Return untrained weights and biases, the weights drawn with `key`.

    Weights of variance 2/n preserve the variance through ReLU (He et al. 2015); the last layer starts at a tenth of
    that, so that every network starts with nearly equal outputs for all stars.
    """
    sizes = (n_inputs, *hidden, n_outputs)
    gains = (*(1.0 for _ in hidden), 0.1)
    layers = zip(sizes[:-1], sizes[1:], gains, jax.random.split(key, len(gains)), strict=True)
    weights = tuple(g * jnp.sqrt(2 / a) * jax.random.normal(k, (a, b), jnp.float32) for a, b, g, k in layers)
    weights = tuple(weight.astype(jnp.float32) for weight in weights)
    return weights, tuple(jnp.zeros(size, jnp.float32) for size in sizes[1:])


class MLP(Perceptron):
    """The label network: one output, in units of a typical label (Eq. 5).

    Parameters
    ----------
    output
        Last step.
    """

    output: Literal["linear", "exp"] = eqx.field(static=True)

    @classmethod
    def initial(cls, n_inputs: int, settings: NetworkSettings, key: jax.Array) -> Self:
        """Return an untrained network for a number of coefficients."""
        return cls(*_layers(n_inputs, settings.hidden, 1, key), settings.label.output)

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Return the label over the typical label, shape (star,), of scaled coefficients, shape (star, component)."""
        result = self.outputs(inputs)[:, 0]
        return jnp.exp(result) if self.output == "exp" else 1 + result


class MixtureNetwork(Perceptron):
    """The mixture network: fractions, means and standard deviations of Gaussians in magnitude (Eq. 7).

    Components are sorted by their means, the faintest first: with two, the first represents single stars and the second
    binaries.

    Parameters
    ----------
    n_mixture
        Number of Gaussians.
    """

    n_mixture: int = eqx.field(static=True)

    @classmethod
    def initial(cls, n_inputs: int, hidden: tuple[int, ...], n_mixture: int, key: jax.Array) -> Self:
        """Return an untrained network for a number of coefficients: 3 n - 1 outputs for n Gaussians."""
        return cls(*_layers(n_inputs, hidden, 3 * n_mixture - 1, key), n_mixture)

    @classmethod
    def of(cls, weights: tuple[jax.Array, ...], biases: tuple[jax.Array, ...]) -> Self:
        """Return the network of these layers, or a stack of them: the last one has 3 n - 1 outputs."""
        return cls(weights, biases, (biases[-1].shape[-1] + 1) // 3)

    def __call__(self, inputs: jax.Array) -> Mixture:
        """Return the mixture of each star, relative to the typical magnitude, from scaled coefficients."""
        n = self.n_mixture
        outputs = self.outputs(inputs)
        logits, faintest, gaps, widths = jnp.split(outputs, (n - 1, n, 2 * n - 1), axis=-1)
        logits = jnp.concatenate([jnp.zeros_like(faintest), logits], axis=-1)
        gaps = jax.nn.softplus(gaps + jnp.log(jnp.expm1(jnp.asarray(_FIRST_GAP, outputs.dtype))))
        below = jnp.concatenate([jnp.zeros_like(faintest), jnp.cumsum(gaps, axis=-1)], axis=-1)
        return Mixture(
            jax.nn.log_softmax(logits, axis=-1),
            _MAGNITUDES_PER_OUTPUT * faintest - below,
            _LEAST_SIGMA + jax.nn.softplus(widths),
        )
