"""The share of the machine that this process may use."""

import os
import resource

import pytest

from specdis import machine
from specdis.pipeline.config import Config
from specdis.pipeline.templates import template

HERE = len(os.sched_getaffinity(0))


def tree(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


V2 = {"proc/self/cgroup": "0::/slurm/job7/step0\n"}
V1 = {"proc/self/cgroup": "5:memory:/job7\n4:cpu,cpuacct:/job7\n1:name=systemd:/x\n"}


@pytest.mark.parametrize(
    ("files", "gb"),
    [
        (V2 | {"sys/fs/cgroup/slurm/job7/memory.max": "2000000000\n"}, 2.0),
        (V2 | {"sys/fs/cgroup/slurm/job7/step0/memory.max": "max\n", "sys/fs/cgroup/memory.max": "1000000000\n"}, 1.0),
        (V1 | {"sys/fs/cgroup/memory/job7/memory.limit_in_bytes": "3000000000\n"}, 3.0),
        (V1 | {"sys/fs/cgroup/memory/job7/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        (V2, None),
        ({}, None),
    ],
)
def test_memory_is_that_of_the_innermost_limit(tmp_path, files, gb):
    installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    assert machine.memory_gb(tree(tmp_path, files)) == pytest.approx(installed if gb is None else gb)


def test_a_limit_of_the_address_space_counts(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (10**14, before[1]))
    try:
        assert machine.memory_gb(tmp_path) < 1e5
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        (V2 | {"sys/fs/cgroup/slurm/cpu.max": "100000 100000\n"}, 1),
        (V2 | {"sys/fs/cgroup/slurm/cpu.max": "max 100000\n"}, HERE),
        (V2 | {"sys/fs/cgroup/slurm/cpu.max": "50000 100000\n"}, 1),
        (
            V1
            | {
                "sys/fs/cgroup/cpu/job7/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/job7/cpu.cfs_period_us": "100000\n",
            },
            HERE,
        ),
        (
            V1
            | {
                "sys/fs/cgroup/cpu/job7/cpu.cfs_quota_us": "90000\n",
                "sys/fs/cgroup/cpu/job7/cpu.cfs_period_us": "100000\n",
            },
            1,
        ),
        ({}, HERE),
    ],
)
def test_cores_are_those_of_the_quota(tmp_path, files, cores):
    assert machine.cores(tree(tmp_path, files)) == cores


@pytest.mark.skipif(HERE < 2, reason="one core alone")
def test_cores_are_those_of_the_affinity_mask():
    mask = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(mask)})
    try:
        assert machine.cores() == 1
        assert Config.load(template("mock")).run.processes == 1
    finally:
        os.sched_setaffinity(0, mask)
