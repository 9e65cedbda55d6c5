"""What is declared is what is imported, and what is pinned."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NEEDED = PROJECT["project"]["dependencies"]
DEVELOPING = PROJECT["dependency-groups"]["dev"]
LOCK = (ROOT / "requirements.lock").read_text()


BOUND = {"numcodecs"}
"""What others need, of which not every version will do."""


def plain(name: str) -> str:
    """Return the name of a requirement as package registries compare it."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", name)[0]).lower()  # type: ignore[index]


def imported(folder: str) -> set[str]:
    """Return the distributions that the modules of a folder import."""
    modules: set[str] = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules.add(node.module.split(".")[0])
    known = packages_distributions()
    ours = {path.stem for path in (ROOT / "tests").iterdir()} | {"specdis"}
    return {plain(known[name][0]) for name in modules - ours - set(sys.stdlib_module_names)}


def test_the_package_imports_what_it_declares_and_nothing_else():
    assert imported("src") == {plain(name) for name in NEEDED} - BOUND


def test_the_tests_import_what_is_declared():
    assert imported("tests") <= {plain(name) for name in (*NEEDED, *DEVELOPING)}


@pytest.mark.parametrize("requirement", [*NEEDED, *DEVELOPING])
def test_every_dependency_is_pinned(requirement):
    assert plain(requirement) in re.findall(r"^([\w.-]+)==", LOCK, flags=re.MULTILINE), "run `make lock`"


def test_the_lock_has_hashes_and_no_addresses():
    entries = re.split(r"\n(?=\w)", LOCK.strip())
    assert all(re.match(r"[\w.-]+==\S+", entry) and "--hash=sha256:" in entry for entry in entries)
    assert "://" not in LOCK
    assert "--index" not in LOCK
    assert " @ " not in LOCK


def test_configurations_travel_with_the_wheel():
    included = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included == {"configs": "specdis/configs"}
