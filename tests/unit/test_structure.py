"""The shape of the code: short modules, records instead of loose arrays, one name for one thing."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import specdis
from specdis.pipeline.stages import STAGES

SOURCE = Path(specdis.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))
LONGEST = 400
"""Lines that a reader holds in the head."""
MOST_PARAMETERS = 6


def functions(path: Path) -> Iterator[tuple[str, list[str], ast.FunctionDef]]:
    """Yield the qualified name, the parameters but self and cls, and the node of every function of a module."""

    def inside(node: ast.AST, prefix: str) -> Iterator[tuple[str, list[str], ast.FunctionDef]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef):
                given = child.args
                names = [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
                yield f"{prefix}{child.name}", [name for name in names if name not in ("self", "cls")], child
            name = child.name if isinstance(child, ast.ClassDef | ast.FunctionDef) else None
            yield from inside(child, f"{prefix}{name}." if name else prefix)

    return inside(ast.parse(path.read_text()), f"{path.relative_to(SOURCE)} ")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_fits_a_readers_head(path):
    assert len(path.read_text().splitlines()) <= LONGEST


def test_only_a_door_for_users_has_many_parameters():
    found = {name for path in MODULES for name, given, _ in functions(path) if len(given) > MOST_PARAMETERS}
    assert found == {"model/model.py Model.predict"}


def test_pixels_travel_as_one_record():
    """Flux and bad pixels go together outside the modules that make them."""
    apart = ("spectra/", "noise.py")
    found = [
        name
        for path in MODULES
        for name, given, _ in functions(path)
        if {"flux", "bad"} <= set(given) and not str(path.relative_to(SOURCE)).startswith(apart)
    ]
    assert found == []


def test_what_the_model_compiles_has_a_type():
    for path in (SOURCE / "model").glob("*.py"):
        for name, _, node in functions(path):
            assert node.returns is None or ast.unparse(node.returns) != "Any", name


def test_a_stage_lives_in_the_file_of_its_name():
    for stage in STAGES:
        assert stage.run.__module__ == f"specdis.pipeline.stages.{stage.name}"


def test_no_two_public_names_are_alike():
    """But `run`, what a stage does and the verb that runs them, and `posterior`, a verb and the same in Python."""
    places = defaultdict(list)
    for path in MODULES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                names = [node.name]
            elif isinstance(node, ast.Assign):
                names = [one.id for target in node.targets for one in ast.walk(target) if isinstance(one, ast.Name)]
            elif isinstance(node, ast.AnnAssign):
                names = [ast.unparse(node.target)]
            else:
                continue
            for name in names:
                if not name.startswith("_"):
                    places[name].append(str(path.relative_to(SOURCE)))
    assert {name: where for name, where in places.items() if len(where) > 1 and name not in ("run", "posterior")} == {}


def test_no_module_is_named_in_a_string_below_the_pipeline():
    above = ("cli", "verbs", "pipeline", "__init__.py", "__main__.py", "report")
    for path in MODULES:
        if not str(path.relative_to(SOURCE)).startswith(above):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    assert not node.value.startswith("specdis.") or node.value.endswith((".fits", ".parquet")), path
