"""Wherever the blocks of a run are done, and whoever dies over them, the catalogue is the same."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest

from cluster_tasks import deadly, double, wrong
from deadly_survey import CATALOGUE, open_deadly
from specdis.errors import ConfigError, InputError, SpecdisError
from specdis.pipeline.config import Config
from specdis.pipeline.runner import run_stages
from specdis.pipeline.stages import STAGES
from specdis.storage import read_json, read_table
from specdis.stores.zarr import open_group
from specdis.surveys.fits import FileError
from specdis.workers import start_workers
from specdis.workers.answers import Died
from specdis.workers.dask import slurm
from specdis.workers.settings import ClusterSettings
from tiny_run import products, start, until, watched

LOOPBACK = "0100007F"
"""127.0.0.1, as /proc/net writes it."""
KINDS = {
    "three processes": ["run.threads=3"],
    "dask, one worker": ['cluster.kind="local"', "cluster.workers=1"],
    "dask, two workers": ['cluster.kind="local"', "cluster.workers=2"],
}


QUICK = {"three processes": "catalogue", "dask, two workers": "components"}
"""How far kinds of workers go in the quick tests."""


@pytest.mark.parametrize(("kind", "last"), QUICK.items())
def test_the_same_products_bit_by_bit(finished, config, tmp_path, kind, last):
    start(config, tmp_path / "run", *KINDS[kind], last=last)
    assert products(tmp_path / "run") == until(finished, last)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if QUICK.get(kind) != "catalogue"])
def test_the_same_catalogue_bit_by_bit(finished, config, tmp_path, kind):
    start(config, tmp_path / "run", *KINDS[kind], last="catalogue")
    assert products(tmp_path / "run") == until(finished, "catalogue")


@pytest.mark.slow
def test_the_same_catalogue_by_a_scheduler_that_runs_already(finished, config, tmp_path):
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as scheduler:
        address = f'cluster.address="{scheduler.scheduler_address}"'
        start(config, tmp_path / "run", 'cluster.kind="address"', address, last="components")
    assert products(tmp_path / "run") == until(finished, "components")


def children() -> dict[int, str]:
    """Return the command lines of all processes that this one has begun, and those have begun, by number."""
    parent, command = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command[int(folder.name)] = (folder / "cmdline").read_text()
        except OSError:
            continue
    mine = {os.getpid()}
    while found := {child for child, of in parent.items() if of in mine} - mine:
        mine |= found
    return {child: command[child] for child in mine - {os.getpid()}}


@pytest.mark.parametrize(
    ("kind", "stage"),
    [
        ("three processes", "distances"),
        *(
            pytest.param(kind, stage, marks=pytest.mark.slow)
            for kind in ("three processes", "dask, two workers")
            for stage in ("spectra", "components", "distances")
            if (kind, stage) != ("three processes", "distances")
        ),
    ],
)
def test_a_worker_that_is_killed_in_a_stage_changes_nothing(finished, config, copied, kind, stage):
    killed = []
    workers_of = {"three processes": "forkserver", "dask, two workers": "spawn_main"}

    def kill_first(block: object) -> None:
        own = sorted(child for child, command in children().items() if workers_of[kind] in command)
        if not killed:
            killed.append(own[-1])
            os.kill(own[-1], signal.SIGKILL)

    options = {"first": stage, "last": stage, "force": True, "stages": watched(stage, kill_first)}
    assert start(config, copied, *KINDS[kind], **options) == [stage]
    assert killed
    assert products(copied) == products(finished)


def test_a_file_that_kills_its_reader_is_left_out_and_named(finished, config, tmp_path):
    pixels = read_table(finished / "sample" / "sample.parquet", ["HEALPIX"])["HEALPIX"]
    directory, deadly = tmp_path / "run", int(pixels[0])
    run_stages(
        Config.load(config, [f"run.directory={directory}", f'run.name="{deadly}"']), STAGES[:2], opener=open_deadly
    )
    record = read_json(directory / "manifest.json")["stages"]["spectra"]
    lost = record["fault_counts"].pop("killed-its-reader")
    assert lost["stars"] == (pixels == deadly).sum()
    assert not record["fault_counts"]
    assert all(f"-{deadly}.fits" in fault["place"] for fault in record["faults"])
    bad = open_group(directory / "spectra" / "pixels.zarr", "pixels")["bad"]
    np.testing.assert_array_equal(np.asarray(bad).all(1), pixels == deadly)


def test_a_catalogue_that_kills_its_reader_ends_the_run_with_a_message(config, tmp_path):
    settings = Config.load(config, [f"run.directory={tmp_path / 'run'}", f'run.name="{CATALOGUE}"'])
    with pytest.raises(InputError, match=r"a file that can be read.*died, twice.*download it again"):
        run_stages(settings, STAGES[:1], opener=open_deadly)


# The workers by themselves


SETTINGS = [ClusterSettings(), ClusterSettings(kind="local", workers=2)]


@pytest.mark.parametrize("settings", SETTINGS, ids=["none", "local"])
def test_every_block_comes_once_with_what_was_logged(settings, caplog):
    with start_workers(settings, 2) as available:
        assert sorted(available.each(double, range(20))) == [(number, 2 * number) for number in range(20)]
        assert available.memory_gb() > 0.01
    assert sorted(record.message for record in caplog.records if "doubling" in record.message) == sorted(
        f"doubling {number}" for number in range(20)
    )


@pytest.mark.parametrize("settings", SETTINGS, ids=["none", "local"])
def test_a_block_that_kills_is_given_up_and_the_others_are_done(settings, monkeypatch):
    import distributed

    # Two deaths instead of dask's four are enough to suspect a block: each new worker takes a second to start.
    monkeypatch.setitem(distributed.config["distributed"]["scheduler"], "allowed-failures", 1)
    with start_workers(settings, 2) as available:
        found = dict(available.each(deadly, range(6), may_kill=True))
    assert isinstance(found.pop(3), Died)
    assert found == {number: number for number in (0, 1, 2, 4, 5)}


@pytest.mark.parametrize(
    "settings", [SETTINGS[0], pytest.param(SETTINGS[1], marks=pytest.mark.slow)], ids=["none", "local"]
)
def test_a_block_that_kills_where_none_should_is_an_error(settings):
    with start_workers(settings, 2) as available, pytest.raises(SpecdisError, match=r"lack of memory.*Run again"):
        list(available.each(deadly, range(6)))


@pytest.mark.parametrize("settings", SETTINGS, ids=["none", "local"])
def test_an_error_of_a_task_ends_the_pass(settings):
    with (
        start_workers(settings, 2) as available,
        pytest.raises(FileError, match=r"a\.fits: expected a number") as raised,
    ):
        list(available.each(wrong, range(6)))
    assert (raised.value.fault, raised.value.remedy) == ("unreadable-file", "Replace it.")


def test_sums_meet_two_by_two():
    with start_workers(SETTINGS[1]) as available:
        assert available.total(sum, list(range(101)), int.__add__) == 5050


def test_a_scheduler_that_does_not_answer_is_a_clear_error():
    settings = ClusterSettings(kind="address")
    with start_workers(settings) as available, pytest.raises(ConfigError, match=r"set cluster\.address"):
        list(available.each(double, [1]))


def listening() -> dict[int, str]:
    """Return at which ports this process and those that it began listen, and at which address, as /proc/net has it."""
    links = [fd for process in (os.getpid(), *children()) for fd in Path(f"/proc/{process}/fd").glob("*")]
    mine = {os.readlink(link) for link in links if link.is_symlink()}
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    open_here = [words[1].split(":") for words in lines if words[3] == "0A" and f"socket:[{words[9]}]" in mine]
    return {int(port, 16): address for address, port in open_here}


def test_a_cluster_on_this_machine_listens_on_its_loopback_alone():
    before = listening()
    with start_workers(ClusterSettings(kind="local", workers=1)) as available:
        assert list(available.each(double, [1])) == [(1, 2)]
        new = listening().items() - before.items()
        assert len(new) >= 2
        assert {address for _, address in new} == {LOOPBACK}


def test_slurm_jobs_ask_for_what_the_configuration_says():
    settings = ClusterSettings(
        kind="slurm", cores=16, memory_gb=32, walltime="01:30:00", queue="regular", account="m1234",
        directives=("--constraint=cpu",), prologue=("source venv/bin/activate",),
    )  # fmt: skip
    with slurm(settings) as jobs:
        script = jobs.job_script()
        assert listening()[int(re.findall(r":(\d+)/", jobs.dashboard_link)[0])] == LOOPBACK
    for line in ("-p regular", "-A m1234", "-t 01:30:00", "--cpus-per-task=16", "--constraint=cpu", "source venv"):
        assert line in script
