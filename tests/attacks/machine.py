"""Attacks from the network, which tests of their own hold already; they run here under their names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from attacks.process import Attack

_TESTS = Path(__file__).parents[1]


def _test(name: str) -> Attack:
    """Return an attack that a test makes."""

    def attack(folder: Path) -> str:
        options = ["-q", "-p", "no:cacheprovider", f"--basetemp={folder / 'tests'}"]
        command = [sys.executable, "-m", "pytest", *options, name]
        done = subprocess.run(command, cwd=_TESTS, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
        return name

    return attack


ROWS: dict[str, Attack] = {
    "dask_bind": _test("pipeline/test_cluster.py::test_a_cluster_on_this_machine_listens_on_its_loopback_alone"),
}
