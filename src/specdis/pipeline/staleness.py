"""Comparison of a configuration with a run directory: which stages are stale, and why.

A stage is stale when its settings, its inputs, its software or a stage before it changed, or when a product is missing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from specdis import __version__
from specdis.pipeline.inputs import survey_of
from specdis.pipeline.manifest import Inputs, Manifest, ProductSize, StageRecord, changes, look
from specdis.pipeline.stage import Stage, SurveyFiles
from specdis.storage import FORMAT_VERSION, digest, remove
from specdis.stores.paths import RunPaths
from specdis.surveys import Survey

if TYPE_CHECKING:
    from specdis.pipeline.config import Config


class StageStatus(NamedTuple):
    """Whether the products of a stage agree with the configuration, and why not."""

    name: str
    state: Literal["fresh", "stale", "interrupted", "never run"]
    reasons: list[str]
    record: StageRecord | None


class Plan:
    """A configuration with its stages, for comparison with a run directory.

    Parameters
    ----------
    config
        The configuration.
    stages
        All stages, in order.
    files
        The survey's files.
    """

    def __init__(self, config: Config, stages: Sequence[Stage], files: SurveyFiles) -> None:
        self.paths = RunPaths(config.run.directory)
        self._files = files
        self._unfinished = self.paths.directory / ".partial"
        self.inputs = {stage.name: _inputs(stage, config, files) for stage in stages}
        self.settings = {stage.name: _plain(stage.settings_of(config)) for stage in stages}
        self.keys: dict[str, str] = {}
        for stage in stages:
            # Products do not depend on the location of files, so the key has their names only.
            settings = _plain(stage.settings_of(config), path=lambda path: path.name)
            inputs = self.inputs[stage.name]
            origin = [*(self.keys[need] for need in stage.needs), inputs and inputs.identity]
            self.keys[stage.name] = digest([stage.name, FORMAT_VERSION, __version__, settings, origin])

    def reasons(self, stage: Stage, manifest: Manifest, stale: Collection[str] = ()) -> list[str]:
        """Return the reasons why a stage is stale; none if it is fresh.

        Parameters
        ----------
        stage
            The stage.
        manifest
            The stages finished so far.
        stale
            Names of the stages before it that are stale.
        """
        record = manifest.stages.get(stage.name)
        if record is None:
            return ["its products do not exist yet"]
        reasons = list(_different(record.settings, self.settings[stage.name]))
        reasons += self._changed(record, self.inputs[stage.name])
        for need in stage.needs:
            if need in stale:
                reasons.append(f"{need} is stale")
            elif record.upstream.get(need) != manifest.stages[need].finished:
                reasons.append(f"{need} was made again")
        if not reasons and record.key != self.keys[stage.name]:
            reasons.append(f"it was made by {record.software}, this is specdis {__version__}")
        return reasons + list(self._damage(stage, record))

    def _changed(self, record: StageRecord, inputs: Inputs | None) -> Iterator[str]:
        """Describe files that changed since the stage read them, or looked for them."""
        if record.inputs != inputs:
            yield changes(record.inputs.states if record.inputs else {}, inputs.states if inputs else {})
        if record.read and not self._files.away and (said := changes(record.read, look(map(Path, record.read)))):
            yield said

    def _damage(self, stage: Stage, record: StageRecord) -> Iterator[str]:
        for name in stage.products:
            path = getattr(self.paths, name)
            size = ProductSize.of(path)
            if size is None:
                yield f"{path} is missing"
            elif size != record.products.get(name):
                yield f"{path} has another size than when it was made"

    def scratch(self, stage: Stage, manifest: Manifest) -> Path:
        """Return the folder for a stage's unfinished work."""
        origin = [manifest.stages[need].finished for need in stage.needs]
        inputs = self.inputs[stage.name]
        state = [self.keys[stage.name], self.settings[stage.name], inputs and inputs.states, origin]
        return self._unfinished / f"{stage.name}-{digest(state)}"

    def scratches(self, stage: Stage) -> list[Path]:
        """Return the folders with unfinished work of a stage, of this state of its inputs or another."""
        return sorted(self._unfinished.glob(f"{stage.name}-*"))

    def discard(self, stage: Stage, keep: Path | None = None) -> None:
        """Delete the unfinished work of a stage, except one folder."""
        for scratch in self.scratches(stage):
            if scratch != keep:
                remove(scratch)
        with suppress(OSError):  # missing, or with work of other stages
            self._unfinished.rmdir()


def stage_statuses(
    config: Config, stages: Sequence[Stage], *, opener: Callable[[Any], Survey] = survey_of
) -> list[StageStatus]:
    """Return for each stage whether it is fresh, or the reasons why it is stale."""
    manifest = Manifest.read(RunPaths(config.run.directory).manifest)
    plan = Plan(config, stages, SurveyFiles(config, manifest, opener))
    found: list[StageStatus] = []
    for stage in stages:
        stale = [status.name for status in found if status.state != "fresh"]
        reasons = plan.reasons(stage, manifest, stale)
        record = manifest.stages.get(stage.name)
        state: Literal["fresh", "stale", "interrupted", "never run"] = "stale" if reasons else "fresh"
        if record is None:
            state = "interrupted" if plan.scratches(stage) else "never run"
        found.append(StageStatus(stage.name, state, reasons, record))
    return found


def _inputs(stage: Stage, config: Config, files: SurveyFiles) -> Inputs | None:
    """Fingerprint the input files of a stage, or None if it reads only products."""
    others = () if stage.reads is None else stage.reads(config)
    if not stage.needs:
        return files.inputs(others)
    return None if stage.reads is None else Inputs.of(others)


def _different(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Describe the settings that differ."""
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            yield f"{key} was {before.get(key, 'unknown')} and is {now.get(key, 'unknown')}"


def _plain(value: Any, path: Callable[[Path], str] = str) -> Any:
    """Return settings as JSON gives them back, so that they compare equal with the manifest's."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item, path) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, path) for item in value]
    if isinstance(value, Path):
        return path(value)
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
