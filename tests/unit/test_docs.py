"""What the pages say is so: links lead somewhere, commands and configurations work, names are those of the code."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
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
from specdis.model.model import Model
from specdis.pipeline.config import Config
from specdis.pipeline.stages import STAGES
from specdis.references import NAMES
from specdis.sample import SampleSettings
from specdis.sample.cuts import cuts
from specdis.surveys import STAR_COLUMNS, open_file
from specdis.surveys.base import Spectra, Stars
from specdis.validation import Known, metrics
from synthetic_catalogue import catalogue, injected, members, rival

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("tools/**/*.md")])
VERBS = get_command(app).commands  # type: ignore[attr-defined]


def blocks(path: Path, language: str) -> list[str]:
    """Return the fenced blocks of a page that are in a language."""
    return re.findall(rf"^```{re.escape(language)}\n(.*?)^```", path.read_text(), flags=re.MULTILINE | re.DOTALL)


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
    for link in re.findall(r"\]\((?:path:)?([^)\s]+)\)", text):
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
        links = re.findall(r"\]\((?:path:)?([^)\s#]+\.md)", page.read_text())
        waiting += {(page.parent / link).resolve() for link in links if "://" not in link} - reached
    records = set((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert set(PAGES) - reached - records == set()


def test_every_page_of_the_site_is_in_its_tree():
    entries = [line for block in blocks(ROOT / "docs" / "index.md", "{toctree}") for line in block.splitlines()]
    named = {line for line in entries if line and not line.startswith(":")}
    docs = ROOT / "docs"
    pages = {str(page.relative_to(docs).with_suffix("")) for page in docs.glob("*.md")} | {"decisions/index"}
    assert named == pages - {"index"}


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
            assert program in ("make", "pip", "export"), line


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
    pages = runpy.run_path(str(ROOT / "tools" / "reference_pages.py"))
    for name in ("configuration", "columns", "values"):
        assert (ROOT / "docs" / f"{name}.md").read_text() == pages[name](), "run `make docs`"


FACTS = {
    "25 %",  # the error that counts as good
    "40 kpc",  # edges of a cell
    "70 kpc",
    "100 kpc",  # where the mock and its rivals end
    "10 kpc",  # from where a rival is wrong
    "0.45 mag",  # the scatter of a rival
    "10,000",  # stars of the demonstration
}
"""Numbers of the pages that do not depend on how a run comes out."""


def test_numbers_of_the_demonstration_are_those_measured():
    tool = runpy.run_path(str(ROOT / "tools" / "demo_numbers.py"))
    content = json.loads(tool["NUMBERS"].read_text())
    assert all(content["measured on"].values())
    named = set()
    for page in tool["PAGES"]:
        text = page.read_text()
        assert tool["written"](text, content["numbers"]) == text, f"{page}: run `make docs`"
        named |= {name for _, name in tool["MARKED"].findall(text)}
        assert text.count("<!--demo:") == len(tool["MARKED"].findall(text)), "a mark stands right behind its number"
    assert named == set(content["numbers"])


def test_marked_numbers_are_replaced_with_their_error_and_unit():
    tool = runpy.run_path(str(ROOT / "tools" / "demo_numbers.py"))
    page = "A -0.13 ± 0.01 mag<!--demo:a-->, 8,636<!--demo:b--> stars of 25 %, at 3 kpc<!--demo:c-->."
    found = tool["written"](page, {"a": "0.2 ± 0.1 mag", "b": "12", "c": "4 kpc"})
    assert found == "A 0.2 ± 0.1 mag<!--demo:a-->, 12<!--demo:b--> stars of 25 %, at 4 kpc<!--demo:c-->."


def test_no_number_of_the_demonstration_is_left_unmarked():
    """Numbers of stars, and shares, magnitudes and distances, outside of code."""
    tool = runpy.run_path(str(ROOT / "tools" / "demo_numbers.py"))
    for page in tool["PAGES"]:
        prose = re.sub(r"^```.*?^```|`[^`]*`", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        bare = re.findall(r"\d{1,3}(?:,\d{3})+|\d[\d.]* (?:%|mag|kpc)", tool["MARKED"].sub("", prose))
        assert set(bare) <= FACTS, page


def test_columns_of_stars_are_those_of_the_code():
    lines = [f"| {name} | {column.unit} | {column.description} |" for name, column in STAR_COLUMNS.items()]
    assert "\n".join(lines) in (ROOT / "docs" / "formats.md").read_text()


def test_cuts_are_those_of_the_code():
    assert first_cells("faults.md", "Cuts") == [cut.name for cut in cuts(SampleSettings())]
    page = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    for cut in cuts(SampleSettings()):
        assert re.search(rf"^\| `{cut.name}` \|.*\| {cut.flag.name} \|$", page, re.MULTILINE), cut.name


def test_faults_are_those_of_the_code():
    """A name of a fault is text with a hyphen where spectra are read, where no other text has that form."""
    source = ROOT / "src" / "specdis"
    texts = {
        node.value
        for path in (*(source / "surveys").glob("*.py"), source / "pipeline" / "stages" / "spectra.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert set(first_cells("faults.md", "Faults")) == {text for text in texts if re.fullmatch("[a-z]+(-[a-z]+)+", text)}


def test_layers_are_those_of_the_code():
    page = (ROOT / "docs" / "developing.md").read_text().split("\n## Layers\n")[1].split("\n## ")[0]
    cells = " ".join(re.findall(r"^\|(.*?)\|", page, flags=re.MULTILINE))
    parts = {path.stem for path in (ROOT / "src" / "specdis").glob("[a-z]*") if path.name not in ("data", "py.typed")}
    assert set(re.findall(r"`(\w+)`", cells)) == parts


def test_the_way_of_a_spectrum_names_modules_and_types_that_exist():
    page = (ROOT / "docs" / "developing.md").read_text().split("\n## The way of a spectrum\n")[1].split("\n## ")[0]
    source = ROOT / "src" / "specdis"
    modules = re.findall(r"^   [|v] (\w+) ", page, flags=re.MULTILINE)
    assert len(modules) > 10
    assert [name for name in modules if not (source / name).is_dir() and not (source / f"{name}.py").exists()] == []
    (steps,) = re.findall(r"^```text\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    code = "\n".join(path.read_text() for path in source.rglob("*.py"))
    types = {"Stars", "Spectra", "Arm", "Sample", "Basis", "Model"}
    types |= {name for name in re.findall(r"\b[A-Z][a-z]\w+\b", steps) if name not in ("Eq", "Eqs", "Parquet")}
    assert [name for name in sorted(types) if not re.search(rf"^class {name}\b", code, flags=re.MULTILINE)] == []


def guards() -> list[str]:
    """Return the tests that guard invariants, as the page names them."""
    page = (ROOT / "docs" / "developing.md").read_text().split("\n## Invariants\n")[1].split("\n## ")[0]
    return re.findall(r"`(tests/[^`]+)`", page)


@pytest.mark.parametrize("test", guards())
def test_every_invariant_has_the_test_that_the_page_names(test):
    path, _, function = test.partition("::")
    assert re.search(rf"^def {function or 'test_'}", (ROOT / path).read_text(), flags=re.MULTILINE)


def test_places_to_add_something_exist():
    page = (ROOT / "docs" / "developing.md").read_text().split("\n## Where would I add\n")[1].split("\n## ")[0]
    source = ROOT / "src" / "specdis"
    places = [
        cell
        for row in page.splitlines()
        if row.startswith("| a ")
        for cell in re.findall(r"`([^`]+)`", row.split("|")[2])
    ]
    names = {place for place in places if place.isidentifier() and not (source / place).exists()}
    assert len(places) > 10
    assert [place for place in places if not place.isidentifier() and not (source / place).exists()] == []
    code = "\n".join(path.read_text() for path in source.rglob("*.py"))
    assert [name for name in names if not re.search(rf"^(?:def )?{name}\b", code, flags=re.MULTILINE)] == []


def map_rows() -> list:
    """Return the rows of the paper map: what, code, test."""
    page = (ROOT / "docs" / "paper-map.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")]
    return [pytest.param(*row[2:], id=f"{row[0]} {row[1]}") for row in rows if row[2] not in ("code", "not yet")]


@pytest.mark.parametrize(("code", "test"), map_rows())
def test_the_paper_map_names_code_and_tests_that_exist(code, test):
    module, _, name = code.strip("`").rpartition(".")
    assert getattr(importlib.import_module(module), name).__doc__ or name.isupper()
    path, _, function = test.strip("`").partition("::")
    text = (ROOT / path).read_text()
    assert re.search(rf"^def {function}\(", text, flags=re.MULTILINE) if function else "def test_" in text


def test_the_paper_map_has_every_section_equation_figure_and_table():
    page = (ROOT / "docs" / "paper-map.md").read_text()

    def first(heading):
        return set(re.findall(r"^\| ([^|]+?) \|", page.split(f"\n## {heading}\n")[1].split("\n## ")[0], re.MULTILINE))

    sections = {
        "2.1",
        "2.2",
        "2.3",
        "2.4",
        "2.5",
        "3.1",
        "3.2.1",
        "3.3.1",
        "3.3.2",
        "4.1",
        "4.2",
        "4.3.1",
        "4.3.2",
        "4.4",
    }
    assert sections | {"4.4, 4.5", "5"} <= first("Sections")
    assert set(map(str, range(1, 11))) <= first("Equations")
    assert {*map(str, range(1, 17)), "A1", "A2", "A3", "A4"} <= first("Figures")
    assert {"1", "A1"} <= first("Tables")


def test_quantities_of_references_are_those_of_the_code():
    lines = [f"| {quantity} | {', '.join(names)} |" for quantity, names in NAMES.items()]
    assert "\n".join(lines) in (ROOT / "docs" / "references.md").read_text()


def test_the_reference_names_modules_and_members_that_exist():
    page = (ROOT / "docs" / "code.md").read_text()
    entries = re.findall(r"automodule:: (\S+)\n(?:   :members: ?(.*)\n)?", page)
    assert len(entries) > 30
    for module, listed in entries:
        found = importlib.import_module(module)
        assert [name for name in filter(None, listed.split(", ")) if not hasattr(found, name)] == [], module


def test_stages_are_those_of_the_code():
    page = (ROOT / "docs" / "stages.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE) == [stage.name for stage in STAGES]
    assert re.findall(r"^## (\w+)$", page, flags=re.MULTILINE) == [stage.name for stage in STAGES]


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_stage_needs_the_stages_and_sections_that_the_page_names(stage):
    page = (ROOT / "docs" / "stages.md").read_text()
    (row,) = re.findall(rf"^\| `{stage.name}` \|(.*?)\|(.*?)\|", page, flags=re.MULTILINE)
    needs, sections = (set(re.findall(r"`([\w.]+)`", cell)) for cell in row)
    # the page says `survey` for the keys that say what the survey is, and `photometry` for those of the sample
    files = {"survey.kind", "survey.catalogue", "survey.spectra", "survey.spectra_kind"}
    expected = {"survey" if section in files else section for section in stage.sections}
    if stage.name == "sample":
        expected = {"photometry" if section.startswith("photometry.") else section for section in expected}
    assert sections == expected
    assert needs == set(stage.needs) or row[0].strip() == "all before"


def test_blocks_of_the_metrics_are_those_of_the_code():
    page = (ROOT / "docs" / "metrics.md").read_text()
    columns, truth = catalogue(300)
    theirs = {"x": rival(columns, 0.0)}
    measured = metrics(columns, Known(truth, members(columns, truth), [], theirs), injected(columns))
    assert re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE) == list(measured)


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
