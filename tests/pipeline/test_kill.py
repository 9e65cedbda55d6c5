"""Runs of the real stages that die, again and again, end with the bytes of a run that did not."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

import tiny_run
from specdis.pipeline.config import Config
from specdis.pipeline.manifest import Manifest
from specdis.pipeline.runner import run_stages
from specdis.pipeline.stages import STAGES, training
from specdis.storage import write_arrays
from tiny_run import ALL, products, start, watched


@pytest.mark.slow
def test_killed_at_random_moments_of_every_stage_a_run_ends_with_the_same_bytes(compiled, tmp_path):
    path = tiny_run.write_survey(tmp_path)
    own = shutil.copytree(compiled, tmp_path / "compiled")  # a killed process may leave half a program
    done = subprocess.run([sys.executable, tiny_run.__file__, path, own], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    log = (tmp_path / "killed" / "log.txt").read_text()
    assert log.count("INFO tiny: specdis") == len(tiny_run.KILLS) + len(ALL)  # lives: one more than kills
    assert min(map(int, re.findall(r"training \w+: resumes after epoch (\d+)", log))) < 20


def spectra_again(directory, config, first, **options):
    """Start the stage `spectra` in a process of its own, after some statements."""
    command = f"{first}; from specdis.cli import main; main()"
    arguments = [
        "run",
        config,
        "--set",
        f"run.directory={directory}",
        "--from",
        "spectra",
        "--to",
        "spectra",
        "--force",
    ]
    return subprocess.Popen([sys.executable, "-c", command, *arguments], stderr=subprocess.PIPE, text=True, **options)


HEED = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); signal.signal(signal.SIGHUP, 0)"
"""Heed what is ignored where a shell starts tests in the background."""


@pytest.mark.parametrize(
    "request_to_end",
    [signal.SIGTERM, *(pytest.param(other, marks=pytest.mark.slow) for other in (signal.SIGINT, signal.SIGHUP))],
)
def test_a_run_that_is_asked_to_end_does_so_in_order(config, copied, finished, request_to_end):
    with spectra_again(copied, config, HEED, start_new_session=True) as running:
        assert running.stderr is not None
        said = ""
        while "sky windows" not in said:
            said += running.stderr.readline()
        os.killpg(running.pid, request_to_end)  # to all of its processes, as a terminal and a batch system do
        said += running.stderr.read()
    assert running.returncode == 130
    assert said.splitlines()[-1] == "specdis: interrupted. Repeat the command to resume."
    assert "Traceback" not in said
    start(config, copied, last="spectra")
    assert products(copied) == products(finished)


LIMITED = "import resource; resource.setrlimit(resource.{}, ({}, {}))"


@pytest.mark.slow
@pytest.mark.parametrize(
    "limit",
    [
        LIMITED.format("RLIMIT_NOFILE", 64, 64),
        LIMITED.format("RLIMIT_AS", 4 << 30, 4 << 30),
        "import os; os.environ['TMPDIR'] = '/nowhere'",
    ],
    ids=["64 open files", "4 GB of addresses", "no folder for temporary files"],
)
def test_a_run_within_limits_of_the_system_ends_with_the_same_bytes(config, copied, finished, limit):
    with spectra_again(copied, config, limit) as running:
        said = running.communicate()[1]
    assert running.returncode == 0, said
    assert products(copied) == products(finished)


@pytest.mark.slow
def test_too_little_memory_for_the_processes_is_a_message(config, copied):
    with spectra_again(copied, config, LIMITED.format("RLIMIT_AS", 700 << 20, 700 << 20)) as running:
        said = running.communicate()[1]
    assert running.returncode == 1
    assert said.splitlines()[-1].startswith("specdis: ")
    assert "Traceback" not in said


def interrupted_after(calls: int, function=lambda *_: None):
    """Return the function, which raises at the end of its n-th call."""
    done = []

    def work(*arguments):
        function(*arguments)
        done.append(1)
        if len(done) == calls:
            raise KeyboardInterrupt

    return work


def test_an_interrupted_training_goes_on_after_its_last_epoch(copied, config, monkeypatch):
    before = products(copied)
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0)
    with monkeypatch.context() as patch:
        patch.setattr(training, "write_arrays", interrupted_after(7, write_arrays))
        with pytest.raises(KeyboardInterrupt):
            start(config, copied, first="training", last="training", force=True)
    assert start(config, copied, last="training") == ["training"]
    assert "resumes after epoch 7" in (copied / "log.txt").read_text()
    assert products(copied) == before


@pytest.mark.parametrize("stage", ["spectra", "components", "distances"])
def test_a_block_that_was_done_is_not_done_again(copied, config, stage):
    before = products(copied)
    with pytest.raises(KeyboardInterrupt):
        start(config, copied, first=stage, last=stage, force=True, stages=watched(stage, interrupted_after(1)))
    again = []
    assert start(config, copied, last=stage, stages=watched(stage, again.append)) == [stage]
    assert products(copied) == before
    assert 1 <= len(again) <= 2  # of three; the second may have been finished when the run broke off
    record = Manifest.read(copied / "manifest.json").stages[stage]
    assert record.stars_per_second * record.seconds == pytest.approx(
        sum(block.rows.stop - block.rows.start for block in again), abs=2
    )


def test_a_run_that_broke_off_before_its_record_does_the_stage_again(copied, config):
    """Between the last product and the manifest nothing is left of the unfinished store but its marks."""
    before = products(copied)

    sample, spectra, *_ = STAGES

    def broken(context):
        spectra.run(context)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_stages(Config.load(config, [f"run.directory={copied}"]), [sample, spectra._replace(run=broken)], force=True)
    assert start(config, copied, last="spectra") == ["spectra"]
    assert products(copied) == before
