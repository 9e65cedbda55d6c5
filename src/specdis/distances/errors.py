"""Errors of spectra in magnitudes: Monte-Carlo draws and linear propagation (section 3.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtri

from specdis.distances.settings import DistancesSettings
from specdis.encoding.completion import Completer, Completion
from specdis.jaxed import in_tiles, jax, jnp
from specdis.network.ensemble import Ensemble
from specdis.noise import NativePixels, perturber, propagator
from specdis.spectra.grid import PixelGrid
from specdis.spectra.settings import SpectraSettings
from specdis.spectra.transform import Transform


class Chain(NamedTuple):
    """All steps from stored pixels to the answers of the networks.

    Parameters
    ----------
    grid, spectra
        The pixels, and their normalisation.
    transform, completer
        The steps from pixels to coefficients.
    scale
        Divisor of the coefficients at the input of the networks.
    label, mixture
        The label networks and the mixture networks.
    """

    grid: PixelGrid
    spectra: SpectraSettings
    transform: Transform
    completer: Completer
    scale: float
    label: Ensemble
    mixture: Ensemble

    def answers(self, inputs: jax.Array, fold: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return labels, shape (seed, star), and mean magnitudes of the mixture, (star,), of scaled coefficients."""
        labels = self.label.held_out_labels(inputs, fold)
        return labels, self.mixture.held_out_mixture(inputs, fold).pooled().average


Draw = Callable[..., tuple[jax.Array, jax.Array]]
"""Takes flux, sigma, bad (star, pixel), velocity (star,), keys (star, 2), fold (star,), the coefficients (star,
component) of the unperturbed spectra, their completion and their native pixels; returns labels, shape (seed, draw,
star), and mean magnitudes of the mixture, (draw, star), of equally likely versions of the spectra."""


def drawer(chain: Chain, settings: DistancesSettings) -> Draw:
    """Compile the Monte-Carlo draws: perturbed spectra through the same transform, the fixed basis and the networks."""
    perturb = perturber(chain.grid, chain.spectra, settings.n_draws, settings.noise)

    @jax.jit
    def draw(
        flux: jax.Array,
        sigma: jax.Array,
        bad: jax.Array,
        velocity: jax.Array,
        keys: jax.Array,
        fold: jax.Array,
        coefficients: jax.Array,
        completion: Completion | None,
        native: NativePixels,
    ) -> tuple[jax.Array, jax.Array]:
        del coefficients

        def one(star: tuple[Any, ...]) -> jax.Array:
            flux, sigma, bad, velocity, key, completion = star
            versions = chain.transform.versions(perturb(flux, sigma, bad, velocity, key, native), bad)
            found = chain.completer.coefficients(versions.T, bad[chain.transform.kept], completion)
            if completion is None:
                return found
            normal = jax.random.normal(jax.random.wrap_key_data(key), found.shape, jnp.float32)
            return jnp.asarray(found + completion.versions(normal))

        # Star by star, so that all intermediate arrays stay in the processor's cache.
        drawn = jax.lax.map(one, (flux, sigma, bad, velocity, keys, completion))
        n_star, n_draw, n_component = drawn.shape
        inputs = drawn.reshape(-1, n_component) / chain.scale
        labels, magnitudes = chain.answers(inputs, jnp.repeat(fold, n_draw))
        return labels.reshape(-1, n_star, n_draw).swapaxes(1, 2), magnitudes.reshape(n_star, n_draw).T

    return draw


def linear(chain: Chain, settings: DistancesSettings) -> Draw:
    """Compile the linear errors: exact derivatives of every step, instead of draws.

    Noise changes the mean label over seeds and the mean magnitude by a Gaussian whose width follows from derivatives.
    Equally likely points of this Gaussian, the same for all seeds, replace the draws.
    """
    propagate = propagator(chain.grid, chain.spectra, settings.noise)
    points = ndtri((np.arange(settings.n_draws) + 0.5) / settings.n_draws)
    points = jnp.asarray(points / points.std(ddof=1), jnp.float32)

    @jax.jit
    def draw(
        flux: jax.Array,
        sigma: jax.Array,
        bad: jax.Array,
        velocity: jax.Array,
        keys: jax.Array,
        fold: jax.Array,
        coefficients: jax.Array,
        completion: Completion | None,
        native: NativePixels,
    ) -> tuple[jax.Array, jax.Array]:
        del keys

        def mean_answers(coefficients: jax.Array, fold: jax.Array) -> jax.Array:
            labels, magnitudes = chain.answers(coefficients[None] / chain.scale, fold[None])
            return jnp.stack([labels.mean(0)[0], magnitudes[0]])

        def one(
            flux: jax.Array,
            sigma: jax.Array,
            bad: jax.Array,
            velocity: jax.Array,
            slopes: jax.Array,
            completion: Completion | None,
        ) -> jax.Array:
            def steps(flux: jax.Array) -> jax.Array:
                spectrum = chain.transform.one(flux, bad)
                return chain.completer.coefficients(spectrum, bad[chain.transform.kept], completion)

            # A vector times the derivatives of all steps up to the coefficients, for each of the two answers.
            _, pull_back = jax.vjp(steps, flux.astype(jnp.float32))
            (per_pixel,) = jax.vmap(pull_back)(slopes)
            unseen = 0 if completion is None else completion.spread(slopes)
            return jnp.sqrt(propagate(flux, sigma, bad, velocity, per_pixel, native) + unseen)

        slopes = jax.vmap(jax.jacrev(mean_answers))(coefficients, fold)
        of_label, of_magnitude = in_tiles(one)(flux, sigma, bad, velocity, slopes, completion).T
        labels, magnitudes = chain.answers(coefficients / chain.scale, fold)
        return labels[:, None] + of_label * points[:, None], magnitudes + of_magnitude * points[:, None]

    return draw
