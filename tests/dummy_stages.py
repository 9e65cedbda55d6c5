"""A configuration, a survey and four stages that do next to nothing, for tests of the runner.

As a script it runs them, killed with SIGKILL, again and again: see `main`.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Literal

from specdis.errors import InputError
from specdis.pipeline.manifest import StageFault
from specdis.pipeline.runner import run_stages
from specdis.pipeline.settings import RunSettings
from specdis.pipeline.stage import Context, Outcome, Stage
from specdis.pipeline.strict_toml import Document
from specdis.settings import Settings
from specdis.storage import atomic, write_json, write_text
from specdis.workers.settings import ClusterSettings

STARS = 60
BLOCK = 10


class SurveyFile(Settings):
    catalogue: Path


class Cuts(Settings):
    ebv_max: float = 0.5
    ruwe_max: float = float("inf")


class Science(Settings):
    scale: float = 1.0
    pause: float = 0.0


class Report(Settings):
    title: str = "a run"


class Config(Document):
    run: RunSettings
    survey: SurveyFile
    sample: Cuts = Cuts()
    science: Science = Science()
    report: Report = Report()
    cluster: ClusterSettings = ClusterSettings()


class Survey:
    def __init__(self, config: Config) -> None:
        catalogue = config.survey.catalogue
        if not catalogue.exists():
            raise InputError(catalogue, expected="a catalogue", found="no file", remedy="Check survey.catalogue.")
        self.inputs = [catalogue]


def sample(context: Context) -> Outcome:
    numbers = [len(line) for line in context.survey().inputs[0].read_text().splitlines()]
    write_json(context.paths.sample, {**context.provenance("sample").to_dict(), "numbers": numbers})
    write_json(context.paths.cutflow, {"key": context.key, "in": len(numbers)})
    return Outcome(STARS, [StageFault(name="missing-file", place="a.fits", message="gone", stars=3)])


def spectra(context: Context) -> Outcome:
    """Work block by block in the scratch folder, and go on after the blocks that are there."""
    origin = context.paths.sample.read_text()
    context.scratch.mkdir(parents=True, exist_ok=True)
    done = sum(file.name.startswith("block") for file in context.scratch.iterdir())
    for block in range(done, STARS // BLOCK):
        time.sleep(context.config.science.pause)
        write_json(context.scratch / f"block-{block}", [block, context.key, origin])
    with atomic(context.paths.pixels) as folder:
        shutil.copytree(context.scratch, folder)
    return Outcome(STARS, notes={"blocks": STARS // BLOCK, "first": done}, resumed=done * BLOCK)


def distances(context: Context) -> Outcome:
    blocks = [json.loads(file.read_text()) for file in sorted(context.paths.pixels.iterdir())]
    write_json(context.paths.distances, {"scale": context.config.science.scale, "key": context.key, "of": blocks})
    return Outcome(STARS)


def report(context: Context) -> Outcome:
    title = context.config.report.title
    write_text(context.paths.report / "index.html", f"{title} {context.paths.distances.read_text()}")
    return Outcome(STARS)


STAGES = [
    Stage("sample", (), ("survey", "sample", "run.seed"), ("sample", "cutflow"), sample),
    Stage("spectra", ("sample",), (), ("pixels",), spectra),
    Stage("distances", ("spectra", "sample"), ("science.scale",), ("distances",), distances),
    Stage("report", ("distances",), ("report",), ("report",), report),
]


def write_config(folder: Path, directory: str = "run") -> Path:
    """Write a survey and a configuration for it."""
    (folder / "stars.txt").write_text("one\nthree\n")
    path = folder / f"{directory}.toml"
    path.write_text(f'[run]\nname = "dummy"\ndirectory = "{directory}"\n[survey]\ncatalogue = "stars.txt"\n')
    return path


def start(path: Path, *overrides: str, **options: object) -> list[str]:
    """Run the stages; return the names of those that ran."""
    return run_stages(Config.load(path, overrides), STAGES, opener=Survey, **options)


def products(directory: Path) -> dict[str, bytes]:
    """Return the content of every file that must not depend on when, where and how often a run was killed."""
    apart = ("manifest.json", "log.txt", ".lock", "config.input.toml", "config.resolved.toml")
    files = sorted(file for file in directory.rglob("*") if file.is_file() and file.name not in apart)
    assert not (directory / ".partial").exists()
    return {str(file.relative_to(directory)): file.read_bytes() for file in files}


def killed(path: Path, when: Literal["operation", "time"], limit: float, *overrides: str) -> bool:
    """Run the stages in a process that is killed at a file operation or after a time; say whether it was."""
    child = os.fork()
    if child == 0:
        if when == "operation":
            _kill_at_operation(str(path.parent), int(limit))
        try:
            start(path, *overrides)
        finally:
            os._exit(0)
    if when == "time":
        time.sleep(limit)
        os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def _kill_at_operation(folder: str, limit: int) -> None:
    """Kill this process just before its n-th operation on files under a folder."""
    count = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if event in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree", "shutil.copytree"):
            count += any(str(argument).startswith(folder) for argument in arguments)
            if count == limit:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def main(mode: str, folder: Path) -> None:
    """Kill runs, finish them, compare with one never killed, and print how many kills there were.

    `operations`: a new run for each file operation that a run makes, killed there. `times`: one run, killed and
    restarted at random moments.
    """
    start(write_config(folder, "whole"))
    expected = products(folder / "whole")
    kills = 0
    if mode == "operations":
        while killed(write_config(folder, f"run{kills}"), "operation", kills + 1):
            start(folder / f"run{kills}.toml")
            assert products(folder / f"run{kills}") == expected, f"killed before operation {kills + 1}"
            kills += 1
    else:
        path, moments = write_config(folder), random.Random(1)
        for _ in range(10):
            kills += killed(path, "time", moments.uniform(0.0, 0.1), "science.pause=0.05")
        start(path, "science.pause=0.05")
        assert products(folder / "run") == expected
    sys.stdout.write(f"{kills}\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
