"""The verb `check`: inputs, folder, disk and memory, before a run starts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from specdis import jaxed, machine
from specdis.errors import SpecdisError
from specdis.fitsfiles import opened
from specdis.pipeline.config import Config
from specdis.pipeline.inputs import references_of, survey_of
from specdis.pipeline.settings import MAIN_PROCESS_GB, PROCESS_GB
from specdis.pipeline.stages.sample import nothing_to_learn_from
from specdis.sample import Sample, choose, is_trainable
from specdis.spectra.grid import PixelGrid
from specdis.surveys import Fault, Spectra, Stars, Survey

_STARS_TRIED = 100

# Bytes on disk for a star and pixel, before compression: half-precision flux and sigma, and one byte for bad.
_PIXEL_BYTES = 5
# Bytes of a star in memory in addition to its coefficients: the columns of the sample and of the predictions.
_STAR_BYTES = 1000


@dataclass
class Findings:
    """The result of `examine`.

    Parameters
    ----------
    problems
        Problems that would make the run fail, each with place and remedy.
    facts
        Numbers by name, for the user to judge.
    differences
        Value and paper's choice by key, if they differ.
    """

    problems: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    differences: dict[str, dict[str, Any]] = field(default_factory=dict)


def examine(config: Config, *, opener: Callable[[Any], Survey] = survey_of) -> Findings:
    """Examine everything that a run needs, without starting one, and list all problems.

    Parameters
    ----------
    config
        The configuration.
    opener
        Opens the survey that a configuration names.
    """
    differences = config.differences().items()
    found = Findings(differences={key: {"value": value, "paper": paper} for key, (value, paper) in differences})
    for examine in (_folder, _device):
        found.problems += _problems(examine(config, found.facts))
    found.problems += _problems(_survey(config, found.facts, opener))
    found.problems += _problems(_references(config, found.facts))
    return found


def _problems(examination: Iterator[str]) -> list[str]:
    """Collect problems, including the error that ends an examination."""
    problems = []
    try:
        for problem in examination:
            problems.append(problem)  # noqa: PERF402 - an error must not discard the problems before it
    except SpecdisError as error:
        problems.append(str(error))
    return problems


def _folder(config: Config, facts: dict[str, Any]) -> Iterator[str]:
    """Check that the run's folder exists or can be created."""
    there = _existing(config.run.directory)
    facts["disk_free_gb"] = round(shutil.disk_usage(there).free / 1e9, 1)
    if not there.is_dir():
        yield f"{config.run.directory}: {there} is not a folder. Choose another run.directory."
    elif not os.access(there, os.W_OK | os.X_OK):
        yield f"{config.run.directory}: {there} is not writable. Choose another run.directory or its permissions."


def _existing(path: Path) -> Path:
    """Return the path, or its nearest existing parent."""
    return next(parent for parent in (path, *path.parents) if parent.exists())


def _device(config: Config, facts: dict[str, Any]) -> Iterator[str]:
    """Check that the device exists."""
    facts["cores"] = machine.cores()
    jaxed.use(config.run.device)
    yield from ()


def _references(config: Config, facts: dict[str, Any]) -> Iterator[str]:
    """Read the lists of members and open the rival catalogues that the configuration names."""
    found = references_of(config)
    facts["reference_files"] = len(found.files)
    yield from found.problems()


def _survey(config: Config, facts: dict[str, Any], opener: Callable[[Any], Survey]) -> Iterator[str]:
    """Open the survey, read a few stars and spectra, and estimate the needs of all."""
    survey = opener(config)
    stars = next(survey.stars(_STARS_TRIED))
    files = config.survey.catalogue or config.survey.spectra
    rows = facts["stars"] = config.mock.stars if files is None else _rows(files)
    column = config.sample.fold_column
    if column is not None and column not in stars:
        yield f"sample.fold_column: the survey has no column {column}. It has {', '.join(sorted(stars.columns))}."
    if config.components.kind == "pca" and rows < config.components.n_components:
        yield f"components.n_components is {config.components.n_components}, but there are only {rows} stars."
    if files is not None:
        yield from _training(config, survey)
    spectra, faults = _read(survey, stars)
    yield from (f"{fault.place}: {fault.message}" for fault in faults)
    if spectra is not None:
        native = {name: arm.native_wavelength for name, arm in spectra.arms.items()}
        facts["pixels"] = len(PixelGrid.of(native, config.spectra).wavelength)
        yield from _resources(config, facts)


def _training(config: Config, survey: Survey) -> Iterator[str]:
    """Search for a star to train on, block by block; without any, report the cut flow."""

    def chosen(blocks: Iterable[Stars]) -> Sample:
        return choose(blocks, survey.columns, config.sample, config.photometry, outside=True)

    if not any(is_trainable(chosen([block]).stars.columns, config.sample).any() for block in survey.stars()):
        yield str(nothing_to_learn_from(config.survey.place, survey, chosen(survey.stars()).cutflow.to_dict()))


def _read(survey: Survey, stars: Stars) -> tuple[Spectra | None, list[Fault]]:
    """Return the first readable spectra, and the faults before them."""
    faults: list[Fault] = []
    for part in survey.spectra(stars):
        if not isinstance(part, Fault):
            return part, faults
        faults.append(part)
    return None, faults


def _rows(path: Path) -> int:
    """Return the number of stars: the rows of the longest table of a file."""
    with opened(path) as file:
        return max(int(hdu.get_nrows()) for hdu in file if hdu.get_exttype() == "BINARY_TBL")


def _resources(config: Config, facts: dict[str, Any]) -> Iterator[str]:
    """Estimate disk and memory, and compare them with those available."""
    stars, pixels = facts["stars"], facts["pixels"]
    components = pixels if config.components.kind == "pixels" else config.components.n_components
    disk = stars * (pixels * _PIXEL_BYTES + components * 4) / 1e9
    # Moments of the spectra take pixels x pixels in float64, and their decomposition as much again.
    memory = (
        MAIN_PROCESS_GB
        + PROCESS_GB * config.run.processes
        + (2 * pixels**2 * 8 + stars * (components * 4 + _STAR_BYTES)) / 1e9
    )
    there = machine.memory_gb()
    limit = min(config.run.memory_limit_gb or there, there)
    facts |= {"disk_gb": round(disk, 2), "memory_gb": round(memory, 2), "memory_limit_gb": round(limit, 1)}
    if disk > facts["disk_free_gb"]:
        yield (
            f"{config.run.directory}: {disk:.1f} GB of disk are needed, {facts['disk_free_gb']:.1f} GB are free. "
            "Choose another run.directory or free some space."
        )
    if memory > limit:
        yield (
            f"{memory:.1f} GB of memory are needed, {limit:.1f} GB are allowed. "
            "Raise run.memory_limit_gb, ask for more memory, or use a coarser spectra.grid.step."
        )
