"""A survey and a configuration with which the real stages take seconds.

As a script it runs them, killed with SIGKILL again and again: see `main`.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from jax.experimental.compilation_cache import compilation_cache

from specdis.jaxed import jax
from specdis.mock.settings import MockSettings
from specdis.mock.survey import CATALOGUE, write_mock
from specdis.pipeline.config import Config
from specdis.pipeline.runner import run_stages
from specdis.pipeline.stage import Context, Outcome, Stage
from specdis.pipeline.stages import STAGES, training
from specdis.workers import Workers

ALL = [stage.name for stage in STAGES]

STARS = 1200
"""More than two blocks of stars pass the cuts, and there are ten coadds."""

# Pixels of 2 A, because the components of 8,040 pixels take most of a minute.
SETTINGS = """
[sample]
n_folds = 2

[photometry]
nuisances = "smooth"

[spectra]
grid.step = 2.0

[components]
n_components = 8

[network]
hidden = [16, 16]
colours = ["BP-RP", "G-RP"]

[network.label]
output = "exp"
loss = "robust"
intrinsic_scatter = 0.1

[training]
learning_rate = 0.01
batch = 64
epochs = 20
n_seeds = 2
noisy_copies = 1

[distances]
n_draws = 3
"""


ONE_PROCESS = "run.threads=1"


def write_survey(folder: Path) -> Path:
    """Write the mock survey; return the configuration of a run on it."""
    write_mock(folder / "survey", MockSettings(stars=STARS, repeat_fraction=0.1))
    survey = f'[survey]\nkind = "desi"\ncatalogue = "survey/{CATALOGUE}"\nspectra = "survey/healpix"\n'
    path = folder / "tiny.toml"
    path.write_text(f'[run]\nname = "tiny"\ndirectory = "run"\n{survey}{SETTINGS}')
    return path


def keep_compiled(folder: Path) -> None:
    """Keep compiled programs in a folder, from now on."""
    settings = {
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0.1,
        "jax_persistent_cache_min_entry_size_bytes": 0,
        "jax_persistent_cache_enable_xla_caches": "none",  # else the key of a program depends on the folder's name
    }
    for name, value in settings.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)  # for the processes of a run
    compilation_cache.reset_cache()


def start(
    path: Path, directory: Path, *overrides: str, stages: Sequence[Stage] = STAGES, **options: object
) -> list[str]:
    """Run the stages in a directory; return the names of those that ran.

    A single process does the blocks, unless told otherwise: each of several would compile the same programs.
    """
    return run_stages(Config.load(path, [f"run.directory={directory}", ONE_PROCESS, *overrides]), stages, **options)


class Watched(NamedTuple):
    """Workers that say which blocks of stars the stage has dealt with."""

    workers: Workers
    heard: Callable[[Any], None]

    def each(self, task: Callable[[Any], Any], blocks: Iterable[Any], **options: bool) -> Iterator[tuple[Any, Any]]:
        for block, result in self.workers.each(task, blocks, **options):
            yield block, result
            if hasattr(block, "rows"):
                self.heard(block)

    def total(self, *arguments: Any) -> Any:
        return self.workers.total(*arguments)

    def memory_gb(self) -> float:
        return self.workers.memory_gb()


def watched(name: str, heard: Callable[[Any], None]) -> list[Stage]:
    """Return the stages, one of which has watched workers."""

    def work(context: Context) -> Outcome:
        return stage.run(replace(context, workers=Watched(context.workers, heard)))

    stage = STAGES[ALL.index(name)]
    return [stage._replace(run=work) if other is stage else other for other in STAGES]


def products(directory: Path) -> dict[str, str]:
    """Return the SHA-256 of every file that must not depend on when, where and how often a run was killed."""
    assert not (directory / ".partial").exists()
    apart = ("manifest.json", "log.txt", ".lock", "config.input.toml", "config.resolved.toml", "rates.html")
    files = sorted(file for file in directory.rglob("*") if file.is_file() and file.name not in apart)
    return {str(file.relative_to(directory)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def until(directory: Path, last: str) -> dict[str, str]:
    """Return those of the products that are there after a stage."""
    made = ALL[: ALL.index(last) + 1]
    return {name: content for name, content in products(directory).items() if name.split("/")[0] in made}


# Kills

KILLS = (*ALL, "spectra", "spectra", "components", "components", "training", "training", "distances", "distances")
"""The stages in which a run is killed at a random moment; in all but the last it dies once more at the very end."""

_OPERATIONS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree")


class Moment(NamedTuple):
    """When a process dies: so many seconds after a stage's n-th operation on files, or when the stage ends."""

    stage: str
    operation: int
    seconds: float


def finishes(path: Path, directory: Path, moment: Moment | None = None) -> Counter[str] | None:
    """Run the stages in a process of their own; return its operations on files by stage, None if it was killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            counts = _watch(directory, moment)
            run_stages(
                Config.load(path, [f"run.directory={directory}"]), [_counted(stage, counts, moment) for stage in STAGES]
            )
            os.write(writing, json.dumps(counts).encode())
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as answer:
        content = answer.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == -signal.SIGKILL:
        return None
    assert status == 0, "the run failed"
    return Counter(json.loads(content))


def _counted(stage: Stage, counts: Counter[str], moment: Moment | None) -> Stage:
    """Return the stage, whose operations are counted under its name; the moment falls before its record is written."""

    def work(context: Context) -> Outcome:
        counts[stage.name] = 0
        outcome = stage.run(context)
        if moment and moment.stage == stage.name:
            _kill()
        return outcome

    return stage._replace(run=work)


def _watch(directory: Path, moment: Moment | None) -> Counter[str]:
    """Count this process's operations on files of a run under the stage that came last."""
    counts: Counter[str] = Counter()

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if counts and event in _OPERATIONS and str(arguments[0]).startswith(str(directory)):
            stage = next(reversed(counts))
            counts[stage] += 1
            if moment and (moment.stage, moment.operation) == (stage, counts[stage]):
                threading.Timer(moment.seconds, _kill).start()

    sys.addaudithook(hook)
    return counts


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(path: Path, compiled: Path, kills: int = len(KILLS)) -> None:
    """Kill a run at random moments and restart it each time; compare it with one never killed.

    Every process is a fork of this one, which has imported everything and started no thread.
    """
    keep_compiled(compiled)
    training.CHECKPOINT_SECONDS = 0
    whole, directory = path.parent / "whole", path.parent / "killed"
    operations, chance = finishes(path, whole), random.Random(2)
    assert operations
    stages = (KILLS * (kills // len(KILLS) + 1))[:kills]
    parts = {stage: max(1, operations[stage] // stages.count(stage)) for stage in ALL}
    moments = [Moment(stage, chance.randint(1, parts[stage]), chance.uniform(0, 0.02)) for stage in stages]
    moments += [Moment(stage, operations[stage] + 1, 0) for stage in ALL[:-1]]
    for moment in sorted(moments, key=lambda moment: ALL.index(moment.stage)):
        assert finishes(path, directory, moment) is None, f"not killed at {moment}"
    assert finishes(path, directory)
    assert products(directory) == products(whole)
    assert not list(directory.rglob("*.partial"))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]), *map(int, sys.argv[3:]))
