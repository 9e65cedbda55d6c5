"""Timed passes of the stages on a small mock survey, with the plain versions on the same stars."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from specdis.arrays import Array
from specdis.colours import Bands
from specdis.distances.targets import TARGET_COLUMNS, Targets
from specdis.mock.settings import MockSettings
from specdis.mock.survey import CATALOGUE, write_mock
from specdis.model.files import load_model
from specdis.model.model import Model
from specdis.network.objectives import TrainingStars
from specdis.network.settings import NetworkSettings, TrainingSettings
from specdis.network.training import TrainingState, train_label
from specdis.pipeline.config import Config
from specdis.pipeline.inputs import survey_of
from specdis.pipeline.runner import run_stages
from specdis.pipeline.stages import STAGES
from specdis.pipeline.stages.components import SUMMED, Encode, EncodeBlock, Moments
from specdis.pipeline.stages.distances import Predict, PredictBlock
from specdis.pipeline.stages.spectra import SpectraBlock
from specdis.pipeline.templates import template
from specdis.spectra.grid import PixelGrid
from specdis.spectra.normalise import normalise
from specdis.spectra.pixels import Pixels
from specdis.storage import Provenance, read_table
from specdis.stores.paths import RunPaths
from specdis.stores.pixels import PixelStore
from specdis.surveys import IDENTIFIER, Spectra, Stars, Survey
from specdis.verbs.bench import plain
from specdis.verbs.bench.limits import MachineLimits, Work, measure_machine
from specdis.workers import Workers, start_workers
from specdis.workers.answers import peak_memory_gb

_PLAIN_STARS = 256
_DRAWS = 20
_NETWORKS = 4
_TRAINED = 50_000


class Rate(NamedTuple):
    """One line of the table: rates in stars per second, with all cores; NaN if not measured."""

    stage: str
    rate: float
    limit: float
    limited_by: str
    plain: float
    memory_gb: float


@dataclass(frozen=True)
class _Bench:
    """A finished small run and its workers."""

    directory: Path
    config: Config
    workers: Workers

    @cached_property
    def paths(self) -> RunPaths:
        return RunPaths(self.directory / "run")

    @cached_property
    def store(self) -> PixelStore:
        return PixelStore.open(self.paths.pixels)

    @cached_property
    def model(self) -> Model:
        return load_model(self.paths.model)

    @cached_property
    def stars(self) -> Stars:
        return Stars(read_table(self.paths.sample))

    @property
    def blocks(self) -> list[slice]:
        """Whole blocks of stars."""
        return list(self.store.blocks())[:-1]

    @cached_property
    def pixels(self) -> Pixels:
        """Pixels for the plain versions, in single precision."""
        pixels = self.store.read(slice(0, _PLAIN_STARS))
        return pixels._replace(flux=pixels.flux.astype(np.float32), sigma=np.asarray(pixels.sigma, np.float32))

    @cached_property
    def weight(self) -> Array:
        """Weights of the pixels."""
        weight = self.model.transform.weight
        return np.ones(len(self.model.transform.kept)) if weight is None else np.asarray(weight)

    def passes(self, task: Callable[[Any], Any], blocks: Sequence[Any]) -> tuple[float, float]:
        """Return the rate of a pass over blocks, after another that compiles, and its peak memory."""
        for _ in range(2):
            self.workers.memory_gb()
            start, stars = time.perf_counter(), 0
            for block, _ in self.workers.each(task, blocks):
                stars += block.rows.stop - block.rows.start
            seconds = time.perf_counter() - start
        return stars / seconds, self.workers.memory_gb()


def measure_rates(stars: int, folder: Path) -> Iterator[Rate]:
    """Measure every stage on a mock survey written to a folder.

    Parameters
    ----------
    stars
        Number of stars; a few thousand, so that every core has several blocks.
    folder
        An empty folder, on the disk to be measured.

    Yields
    ------
    Rate
        Reading; normalising; moments; coefficients; training; distances with draws and with derivatives.
    """
    config = _config(stars, folder)
    with start_workers(config.cluster, preload=("specdis.pipeline.stages",)) as workers:
        limits = measure_machine(folder, workers)
        run_stages(config, STAGES, last="distances")
        made = _Bench(folder, config, workers)
        yield from _reading(made, limits)
        yield _moments(made, limits)
        yield _coefficients(made, limits)
        yield _training(limits)
        yield from _distances(made, limits)


def _config(stars: int, folder: Path) -> Config:
    """Write the survey; return the configuration of a run on it with the components and networks of the paper."""
    write_mock(folder / "survey", MockSettings(stars=stars, stars_per_file=200))
    places = {"run.directory": "run", "survey.catalogue": f"survey/{CATALOGUE}", "survey.spectra": "survey/healpix"}
    settings = [f"{key}={json.dumps(str(folder / name))}" for key, name in places.items()]
    settings += ['survey.kind="desi"', "training.epochs=1", "training.patience=1", f"training.n_seeds={_NETWORKS}"]
    return Config.load(template("mock"), [*settings, f"distances.n_draws={_DRAWS}"])


def _reading(made: _Bench, limits: MachineLimits) -> Iterator[Rate]:
    """Measure reading, from files to native pixels, and normalising, to the grid."""
    grid, half = made.store.grid, made.config.spectra.continuum_half
    native = sum(len(arm.native) for arm in grid.arms)
    widened = len(grid.wavelength) + 2 * half * len(grid.arms)
    blocks = [SpectraBlock(rows, made.stars.take(rows)) for rows in made.blocks]
    files = sorted((made.directory / "survey").rglob("coadd-*.fits"))[:4]
    images = [plain.read_coadd(path) for path in files]
    velocities = [np.full(len(image["B_FLUX"]), 20.0) for image in images]

    def read() -> int:
        return sum(len(plain.read_coadd(path)["B_FLUX"]) for path in files)

    def normalise() -> int:
        for image, velocity in zip(images, velocities, strict=True):
            plain.normalise_plainly(image, velocity, grid, half)
        return sum(map(len, velocities))

    # Flux, inverse variance and mask of 4 bytes each.
    rate, memory = made.passes(_Read(made.config), blocks)
    yield Rate("reading", rate, *limits.rate(Work(0.0, 12.0 * native, 12.0 * native)), _timed(read), memory)
    # Indices and weights, two interpolations, a running mean, two divisions.
    work = Work(flops=20.0 * widened, memory=12.0 * native + 9.0 * len(grid.wavelength))
    rate, memory = made.passes(_Normalise(made.config, made.paths.pixels), blocks)
    yield Rate("normalising", rate, *limits.rate(work), _timed(normalise), memory)


@dataclass(frozen=True)
class _Read:
    """Task: read the spectra of a block."""

    config: Config

    @cached_property
    def survey(self) -> Survey:
        return survey_of(self.config)

    def __call__(self, block: SpectraBlock) -> None:
        for _ in self.survey.spectra(block.stars):
            pass


@dataclass(frozen=True)
class _Normalise(_Read):
    """Task: normalise spectra in memory, as many as the block has stars."""

    path: Path

    @cached_property
    def pixels(self) -> tuple[PixelGrid, Sequence[tuple[float, float]]]:
        store = PixelStore.open(self.path)
        return store.grid, store.sky

    @cached_property
    def spectra(self) -> Spectra:
        stars = Stars(read_table(RunPaths(self.config.run.directory).sample))
        return next(part for part in self.survey.spectra(stars) if isinstance(part, Spectra))

    def __call__(self, block: SpectraBlock) -> None:
        done = 0
        while done < len(block.stars):
            normalise(self.spectra, self.pixels[0], self.config.spectra, self.pixels[1])
            done += len(self.spectra)


def _moments(made: _Bench, limits: MachineLimits) -> Rate:
    """Measure the sum of the matrix of second moments, of which half is enough."""
    kept = len(made.model.transform.kept)
    task, rows = Moments(made.config), [slice(0, SUMMED)] * 8
    task(rows[:1])
    start = time.perf_counter()
    task(rows)
    rate = SUMMED * len(rows) / (time.perf_counter() - start)
    kept_pixels = made.model.transform.kept
    flux, bad = (np.tile(values[:, kept_pixels], (4, 1)) for values in (made.pixels.flux, made.pixels.bad))

    def straightforward() -> int:
        spectra = plain.unit_vectors(Pixels(flux, None, bad, None), made.weight)
        total = np.zeros((kept, kept))
        total += spectra.T @ spectra
        return len(spectra)

    return Rate(
        "components (moments)",
        rate,
        *limits.rate(Work(flops=1.0 * kept**2, memory=3.0 * kept)),
        _timed(straightforward),
        peak_memory_gb(),
    )


def _coefficients(made: _Bench, limits: MachineLimits) -> Rate:
    """Measure the step from stored pixels to coefficients and the chi-square of the residual."""
    model, (flux, sigma, bad, _) = made.model, made.pixels
    kept, n_components = len(model.transform.kept), model.basis.n_components
    velocity = made.store.velocity
    none = np.zeros(len(velocity), bool)
    keys, factor = np.empty((0, len(velocity), 2)), np.empty((0, len(velocity)))
    blocks = [EncodeBlock(rows, none[rows], keys[:, rows], factor[:, rows]) for rows in made.blocks]
    rate, memory = made.passes(Encode(made.config, made.paths.coefficients, made.paths.basis), blocks)
    work = Work(flops=kept * (4.0 * n_components + 20), memory=5.0 * len(made.store.grid.wavelength))
    flux, sigma, bad = (values[:, model.transform.kept] for values in (flux, sigma, bad))

    def straightforward() -> int:
        plain.encode(Pixels(flux, sigma, bad, None), model.basis, made.weight)
        return len(flux)

    return Rate("components (coefficients)", rate, *limits.rate(work), _timed(straightforward), memory)


class _Epochs:
    """Times the end of every epoch, in place of a checkpoint."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def load(self, state: TrainingState) -> TrainingState:
        return state

    def save(self, state: TrainingState) -> None:
        del state
        self.ends.append(time.perf_counter())


def _training(limits: MachineLimits) -> Rate:
    """Measure one epoch of four networks of the paper's size together, in stars per second."""
    random = np.random.default_rng(1)
    inputs = random.standard_normal((_TRAINED, 100)).astype(np.float32)
    parallax, error = np.exp(0.1 * inputs[:, 0]), np.full(_TRAINED, 0.1)
    network, settings = NetworkSettings(), TrainingSettings(epochs=4, patience=4, n_seeds=_NETWORKS)
    stars = TrainingStars(inputs, error * 10, parallax, error, np.full(_TRAINED, -1), np.arange(_TRAINED))
    epochs = _Epochs()
    train_label(stars, network, settings, 1, epochs)
    rate = _TRAINED * (len(epochs.ends) - 1) / (epochs.ends[-1] - epochs.ends[0])
    sizes = (100, *network.hidden, 1)
    weights = sum(a * b for a, b in itertools.pairwise(sizes))
    # Forward, backward to the inputs and backward to the weights.
    work = Work(flops=6.0 * weights * _NETWORKS)

    def straightforward() -> int:
        plain.train_plainly(
            inputs, parallax.astype(np.float32), error.astype(np.float32), network.hidden, settings.batch, _NETWORKS
        )
        return _TRAINED

    try:
        known = _timed(straightforward)
    except ImportError:
        known = float("nan")
    return Rate(f"training {_NETWORKS} networks", rate, *limits.rate(work), known, peak_memory_gb())


def _distances(made: _Bench, limits: MachineLimits) -> Iterator[Rate]:
    """Measure predictions with Monte-Carlo and with linear errors; the plain version of both uses draws."""
    model = made.model
    kept, n_components = model.transform.kept, model.basis.n_components
    grid, half = made.store.grid, made.config.spectra.continuum_half
    widened = len(grid.wavelength) + 2 * half * len(grid.arms)
    layers = list(zip(model.networks.label.networks.weights, model.networks.label.networks.biases, strict=True))
    networks = [[(np.asarray(w[k]), np.asarray(b[k])) for w, b in layers] for k in range(_NETWORKS)]

    def straightforward() -> int:
        few = slice(0, 64)
        projection = kept, made.weight, np.asarray(model.basis.vectors)
        plain.draws(made.pixels.take(few), grid, half, projection, networks, _DRAWS)
        return 64

    known = _timed(straightforward)
    # Interpolation, running mean, division, mean, Eq. 1 and norm; projection; every network on every version.
    each = 35.0 * widened + 2.0 * len(kept) * n_components
    answers = 2.0 * sum(weight.size for weight in _weights(model))
    works = {
        "monte-carlo": Work(_DRAWS * (each + answers), 5.0 * len(grid.wavelength)),
        "linear": Work(120.0 * widened + 8.0 * len(kept) * n_components + 4 * answers, 5.0 * len(grid.wavelength)),
    }
    for method, work in works.items():
        config = Config.load(made.paths.config_resolved, [f'distances.method="{method}"'])
        run_stages(config, STAGES, last="distances")
        stars = read_table(made.paths.sample, [*IDENTIFIER, *TARGET_COLUMNS, "RA", "DEC"])
        targets, scratch = Targets.of(stars, 1, Bands.none(len(stars["FOLD"]))), made.directory / "predicted.npz"
        blocks = [
            PredictBlock.of(rows, targets, stars, scratch.with_suffix(f".{rows.start}.npz")) for rows in made.blocks
        ]
        rate, memory = made.passes(Predict(config, Provenance("distances", method, 1)), blocks)
        name = f"distances, {_DRAWS} draws" if method == "monte-carlo" else "distances, linear"
        yield Rate(name, rate, *limits.rate(work), known, memory)


def _weights(model: Model) -> list[Array]:
    """Return the weights of all label and mixture networks."""
    ensembles = model.networks.label, model.networks.mixture
    return [np.asarray(weight) for ensemble in ensembles for weight in ensemble.networks.weights]


def _timed(function: Callable[[], int]) -> float:
    """Return stars per second of a function that returns their number; the first call is a warm-up."""
    function()
    start = time.perf_counter()
    stars = function()
    return stars / (time.perf_counter() - start)
