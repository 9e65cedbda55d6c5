"""The multilayer perceptron that maps coefficients to the label (section 3.2.2, Eq. 5)."""

from __future__ import annotations

from typing import Literal

import equinox as eqx
from pydantic import PositiveInt

from specdis.accelerator import jax, jnp
from specdis.settings import Settings


class NetworkSettings(Settings):
    """Section [network]: section 3.2.2 of the paper."""

    kind: Literal["mlp"] = "mlp"
    """A multilayer perceptron with one output, the label."""
    hidden: tuple[PositiveInt, ...] = (100, 100, 100)
    """Neurons of each hidden layer."""
    output: Literal["linear", "exp"] = "linear"
    """Last step: `linear` as in the paper, or `exp`, which keeps the label positive."""


class MLP(eqx.Module):
    """Hidden layers with ReLU, one output in units of a typical label (Eq. 5).

    Parameters
    ----------
    weights, biases
        One array per layer, shapes (input, output) and (output,).
    output
        Last step.
    """

    weights: tuple[jax.Array, ...]
    biases: tuple[jax.Array, ...]
    output: Literal["linear", "exp"] = eqx.field(static=True)

    @classmethod
    def initial(cls, n_inputs: int, settings: NetworkSettings, key: jax.Array) -> MLP:
        """Return an untrained network for so many coefficients, its weights drawn with `key`.

        Weights of variance 2/n keep the variance of what ReLU passes on (He et al. 2015); the last layer starts at a
        tenth of that, so that every network starts near the typical label.
        """
        sizes = (n_inputs, *settings.hidden, 1)
        gains = (*(1.0 for _ in settings.hidden), 0.1)
        layers = zip(sizes[:-1], sizes[1:], gains, jax.random.split(key, len(gains)), strict=True)
        weights = tuple(g * jnp.sqrt(2 / a) * jax.random.normal(k, (a, b), jnp.float32) for a, b, g, k in layers)
        weights = tuple(weight.astype(jnp.float32) for weight in weights)
        return cls(weights, tuple(jnp.zeros(size, jnp.float32) for size in sizes[1:]), settings.output)

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Return the label over the typical label, shape (star,), of scaled coefficients, shape (star, component)."""
        *hidden, last = zip(self.weights, self.biases, strict=True)
        for weight, bias in hidden:
            inputs = jax.nn.relu(inputs @ weight + bias)
        result = (inputs @ last[0] + last[1])[:, 0]
        return jnp.exp(result) if self.output == "exp" else 1 + result
