"""A trained model: everything that turns native pixels into distances, saved as one folder, without training data."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from specdis.accelerator import jax, jnp
from specdis.arrays import Array, Float32, Float64, ranges
from specdis.binaries import BinariesSettings
from specdis.calibration import Calibration
from specdis.components import Basis
from specdis.distances import (
    GIANT_MAGNITUDE,
    LEVELS,
    Chain,
    DistancesSettings,
    Labels,
    Magnitudes,
    Targets,
    between_networks,
    distribution,
    drawer,
    linear,
    star_keys,
    summarise,
    summarise_labels,
    summarise_mixture,
)
from specdis.domain import MOST_BAD, Domain, Limits
from specdis.encoding import Completer, Completion, Encoder, encoder
from specdis.errors import InputError, ProductError
from specdis.flags import Flag
from specdis.log import logger
from specdis.network.mixture import ParallaxInErrors, binary_probability
from specdis.network.mlp import MLP, MixtureNetwork, NetworkSettings, Perceptron
from specdis.photometry import PhotometrySettings, corrected
from specdis.sample import SampleSettings
from specdis.settings import Settings
from specdis.spectra import ArmPixels, Normalised, PixelGrid, SpectraSettings, Transform, normalise
from specdis.storage import Provenance, read_arrays, read_json, write_arrays, write_json
from specdis.surveys.base import STAR_COLUMNS, Arm, Spectra, flux_unit
from specdis.surveys.wavelengths import air_to_vacuum
from specdis.training import Ensemble

_TILE = 128
"""Stars computed at once, whatever the size of the blocks: equal arithmetic for equal stars."""


class ModelSettings(Settings):
    """The sections of the configuration that predicting needs."""

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
        Those of the label, trained on the chi-square (section 3.2).
    mixture
        Those of the mixture for the full sample.
    binaries
        Those of the mixture of single stars and binaries (section 5); None where too few stars had precise parallaxes.
    """

    label: Ensemble
    mixture: Ensemble
    binaries: Ensemble | None


class _Tile(NamedTuple):
    """What is computed of a tile of stars; the star is the last axis of every array."""

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


@dataclass(frozen=True)
class Model:
    """A trained model.

    Parameters
    ----------
    settings
        The sections of the configuration that predicting needs.
    grid, transform
        The pixels, and what is done to them.
    sky
        Observed-frame windows that are masked, vacuum Angstrom.
    basis
        Principal components.
    networks
        The networks.
    calibration
        What the distributions of the mixture are moved and stretched by.
    training_error
        The paper's one training error, mag.
    domain
        Where the model can be trusted.
    seed
        Random seed of the run: a star's draws depend on it and on its identifier alone.
    card
        What the model was trained on, and how well it did, in plain values.
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
    _elsewhere: dict[tuple[bytes, ...], Model] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def n_pixel(self) -> int:
        """Pixels of the grid."""
        return len(self.grid.wavelength)

    @cached_property
    def scale(self) -> float:
        """The number by which coefficients are divided before the networks see them."""
        return input_scale(self.basis)

    def save(self, directory: Path, provenance: Provenance) -> None:
        """Write the model as a folder of npz files and model.json."""
        write_arrays(directory / "domain.npz", provenance, {"reference": self.domain.reference})
        native = {f"native_{arm.name}": arm.native for arm in self.grid.arms}
        pixels = {"wavelength": self.grid.wavelength, "kept": np.asarray(self.transform.kept), **native}
        if self.transform.weight is not None:
            pixels["weight"] = np.asarray(self.transform.weight)
        write_arrays(directory / "preprocessing.npz", provenance, pixels)
        write_arrays(directory / "basis.npz", provenance, basis_arrays(self.basis))
        for name, ensemble in self.networks._asdict().items():
            if ensemble is not None:
                write_arrays(directory / f"{name}.npz", provenance, ensemble_arrays(ensemble))
        write_json(
            directory / "model.json",
            {
                "provenance": provenance.to_dict(),
                "settings": self.settings.model_dump(mode="json"),
                "arms": [[arm.name, arm.start, arm.stop] for arm in self.grid.arms],
                "sky_windows": self.sky,
                "training_error_mag": self.training_error,
                "calibration": self.calibration._asdict(),
                "domain": self.domain.limits.model_dump(mode="json"),
                "card": self.card,
            },
        )

    def predict_pixels(self, pixels: Normalised, velocity: Float64, targets: Targets) -> dict[str, Array]:
        """Predict stars from stored pixels.

        Parameters
        ----------
        pixels
            Flux over continuum on the model's grid, shape (star, pixel).
        velocity
            Velocity in km/s by which the native pixels were brought to rest, shape (star,).
        targets
            What else is needed of the stars.

        Returns
        -------
        dict
            The columns of `summarise`, PROB_BINARY, CHI2_RECONSTRUCTION and FRACTION_BAD, shape (star,).
        """
        parts = [self._predict_tile(pixels, velocity, targets, rows) for rows in ranges(len(velocity), _TILE)]
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

    def _predict_tile(self, pixels: Normalised, velocity: Float64, targets: Targets, rows: slice) -> _Tile:
        """Predict at most a tile of stars."""
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
        drawn = self._draw(flux, sigma, bad, velocity, target.keys, fold, coefficients, completion)
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

        def mean(inputs: jax.Array, fold: jax.Array) -> jax.Array:
            return self.networks.mixture.held_out_mixture(inputs[None], fold[None]).pooled().average[0]

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
                # What is not seen of a spectrum makes its magnitude less certain than that of whole ones.
                slopes = jax.vmap(jax.grad(mean))(inputs, fold) / self.scale
                unseen = jax.vmap(Completion.widening)(completion, slopes)
                mixture = mixture._replace(sigma=jnp.sqrt(mixture.sigma**2 + unseen[:, None, None]))
            points = distribution(mixture.pooled(), data, has_parallax, settings.distances)
            return {
                "label": self.networks.label.held_out_labels(inputs, fold),
                "quantiles": points.quantiles(1 - jnp.asarray(LEVELS, jnp.float32)),
                "giant": points.below(jnp.full(len(inputs), GIANT_MAGNITUDE, jnp.float32)),
                "spread": between_networks(mixture),
                "shift": shift,
                "stretch": stretch,
                "binary": self._pairs(inputs, fold, data),
            }

        return answer

    @cached_property
    def _pairs(self) -> Any:
        """The probability of a binary (Eq. 9), NaN where there is no model of binaries, compiled."""

        @jax.jit
        def pairs(inputs: jax.Array, fold: jax.Array, data: ParallaxInErrors) -> jax.Array:
            if self.networks.binaries is None:
                return jnp.full(len(inputs), jnp.nan)
            mixture = self.networks.binaries.held_out_mixture(inputs, fold)
            return binary_probability(mixture, data, self.settings.network.jacobian)

        return pairs

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

    def single_magnitude(self, inputs: Float32, targets: Targets, network: Float64, chance: Float64) -> Float64:
        """Draw the absolute magnitude that each star would have as a single one, by the mixture for binaries.

        Parameters
        ----------
        inputs, targets
            As in `binary_probability`.
        network, chance
            Places between 0 and 1 in what chooses the network and in the Gaussian, shape (star,).
        """
        assert self.networks.binaries is not None
        pairs = self.networks.binaries.held_out_mixture(jnp.asarray(inputs), jnp.asarray(targets.fold.astype(np.int32)))
        weight, mean, sigma = (np.asarray(values[..., 0], np.float64) for values in pairs)
        below = np.cumsum(np.exp(weight), axis=1)
        which = (below < network[:, None] * below[:, -1:]).sum(1)[:, None]
        mean, sigma = (np.take_along_axis(values, which, axis=1)[:, 0] for values in (mean, sigma))
        return np.asarray(mean + sigma * ndtri(chance))

    @cached_property
    def encode(self) -> Encoder:
        """The way from stored pixels to coefficients, compiled: see `encoder`."""
        return encoder(self.transform, self.basis, self.grid, self._estimated)

    @property
    def _estimated(self) -> bool:
        """Whether missing pixels are estimated."""
        return self.settings.spectra.missing == "estimated"

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
        return self._seeing(spectra).predict_pixels(pixels, spectra.native_velocity, targets)

    def _seeing(self, spectra: Spectra) -> Model:
        """Return the model with the native pixels of these spectra, to which their noise belongs."""
        arms = tuple(
            arm._replace(native=spectra.arms[arm.name].native_wavelength) if arm.name in spectra.arms else arm
            for arm in self.grid.arms
        )
        pixels = tuple(arm.native.tobytes() for arm in arms)
        if pixels == tuple(arm.native.tobytes() for arm in self.grid.arms):
            return self
        if pixels not in self._elsewhere:
            self._elsewhere[pixels] = replace(self, grid=replace(self.grid, arms=arms))
        return self._elsewhere[pixels]

    def _with_the_models_arms(self, spectra: Spectra) -> Spectra:
        """Give a single spectrum to every arm of the model: it is cut where the model joins its arms."""
        names = [arm.name for arm in self.grid.arms]
        if len(spectra.arms) == 1 and set(spectra.arms) != set(names):
            (arm,) = spectra.arms.values()
            return replace(spectra, arms=dict.fromkeys(names, arm))
        return spectra

    def coverage(self, spectra: Spectra) -> list[str]:
        """Say in words what of these spectra the model was not trained for: wavelengths and pixel widths."""
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
        wavelength: ArrayLike,
        flux: ArrayLike,
        *,
        ivar: ArrayLike | None = None,
        vrad: ArrayLike | None = None,
        phot_g_mean_mag: ArrayLike | None = None,
        parallax: ArrayLike | None = None,
        parallax_error: ArrayLike | None = None,
        ebv: ArrayLike | None = None,
        teff: ArrayLike | None = None,
        medium: Literal["vacuum", "air"] = "vacuum",
        frame: Literal["observed", "rest"] = "observed",
        identifier: ArrayLike | None = None,
    ) -> dict[str, Array]:
        """Predict spectra that are plain arrays, all on one wavelength grid.

        Parameters
        ----------
        wavelength
            Increasing, Angstrom, shape (pixel,).
        flux
            In any unit, shape (star, pixel) or (pixel,) for one star; NaN is a bad pixel.
        ivar
            Inverse variance in that unit, shape of `flux`; 0 is a bad pixel. Without it there are no errors.
        vrad
            Radial velocity in km/s, shape (star,); needed for observed-frame spectra. For spectra at rest it tells
            where the lines of the sky are.
        phot_g_mean_mag
            Gaia G magnitude, shape (star,); without it there are no distances, M_G alone.
        parallax, parallax_error
            Parallax, its zero point subtracted, and its error in mas, shape (star,); without them there is no
            probability of a binary.
        ebv
            E(B-V) on the scale of the survey that the model was trained on, shape (star,); 0 without it, flagged.
        teff
            Effective temperature in K for the extinction law, shape (star,).
        medium, frame
            Of the wavelengths.
        identifier
            Integers that name the stars, shape (star,): they decide the random draws. 0, 1, ... without them.

        Returns
        -------
        dict
            The columns of `predict_pixels`, shape (star,).

        Raises
        ------
        InputError
            When shapes disagree, wavelengths do not increase, or the rest frame cannot be reached.
        """
        flux = np.atleast_2d(np.asarray(flux, np.float64))
        spectra = _plain_spectra(np.asarray(wavelength, np.float64), flux, ivar, vrad, medium, frame)
        stars = {name: np.full(len(flux), column.missing, column.dtype) for name, column in STAR_COLUMNS.items()}
        for name, values in (("PHOT_G_MEAN_MAG", phot_g_mean_mag), ("EBV", ebv), ("TEFF", teff)):
            if values is not None:
                stars[name] = _per_star(name.lower(), values, len(flux)).astype(stars[name].dtype)
        for message in self.coverage(spectra):
            logger.warning("outside the model's domain: %s", message)
        magnitude = corrected(stars, self.settings.photometry)["G_0"]
        names = np.arange(len(flux)) if identifier is None else np.atleast_1d(np.asarray(identifier))
        targets = Targets(
            magnitude,
            _per_star("parallax", np.nan if parallax is None else parallax, len(flux)),
            _per_star("parallax_error", np.nan if parallax_error is None else parallax_error, len(flux)),
            _median_snr(spectra),
            np.full(len(flux), -1),
            star_keys(self.seed, names),
        )
        columns = self.predict_spectra(spectra, targets)
        columns["FLAGS"] |= self.outside_parameters(stars)
        columns["FLAGS"] |= np.where(np.isfinite(stars["EBV"]), 0, Flag.NO_EBV).astype(np.int32)
        return columns


def load_model(directory: str | Path) -> Model:
    """Read a model's folder.

    Raises
    ------
    ProductError
        When a file is missing, damaged or of another format.
    """
    directory = Path(directory)
    content = read_json(directory / "model.json")
    provenance, pixels = read_arrays(directory / "preprocessing.npz", "model")
    _, basis = read_arrays(directory / "basis.npz", "model")
    _, domain = read_arrays(directory / "domain.npz", "model")
    ensembles = {
        name: read_arrays(directory / f"{name}.npz", "model")[1]
        for name in Networks._fields
        if name != "binaries" or (directory / f"{name}.npz").exists()
    }
    try:
        settings = ModelSettings.model_validate(content["settings"])
        arms = tuple(ArmPixels(name, pixels[f"native_{name}"], *span) for name, *span in content["arms"])
        training = content["training_error_mag"]
        model = Model(
            settings,
            PixelGrid(pixels["wavelength"], arms, settings.spectra.grid.step),
            transform_of(settings.spectra, pixels["kept"], pixels.get("weight")),
            tuple((float(low), float(high)) for low, high in content["sky_windows"]),
            basis_of(basis),
            networks_of(ensembles, settings.network),
            Calibration(*(np.asarray(content["calibration"][name]) for name in Calibration._fields)),
            np.nan if training is None else float(training),
            Domain(Limits.model_validate(content["domain"]), domain["reference"]),
            provenance.seed,
            dict(content["card"]),
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ProductError(f"{directory / 'model.json'} is not a model of this version ({error}).") from error
    _require_fitting(directory, model)
    return model


def _require_fitting(directory: Path, model: Model) -> None:
    """Raise a `ProductError` unless the parts of a model have the sizes that go together."""
    kept, n_components = model.transform.kept, model.basis.n_components
    vectors = model.basis.vectors
    sizes = {
        "pixels kept": kept.ndim == 1 and kept.dtype.kind == "i" and bool(np.isin(kept, range(model.n_pixel)).all()),
        "components": (vectors is None or vectors.shape == (n_components, len(kept)))
        and model.basis.mean.shape == kept.shape,
        "networks": all(
            ensemble is None or ensemble.networks.weights[0].shape[1] == n_components for ensemble in model.networks
        ),
    }
    if wrong := [name for name, fits in sizes.items() if not fits]:
        raise ProductError(
            f"{directory} is no model: its {' and '.join(wrong)} do not fit the other parts. Copy it again."
        )


def transform_of(settings: SpectraSettings, kept: Array, weight: Array | None = None) -> Transform:
    """Return the transform that a configuration asks for, on the pixels that were kept, with their weights."""
    return Transform(kept, settings.subtract_mean, settings.signed_log, settings.unit_norm, weight)


def input_scale(basis: Basis) -> float:
    """Return the one number by which all coefficients are divided: their root mean square."""
    return float(np.sqrt(basis.eigenvalues.mean()))


def basis_arrays(basis: Basis) -> dict[str, Array]:
    """Return a basis as named arrays."""
    return {name: np.asarray(values) for name, values in basis._asdict().items() if values is not None}


def basis_of(arrays: Mapping[str, Array]) -> Basis:
    """Return the basis of which `basis_arrays` made arrays."""
    return Basis(arrays.get("vectors"), arrays["eigenvalues"], arrays["mean"], float(arrays["total"]))


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
    """Return a tile of full size, its last rows filled."""
    missing = _TILE - len(values)
    if not missing:
        return values
    return np.concatenate([values, np.full((missing, *values.shape[1:]), filling, values.dtype)])


def _plain_spectra(
    wavelength: Float64,
    flux: Array,
    ivar: ArrayLike | None,
    vrad: ArrayLike | None,
    medium: Literal["vacuum", "air"],
    frame: Literal["observed", "rest"],
) -> Spectra:
    """Make a block of spectra of plain arrays."""
    if wavelength.shape != flux.shape[1:] or not (np.diff(wavelength) > 0).all():
        raise InputError(
            "wavelength",
            expected=f"{flux.shape[1]} increasing values, one per pixel of flux",
            found=f"shape {wavelength.shape}, {int((np.diff(wavelength) <= 0).sum())} steps that do not increase",
            remedy="Sort wavelength and flux together, and pass flux as (star, pixel).",
        )
    if frame == "observed" and vrad is None:
        raise InputError(
            "vrad",
            expected="radial velocities for spectra in the observed frame",
            found="none",
            remedy="Pass vrad=, or frame='rest' for spectra at rest.",
        )
    weight = None if ivar is None else np.atleast_2d(np.asarray(ivar, np.float64))
    if weight is not None and weight.shape != flux.shape:
        raise InputError(
            "ivar",
            expected=f"shape {flux.shape}, that of flux",
            found=f"{weight.shape}",
            remedy="Pass one per pixel.",
        )
    if medium == "air":
        wavelength = air_to_vacuum(wavelength)
    unit = flux_unit(flux)
    arm = Arm.cleaned(
        wavelength, flux / unit, None if weight is None else weight * unit**2, np.zeros(flux.shape, np.bool_)
    )
    seen = np.full(len(flux), np.nan) if vrad is None else _per_star("vrad", vrad, len(flux))
    return Spectra(np.arange(len(flux)), {"spectrum": arm}, np.zeros(len(flux)) if frame == "rest" else seen, seen)


def _median_snr(spectra: Spectra) -> Float64:
    """Return the median S/N per Angstrom^(1/2) of each spectrum, as DESI's, NaN without errors."""
    (arm,) = spectra.arms.values()
    if arm.ivar is None:
        return np.full(len(spectra), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # spectra without a good pixel
        per_pixel = np.nanmedian(np.where(arm.bad, np.nan, arm.flux * np.sqrt(arm.ivar)), axis=1)
    return np.asarray(per_pixel / np.sqrt(np.median(np.diff(arm.wavelength))), np.float64)


def _per_star(name: str, values: ArrayLike, stars: int) -> Float64:
    """Return one number per star."""
    given = np.asarray(values, np.float64)
    if given.shape not in ((), (1,), (stars,)):
        raise InputError(
            name, expected=f"one number, or {stars}", found=f"shape {given.shape}", remedy="Pass one per star."
        )
    return np.broadcast_to(given, stars)
