"""Errors of spectra in magnitudes: Monte-Carlo draws and linear propagation (section 3.3)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from specdis.colours import Bands
from specdis.distances.settings import DistancesSettings
from specdis.encoding.completion import Completer, Completion
from specdis.jaxed import in_tiles, jax, jnp
from specdis.network.ensemble import LabelEnsemble, MixtureEnsemble
from specdis.network.inputs import NetworkInputs, perturbed_bands
from specdis.noise import NativePixels, noise_of
from specdis.spectra.grid import PixelGrid
from specdis.spectra.pixels import Pixels
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
    inputs
        From coefficients and colours to the inputs of the networks.
    label, mixture
        The label networks and the mixture networks.
    """

    grid: PixelGrid
    spectra: SpectraSettings
    transform: Transform
    completer: Completer
    inputs: NetworkInputs
    label: LabelEnsemble
    mixture: MixtureEnsemble

    def answers(self, coefficients: jax.Array, bands: Bands, fold: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return labels, shape (seed, star), and mean magnitudes of the mixture, (star,)."""
        inputs = self.inputs(coefficients, bands)
        labels = self.label.held_out_labels(inputs, fold)
        return labels, self.mixture.held_out_mixture(inputs, fold).pooled().average


class Perturbed(NamedTuple):
    """Stars whose spectra are perturbed.

    Parameters
    ----------
    pixels
        Their pixels.
    keys
        Random keys, shape (star, 2).
    fold
        Fold that holds each star out, shape (star,).
    coefficients, completion
        Coefficients of the spectra as they are, shape (star, component), and what completed them.
    bands
        Dereddened magnitudes for the colours.
    """

    pixels: Pixels
    keys: jax.Array
    fold: jax.Array
    coefficients: jax.Array
    completion: Completion | None
    bands: Bands


@dataclass(frozen=True)
class Errors(ABC):
    """Propagates the noise of spectra to the answers of the networks.

    Parameters
    ----------
    chain
        The steps from pixels to answers.
    settings
        Section [distances].
    """

    chain: Chain
    settings: DistancesSettings

    def __call__(self, stars: Perturbed, native: NativePixels) -> tuple[jax.Array, jax.Array]:
        """Return the answers for equally likely versions of each spectrum.

        Parameters
        ----------
        stars
            The stars.
        native
            Their native pixels.

        Returns
        -------
        labels : Array, shape (seed, draw, star)
        magnitudes : Array, shape (draw, star)
            Mean magnitudes of the mixture.
        """
        return self._program(stars, native)

    @cached_property
    @abstractmethod
    def _program(self) -> Callable[[Perturbed, NativePixels], tuple[jax.Array, jax.Array]]:
        """What `__call__` does, compiled."""


@dataclass(frozen=True)
class MonteCarlo(Errors):
    """Monte-Carlo draws: perturbed spectra through the same transform, the fixed basis and the networks."""

    @cached_property
    def _program(self) -> Callable[[Perturbed, NativePixels], tuple[jax.Array, jax.Array]]:
        chain, settings = self.chain, self.settings
        noise = noise_of(settings.noise, chain.grid, chain.spectra)

        @jax.jit
        def draw(stars: Perturbed, native: NativePixels) -> tuple[jax.Array, jax.Array]:
            def one(star: tuple[Pixels, jax.Array, Completion | None]) -> jax.Array:
                pixels, key, completion = star
                versions = chain.transform.versions(noise.perturbed(pixels, key, settings.n_draws, native), pixels.bad)
                found = chain.completer.coefficients(versions.T, pixels.bad[chain.transform.kept], completion)
                if completion is None:
                    return found
                normal = jax.random.normal(jax.random.wrap_key_data(key), found.shape, jnp.float32)
                return jnp.asarray(found + completion.versions(normal))

            # Star by star, so that all intermediate arrays stay in the processor's cache.
            drawn = jax.lax.map(one, (stars.pixels, stars.keys, stars.completion))
            n_star, n_draw, n_component = drawn.shape
            bands: Bands = jax.tree.map(lambda values: jnp.repeat(values, n_draw, axis=0), stars.bands)
            normal = jax.vmap(lambda key: _of_colours(key, (n_draw, stars.bands.known.shape[1] + 1)))(stars.keys)
            bands = perturbed_bands(bands, normal.reshape(n_star * n_draw, -1))
            coefficients = drawn.reshape(-1, n_component)
            labels, magnitudes = chain.answers(coefficients, bands, jnp.repeat(stars.fold, n_draw))
            return labels.reshape(-1, n_star, n_draw).swapaxes(1, 2), magnitudes.reshape(n_star, n_draw).T

        return draw


@dataclass(frozen=True)
class Linear(Errors):
    """Linear errors: exact derivatives of every step, instead of draws.

    Noise changes the mean label over seeds and the mean magnitude by a Gaussian whose width follows from derivatives.
    Equally likely points of this Gaussian, the same for all seeds, replace the draws.
    """

    @cached_property
    def _program(self) -> Callable[[Perturbed, NativePixels], tuple[jax.Array, jax.Array]]:
        chain, settings = self.chain, self.settings
        noise = noise_of(settings.noise, chain.grid, chain.spectra)
        levels = ndtri((np.arange(settings.n_draws) + 0.5) / settings.n_draws)
        points = jnp.asarray(levels / levels.std(ddof=1), jnp.float32)

        def mean_answers(coefficients: jax.Array, normal: jax.Array, bands: Bands, fold: jax.Array) -> jax.Array:
            one: Bands = jax.tree.map(lambda values: values[None], perturbed_bands(bands, normal))
            labels, magnitudes = chain.answers(coefficients[None], one, fold[None])
            return jnp.stack([labels.mean(0)[0], magnitudes[0]])

        @jax.jit
        def draw(stars: Perturbed, native: NativePixels) -> tuple[jax.Array, jax.Array]:
            def one(
                pixels: Pixels, slopes: jax.Array, of_colours: jax.Array, completion: Completion | None
            ) -> jax.Array:
                def steps(flux: jax.Array) -> jax.Array:
                    spectrum = chain.transform.one(flux, pixels.bad)
                    return chain.completer.coefficients(spectrum, pixels.bad[chain.transform.kept], completion)

                # A vector times the derivatives of all steps up to the coefficients, for each of the two answers.
                _, pull_back = jax.vjp(steps, pixels.flux.astype(jnp.float32))
                (per_pixel,) = jax.vmap(pull_back)(slopes)
                unseen = 0 if completion is None else completion.spread(slopes)
                return jnp.sqrt(noise.variances(pixels, per_pixel, native) + unseen + (of_colours**2).sum(-1))

            n_star, n_band = stars.bands.known.shape
            still = jnp.zeros((n_star, n_band + 1), jnp.float32)
            derivatives = jax.vmap(jax.jacrev(mean_answers, argnums=(0, 1)))
            slopes, of_colours = derivatives(stars.coefficients, still, stars.bands, stars.fold)
            of_label, of_magnitude = in_tiles(one)(stars.pixels, slopes, of_colours, stars.completion).T
            labels, magnitudes = chain.answers(stars.coefficients, stars.bands, stars.fold)
            return labels[:, None] + of_label * points[:, None], magnitudes + of_magnitude * points[:, None]

        return draw


def _of_colours(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """Return normal numbers for the colours of a star, independent of those for its spectrum."""
    return jax.random.normal(jax.random.fold_in(jax.random.wrap_key_data(key), 1), shape, jnp.float32)
