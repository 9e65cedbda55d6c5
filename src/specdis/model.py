"""A trained model: everything that turns native pixels into distances, saved as one folder, without training data."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from specdis import catalogue
from specdis.arrays import Array, Bool, Float32, Float64, ranges
from specdis.binaries import BinariesSettings, classify
from specdis.calibration import Calibration
from specdis.components import Basis
from specdis.distances.answers import GIANT_MAGNITUDE, Labels, Magnitudes, between_networks, distribution
from specdis.distances.columns import LEVELS, summarise, summarise_labels, summarise_mixture
from specdis.distances.errors import Chain, drawer, linear
from specdis.distances.settings import DistancesSettings
from specdis.distances.targets import Targets
from specdis.domain import MOST_BAD, Domain, Limits
from specdis.encoding.completion import Completer, Completion
from specdis.encoding.encoder import Encoder, encoder
from specdis.errors import InputError, ProductError
from specdis.flags import Flag
from specdis.jaxed import jax, jnp
from specdis.log import Progress, logger
from specdis.network.ensemble import Ensemble
from specdis.network.mixture import ParallaxInErrors, binary_probability, points
from specdis.network.mlp import MLP, MixtureNetwork, NetworkSettings, Perceptron
from specdis.noise import NativePixels, native_pixels
from specdis.photometry import PhotometrySettings, absolute_magnitude, geometric_magnitude
from specdis.sample import SampleSettings, TrainedStars, select
from specdis.settings import Settings
from specdis.soundness import misfits
from specdis.spectra.grid import ArmPixels, PixelGrid
from specdis.spectra.normalise import Normalised, normalise
from specdis.spectra.settings import SpectraSettings
from specdis.spectra.transform import Transform
from specdis.storage import Provenance, digest, file_digest, plain, read_arrays, read_json, write_arrays, write_json
from specdis.surveys.arrays import ArraySurvey
from specdis.surveys.base import IDENTIFIER, Arm, Fault, Spectra, Stars, Survey
from specdis.surveys.values import say

if TYPE_CHECKING:
    from astropy.table import Table

CARD, _TRAINED = "model.json", "trained_stars.npz"
_BLOCK = 2048
"""Number of stars with spectra in memory at once."""
_TILE = 128
"""Number of stars in a tile, for blocks of any size, so that equal stars get equal arithmetic."""
_FEW = 8
"""Number of stars in the small tile, used when there are no more, so that a single star is fast."""


class ModelSettings(Settings):
    """Sections of the configuration for predictions."""

    sample: SampleSettings
    photometry: PhotometrySettings
    spectra: SpectraSettings
    network: NetworkSettings
    distances: DistancesSettings
    binaries: BinariesSettings


class Networks(NamedTuple):
    """All networks of a model.

    Parameters
    ----------
    label
        Label networks (section 3.2); the model's card has their `loss`.
    mixture
        Mixture networks for the full sample.
    binaries
        Binary networks (section 5); None if too few stars had precise parallaxes.
    """

    label: Ensemble
    mixture: Ensemble
    binaries: Ensemble | None


class PairMagnitudes(NamedTuple):
    """Absolute magnitudes of stars by the two Gaussians of section 5, over all networks.

    Parameters
    ----------
    median
        Median of both Gaussians together, as in section 5, mag, shape (star,).
    single, sigma
        Mean and standard deviation of the fainter one, that of single stars, mag, shape (star,).
    """

    median: Float64
    single: Float64
    sigma: Float64


class _Tile(NamedTuple):
    """Results for a tile of stars; the last axis of every array is the star."""

    label: Array
    draws: Array
    quantiles: Array
    giant: Array
    spread: Array
    mixture_draws: Array
    shift: Array
    stretch: Array
    binary: Array
    outside: Array
    chi2: Array


class Predicted(NamedTuple):
    """Predictions for the stars of a survey.

    Parameters
    ----------
    stars
        The sample.
    columns
        The columns of the catalogue, in its order.
    spectra
        Number of readable spectra.
    """

    stars: Stars
    columns: dict[str, Array]
    spectra: int


@dataclass(frozen=True)
class Model:
    """A trained model.

    Parameters
    ----------
    settings
        Sections of the configuration for predictions.
    grid, transform
        The pixels and their transform.
    sky
        Observed-frame windows that are masked, vacuum Angstrom.
    basis
        Principal components.
    networks
        The networks.
    calibration
        Recalibration of the distributions.
    training_error
        The paper's one training error, mag.
    domain
        Domain of the training set.
    seed
        Random seed of the run; a star's draws depend only on it and on the identifier.
    card
        Description of training set and scores, in plain values.
    trained
        Returns the training stars, read when first needed.
    """

    settings: ModelSettings
    grid: PixelGrid
    transform: Transform
    sky: tuple[tuple[float, float], ...]
    basis: Basis
    networks: Networks
    calibration: Calibration
    training_error: float
    domain: Domain
    seed: int
    card: Mapping[str, Any] = field(default_factory=dict)
    trained: Callable[[], TrainedStars] = TrainedStars.unknown

    @property
    def n_pixel(self) -> int:
        """Pixels of the grid."""
        return len(self.grid.wavelength)

    @cached_property
    def scale(self) -> float:
        """Divisor of the coefficients at the input of the networks."""
        return self.basis.scale

    def save(self, directory: Path, provenance: Provenance) -> None:
        """Write the model as a folder of npz files and model.json, which has their checksums and its own."""
        write_arrays(directory / "domain.npz", provenance, {"reference": self.domain.reference})
        native = {f"native_{arm.name}": arm.native for arm in self.grid.arms}
        pixels = {"wavelength": self.grid.wavelength, "kept": np.asarray(self.transform.kept), **native}
        if self.transform.weight is not None:
            pixels["weight"] = np.asarray(self.transform.weight)
        write_arrays(directory / "preprocessing.npz", provenance, pixels)
        write_arrays(directory / "basis.npz", provenance, self.basis.arrays())
        for name, ensemble in self.networks._asdict().items():
            if ensemble is not None:
                write_arrays(directory / f"{name}.npz", provenance, ensemble_arrays(ensemble))
        write_arrays(directory / _TRAINED, provenance, self.trained()._asdict())
        content = plain(
            {
                "provenance": provenance.to_dict(),
                "settings": self.settings.model_dump(mode="json"),
                "arms": [[arm.name, arm.start, arm.stop] for arm in self.grid.arms],
                "sky_windows": self.sky,
                "training_error_mag": self.training_error,
                "calibration": self.calibration._asdict(),
                "domain": self.domain.limits.model_dump(mode="json"),
                "card": self.card,
                "parts": {path.name: file_digest(path) for path in sorted(directory.glob("*.npz"))},
            }
        )
        write_json(directory / CARD, {**content, "sum": digest(content)})

    def predict_pixels(
        self, pixels: Normalised, velocity: Float64, targets: Targets, native: NativePixels | None = None
    ) -> dict[str, Array]:
        """Predict stars from stored pixels.

        Parameters
        ----------
        pixels
            Flux over continuum on the model's grid, shape (star, pixel).
        velocity
            Velocity in km/s by which the native pixels were brought to rest, shape (star,).
        targets
            Further data of the stars.
        native
            The native pixels, which have independent noise, if they differ from those of the model's grid.

        Returns
        -------
        dict
            The columns of `summarise`, PROB_BINARY, CHI2_RECONSTRUCTION and FRACTION_BAD, shape (star,).
        """
        native = self._native if native is None else native
        parts = [self._predict_tile(pixels, velocity, targets, native, rows) for rows in ranges(len(velocity), _TILE)]
        tile = _Tile(*(np.concatenate(piece, axis=-1) for piece in zip(*parts, strict=True)))
        columns = summarise(
            summarise_labels(
                Labels(tile.label, tile.draws), targets.magnitude, self.training_error, self.settings.distances
            ),
            summarise_mixture(
                Magnitudes(tile.quantiles, tile.giant, tile.spread, tile.mixture_draws, tile.shift, tile.stretch),
                targets.magnitude,
            ),
            self.settings.network.kind,
        )
        bad = pixels.bad[:, self.transform.kept].mean(1)
        columns["FLAGS"] |= np.where(tile.outside & (bad < 1), Flag.OUTSIDE_DOMAIN, 0).astype(np.int32)
        columns["FLAGS"] |= np.where(bad > MOST_BAD, Flag.MANY_BAD_PIXELS, 0).astype(np.int32)
        return {
            **columns,
            "PROB_BINARY": tile.binary.astype(np.float32),
            "CHI2_RECONSTRUCTION": tile.chi2.astype(np.float32),
            "FRACTION_BAD": bad.astype(np.float32),
        }

    def _predict_tile(
        self, pixels: Normalised, velocity: Float64, targets: Targets, native: NativePixels, rows: slice
    ) -> _Tile:
        """Predict up to one tile of stars."""
        count = len(velocity[rows])
        flux, bad = _filled(pixels.flux[rows], 0), _filled(pixels.bad[rows], True)
        sigma = np.zeros_like(flux) if pixels.sigma is None else _filled(pixels.sigma[rows], 0)
        target = Targets._make(_filled(column[rows], np.nan if column.dtype.kind == "f" else 0) for column in targets)
        fold = jnp.asarray(target.fold.astype(np.int32))
        encoded = self.encode(flux, sigma, bad)
        coefficients, completion = encoded.coefficients, encoded.completion
        answers = self._answer(
            coefficients / self.scale, fold, target.parallaxes(), target.has_parallax, target.snr, completion
        )
        velocity = _filled(velocity[rows], 0)
        drawn = self._draw(flux, sigma, bad, velocity, target.keys, fold, coefficients, completion, native)
        no_spectrum = np.asarray(bad[:, self.transform.kept].all(1))
        no_errors = np.asarray(~((sigma > 0) & ~bad).any(1))

        def known(values: jax.Array, missing: Array) -> Array:
            return np.where(missing, np.nan, np.asarray(values, np.float64))[..., :count]

        return _Tile(
            label=known(answers["label"], no_spectrum),
            draws=known(drawn[0], no_errors),
            quantiles=known(answers["quantiles"], no_spectrum),
            giant=known(answers["giant"], no_spectrum),
            spread=known(answers["spread"], no_spectrum),
            mixture_draws=known(drawn[1], no_errors),
            shift=known(answers["shift"], no_spectrum),
            stretch=known(answers["stretch"], no_spectrum),
            binary=known(answers["binary"], no_spectrum | ~target.has_parallax),
            outside=self.domain.outside(np.asarray(coefficients), encoded.fit)[:count],
            chi2=np.asarray(encoded.fit.chi2, np.float64)[:count],
        )

    @cached_property
    def _answer(self) -> Any:
        """What the networks say of scaled coefficients, compiled."""
        settings = self.settings

        @jax.jit
        def answer(
            inputs: jax.Array,
            fold: jax.Array,
            data: ParallaxInErrors,
            has_parallax: jax.Array,
            snr: jax.Array,
            completion: Completion | None,
        ) -> dict[str, jax.Array]:
            predicted = self.networks.mixture.held_out_mixture(inputs, fold)
            shift, stretch = self.calibration.corrections(predicted, snr)
            mixture = self.calibration.apply(predicted, snr)
            if completion is not None:
                # Missing pixels make a magnitude less certain.
                def total(inputs: jax.Array) -> jax.Array:
                    return self.networks.mixture.held_out_mixture(inputs, fold).pooled().average.sum()

                slopes = jax.grad(total)(inputs) / self.scale  # a star's answer depends only on its own inputs
                unseen = jax.vmap(Completion.widening)(completion, slopes)
                mixture = mixture._replace(sigma=jnp.sqrt(mixture.sigma**2 + unseen[:, None, None]))
            whole = distribution(mixture.pooled(), data, has_parallax, settings.distances)
            return {
                "label": self.networks.label.held_out_labels(inputs, fold),
                "quantiles": whole.quantiles(1 - jnp.asarray(LEVELS, jnp.float32)),
                "giant": whole.below(jnp.full(len(inputs), GIANT_MAGNITUDE, jnp.float32)),
                "spread": between_networks(mixture),
                "shift": shift,
                "stretch": stretch,
                "binary": self._pairs(inputs, fold, data),
            }

        return answer

    @cached_property
    def _pairs(self) -> Any:
        """The probability of a binary (Eq. 9), NaN without a binary network, compiled."""

        @jax.jit
        def pairs(inputs: jax.Array, fold: jax.Array, data: ParallaxInErrors) -> jax.Array:
            if self.networks.binaries is None:
                return jnp.full(len(inputs), jnp.nan)
            mixture = self.networks.binaries.held_out_mixture(inputs, fold)
            return binary_probability(mixture, data, self.settings.network.jacobian)

        return pairs

    def inputs(self, flux: Float32, bad: Bool) -> Float32:
        """Return the scaled coefficients of pixels on the model's grid, shape (star, pixel): (star, component)."""
        parts = []
        for rows in ranges(len(flux), _TILE):
            tile, missing = _filled(flux[rows], 0), _filled(bad[rows], True)
            parts.append(np.asarray(self.encode(tile, np.zeros_like(tile), missing).coefficients)[: len(flux[rows])])
        return np.asarray(np.concatenate(parts) / np.float32(self.scale), np.float32)

    def label_magnitude(self, inputs: Float32, targets: Targets) -> Float64:
        """Return M_G_NN of the label, mag, shape (star,), NaN where it is not positive; arguments as below."""
        labels = self._labels(inputs, targets.fold.astype(np.int32))
        return absolute_magnitude(np.asarray(labels, np.float64).mean(0))

    @cached_property
    def _labels(self) -> Any:
        """Labels by every seed, compiled."""
        return jax.jit(self.networks.label.held_out_labels)

    def binary_probability(self, inputs: Float32, targets: Targets) -> Float64:
        """Return the probability of a binary (Eq. 9) of stars whose coefficients are known, shape (star,).

        Parameters
        ----------
        inputs
            Scaled coefficients, shape (star, component).
        targets
            What else is needed of the stars.
        """
        probability = self._pairs(inputs, targets.fold.astype(np.int32), targets.parallaxes())
        return np.where(targets.has_parallax, np.asarray(probability, np.float64), np.nan)

    @cached_property
    def _pair_magnitudes(self) -> Any:
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
    def encode(self) -> Encoder:
        """The way from stored pixels to coefficients, compiled: see `encoder`."""
        return encoder(self.transform, self.basis, self.grid, self.settings.spectra)

    @property
    def _estimated(self) -> bool:
        """Whether missing pixels are estimated."""
        return self.settings.spectra.missing == "estimated"

    @cached_property
    def _native(self) -> NativePixels:
        """The native pixels of the grid."""
        return native_pixels(self.grid)

    @cached_property
    def _draw(self) -> Any:
        label, mixture, _ = self.networks
        completer = Completer(self.basis, self._estimated, self.transform.unit_norm)
        chain = Chain(self.grid, self.settings.spectra, self.transform, completer, self.scale, label, mixture)
        method = {"monte-carlo": drawer, "linear": linear}[self.settings.distances.method]
        return method(chain, self.settings.distances)

    def predict_spectra(self, spectra: Spectra, targets: Targets) -> dict[str, Array]:
        """Predict a block of native spectra; arguments and result as in `predict_pixels`, row by row of `spectra`."""
        spectra = self._with_the_models_arms(spectra)
        pixels = normalise(spectra, self.grid, self.settings.spectra, self.sky)
        native = native_pixels(self.grid, {name: arm.native_wavelength for name, arm in spectra.arms.items()})
        return self.predict_pixels(pixels, spectra.native_velocity, targets, native)

    def _with_the_models_arms(self, spectra: Spectra) -> Spectra:
        """Use a single spectrum for every arm of the model, cut where the model joins its arms."""
        names = [arm.name for arm in self.grid.arms]
        if len(spectra.arms) == 1 and set(spectra.arms) != set(names):
            (arm,) = spectra.arms.values()
            return replace(spectra, arms=dict.fromkeys(names, arm))
        return spectra

    def coverage(self, spectra: Spectra) -> list[str]:
        """Describe differences of these spectra from the training set: wavelengths and pixel widths."""
        said = []
        for part in self.grid.arms:
            arm = self._with_the_models_arms(spectra).arms.get(part.name)
            if arm is None:
                said.append(f"arm {part.name} is missing")
                continue
            wanted = self.grid.wavelength[part.start : part.stop]
            outside = float(((wanted < arm.wavelength[0]) | (wanted > arm.wavelength[-1])).mean())
            native = arm.native_wavelength
            inside = (native >= wanted[0]) & (native <= wanted[-1])
            width = float(np.median(np.diff(native[inside]))) if inside.sum() > 1 else np.nan
            trained = self.domain.limits.pixel_width[part.name]
            if outside >= 0.005:
                said.append(f"{100 * outside:.0f} % of the wavelengths of arm {part.name} are not covered")
            if not 0.8 < width / trained < 1.25:
                said.append(
                    f"native pixels of {width:.2f} A in arm {part.name}, trained on {trained:.2f} A: "
                    "the resolution may differ"
                )
        return said

    def outside_parameters(self, stars: Mapping[str, Array]) -> Array:
        """Return the flag of stars whose TEFF, LOGG or FEH lies outside the range of the training stars, (star,)."""
        outside = np.zeros(len(stars["TARGETID"]), np.bool_)
        for name, (low, high) in self.domain.limits.parameters.items():
            outside |= (stars[name] < low) | (stars[name] > high)
        return np.where(outside, np.int32(Flag.OUTSIDE_PARAMETERS), np.int32(0))

    def predict(
        self,
        wavelength: Any,
        flux: Any,
        *,
        ivar: Any = None,
        mask: Any = None,
        vrad: Any = None,
        phot_g_mean_mag: Any = None,
        parallax: Any = None,
        parallax_error: Any = None,
        ebv: Any = None,
        teff: Any = None,
        source_id: Any = None,
        identifier: Any = None,
        medium: Literal["vacuum", "air"] = "vacuum",
        frame: Literal["observed", "rest"] = "observed",
        **columns: Any,
    ) -> Table:
        """Predict spectra from plain arrays on one wavelength grid, as `specdis predict` does from a table.

        A Quantity, or a column of a table with a unit, is converted. Masked values are missing. Numbers without a
        unit are in the unit below. Impossible values count as missing, with a log message, as in a file.

        Parameters
        ----------
        wavelength
            Increasing, Angstrom, shape (pixel,).
        flux
            In any unit, shape (star, pixel) or (pixel,) for one star; NaN is a bad pixel.
        ivar
            Inverse variance in that unit, shape of `flux`; 0 is a bad pixel. Without it there are no errors.
        mask
            True, or any number but 0, for a bad pixel; shape of `flux`.
        vrad
            Heliocentric radial velocity in km/s, shape (star,); needed for observed-frame spectra. For spectra at rest
            it gives the position of sky lines.
        phot_g_mean_mag
            Gaia G magnitude, shape (star,); without it there are no distances, only M_G.
        parallax, parallax_error
            As Gaia publishes them, in mas, shape (star,); without them there is no probability of a binary. The error
            is inflated as in the model's run. The zero point needs `astrometric_params_solved`, `ecl_lat`,
            `nu_eff_used_in_astrometry` and `pseudocolour` as well; without them the parallax is not corrected and
            has the flag NO_ZERO_POINT.
        ebv
            E(B-V) on the scale of the survey that the model was trained on, shape (star,); 0 without it, flagged.
        teff
            Effective temperature in K for the extinction law, shape (star,).
        source_id
            Gaia DR3 source identifiers, shape (star,). The model recognises its training stars by them, and
            predicts each by networks that were not trained on it.
        identifier
            Integers that identify the spectra, shape (star,): TARGETID of a spectra table. They determine the random
            draws. `source_id` where it is given, or else 0, 1, ..., without them.
        medium, frame
            Of the wavelengths.
        **columns
            Any other column of the spectra table, by its name in small letters, shape (star,): `logg`, `ra`, `sn`, ...

        Returns
        -------
        Table
            One row per spectrum in the order of `flux`: the columns of the catalogue, with units and descriptions,
            missing values masked. HELD_OUT is false if a network that predicts the star was trained on it, or if that
            is unknown without `source_id` and `identifier`.

        Raises
        ------
        InputError
            When shapes disagree, a unit cannot be converted, wavelengths cannot be Angstrom or do not
            increase, or the rest frame cannot be reached.
        """
        named = {
            "VRAD": vrad,
            "PHOT_G_MEAN_MAG": phot_g_mean_mag,
            "PARALLAX": parallax,
            "PARALLAX_ERROR": parallax_error,
            "EBV": ebv,
            "TEFF": teff,
            "SOURCE_ID": source_id,
            "TARGETID": identifier,
        }
        survey = ArraySurvey(
            wavelength, flux, ivar=ivar, mask=mask, medium=medium, frame=frame, stars={**columns, **named}
        )
        found = self.predict_survey(survey, identified=survey.identified)
        order = np.argsort(survey.rows(found.stars))
        return catalogue.as_table({name: values[order] for name, values in found.columns.items()}, self.header)

    @property
    def header(self) -> catalogue.Cards:
        """Cards about this model for a catalogue of its predictions."""
        loss = str(self.card.get("loss", "unknown"))
        return catalogue.header_cards(self.settings.photometry.ebv_scale, self.settings.network.kind, loss)

    def predict_survey(self, survey: Survey, *, identified: bool = True) -> Predicted:
        """Predict every star of a survey, which may differ from that of the training.

        A training star is predicted by the networks that were not trained on it, as in the model's run.

        Parameters
        ----------
        survey
            The stars and their spectra.
        identified
            Whether its identifiers are those of stars, and not row numbers.

        Returns
        -------
        Predicted
            Predictions of its stars; one without a readable spectrum has the flag NO_SPECTRUM.
        """
        # Only the cuts and their flags are used; the split has no meaning here.
        cuts = {"predict_outside": True, "n_folds": None, "fold_column": None, "train_fraction": 0.5}
        settings = self.settings.sample.model_copy(update=cuts)
        sample = select(survey.stars(), survey.columns, settings, self.settings.photometry, self.seed, True)
        say(sample.cutflow.summary["missing_values"])
        stars = sample.stars
        known = self.trained() if identified else TrainedStars.unknown()
        stars = stars.replace(TRAINABLE=np.zeros(len(stars), np.bool_), **known.held_out(stars.columns))
        targets = Targets.of(stars.columns, self.seed)
        predicted: dict[str, Array] = {}
        unread = np.ones(len(stars), np.bool_)
        progress = Progress("predict", len(stars))
        place = str(survey.inputs[0]) if survey.inputs else survey.name
        said: set[str] = set()
        for block in ranges(len(stars), _BLOCK):
            for found in survey.spectra(stars.take(block)):
                rows = found.row + block.start
                if isinstance(found, Fault):
                    logger.warning("%s: %s: %s", found.place, found.name, found.message)
                    continue
                for message in self._remarks(found):
                    if message not in said:
                        logger.warning("%s: %s", place, message)
                    said.add(message)
                target = targets.take(rows)
                target = target._replace(snr=np.where(np.isfinite(target.snr), target.snr, _median_snr(found)))
                _put(predicted, rows, self.predict_spectra(found, target), len(stars))
                unread[rows] = False
                progress.advance(len(rows))
        progress.close()
        lost = np.flatnonzero(unread)
        for part in ranges(len(lost), _TILE):
            rows = lost[part]
            _put(predicted, rows, self._predict_nothing(targets.take(rows)), len(stars))
        return Predicted(stars, self._catalogue(stars, predicted), len(stars) - len(lost))

    def _predict_nothing(self, targets: Targets) -> dict[str, Array]:
        """Return the prediction for stars without a spectrum: that of one without a good pixel."""
        shape = (len(targets.magnitude), self.n_pixel)
        pixels = Normalised(np.zeros(shape, np.float32), None, np.ones(shape, np.bool_))
        return self.predict_pixels(pixels, np.zeros(shape[0]), targets)

    def _remarks(self, spectra: Spectra) -> list[str]:
        """Log differences of these spectra from the training set, and unusable ones."""
        remarks = [f"outside the model's domain: {message}" for message in self.coverage(spectra)]
        if not np.isfinite(spectra.velocity).all():
            remarks.append("spectra without a radial velocity cannot be brought to rest and get no prediction")
        return remarks

    def _catalogue(self, stars: Stars, predicted: dict[str, Array]) -> dict[str, Array]:
        """Return the columns of the catalogue."""
        predicted["FLAGS"] |= self.outside_parameters(stars.columns)
        predicted["CALIBRATION"] = stars["CALIBRATION"]
        identifier = {name: stars[name] for name in IDENTIFIER}
        geometric, _ = geometric_magnitude(stars["PARALLAX_CORRECTED"], np.nan, stars["G_0"])
        found = classify(
            predicted["PROB_BINARY"], predicted["M_G_NN_CHI2"], geometric, stars["LOGG"], self.settings.binaries
        )
        return catalogue.build(stars.columns, {**identifier, **predicted}, {**identifier, **found})


def load_model(directory: str | Path) -> Model:
    """Load a model from its folder.

    Raises
    ------
    InputError
        When the folder is not a model.
    ProductError
        When a file is missing, damaged or of another format.
    """
    directory = Path(directory)
    content = _read_card(directory)
    provenance, pixels = read_arrays(directory / "preprocessing.npz", "model")
    _, basis = read_arrays(directory / "basis.npz", "model")
    _, domain = read_arrays(directory / "domain.npz", "model")
    ensembles = {
        name: read_arrays(directory / f"{name}.npz", "model")[1]
        for name in Networks._fields
        if f"{name}.npz" in content["parts"]
    }
    try:
        settings = ModelSettings.model_validate(content["settings"])
        arms = tuple(ArmPixels(name, pixels[f"native_{name}"], *span) for name, *span in content["arms"])
        training = content["training_error_mag"]
        model = Model(
            settings,
            PixelGrid(pixels["wavelength"], arms, settings.spectra.grid.step),
            Transform.of(settings.spectra, pixels["kept"], pixels.get("weight")),
            tuple((float(low), float(high)) for low, high in content["sky_windows"]),
            Basis.of(basis),
            networks_of(ensembles, settings.network),
            Calibration(*(np.asarray(content["calibration"][name]) for name in Calibration._fields)),
            np.nan if training is None else float(training),
            Domain(Limits.model_validate(content["domain"]), domain["reference"]),
            provenance.seed,
            dict(content["card"]),
            cache(lambda: _read_trained(directory / _TRAINED)),
        )
        wrong = misfits(
            model.grid,
            model.transform,
            model.basis,
            model.networks._asdict(),
            model.calibration,
            model.domain,
            settings.spectra,
        )
    except Exception as error:  # wrong content fails in many libraries
        raise ProductError(
            f"{directory / CARD} is not a model of this version ({type(error).__name__}: {error}). Copy the model "
            "again, or use the version that made it."
        ) from error
    if wrong:
        raise ProductError(
            f"{directory} is not a model: its {' and '.join(wrong)} do not fit the other parts. Copy it again."
        )
    return model


def _read_card(directory: Path) -> dict[str, Any]:
    """Read model.json, and check it and the other files against their checksums."""
    card = directory / CARD
    try:
        if card.is_file():
            return _checked_card(card)
        found = f"no file {CARD} in it" if directory.is_dir() else "a file" if directory.exists() else "nothing"
    except OSError as error:  # permission denied
        found = f"{error.filename}, which cannot be read ({error.strerror})"
    raise InputError(
        directory,
        expected=f"a model: a folder with {CARD}",
        found=found,
        remedy="Give the folder model of a finished run, RUN/model, or of a model that you downloaded.",
    )


def _checked_card(card: Path) -> dict[str, Any]:
    content = read_json(card)
    if not isinstance(content, dict) or not isinstance(content.get("parts"), dict):
        raise ProductError(f"{card} is not the card of a model. Copy the model again.")
    said = content.pop("sum", None)
    if said is None:
        raise ProductError(f"{card} has no sum: an earlier version made it. Use that one, or make the model again.")
    if said != digest(content):
        raise ProductError(f"{card} is damaged: its content does not fit its sum. Copy the model again.")
    if wrong := _wrong_parts(card.parent, content["parts"]):
        raise ProductError(
            f"{card.parent}: {' and '.join(wrong)} missing or damaged, by the sums in {CARD}. Copy the model again."
        )
    return content


def _wrong_parts(directory: Path, sums: Mapping[str, str]) -> list[str]:
    """Return the names of a model's files that are missing or disagree with their checksums.

    The list of training stars is optional.
    """
    files = {name: directory / name for name in sums if name != _TRAINED or (directory / name).exists()}
    return [name for name, path in files.items() if not path.is_file() or file_digest(path) != sums[name]]


def _read_trained(path: Path) -> TrainedStars:
    """Read the training stars of a model.

    Raises
    ------
    ProductError
        When the file is damaged or of another format.
    """
    if not path.exists():
        logger.warning("%s is missing: the training stars are unknown, so HELD_OUT is false for every star", path)
        return TrainedStars.unknown()
    _, arrays = read_arrays(path, "model")
    found = TrainedStars(*(arrays.get(name, np.zeros(0)) for name in TrainedStars._fields))
    if not found.is_sound():
        raise ProductError(f"{path} is not a list of training stars: copy the model again.")
    return found


def ensemble_arrays(ensemble: Ensemble) -> dict[str, Array]:
    """Return an ensemble as named arrays."""
    layers = enumerate(zip(ensemble.networks.weights, ensemble.networks.biases, strict=True))
    return {
        "typical": ensemble.typical,
        "n_folds": np.asarray(ensemble.n_folds),
        "n_seeds": np.asarray(ensemble.n_seeds),
        **{f"{what}{k}": np.asarray(v) for k, pair in layers for what, v in zip(("weight", "bias"), pair, strict=True)},
    }


def networks_of(ensembles: Mapping[str, Mapping[str, Array]], settings: NetworkSettings) -> Networks:
    """Return the networks of which `ensemble_arrays` made arrays, by the names of `Networks`."""

    def mixture(weights: tuple[jax.Array, ...], biases: tuple[jax.Array, ...]) -> MixtureNetwork:
        return MixtureNetwork(weights, biases, (biases[-1].shape[-1] + 1) // 3)

    return Networks(
        _ensemble_of(ensembles["label"], lambda weights, biases: MLP(weights, biases, settings.output)),
        _ensemble_of(ensembles["mixture"], mixture),
        _ensemble_of(ensembles["binaries"], mixture) if "binaries" in ensembles else None,
    )


def _ensemble_of(
    arrays: Mapping[str, Array], network: Callable[[tuple[jax.Array, ...], tuple[jax.Array, ...]], Perceptron]
) -> Ensemble:
    layers = range(sum(name.startswith("weight") for name in arrays))
    weights, biases = (tuple(jnp.asarray(arrays[f"{what}{k}"]) for k in layers) for what in ("weight", "bias"))
    return Ensemble(network(weights, biases), arrays["typical"], int(arrays["n_folds"]), int(arrays["n_seeds"]))


def _filled(values: Array, filling: float) -> Array:
    """Pad the last rows of a tile to full size."""
    missing = (_FEW if len(values) <= _FEW else _TILE) - len(values)
    if not missing:
        return values
    return np.concatenate([values, np.full((missing, *values.shape[1:]), filling, values.dtype)])


def _put(columns: dict[str, Array], rows: Array, found: Mapping[str, Array], stars: int) -> None:
    """Insert values of some stars into columns of all."""
    for name, values in found.items():
        columns.setdefault(name, np.zeros(stars, values.dtype))[rows] = values


def _median_snr(spectra: Spectra) -> Float64:
    """Return the S/N of spectra as in DESI: the median per Angstrom^(1/2), averaged over arms; NaN without errors."""
    arms = [_median_snr_of(arm) for arm in spectra.arms.values()]
    return np.asarray(np.mean(arms, axis=0))


def _median_snr_of(arm: Arm) -> Float64:
    if arm.ivar is None:
        return np.full(len(arm.flux), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # spectra without a good pixel
        per_pixel = np.nanmedian(np.where(arm.bad, np.nan, arm.flux * np.sqrt(arm.ivar)), axis=1)
    return np.asarray(per_pixel / np.sqrt(np.median(np.diff(arm.wavelength))), np.float64)
