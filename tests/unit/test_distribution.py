"""The workflow, the conda recipe and the container agree with pyproject.toml, the Makefile and each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import specdis

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())
RECIPE = yaml.safe_load((ROOT / "recipe" / "recipe.yaml").read_text())
CONTAINER = (ROOT / "Containerfile").read_text().replace("\\\n", " ")

CONDA_NAMES = {"matplotlib": "matplotlib-base"}
"""Names on conda-forge that differ from those on PyPI; the other package holds windows for plots as well."""


def conda(requirement: str) -> str:
    """Return a requirement of PyPI as the recipe writes it."""
    name, versions = re.fullmatch(r"([\w-]+)(.*)", requirement).groups()  # type: ignore[union-attr]
    return f"{CONDA_NAMES.get(name, name)} {versions}"


def numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, in order."""
    return tuple(map(int, version.split(".")))


OLDEST = numbers(PROJECT["requires-python"].removeprefix(">="))


def commands() -> list[str]:
    """Return what the jobs of the workflow run, for every entry of their matrices."""
    found = []
    for job in WORKFLOW["jobs"].values():
        entries = job["strategy"]["matrix"].get("include", [{}])
        for step in job["steps"]:
            for entry in entries:
                text = step.get("run", "")
                for name, value in entry.items():
                    text = text.replace(f"${{{{ matrix.{name} }}}}", value)
                found.append(text)
    return found


def test_the_workflow_calls_targets_that_exist():
    heads = re.findall(r"^([\w -]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    targets = {name for head in heads for name in head.split()}
    called = {name for command in commands() for name in re.findall(r"^make ([\w-]+)$", command)}
    assert called == {"lint", "test", "test-all", "test-oldest", "test-newest"}
    assert called <= targets


def test_the_workflow_may_only_read():
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert all("permissions" not in job for job in WORKFLOW["jobs"].values())


def test_the_workflow_uses_pythons_that_the_package_supports():
    matrices = [job["strategy"]["matrix"] for job in WORKFLOW["jobs"].values()]
    named = {text for matrix in matrices for text in matrix.get("python", [])}
    named |= {entry["python"] for matrix in matrices for entry in matrix.get("include", [])}
    assert min(map(numbers, named)) == OLDEST


def test_the_recipe_has_the_version_and_licence_of_the_package():
    assert RECIPE["context"]["version"] == PROJECT["version"] == specdis.__version__
    assert RECIPE["package"]["name"] == PROJECT["name"]
    assert RECIPE["about"]["license"] == PROJECT["license"]
    assert RECIPE["about"]["summary"] == PROJECT["description"]
    assert (ROOT / "recipe" / RECIPE["source"]["path"] / RECIPE["about"]["license_file"]).is_file()


def test_the_recipe_needs_what_the_package_needs():
    python, *needed = RECIPE["requirements"]["run"]
    assert python == f"python {PROJECT['requires-python']}"
    assert needed == [conda(requirement) for requirement in PROJECT["dependencies"]]
    assert {conda(requirement) for requirement in PYPROJECT["build-system"]["requires"]} <= set(
        RECIPE["requirements"]["host"]
    )


def test_the_recipe_has_the_command_of_the_package():
    scripts = [f"{name} = {target}" for name, target in PROJECT["scripts"].items()]
    assert RECIPE["build"]["python"]["entry_points"] == scripts


def test_the_container_runs_the_command_of_the_package():
    (command,) = re.findall(r'^ENTRYPOINT \["([^"]+)"\]$', CONTAINER, flags=re.MULTILINE)
    assert command in PROJECT["scripts"]
    (python,) = re.findall(r"^FROM \S+/python:([\d.]+)-slim$", CONTAINER, flags=re.MULTILINE)
    assert numbers(python) >= OLDEST


def test_the_container_installs_what_is_pinned():
    installs = [line for line in CONTAINER.splitlines() if "pip install" in line]
    assert "--require-hashes --requirement requirements.lock" in installs[0]
    assert "--no-deps" in installs[1]
    assert len(installs) == 2


def copied() -> list[str]:
    """Return what the container copies from the project."""
    lines = re.findall(r"^COPY (.+)$", CONTAINER, flags=re.MULTILINE)
    return [name for line in lines for name in line.split()[:-1]]


@pytest.mark.parametrize("name", copied())
def test_the_container_copies_what_exists_and_is_not_ignored(name):
    assert (ROOT / name).exists()
    assert f"!{name}" in (ROOT / ".containerignore").read_text().splitlines()


def test_the_container_copies_all_that_the_wheel_is_built_from():
    wheel = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    sources = {path.split("/")[0] for path in (*wheel["packages"], *wheel["force-include"])}
    assert sources | {PROJECT["readme"], *PROJECT["license-files"]} <= set(copied())
