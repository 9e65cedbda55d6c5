"""Common parts of tasks: files that are opened once in every process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from specdis import jaxed
from specdis.arrays import Int64
from specdis.pipeline.stage import Context
from specdis.spectra.transform import Transform
from specdis.storage import read_table
from specdis.stores.paths import RunPaths
from specdis.stores.pixels import PixelStore
from specdis.surveys import Survey

if TYPE_CHECKING:
    from specdis.pipeline.config import Config


@dataclass(frozen=True)
class OnSurvey:
    """Opens the survey, once in every process."""

    config: Config
    opener: Callable[[Config], Survey]

    @cached_property
    def survey(self) -> Survey:
        """The open survey."""
        return self.opener(self.config)


@dataclass(frozen=True)
class OnPixels:
    """Base of tasks on stored pixels; files are opened once in every process."""

    config: Config

    @cached_property
    def paths(self) -> RunPaths:
        """The paths of the run."""
        return RunPaths(self.config.run.directory)

    @cached_property
    def store(self) -> PixelStore:
        """The stored pixels."""
        jaxed.use(self.config.run.device)
        return PixelStore.open(self.paths.pixels)

    @cached_property
    def transform(self) -> Transform:
        """The transform of the pixels."""
        return self.store.transform(self.config.spectra)


def trainable(context: Context) -> Int64:
    """Return the rows of the stars that may be trained on and have a spectrum."""
    return context.coefficients.with_spectrum(read_table(context.paths.sample, ["TRAINABLE"])["TRAINABLE"])
