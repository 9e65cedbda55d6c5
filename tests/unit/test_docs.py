"""What the pages say is so: links lead somewhere, commands and configurations work, names are those of the code."""

from __future__ import annotations

import ast
import inspect
import re
import runpy
import shlex
from pathlib import Path

import pytest
import yaml
from typer.core import TyperOption
from typer.main import get_command

import specdis
from specdis.cli import app
from specdis.model import Model
from specdis.pipeline.config import Config
from specdis.sample import SampleSettings
from specdis.sample.cuts import cuts
from specdis.surveys import STAR_COLUMNS, open_file
from specdis.surveys.base import Spectra, Stars

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("tools/**/*.md")])
VERBS = get_command(app).commands  # type: ignore[attr-defined]


def blocks(path: Path, language: str) -> list[str]:
    """Return the fenced blocks of a page that are in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def examples(language: str) -> list:
    return [
        pytest.param(block, id=f"{page.relative_to(ROOT)}-{number}")
        for page in PAGES
        for number, block in enumerate(blocks(page, language))
    ]


def first_cells(page: str, heading: str) -> list[str]:
    """Return the first column of the table under a heading."""
    section = (ROOT / "docs" / page).read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `?([\w-]+)`? \|", section, flags=re.MULTILINE)[1:]


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_can_be_reached_from_the_readme():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        links = re.findall(r"\]\(([^)\s#]+\.md)", page.read_text())
        waiting += {(page.parent / link).resolve() for link in links if "://" not in link} - reached
    records = set((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert set(PAGES) - reached - records == set()


def test_picture_of_the_readme_is_small():
    assert (ROOT / "docs" / "images" / "demo.png").stat().st_size < 150_000


@pytest.mark.parametrize("block", examples("sh"))
def test_commands_exist(block):
    for line in block.splitlines():
        program, *words = shlex.split(line, comments=True)
        if program == "specdis":
            verb = VERBS[words[0]]
            options = {name for option in verb.params if isinstance(option, TyperOption) for name in option.opts}
            assert {word for word in words[1:] if word.startswith("-")} <= options
        else:
            assert program in ("make", "pip"), line


def test_make_targets_exist():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"(?:^|`)make (?:PYTHON=\S+ )?([a-z]+)", page.read_text())}
    assert named
    assert named <= targets


@pytest.mark.parametrize("block", examples("toml"))
def test_configurations_are_valid(block, tmp_path):
    path = tmp_path / "my.toml"
    path.write_text(block)
    assert Config.load(path).run.name == "my run"


@pytest.mark.parametrize("block", examples("python"))
def test_names_in_python_exist(block):
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "specdis":
            assert hasattr(specdis, node.attr)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "predict":
            assert {keyword.arg for keyword in node.keywords} <= set(inspect.signature(Model.predict).parameters)


def test_the_spectra_table_of_the_page_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = blocks(ROOT / "docs" / "formats.md", "python")
    exec(compile(block, "formats.md", "exec"), {})
    survey = open_file(tmp_path / "spectra.fits")
    stars = Stars.concatenate(list(survey.stars()))
    (spectra,) = survey.spectra(stars)
    assert isinstance(spectra, Spectra)
    assert len(spectra) == len(stars) == 300
    assert {"VRAD", "PARALLAX", "PHOT_G_MEAN_MAG"} <= survey.columns


def test_reference_of_the_configuration_is_that_of_the_code():
    page = runpy.run_path(str(ROOT / "tools" / "configuration_page.py"))["page"]()
    assert (ROOT / "docs" / "configuration.md").read_text() == page, "run `make docs`"


def test_columns_of_stars_are_those_of_the_code():
    lines = [f"| {name} | {column.unit} | {column.description} |" for name, column in STAR_COLUMNS.items()]
    assert "\n".join(lines) in (ROOT / "docs" / "formats.md").read_text()


def test_cuts_are_those_of_the_code():
    assert first_cells("faults.md", "Cuts") == [cut.name for cut in cuts(SampleSettings())]


def test_faults_are_those_of_the_code():
    """A name of a fault is text with a hyphen in the readers, where no other text has that form."""
    texts = {
        node.value
        for path in (ROOT / "src" / "specdis" / "surveys").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert set(first_cells("faults.md", "Faults")) == {text for text in texts if re.fullmatch("[a-z]+(-[a-z]+)+", text)}


def test_layers_are_those_of_the_code():
    page = (ROOT / "docs" / "developing.md").read_text().split("\n## Layers\n")[1].split("\n## ")[0]
    cells = " ".join(re.findall(r"^\|(.*?)\|", page, flags=re.MULTILINE))
    parts = {path.stem for path in (ROOT / "src" / "specdis").glob("[a-z]*") if path.name not in ("data", "py.typed")}
    assert set(re.findall(r"`(\w+)`", cells)) == parts


def test_decisions_have_all_parts():
    for record in (ROOT / "docs" / "decisions").glob("[0-9]*.md"):
        parts = re.findall(r"^\*\*(\w+).*?\.\*\*", record.read_text(), flags=re.MULTILINE)
        assert parts == ["Question", "What", "Options", "Choice", "Effect"], record.name


def test_citation_prefers_the_paper_and_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    paper = citation["preferred-citation"]
    assert citation["version"] == specdis.__version__
    assert paper["authors"][0] == {"family-names": "Li", "given-names": "Songting"}
    assert paper["title"].startswith("SPECDis: Value added distance catalogue")
    assert [entry["value"] for entry in paper["identifiers"]] == ["arXiv:2503.02291"]


def test_changelog_has_this_version():
    assert f"\n## [{specdis.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
