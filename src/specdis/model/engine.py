"""What a model computes: compiled programs from pixels to the answers of its networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from specdis.arrays import Array, Columns, Float32, Float64, Int64, ranges
from specdis.binaries import BinariesSettings
from specdis.calibration import Calibration, Traits
from specdis.colours import Bands
from specdis.components import Basis
from specdis.distances.answers import GIANT_MAGNITUDE, Labels, Magnitudes, between_networks, distribution
from specdis.distances.columns import LEVELS
from specdis.distances.errors import Chain, Errors, Linear, MonteCarlo, Perturbed
from specdis.distances.settings import DistancesSettings
from specdis.distances.targets import Targets
from specdis.domain import Domain
from specdis.encoding.completion import Completer, Completion
from specdis.encoding.encoder import Encoded, Encoder, encoder
from specdis.gaia import Release
from specdis.jaxed import ArrayLike, in_tiles, jax, jnp
from specdis.model.answers import Answered, Answers, PairMagnitudes
from specdis.network.ensemble import Networks
from specdis.network.inputs import NetworkInputs
from specdis.network.mixture import Mixture, ParallaxInErrors, binary_probability, points
from specdis.network.reduction import reduced
from specdis.network.settings import RELEASED, NetworkSettings
from specdis.noise import NativePixels, native_pixels
from specdis.photometry import PhotometrySettings, absolute_magnitude
from specdis.prior import (
    POSTERIOR_COLUMNS,
    Observed,
    Posterior,
    Prior,
    PriorSettings,
    galactic_direction,
    mixture_of,
)
from specdis.prior.stars import observed_in
from specdis.sample import SampleSettings
from specdis.settings import Settings
from specdis.spectra.grid import PixelGrid
from specdis.spectra.pixels import Pixels
from specdis.spectra.settings import SpectraSettings
from specdis.spectra.transform import Transform

_TILE = 128
"""Number of stars in a tile, for blocks of any size, so that equal stars get equal arithmetic."""
_FEW = 8
"""Number of stars in the small tile, used when there are no more, so that a single star is fast."""


class ModelSettings(Settings):
    """Sections of the configuration for predictions."""

    gaia: Release = "dr3"
    """Release of the parallaxes of the training, and of the identifiers of its stars."""
    sample: SampleSettings
    photometry: PhotometrySettings
    spectra: SpectraSettings
    network: NetworkSettings
    distances: DistancesSettings
    prior: PriorSettings
    binaries: BinariesSettings


@dataclass(frozen=True, kw_only=True)
class Engine:
    """The parts of a model that compute.

    Parameters
    ----------
    settings
        The sections of the configuration that predicting needs.
    grid, transform
        The pixels, and what is done to them.
    basis
        Principal components.
    networks
        The networks.
    calibration
        Recalibration of the mixture distributions.
    domain
        Where the model can be trusted.
    prior
        Density of stars for posterior distances; None for none.
    """

    settings: ModelSettings
    grid: PixelGrid
    transform: Transform
    basis: Basis
    networks: Networks
    calibration: Calibration
    domain: Domain
    prior: Prior | None = None

    @property
    def n_pixel(self) -> int:
        """Pixels of the grid."""
        return len(self.grid.wavelength)

    @cached_property
    def scale(self) -> float:
        """Divisor of the coefficients at the input of the networks."""
        return self.basis.scale

    @cached_property
    def network_inputs(self) -> NetworkInputs:
        """What the networks see of coefficients and colours."""
        return NetworkInputs(self.settings.network, self.scale, self.networks.colours)

    def encode(self, pixels: Pixels) -> Encoded:
        """Return the coefficients of stars and the quality of their reconstruction."""
        tiles = (pixels.take(rows) for rows in ranges(len(pixels.bad), _TILE))
        parts = [_rows(self._encode(_filled_pixels(tile)), slice(len(tile.bad))) for tile in tiles]
        joined: Encoded = jax.tree.map(lambda *tiles: np.concatenate(tiles), *parts)
        return joined

    def completion(self, pixels: Pixels, encoded: Encoded) -> Completion | None:
        """Return what completes encoded stars where pixels are missing; None if these are zeros."""
        if not self._completer.completes:
            return None
        return self._complete(pixels.bad[:, self.transform.kept], encoded.pixel_noise, encoded.shrink)

    def answers(
        self, pixels: Pixels, encoded: Encoded, targets: Targets, native: NativePixels | None = None
    ) -> Answers:
        """Return what the model says of stars; parameters as of `Model.predict_pixels`."""
        native = self._native if native is None else native
        # A star that a fold holds out needs the networks of that fold alone, whatever stars are beside it.
        kinds = [np.flatnonzero(targets.fold >= 0), np.flatnonzero(targets.fold < 0)]
        parts = [
            self._answers_of_tile(pixels.take(rows), _rows(encoded, rows), targets.take(rows), native)
            for kind in kinds
            for rows in (kind[tile] for tile in ranges(len(kind), _TILE))
        ]
        place = np.argsort(np.concatenate(kinds))
        joined: Answers = jax.tree.map(lambda *tiles: np.concatenate(tiles, axis=-1)[..., place], *parts)
        return joined

    def _answers_of_tile(self, pixels: Pixels, encoded: Encoded, targets: Targets, native: NativePixels) -> Answers:
        """Return the answers for at most a tile of stars, which are all held out by folds or all not."""
        count, stars = len(pixels.bad), _filled_pixels(pixels)
        encoded = jax.tree.map(lambda values: _filled(np.asarray(values), 0), encoded)
        target: Targets = jax.tree.map(
            lambda column: _filled(column, np.nan if column.dtype == np.float64 else 0), targets
        )
        fold = jnp.asarray(target.fold.astype(np.int32))
        coefficients = jnp.asarray(encoded.coefficients)
        completion = self.completion(stars, encoded)
        bands = self.network_inputs.sound(coefficients / self.scale, target.bands)
        outside = self.domain.outside(np.asarray(coefficients), encoded.fit)
        answered = self._answer[bool((targets.fold >= 0).all())](
            self.network_inputs(coefficients, bands),
            fold,
            target.parallaxes(),
            target.has_parallax,
            Traits(target.snr, target.feh, outside),
            completion,
        )
        perturbed = Perturbed(stars, jnp.asarray(target.keys), fold, coefficients, completion, bands)
        drawn = self._draw(perturbed, native)
        no_spectrum, no_errors = stars.bad[:, self.transform.kept].all(1), ~stars.has_errors

        def known(values: jax.Array, missing: Array) -> Array:
            return np.where(missing, np.nan, np.asarray(values, np.float64))[..., :count]

        return Answers(
            Labels(known(answered.label, no_spectrum), known(drawn[0], no_errors)),
            Magnitudes(
                quantiles=known(answered.quantiles, no_spectrum),
                giant=known(answered.giant, no_spectrum),
                spread=known(answered.spread, no_spectrum),
                draws=known(drawn[1], no_errors),
                shift=known(answered.shift, no_spectrum),
                stretch=known(answered.stretch, no_spectrum),
                weight=known(jnp.exp(answered.released.log_weight), no_spectrum),
                mean=known(answered.released.mean, no_spectrum),
                sigma=known(answered.released.sigma, no_spectrum),
            ),
            binary=known(answered.binary, no_spectrum | ~target.has_parallax),
            chi2=np.asarray(encoded.fit.chi2, np.float64)[:count],
            outside=outside[:count],
            lacking=self.network_inputs.lacking(target.bands)[:count],
            odd=np.any(target.bands.known[:count] & ~bands.known[:count], axis=1),
        )

    @cached_property
    def _answer(self) -> tuple[Callable[..., Answered], ...]:
        """What the networks say of scaled coefficients: of stars that folds may hold out, and of those that they do."""
        return self._compiled_answer(own=False), self._compiled_answer(own=True)

    def _compiled_answer(self, *, own: bool) -> Callable[..., Answered]:
        """Return a program for `_answer`; `own` as of `held_out_mixture`."""
        settings = self.settings

        @jax.jit
        def answer(
            inputs: jax.Array,
            fold: jax.Array,
            data: ParallaxInErrors,
            has_parallax: jax.Array,
            traits: Traits,
            completion: Completion | None,
        ) -> Answered:
            predicted = self.networks.mixture.held_out_mixture(inputs, fold, own=own)
            shift, stretch, _ = self.calibration.corrections(predicted, traits)
            mixture = self.calibration.apply(predicted, traits)
            if completion is not None:
                # Missing pixels make a magnitude less certain.
                def total(inputs: jax.Array) -> jax.Array:
                    return self.networks.mixture.held_out_mixture(inputs, fold).pooled().average.sum()

                # A star's answer depends only on its own inputs; the coefficients come first.
                slopes = jax.grad(total)(inputs)[:, : self.basis.n_components] / self.scale
                unseen = jax.vmap(Completion.widening)(completion, slopes)
                mixture = mixture._replace(sigma=jnp.sqrt(mixture.sigma**2 + unseen[:, None, None]))
            released = reduced(mixture.pooled(), RELEASED)
            whole = distribution(mixture.pooled(), data, has_parallax, settings.distances, self.calibration.spurious)
            return Answered(
                label=self.networks.label.held_out_labels(inputs, fold),
                quantiles=whole.quantiles(1 - jnp.asarray(LEVELS, jnp.float32)),
                giant=whole.below(jnp.full(len(inputs), GIANT_MAGNITUDE, jnp.float32)),
                spread=between_networks(mixture),
                shift=shift,
                stretch=stretch,
                released=Mixture(*(values.T for values in released)),
                binary=self._pairs(inputs, fold, data, own=own),
            )

        return answer

    @cached_property
    def _pairs(self) -> Callable[..., jax.Array]:
        """The probability of a binary (Eq. 9), NaN without a binary network, compiled."""

        @partial(jax.jit, static_argnames="own")
        def pairs(inputs: jax.Array, fold: jax.Array, data: ParallaxInErrors, *, own: bool = False) -> jax.Array:
            if self.networks.binaries is None:
                return jnp.full(len(inputs), jnp.nan)
            mixture = self.networks.binaries.held_out_mixture(inputs, fold, own=own)
            jacobian = self.settings.network.mixture.jacobian
            return binary_probability(mixture, data, jacobian, self.calibration.spurious)

        return pairs

    def inputs(self, pixels: Pixels, bands: Bands) -> Float32:
        """Return the networks' inputs of stars, shape (star, input)."""
        scaled = np.asarray(self.encode(pixels).coefficients / np.float32(self.scale), np.float32)
        return self.inputs_of(scaled, bands)

    def inputs_of(self, scaled: Float32, bands: Bands) -> Float32:
        """Return the networks' inputs of stars whose scaled coefficients are known, shape (star, input)."""
        seen, given = self.network_inputs, jnp.asarray(scaled)
        return np.asarray(seen.join(given, seen.sound(given, bands)), np.float32)

    def label_magnitude(self, inputs: Float32, targets: Targets) -> Float64:
        """Return M_G_NN of the label, mag, shape (star,), NaN where it is not positive; arguments as below."""
        labels = self._labels(inputs, targets.fold.astype(np.int32))
        return absolute_magnitude(np.asarray(labels, np.float64).mean(0))

    @cached_property
    def _labels(self) -> Callable[[ArrayLike, ArrayLike], jax.Array]:
        """Labels by every seed, compiled."""
        compiled: Callable[[ArrayLike, ArrayLike], jax.Array] = jax.jit(self.networks.label.held_out_labels)
        return compiled

    def binary_probability(self, inputs: Float32, targets: Targets) -> Float64:
        """Return the probability of a binary (Eq. 9) of stars whose inputs are known, shape (star,).

        Parameters
        ----------
        inputs
            The networks' inputs, shape (star, input).
        targets
            What else is needed of the stars.
        """
        probability = self._pairs(inputs, targets.fold.astype(np.int32), targets.parallaxes())
        return np.where(targets.has_parallax, np.asarray(probability, np.float64), np.nan)

    def posterior(self, predicted: Columns, targets: Targets, position: Columns) -> dict[str, Array]:
        """Return `POSTERIOR_COLUMNS` of stars, NaN without a prior.

        Parameters
        ----------
        predicted
            The columns of `Model.predict_pixels`.
        targets
            Further data of the stars.
        position
            RA and DEC, deg, shape (star,).
        """
        if self._posterior is None:
            return {name: np.full(len(targets.magnitude), np.nan) for name in POSTERIOR_COLUMNS}
        own = (targets.parallaxes(), targets.has_parallax) if self.settings.distances.use_own_parallax else None
        direction = galactic_direction(position["RA"], position["DEC"])
        mixture = mixture_of(predicted, targets.magnitude_error)
        return self._posterior.columns(Observed(mixture, targets.magnitude, direction, own))

    def posterior_in(self, catalogue: Columns) -> tuple[Posterior, Observed] | None:
        """Return the posterior, and what was observed of the stars of a catalogue of this model; None without a prior.

        Parameters
        ----------
        catalogue
            `OBSERVED_COLUMNS`, shape (star,).
        """
        if self._posterior is None:
            return None
        return self._posterior, observed_in(catalogue, own_parallax=self.settings.distances.use_own_parallax)

    @cached_property
    def _posterior(self) -> Posterior | None:
        return None if self.prior is None else Posterior(self.prior, self.calibration.spurious)

    @cached_property
    def _pair_magnitudes(self) -> Callable[[ArrayLike, ArrayLike], jax.Array]:
        """Median of the pair, and mean and standard deviation of the single star, compiled."""

        @jax.jit
        def magnitudes(inputs: jax.Array, fold: jax.Array) -> jax.Array:
            assert self.networks.binaries is not None
            mixture = self.networks.binaries.held_out_mixture(inputs, fold)
            median = points(mixture.pooled()).quantiles(jnp.asarray([0.5], jnp.float32))[0]
            weight = jax.nn.softmax(mixture.log_weight[..., 0], axis=1)
            mean = (weight * mixture.mean[..., 0]).sum(1)
            around = mixture.sigma[..., 0] ** 2 + (mixture.mean[..., 0] - mean[:, None]) ** 2
            return jnp.stack([median, mean, jnp.sqrt((weight * around).sum(1))])

        return magnitudes

    def pair_magnitudes(self, inputs: Float32, targets: Targets) -> PairMagnitudes:
        """Return what the mixture for binaries says of the magnitudes of stars; arguments as in `binary_probability`.

        The model must have such a mixture.
        """
        found = self._pair_magnitudes(inputs, targets.fold.astype(np.int32))
        return PairMagnitudes(*np.asarray(found, np.float64))

    @cached_property
    def _encode(self) -> Encoder:
        """The way from stored pixels to coefficients, compiled: see `encoder`."""
        return encoder(self.transform, self.basis, self.grid, self.settings.spectra)

    @cached_property
    def _completer(self) -> Completer:
        return Completer(self.basis, self.settings.spectra.missing == "estimated", self.transform.unit_norm)

    @cached_property
    def _complete(self) -> Callable[..., Completion]:
        """The way from missing pixels back to the completion of encoded stars, compiled."""
        compiled: Callable[..., Completion] = jax.jit(in_tiles(self._completer.again))
        return compiled

    @cached_property
    def _native(self) -> NativePixels:
        """The native pixels of the grid."""
        return native_pixels(self.grid)

    @cached_property
    def _draw(self) -> Errors:
        """Draws or derivatives through the whole chain, compiled."""
        label, mixture = self.networks.label, self.networks.mixture
        spectra, inputs = self.settings.spectra, self.network_inputs
        chain = Chain(self.grid, spectra, self.transform, self._completer, inputs, label, mixture)
        method = MonteCarlo if self.settings.distances.method == "monte-carlo" else Linear
        return method(chain, self.settings.distances)


def _rows(encoded: Encoded, rows: slice | Int64) -> Encoded:
    """Return what some stars were encoded to."""
    part: Encoded = jax.tree.map(lambda values: np.asarray(values)[rows], encoded)
    return part


def _filled(values: Array, filling: float) -> Array:
    """Pad the last rows of a tile to full size."""
    missing = (_FEW if len(values) <= _FEW else _TILE) - len(values)
    if not missing:
        return values
    return np.concatenate([values, np.full((missing, *values.shape[1:]), filling, values.dtype)])


def _filled_pixels(pixels: Pixels) -> Pixels:
    """Return a tile of full size, its last rows without a good pixel; without errors sigma is 0."""
    sigma = np.zeros_like(pixels.flux) if pixels.sigma is None else pixels.sigma
    return Pixels(_filled(pixels.flux, 0), _filled(sigma, 0), _filled(pixels.bad, True), _filled(pixels.velocity, 0))
