"""How many stars a second the costly steps do on this machine, on DESI's pixels: `make bench`."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from specdis.components import Moments, encoder
from specdis.distances import star_keys
from specdis.mock.settings import MockSettings
from specdis.mock.survey import CATALOGUE, write_mock
from specdis.model import Model, load_model
from specdis.network.mlp import NetworkSettings
from specdis.pipeline.config import Config, template
from specdis.pipeline.runner import run
from specdis.pipeline.stages import STAGES
from specdis.spectra import Normalised, normalise
from specdis.surveys import Spectra, Stars, open_survey
from specdis.training import TrainingSettings, TrainingStars, train


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Config:
    directory: Path = tmp_path_factory.mktemp("benchmark")
    write_mock(directory, MockSettings(stars=600))
    places = {"run.directory": "run", "survey.catalogue": CATALOGUE, "survey.spectra": "healpix"}
    overrides = [f"{key}={json.dumps(str(directory / name))}" for key, name in places.items()]
    return Config.load(template("demo.toml"), [*overrides, "training.epochs=1"])


@pytest.fixture(scope="module")
def model(config) -> Model:
    run(config, STAGES, last="distances")
    return load_model(config.run.directory / "model")


@pytest.fixture(scope="module")
def stars(config) -> Stars:
    return Stars.concatenate(list(open_survey(config.survey).stars()))


def read(config: Config, stars: Stars) -> list[Spectra]:
    return [part for part in open_survey(config.survey).spectra(stars) if isinstance(part, Spectra)]


@pytest.fixture(scope="module")
def spectra(config, stars) -> Spectra:
    """Return the fullest file."""
    return max(read(config, stars), key=len)


@pytest.fixture(scope="module")
def pixels(spectra, model) -> Normalised:
    return normalise(spectra, model.grid, model.settings.spectra)


def test_reading_coadds(measure, config, stars):
    measure(len(stars), read, config, stars)


def test_normalising(measure, spectra, model):
    measure(len(spectra), normalise, spectra, model.grid, model.settings.spectra)


def test_components_of_all_stars(measure, pixels, model):
    unit = np.asarray(model.transform(pixels.flux, pixels.bad))
    measure(len(unit), Moments(unit.shape[1]).add, unit)


def test_projecting(measure, pixels, model):
    encode = encoder(model.transform, model.basis)
    measure(len(pixels.flux), lambda: np.asarray(encode(*pixels).coefficients))


def test_training_20_networks_one_epoch(note):
    """The first epoch compiles and is left out."""
    stars, random = np.arange(20_000), np.random.default_rng(1)
    inputs = random.standard_normal((len(stars), 100)).astype(np.float32)
    parallax, one = np.exp(0.1 * inputs[:, 0]), np.ones(len(stars))
    ends: list[float] = []
    train(
        TrainingStars(inputs, one, parallax, 0.1 * one, stars % 5, stars),
        NetworkSettings(),
        TrainingSettings(epochs=8, patience=8, n_seeds=4),
        seed=1,
        progress=lambda _: ends.append(time.perf_counter()),
    )
    note(len(stars) * (len(ends) - 1) / (ends[-1] - ends[0]))


def test_distances_with_20_draws(measure, spectra, pixels, model):
    """All of a prediction: project, label, draw, push every draw through, summarise."""
    count = len(spectra)
    velocity, magnitude, fold = spectra.native_velocity, np.full(count, 16.0), np.arange(count) % 5
    measure(count, model.predict_pixels, pixels, velocity, magnitude, fold, star_keys(1, spectra.row))
