"""Attacks from the network, which tests of their own hold already; they run here under their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from attacks.process import Attack

_TESTS = Path(__file__).parents[1]


def _test(name: str) -> Attack:
    """Return an attack that a test makes."""

    def attack(folder: Path) -> str:
        options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"--basetemp={folder / 'tests'}"]
        status = pytest.main([*options, str(_TESTS / name)])
        assert status == 0, f"{name} ended with status {int(status)}"
        return name

    return attack


ROWS: dict[str, Attack] = {
    "dask_bind": _test("pipeline/test_cluster.py::test_a_cluster_on_this_machine_listens_on_its_loopback_alone"),
}
