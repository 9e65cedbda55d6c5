"""A stage, its context and its outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from specdis.arrays import Array
from specdis.errors import InputError
from specdis.log import logger
from specdis.pipeline.manifest import Inputs, Manifest, StageFault, States
from specdis.storage import Provenance, read_table
from specdis.stores.coefficients import CoefficientStore
from specdis.stores.identity import identity
from specdis.stores.paths import RunPaths
from specdis.stores.pixels import PixelStore
from specdis.surveys import IDENTIFIER, Survey
from specdis.workers import Workers

if TYPE_CHECKING:  # importing the configuration imports every section's code, and JAX with it
    from specdis.pipeline.config import Config


class SurveyFiles:
    """The survey's files, opened when first needed, and their fingerprint.

    Parameters
    ----------
    config
        The configuration; its section [survey] names the survey.
    manifest
        Replaces files that were moved away, so that a finished run remains usable without them.
    opener
        Opens the survey that a configuration names.
    """

    def __init__(self, config: Config, manifest: Manifest, opener: Callable[[Any], Survey]) -> None:
        self.opener = opener
        self._config = config
        self._recorded = next((record.inputs for record in manifest.stages.values() if record.inputs), None)

    @cached_property
    def survey(self) -> Survey:
        """The open survey."""
        return self.opener(self._config)

    @cached_property
    def away(self) -> bool:
        """Whether the files of a finished run were moved away; they then count as unchanged."""
        try:
            self.survey  # noqa: B018 - opened as a test
        except InputError as error:
            if self._recorded is None or self._all_exist():
                raise
            logger.warning("%s Taken as unchanged.", error)
            return True
        return False

    def inputs(self, others: Sequence[Path]) -> Inputs | None:
        """Fingerprint the survey's catalogue and other files."""
        return self._recorded if self.away else Inputs.of([*self.survey.inputs, *others])

    def _all_exist(self) -> bool:
        return all(value.exists() for value in self._config.flat("survey").values() if isinstance(value, Path))


@dataclass(frozen=True)
class Context:
    """Arguments of a stage.

    Parameters
    ----------
    config
        The configuration.
    paths
        Paths of the products.
    key
        Hash of the settings, inputs and software of this stage.
    scratch
        Folder for unfinished work, made by the stage, kept after a kill and removed at the end of the stage. Its
        content has the same key, settings, inputs and upstream products.
    manifest
        The stages finished so far.
    files
        The survey's files.
    workers
        Workers for blocks of stars.
    """

    config: Config
    paths: RunPaths
    key: str
    scratch: Path
    manifest: Manifest
    files: SurveyFiles
    workers: Workers

    @property
    def opener(self) -> Callable[[Any], Survey]:
        """Function that opens the survey in another process."""
        return self.files.opener

    @cached_property
    def identity(self) -> Array:
        """`identity` of the rows of the sample, to which those of every store must be equal."""
        return identity(read_table(self.paths.sample, IDENTIFIER))

    @cached_property
    def pixels(self) -> PixelStore:
        """The stored pixels, row by row of the sample."""
        return PixelStore.open(self.paths.pixels, self.identity)

    @cached_property
    def coefficients(self) -> CoefficientStore:
        """The stored coefficients, row by row of the sample."""
        return CoefficientStore.open(self.paths.coefficients, self.identity)

    def provenance(self, kind: str) -> Provenance:
        """Return the provenance for a product of this stage."""
        return Provenance(kind, self.key, self.config.run.seed)

    def survey(self) -> Survey:
        """Open the survey, once for all stages."""
        return self.files.survey


@dataclass(frozen=True)
class Outcome:
    """Result of a stage.

    Parameters
    ----------
    stars
        Number of stars processed.
    faults
        Lost stars, with reasons.
    notes
        Numbers worth keeping in the manifest, in plain values.
    resumed
        Number of stars that an interrupted attempt had finished.
    read
        Files to read in addition to those known before, with their state at the beginning.
    """

    stars: int
    faults: Sequence[StageFault] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)
    resumed: int = 0
    read: States = field(default_factory=dict)


class Stage(NamedTuple):
    """One step from the survey to the report."""

    name: str
    needs: tuple[str, ...]
    """Stages whose products it reads."""
    sections: tuple[str, ...]
    """Sections (`sample`) and keys (`run.seed`) of the configuration on which its products depend."""
    products: tuple[str, ...]
    """Names of its products in `RunPaths`."""
    run: Callable[[Context], Outcome]
    reads: Callable[[Config], Sequence[Path]] | None = None
    """Files, besides the survey's and the products it needs, on which its products depend."""
    also: Callable[[Config], tuple[str, ...]] | None = None
    """Sections on which its products depend with some configurations only."""

    def settings_of(self, config: Config) -> dict[str, Any]:
        """Return the settings on which its products depend."""
        return config.flat(*self.sections, *(self.also(config) if self.also else ()))
