"""Spectra whose noise-free flux is a formula of wavelength, and a model of them: for tests without files.

Stars differ in three numbers that set the depths of their lines. Two arms overlap, as DESI's do.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from specdis.arrays import Array, Float64
from specdis.binaries import BinariesSettings
from specdis.calibration import Calibration
from specdis.colours import Bands
from specdis.components import ComponentsSettings, Sums, add_moments, basis_of_moments, vectors_of
from specdis.distances.settings import DistancesSettings
from specdis.distances.targets import Targets, star_keys
from specdis.domain import Domain, DomainLimits, reference_directions
from specdis.jaxed import jax, jnp
from specdis.model.engine import ModelSettings
from specdis.model.model import Model
from specdis.network.ensemble import LabelEnsemble, MixtureEnsemble, Networks
from specdis.network.inputs import ColourScale
from specdis.network.mlp import MLP, MixtureNetwork
from specdis.network.settings import LabelSettings, NetworkSettings
from specdis.photometry import PhotometrySettings
from specdis.prior import DensityTable, Prior, PriorSettings
from specdis.sample import SampleSettings
from specdis.spectra.grid import PixelGrid
from specdis.spectra.normalise import normalise
from specdis.spectra.settings import GridSettings, SpectraSettings
from specdis.spectra.transform import Transform
from specdis.surveys.base import Arm, Spectra
from specdis.surveys.layout import NATIVE_GRID
from specdis.surveys.wavelengths import SPEED_OF_LIGHT

DESI = {name: NATIVE_GRID[name].wavelength() for name in ("B", "R")}
SMALL = {"B": 4000 + 0.8 * np.arange(401), "R": 4300 + 0.8 * np.arange(401)}
"""Two arms of 320 A, the second from 4300 A: a tenth of DESI's."""
SMALL_SETTINGS = SpectraSettings(join=4310.0, continuum_width=50.5, sky_windows="none")
MODULI = np.arange(-5.0, 30.0, 0.2)
FEW_DRAWS = DistancesSettings(n_draws=5)


def rest_flux(wavelength: Float64, stars: int, seed: int = 1) -> Float64:
    """Return the flux at rest-frame wavelengths, shape (pixel,) or (star, pixel), of so many stars."""
    random = np.random.default_rng(seed)
    parameters = random.uniform(0, 1, (stars, 3))
    lines = np.random.default_rng(0)
    centre = np.arange(3560.0, 7700.0, 9.0) + lines.uniform(-3, 3, 460)
    width, depth = lines.uniform(1, 6, 460), lines.uniform(0, 1, (460, 3))
    flux = np.zeros((stars, *wavelength.shape[-1:]))
    at = np.broadcast_to(wavelength, flux.shape)
    near = (centre > at.min() - 30) & (centre < at.max() + 30)
    for c, w, d in zip(centre[near], width[near], depth[near], strict=True):
        pixels = (at.min(0) > c - 6 * w - 30) & (at.max(0) < c + 6 * w + 30)
        flux[:, pixels] += 0.25 * (parameters @ d)[:, None] * np.exp(-0.5 * ((at[:, pixels] - c) / w) ** 2)
    continuum = 80 * (1 + 0.4 * np.sin(at / 700)) * (1 + 0.3 * (at - 5000) / 2000)
    return continuum * (1 - np.minimum(flux, 0.9))


def spectra(
    stars: int,
    *,
    arms: dict[str, Float64] = SMALL,
    seed: int = 1,
    snr: float | Array = 50.0,
    velocity: float | Array = 0.0,
    noise: bool = True,
) -> Spectra:
    """Return observed-frame spectra with `snr` per native pixel; their noise differs from seed to seed."""
    velocity = np.broadcast_to(np.asarray(velocity, float), stars)
    random = np.random.default_rng([seed, 1])
    made = {}
    for name, wavelength in arms.items():
        flux = rest_flux(wavelength * (1 - velocity[:, None] / SPEED_OF_LIGHT), stars, seed)
        sigma = flux.mean(1, keepdims=True) / np.broadcast_to(snr, stars)[:, None] * np.ones_like(flux)
        seen = flux + sigma * random.standard_normal(flux.shape) if noise else flux
        made[name] = Arm.cleaned(wavelength, seen, sigma**-2, np.zeros(flux.shape, bool))
    return Spectra(np.arange(stars), made, velocity, velocity)


def targets(stars: int, magnitude: float = 15.0, seed: int = 7) -> Targets:
    """Return what predicting needs of stars without parallaxes, besides spectra."""
    return targets_at(np.full(stars, magnitude))._replace(keys=star_keys(seed, np.arange(stars)))


def targets_at(magnitude: Float64, error: float = 0.0) -> Targets:
    """Return stars of given magnitudes, with an error of A_G, without parallaxes and colours."""
    nothing, stars = np.full(len(magnitude), np.nan), len(magnitude)
    keys = star_keys(7, np.arange(stars))
    unknown, fold = (nothing,) * 4, np.full(stars, -1)
    return Targets(magnitude, np.full(stars, error), *unknown, fold, keys, Bands.none(stars))


def layers(sizes: tuple[int, ...], networks: int, seed: int) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
    """Return random weights and biases for a stack of networks; a program of JAX that draws them takes seconds."""
    random, gains = np.random.default_rng(seed), (*(1.0 for _ in sizes[2:]), 0.1)
    weights = tuple(
        jnp.asarray(gain * np.sqrt(2 / a) * random.standard_normal((networks, a, b)), jnp.float32)
        for a, b, gain in zip(sizes[:-1], sizes[1:], gains, strict=True)
    )
    return weights, tuple(jnp.asarray(np.zeros((networks, size), np.float32)) for size in sizes[1:])


def ensemble(
    n_inputs: int, settings: NetworkSettings, n_folds: int = 1, n_seeds: int = 2, seed: int = 5
) -> LabelEnsemble:
    """Return networks with random weights; every fold and seed has its own."""
    found = layers((n_inputs, *settings.hidden, 1), n_folds * n_seeds, seed)
    return LabelEnsemble(MLP(*found, settings.label.output), np.full(n_folds, 1.5), n_folds, n_seeds)


def mixture_ensemble(
    n_inputs: int, n_mixture: int, n_folds: int = 1, n_seeds: int = 2, seed: int = 6
) -> MixtureEnsemble:
    """Return networks of the mixture with random weights; every fold and seed has its own."""
    found = layers((n_inputs, 16, 16, 3 * n_mixture - 1), n_folds * n_seeds, seed)
    return MixtureEnsemble(MixtureNetwork.of(*found), np.full(n_folds, 5.0), n_folds, n_seeds)


def colour_scale(n_components: int, colours: int, limit: float = 1e3) -> ColourScale:
    """Return colours that need not fit the spectrum."""
    every = np.ones(colours)
    return ColourScale(0.8 * every, 0.3 * every, np.zeros((n_components, colours)), 0.8 * every, every, limit * every)


@cache
def model(
    spectra_settings: SpectraSettings = SMALL_SETTINGS,
    distances: DistancesSettings = FEW_DRAWS,
    *,
    desi: bool = False,
    n_components: int = 10,
    n_folds: int = 3,
    n_seeds: int = 2,
    output: str = "linear",
    kind: str = "label",
    calibration: Calibration | None = None,
    colours: tuple[str, ...] = (),
) -> Model:
    """Return a model whose components come from 60 stars and whose networks are not trained."""
    arms = DESI if desi else SMALL
    block = spectra(60, arms=arms, seed=9, snr=500.0)
    grid = PixelGrid.of(arms, spectra_settings)
    pixels = normalise(block, grid, spectra_settings)
    transform = Transform.of(spectra_settings, np.arange(len(grid.wavelength)))
    vectors = vectors_of(transform)(pixels, np.ones(60, bool))
    sums = add_moments(Sums.zero(len(transform.kept)), vectors)
    basis = basis_of_moments(sums, ComponentsSettings(n_components=n_components))
    network = NetworkSettings(kind=kind, hidden=(16, 16), label=LabelSettings(output=output), colours=colours)
    sections = {
        "sample": SampleSettings(),
        "photometry": PhotometrySettings(zero_point="none"),
        "spectra": spectra_settings,
        "network": network,
        "distances": distances,
        "prior": PriorSettings(),
        "binaries": BinariesSettings(),
    }
    limits = DomainLimits(
        structure=0.1,
        sharper=-2.0,
        broader=2.0,
        carbon=0.1,
        distance=1.5,
        parameters={"TEFF": (4000.0, 7000.0)},
        pixel_width=dict.fromkeys(arms, 0.8),
    )
    domain = Domain(limits, reference_directions(basis.project(np.asarray(vectors.spectra)), np.arange(60.0)))
    n_inputs = n_components + 2 * len(colours)
    networks = Networks(
        ensemble(n_inputs, network, n_folds, n_seeds),
        mixture_ensemble(n_inputs, 3, n_folds, n_seeds),
        mixture_ensemble(n_inputs, 2, n_folds, n_seeds, seed=7),
        colour_scale(n_components, len(colours)) if colours else None,
    )
    return Model(
        settings=ModelSettings(**sections),
        grid=grid,
        transform=transform,
        sky=(),
        basis=basis,
        networks=networks,
        calibration=calibration or Calibration.identity(),
        training_error=0.05,
        domain=domain,
        prior=Prior(DensityTable(MODULI, -0.1 * (MODULI - 13) ** 2), np.array([-8.0, 18.0]), np.array([1.0, -1.0])),
        seed=7,
        card={"made": "for tests"},
    )


__all__ = [
    "DESI",
    "SMALL",
    "SMALL_SETTINGS",
    "GridSettings",
    "ensemble",
    "mixture_ensemble",
    "model",
    "rest_flux",
    "spectra",
    "targets",
]
