"""A trained model: everything that turns native pixels into distances, saved as one folder, without training data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from specdis.accelerator import jax, jnp
from specdis.arrays import Array, Float64, ranges
from specdis.components import Basis, encoder
from specdis.distances import DistancesSettings, Labels, drawer, star_keys, summarise
from specdis.errors import InputError, ProductError
from specdis.flags import Flag
from specdis.log import logger
from specdis.network.mlp import MLP, NetworkSettings
from specdis.noise import native_places
from specdis.photometry import PhotometrySettings, corrected
from specdis.sample import SampleSettings
from specdis.settings import Settings
from specdis.spectra import ArmPixels, Normalised, PixelGrid, SpectraSettings, Transform, normalise
from specdis.storage import Provenance, read_arrays, read_json, write_arrays, write_json
from specdis.surveys.base import STAR_COLUMNS, Arm, Spectra, flux_unit
from specdis.surveys.wavelengths import air_to_vacuum
from specdis.training import Ensemble

_TILE = 64
"""Stars computed at once, whatever the size of the blocks: equal arithmetic for equal stars."""


class Domain(Settings):
    """Where the model was trained, and so where it can be trusted.

    Ranges of parameters hold all but one in a thousand of the training stars on either side.
    """

    chi2: float
    """Reduced chi-square of the reconstruction that one training star in a hundred exceeds; NaN without errors."""
    residual: float
    """Fraction of a spectrum that the components leave, exceeded by one training star in a hundred."""
    bad_fraction: float
    """Fraction of bad pixels exceeded by one training star in a thousand, and at least spectra.bad_fraction_max."""
    parameters: dict[str, tuple[float, float]]
    """Ranges of TEFF, LOGG and FEH, as far as the survey has them."""
    pixel_width: dict[str, float]
    """Median width of a native pixel of each arm, Angstrom."""


class ModelSettings(Settings):
    """The sections of the configuration that predicting needs."""

    sample: SampleSettings
    photometry: PhotometrySettings
    spectra: SpectraSettings
    network: NetworkSettings
    distances: DistancesSettings


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
    ensemble
        The networks.
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
    ensemble: Ensemble
    training_error: float
    domain: Domain
    seed: int
    card: Mapping[str, Any] = field(default_factory=dict)
    _elsewhere: dict[tuple[bytes, ...], Model] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def scale(self) -> float:
        """The number by which coefficients are divided before the networks see them."""
        return input_scale(self.basis)

    def save(self, directory: Path, provenance: Provenance) -> None:
        """Write the model as a folder of npz files and model.json."""
        native = {f"native_{arm.name}": arm.native for arm in self.grid.arms}
        pixels = {"wavelength": self.grid.wavelength, "kept": np.asarray(self.transform.kept), **native}
        write_arrays(directory / "preprocessing.npz", provenance, pixels)
        write_arrays(directory / "basis.npz", provenance, basis_arrays(self.basis))
        write_arrays(directory / "networks.npz", provenance, ensemble_arrays(self.ensemble))
        write_json(
            directory / "model.json",
            {
                "provenance": provenance.to_dict(),
                "settings": self.settings.model_dump(mode="json"),
                "arms": [[arm.name, arm.start, arm.stop] for arm in self.grid.arms],
                "sky_windows": self.sky,
                "training_error_mag": self.training_error,
                "domain": self.domain.model_dump(mode="json"),
                "card": self.card,
            },
        )

    def predict_pixels(
        self, pixels: Normalised, velocity: Float64, magnitude: Float64, fold: Array, keys: Array
    ) -> dict[str, Array]:
        """Predict stars from stored pixels.

        Parameters
        ----------
        pixels
            Flux over continuum on the model's grid, shape (star, pixel).
        velocity
            Velocity in km/s by which the native pixels were brought to rest, shape (star,).
        magnitude
            Extinction-corrected G magnitude, shape (star,); NaN gives M_G alone.
        fold
            Fold that holds each star out, shape (star,); -1 for the mean over all folds.
        keys
            Random keys from `star_keys`, shape (star, 2).

        Returns
        -------
        dict
            The columns of `summarise`, CHI2_RECONSTRUCTION and FRACTION_BAD, shape (star,).
        """
        parts = [self._predict_tile(pixels, velocity, fold, keys, rows) for rows in ranges(len(velocity), _TILE)]
        label, draws, chi2, residual = (np.concatenate(piece, axis=-1) for piece in zip(*parts, strict=True))
        columns = summarise(Labels(label, draws), magnitude, self.training_error, self.settings.distances)
        bad = pixels.bad[:, self.transform.kept].mean(1)
        # The residual of a noisy spectrum is noise; it speaks only where there are no errors to compare it with.
        outside = np.where(np.isfinite(chi2), chi2 > self.domain.chi2, residual > self.domain.residual)
        columns["FLAGS"] |= np.where(outside & (bad < 1), Flag.OUTSIDE_DOMAIN, 0).astype(np.int32)
        columns["FLAGS"] |= np.where(bad > self.domain.bad_fraction, Flag.MANY_BAD_PIXELS, 0).astype(np.int32)
        return {**columns, "CHI2_RECONSTRUCTION": chi2.astype(np.float32), "FRACTION_BAD": bad.astype(np.float32)}

    def _predict_tile(
        self, pixels: Normalised, velocity: Float64, fold: Array, keys: Array, rows: slice
    ) -> tuple[Array, Array, Array, Array]:
        """Return labels (seed, star), draws (seed, draw, star), chi-square and residual of at most a tile of stars."""
        count = len(velocity[rows])
        flux, bad = _filled(pixels.flux[rows], 0), _filled(pixels.bad[rows], True)
        sigma = np.zeros_like(flux) if pixels.sigma is None else _filled(pixels.sigma[rows], 0)
        tile_fold = jnp.asarray(_filled(fold[rows].astype(np.int32), -1))
        encoded = self._encode(flux, sigma, bad)
        label = self._labels(encoded.coefficients / self.scale, tile_fold)
        places = native_places(self.grid, _filled(velocity[rows], 0), self.settings.spectra.continuum_half)
        draws = np.array(self._draw(flux, sigma, bad, places, _filled(keys[rows], 0), tile_fold), np.float64)
        draws[..., ~((sigma > 0) & ~bad).any(1)] = np.nan
        label = np.where(bad[:, self.transform.kept].all(1), np.nan, np.asarray(label, np.float64))
        return (
            label[..., :count],
            draws[..., :count],
            np.asarray(encoded.chi2, np.float64)[:count],
            np.asarray(encoded.residual, np.float64)[:count],
        )

    @cached_property
    def _encode(self) -> Any:
        return encoder(self.transform, self.basis)

    @cached_property
    def _labels(self) -> Any:
        return jax.jit(self.ensemble.held_out_labels)

    @cached_property
    def _draw(self) -> Any:
        spectra, distances = self.settings.spectra, self.settings.distances
        return drawer(self.grid, spectra, self.transform, self.basis, self.scale, self.ensemble, distances)

    def predict_spectra(
        self, spectra: Spectra, magnitude: Float64, keys: Array, fold: Array | None = None
    ) -> dict[str, Array]:
        """Predict a block of native spectra; arguments and result as in `predict_pixels`, row by row of `spectra`."""
        spectra = self._with_the_models_arms(spectra)
        pixels = normalise(spectra, self.grid, self.settings.spectra, self.sky)
        fold = np.full(len(spectra), -1) if fold is None else fold
        return self._seeing(spectra).predict_pixels(pixels, spectra.native_velocity, magnitude, fold, keys)

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
            trained = self.domain.pixel_width[part.name]
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
        for name, (low, high) in self.domain.parameters.items():
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
            The columns of `summarise`, CHI2_RECONSTRUCTION and FRACTION_BAD, shape (star,).

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
        columns = self.predict_spectra(spectra, magnitude, star_keys(self.seed, names))
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
    _, networks = read_arrays(directory / "networks.npz", "model")
    try:
        settings = ModelSettings.model_validate(content["settings"])
        arms = tuple(ArmPixels(name, pixels[f"native_{name}"], *span) for name, *span in content["arms"])
        ensemble = ensemble_of(networks, settings.network)
        domain = Domain.model_validate(_null_is_nan(content["domain"]))
        training = content["training_error_mag"]
    except (KeyError, ValueError, TypeError) as error:
        raise ProductError(f"{directory / 'model.json'} is not a model of this version ({error}).") from error
    return Model(
        settings,
        PixelGrid(pixels["wavelength"], arms, settings.spectra.grid.step),
        transform_of(settings.spectra, pixels["kept"]),
        tuple((low, high) for low, high in content["sky_windows"]),
        basis_of(basis),
        ensemble,
        np.nan if training is None else training,
        domain,
        provenance.seed,
        content["card"],
    )


def transform_of(settings: SpectraSettings, kept: Array) -> Transform:
    """Return the transform that a configuration asks for, on the pixels that were kept."""
    return Transform(kept, settings.subtract_mean, settings.signed_log, settings.unit_norm)


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


def ensemble_of(arrays: Mapping[str, Array], settings: NetworkSettings) -> Ensemble:
    """Return the ensemble of which `ensemble_arrays` made arrays."""
    layers = range(len(settings.hidden) + 1)
    networks = MLP(
        tuple(jnp.asarray(arrays[f"weight{k}"]) for k in layers),
        tuple(jnp.asarray(arrays[f"bias{k}"]) for k in layers),
        settings.output,
    )
    return Ensemble(networks, arrays["typical"], int(arrays["n_folds"]), int(arrays["n_seeds"]))


def _null_is_nan(content: Any) -> Any:
    return {name: np.nan if value is None else value for name, value in content.items()}


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


def _per_star(name: str, values: ArrayLike, stars: int) -> Float64:
    """Return one number per star."""
    given = np.asarray(values, np.float64)
    if given.shape not in ((), (1,), (stars,)):
        raise InputError(
            name, expected=f"one number, or {stars}", found=f"shape {given.shape}", remedy="Pass one per star."
        )
    return np.broadcast_to(given, stars)
