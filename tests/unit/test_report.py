"""The report on a synthetic catalogue: its files, its links, and the numbers that it shows."""

from __future__ import annotations

import base64
import html
import itertools
import json
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from specdis import report, validation
from specdis.report import explorer, figures, style
from specdis.report.page import CONTENTS, Picture, numbers, render
from specdis.storage import Provenance, as_json
from synthetic_catalogue import catalogue, injected, members, rival

NAMES = (
    *(f"fig{number:02}" for number in range(1, 17)),
    *(f"figA{number}" for number in range(1, 5)),
    *("training", "truth", "groups", "calibration", "recalibration", "estimators", "halo"),
)
"""Every figure of the paper, and seven of our own."""
PROVENANCE = Provenance("report", "0123456789abcdef", 42)


@dataclass
class Page(HTMLParser):
    """What a test wants to know of a page: links, pictures, identifiers, and tables by the section they are in."""

    text: str
    links: list[str] = field(default_factory=list)
    identifiers: list[str] = field(default_factory=list)
    attributes: list[tuple[str, str | None]] = field(default_factory=list)
    rows: dict[str, list[list[str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()
        self._section, self._cell = "", False
        self.feed(self.text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.attributes += attributes
        self.links += [value for key, value in attributes if key in ("href", "src") and value]
        self.identifiers += [given["id"]] if given.get("id") else []
        if tag == "section":
            self._section = given["id"] or ""
        elif tag == "tr":
            self.rows.setdefault(self._section, []).append([])
        elif tag in ("td", "th"):
            self._cell = True
            self.rows[self._section][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._cell = self._cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._cell:
            row = self.rows[self._section][-1]
            row[-1] = " ".join((row[-1] + data).split())

    def row(self, section: str, *first: str) -> list[str]:
        return next(row for row in self.rows[section] if row[: len(first)] == list(first))


def cutflow() -> dict[str, Any]:
    line = {"name": "ruwe", "description": "RUWE is not below 1.2", "stars_in": 1400, "cut": 300, "stars_out": 1100}
    other = {"name": "feh", "description": "FEH is not above -3.9", "stars_in": 1100, "cut": 0, "stars_out": 1100}
    summary = {"rows": 1400, "selected": 1100, "trainable": 1050, "predicted_outside": 0, "held_out": 210}
    cuts = [line | {"applied": True, "reason": ""}, other | {"applied": False, "reason": "the survey has no FEH"}]
    return {"cuts": cuts, "summary": summary}


COUNTS = [
    {"system": "NGC 6205", "kind": "cluster", "listed": 20, "matched": 12, "elsewhere": 0, "without_distance": 0,
     "clipped": 2, "kept": 10},
]  # fmt: skip
TABLE_A1 = [
    dict(zip(validation.TABLE_A1_COLUMNS, row, strict=True))
    for row in (
        ("NGC 6205", 59, 58, 0, 7.419, 0.0755, 7.43, 0.2, 0.003, 0.0015, 0.05, 8.99, 0.212, "a paper"),
        ("Pal 5", 3, 3, 3, 21.941, 0.514, 22.4, 0.84, 0.045, 0.021, 0.47, 21.5, -0.02, "a paper"),
    )
]


def stages(seconds: float) -> dict[str, dict[str, Any]]:
    record = {"stars": 1100, "seconds": seconds, "stars_per_second": 1100 / seconds, "fault_counts": {}}
    return {
        "sample": record,
        "spectra": record | {"fault_counts": {"unreadable-file": {"faults": 3, "stars": 1234}}},
        "validation": record | {"faults": [{"name": "unread-reference", "place": "x.csv", "message": "no distance"}]},
    }


def full(stars: int = 1000, seconds: float = 2.0) -> report.ReportInputs:
    columns, truth = catalogue(stars)
    wavelength = np.arange(4000.0, 4500.0, 0.5)
    random = np.random.default_rng(5)
    spectrum = random.normal(0.0, 0.01, len(wavelength))
    spectrum[100:120] = np.nan
    known, theirs = members(columns, truth), rival(columns, -0.3)
    loss = np.array([[3.0, 4.0], [2.0, 2.5], [2.2, 2.4], [2.3, np.nan]])
    return report.ReportInputs(
        name="mock <1>",
        catalogue=columns,
        metrics=validation.metrics(columns, validation.Known(truth, known, COUNTS, {"off": theirs}), injected(columns)),
        cutflow=cutflow(),
        stages=stages(seconds),
        differences={"network.label.loss": ("robust", "chi2")},
        truth=truth,
        members=known,
        rivals={"off": theirs},
        table_a1=TABLE_A1,
        names=np.array([f"star {number}" for number in range(stars)]),
        groups=np.where(np.arange(stars) % 9 == 0, np.where(np.arange(stars) % 2, "M 71", "NGC 6791"), ""),
        history=report.History(loss - 0.1, loss),
        error_stack=report.StackedErrors(wavelength, random.uniform(0.1, 0.2, len(wavelength)), [(4050.0, 4060.0)]),
        reconstruction=report.Reconstruction(wavelength, spectrum, 0.5 * np.nan_to_num(spectrum), 100, 3.0),
        components=report.Components(
            wavelength, random.normal(size=(10, len(wavelength))), np.full(10, 0.1), (1, 2, 100),
            random.normal(size=(3, stars)),
        ),
    )  # fmt: skip


def nothing() -> report.ReportInputs:
    """Return a run that lacks whatever a run can lack."""
    columns, _ = catalogue(30)
    lacking = ("PHOT_BP_MEAN_MAG", "PHOT_RP_MEAN_MAG", "M_G_NN", "DIST", "DISTERR", "DISTMOD_ERR", "DIST_16", "DIST_84")
    columns |= {name: np.full(30, np.nan) for name in lacking}
    columns["FLAGS"] = np.zeros(30, dtype=np.int32)
    columns["BINARY_FLAG"] = np.full(30, -1, dtype=np.int16)
    metrics = validation.metrics(columns)
    return report.ReportInputs("empty", columns, metrics, cutflow(), {}, {})


@pytest.fixture(scope="module")
def inputs() -> report.ReportInputs:
    return full()


@pytest.fixture(scope="module")
def folder(inputs: report.ReportInputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("run") / "report"
    report.write_report(directory, inputs, PROVENANCE)
    return directory


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page((folder / "index.html").read_text(encoding="utf-8"))


# -- files and links ---------------------------------------------------------------------------------------------------


def test_every_figure_comes_as_picture_print_and_data(folder: Path) -> None:
    found = {path.name for path in (folder / "figures").iterdir()}
    assert found == {f"{name}.{kind}" for name in NAMES for kind in ("png", "pdf", "ecsv")}
    assert {path.name for path in folder.iterdir()} == {"index.html", "rates.html", "figures"}


def test_links_and_anchors_resolve_and_nothing_is_fetched_from_elsewhere(page: Page, folder: Path) -> None:
    # No link to a file beside it: it would be dead when the page is sent alone.
    outside = [link for link in page.links if not link.startswith(("data:", "#"))]
    assert outside == ["https://arxiv.org/abs/2503.02291"]
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.identifiers)
    assert len(page.identifiers) == len(set(page.identifiers))


def test_the_contents_lead_to_every_section_and_figure_in_the_order_of_the_page(page: Page) -> None:
    contents = re.search(r"<nav.*?</nav>", page.text, re.DOTALL)
    assert contents
    links = [link[1:] for link in Page(contents.group()).links]
    assert links == [name for name in page.identifiers if name in links]
    assert set(NAMES) <= set(links)
    assert set(re.findall(r'<section id="([^"]+)"', page.text)) == set(links) - set(NAMES)
    titles = re.findall(r'<section id="([^"]+)">\s*<h2>([^<]+)</h2>', page.text)
    assert titles == [(name, title) for name, (title, _) in CONTENTS.items()]


def test_each_caption_says_once_which_figure_of_the_paper_it_is(page: Page) -> None:
    for name in NAMES:
        caption = re.search(rf'<figure id="{name}">.*?<b>(.*?)</b>(.*?)</figcaption>', page.text, re.DOTALL)
        assert caption
        number = re.fullmatch(r"fig(?:0?(\d+)|(A\d))", name)
        wanted = f"Fig. {number.group(1) or number.group(2)}. " if number else ""
        assert caption.group(1).startswith(wanted)
        assert caption.group(1).count("Fig. ") == bool(number)
        assert not wanted or wanted not in caption.group(2)


def test_no_sentence_of_a_caption_is_in_another_one(page: Page) -> None:
    captions = re.findall(r"<figcaption><b>.*?</b>(.*?)</figcaption>", page.text, re.DOTALL)
    sentences = [text for caption in captions for text in re.split(r"(?<=\.)\s+", " ".join(caption.split())) if text]
    assert len(sentences) > 2 * len(NAMES)
    assert {text for text in sentences if sentences.count(text) > 1} == set()


def test_the_page_holds_its_pictures(page: Page, folder: Path) -> None:
    inside = [link for link in page.links if link.startswith("data:image/png;base64,")]
    assert len(inside) == len(NAMES)
    assert base64.b64decode(inside[0].split(",")[1]) == (folder / "figures/fig01.png").read_bytes()


def test_every_file_says_where_it_comes_from(folder: Path, page: Page) -> None:
    assert Table.read(folder / "figures/fig08.ecsv").meta["provenance"]["key"] == PROVENANCE.key
    assert PROVENANCE.key.encode() in (folder / "figures/fig08.png").read_bytes()
    assert PROVENANCE.key.encode() in (folder / "figures/fig08.pdf").read_bytes()
    assert page.row("provenance", "key") == ["key", PROVENANCE.key]


# -- numbers -----------------------------------------------------------------------------------------------------------


def shown(value: float, decimals: int, sign: str = "") -> str:
    return f"{value:{sign}.{decimals}f}".replace("-", "−")


def test_magnitudes_in_the_page_equal_the_metrics(page: Page, inputs: report.ReportInputs) -> None:
    internal = inputs.metrics["internal"]
    rows = page.rows["magnitudes"][1:6]
    assert [row[0] for row in rows] == ["all", "S/N < 20", "20 ≤ S/N < 60", "60 ≤ S/N < 100", "S/N ≥ 100"]
    for row, cell in zip(rows, [internal["all"], *internal["by_snr"]], strict=True):
        counts = [f"{cell[key]:,}" for key in ("n", "n_finite", "n_giants")]
        written = [
            f"{shown(cell[f'{name}_mag'], 3, sign)} ± {shown(cell[f'{name}_mag_err'], 3)}"
            for name, sign in (("median", "+"), ("scatter", ""), ("std", ""))
        ]
        assert row[1:] == counts + written


def test_truth_in_the_page_equals_the_metrics(page: Page, inputs: report.ReportInputs) -> None:
    truth = inputs.metrics["truth"]
    blocks = [
        [block["all"], *block[by]]
        for block in (truth, truth["precise"])
        for by in ("by_distance", "by_predicted_distance")
    ]
    by_kind = (cell for key in ("by_snr_and_logg", "by_magnitude", "by_feh") for cell in truth[key])
    wanted = [cell for block in blocks for cell in block] + list(by_kind)
    rows = [row for row in page.rows["against-truth"] if row[1] != "stars"]
    for row, cell in zip(rows, wanted, strict=True):
        assert row[1:3] == [f"{cell['n']:,}", f"{cell['n_finite']:,}"]
        bias = row[3].split(" ± ")[0].removesuffix(" %")
        bias = bias if bias == "–" else f"{bias} %"
        for text, key, sign in ((bias, "median_bias", "+"), (row[4], "scatter", ""), (row[5], "coverage68", "")):
            assert text == ("–" if np.isnan(cell[key]) else f"{shown(100 * cell[key], 1, sign)} %")
    assert rows[1][0] == "1–2"
    assert "S/N ≥ 100, log g ≥ 3.8" in [row[0] for row in rows]
    assert rows[-1][0] == "[Fe/H] ≥ 0"


def test_the_comparison_with_the_paper_equals_the_metrics(page: Page, inputs: report.ReportInputs) -> None:
    rows = page.rows["paper"][1:]
    formats = {"share": (100, "{:.1f} %"), "mag": (1, "{:.2f} mag"), "kpc": (1, "{:.2f} kpc"), "": (1, "{:.2f}")}
    for row, line in zip(rows, inputs.metrics["paper"], strict=True):
        assert row[:2] == [line["section"], line["quantity"]]
        factor, written = formats.get(line["unit"], (1, "{:,.0f}"))
        assert row[3] == written.format(factor * line["paper"])
        here = "–" if not np.isfinite(line["here"]) else written.format(factor * line["here"]).replace("-", "−")
        assert re.sub(r" ± [\d.]+", "", row[2]) == here
        spreads = [line["robust"], line["half_width"]]
        assert row[4:] == ["" if not np.isfinite(x) else written.format(factor * x) for x in spreads]


def test_the_table_of_numbers_equals_the_metrics(page: Page, inputs: report.ReportInputs) -> None:
    expected = {path: json.dumps(value) for path, value in numbers(as_json(inputs.metrics))}
    assert {row[0]: row[1] for row in page.rows["numbers"]} == expected
    assert "internal.by_snr[0].scatter_mag" in expected
    assert len(expected) > 500


def test_known_distances_in_the_page_equal_the_metrics(page: Page, inputs: report.ReportInputs) -> None:
    block = inputs.metrics["external"]["members"]["all"]
    row = page.row("external", "members, all")
    assert row[1] == f"{block['n']}"
    assert row[2] == f"{shown(block['median_mag'], 2, '+')} ± {shown(block['median_mag_err'], 2)}"
    written = ["59", "58", "0", "7.42 ± 0.08", "7.43 ± 0.20", "+0.1 %", "+0.1", "9.0", "+21.2 %", "a paper"]
    assert page.row("external", "NGC 6205")[1:] == written
    assert page.row("external", "Pal 5")[9] == "−2.0 %"
    assert page.row("external", "NGC 6205", "cluster")[2:] == ["20", "12", "0", "0", "2", "10"]
    row = page.row("rivals", "off")
    difference = inputs.metrics["rivals"]["off"]["difference"]
    assert row[2] == f"{shown(difference['median_mag'], 3, '+')} ± {shown(difference['median_mag_err'], 3)}"


def test_the_halo_in_the_page_equals_the_metrics(page: Page, inputs: report.ReportInputs) -> None:
    halo = inputs.metrics["halo"]
    tables = [row for row in page.rows["halo-stars"] if re.fullmatch(r"\d+–\d+", row[0])]
    both = ("likelihood", "posterior")
    wanted = [row[guess] for guess in both for by in ("by_distance", "by_predicted_distance") for row in halo[by]]
    assert len(tables) == len(wanted) == 28
    for row, cell in zip(tables, wanted, strict=True):
        bias, scatter = row[2].split(" ± ")[0].removesuffix(" %"), row[3].split(" ± ")[0]
        assert row[1] == f"{cell['n']:,}"
        assert bias == ("–" if np.isnan(cell["median_bias"]) else shown(100 * cell["median_bias"], 1, "+"))
        assert scatter == ("–" if np.isnan(cell["scatter_mag"]) else shown(cell["scatter_mag"], 2))
        for text, name in ((row[4], "coverage68"), (row[5], "coverage90")):
            assert text == ("–" if np.isnan(cell[name]) else f"{shown(100 * cell[name], 1)} %")
    slope = halo["slopes"][0]["posterior"]
    row = page.row("halo-stars", "S/N < 20")
    assert row[3] == f"{shown(slope['slope'], 3)} ± {shown(slope['slope_err'], 3)}"
    assert page.row("halo-stars", "5 kpc")[1] == f"{halo['ranks'][0]['n']:,}"


def test_without_a_truth_the_halo_is_of_lists_and_without_lists_it_is_not_measured(
    inputs: report.ReportInputs,
) -> None:
    pictures = {name: Picture(name, "", name, "a caption") for name in NAMES}
    for members_known, words in ((inputs.members, "from lists of stars of known distance"), (None, "No distances are")):
        measured = validation.metrics(inputs.catalogue, validation.Known(None, members_known))
        assert ("halo" in measured) == (members_known is not None)
        text = render(replace(inputs, metrics=measured, truth=None, members=members_known), pictures, PROVENANCE)
        assert words in " ".join(text.split())
    listed = validation.metrics(inputs.catalogue, validation.Known(None, inputs.members))
    page = Page(render(replace(inputs, metrics=listed, truth=None), pictures, PROVENANCE))
    head = page.row("halo-stars", "kpc")
    assert head[-1] == "of them used for recalibration"
    cell = listed["halo"]["by_distance"][0]["likelihood"]
    assert page.row("halo-stars", "5–10")[-1] == f"{cell['n_recalibration']}"


def test_the_verdict_comes_first_and_says_what_was_measured(page: Page, inputs: report.ReportInputs) -> None:
    assert page.identifiers[0] == "verdict"
    text = " ".join(page.text.split())
    for finding in inputs.metrics["verdict"]:
        assert f"<b>{finding['answer']}</b> <span>{html.escape(finding['goal'])}: " in text


def test_outliers_are_named(page: Page, inputs: report.ReportInputs) -> None:
    columns = inputs.catalogue
    residual = np.where(validation.has_reference_magnitude(columns), columns["M_G_NN"] - columns["M_G_GEO"], np.nan)
    worst = int(np.nanargmax(np.abs(residual)))
    row = page.row("failures", f"star {worst}")
    assert row[1:3] == [str(columns["TARGETID"][worst]), str(columns["SOURCE_ID"][worst])]
    assert row[5] == shown(residual[worst], 2, "+")


def test_headline_cut_flow_faults_and_differences(page: Page, inputs: report.ReportInputs) -> None:
    text = " ".join(page.text.split())
    assert f"<dd>{shown(inputs.metrics['internal']['all']['scatter_mag'], 2)} mag</dd>" in text
    assert f"<dd>{shown(100 * inputs.metrics['truth']['all']['coverage68'], 1)} %</dd>" in text
    assert page.row("sample", "ruwe")[2:] == ["1,400", "300", "1,100"]
    assert page.row("sample", "feh")[1].endswith("(not applied: the survey has no FEH)")
    assert page.row("failures", "spectra", "unreadable-file")[2:] == ["3", "1,234"]
    assert "<code>x.csv</code> was not used: no distance" in text
    assert page.row("provenance", "network.label.loss") == ["network.label.loss", "robust", "chi2"]
    assert "mock &lt;1&gt;" in page.text


@pytest.mark.parametrize(
    "word", ["$\\foo$ <b>&amp;</b>\n{{ 1 / 0 }}", "</script><script>alert(1)</script>", "'\" onload='x"]
)
def test_words_from_outside_stand_in_the_page_as_they_are(inputs: report.ReportInputs, word: str) -> None:
    fault = {"name": "unread-reference", "place": word, "message": word}
    counts = [{**COUNTS[0], "system": word}]
    found = inputs.metrics
    strange = replace(
        inputs,
        name=word,
        metrics={
            **found,
            "external": {**found["external"], "counts": counts},
            "rivals": {word: found["rivals"]["off"]},
        },
        cutflow={**inputs.cutflow, "cuts": [{**inputs.cutflow["cuts"][1], "reason": word}]},
        stages={"validation": {"faults": [fault], "fault_counts": {word: {"faults": 1, "stars": 2}}}},
        differences={"run.note": (word, word)},
        table_a1=[{**TABLE_A1[0], "NAME": word, "SOURCE": word}],
        names=np.full(len(inputs.catalogue["SN"]), word),
    )
    pictures = {name: Picture(name, "", word, word) for name in NAMES}
    text = render(strange, pictures, PROVENANCE)
    plain_page, page = Page(render(inputs, pictures, PROVENANCE)), Page(text)
    assert page.links == plain_page.links  # no tag and no attribute came in
    assert page.identifiers == plain_page.identifiers
    assert text.count("<script") == plain_page.text.count("<script")
    assert "onload" not in {name for name, _ in page.attributes}
    written = " ".join(word.split())
    for section in ("provenance", "sample", "external", "rivals", "failures", "numbers"):
        assert any(written in cell for row in page.rows[section] for cell in row), section


def test_rates_have_a_page_of_their_own(folder: Path) -> None:
    rates = Page((folder / "rates.html").read_text(encoding="utf-8"))
    assert rates.row("", "spectra") == ["spectra", "1,100", "2.0", "550"]


# -- figures -----------------------------------------------------------------------------------------------------------


def test_data_of_the_magnitudes_are_those_of_the_stars(folder: Path, inputs: report.ReportInputs) -> None:
    data = Table.read(folder / "figures/fig03.ecsv")
    assert data["M_G_NN"].unit == "mag"
    columns = inputs.catalogue
    chosen = validation.has_reference_magnitude(columns) & np.isfinite(columns["M_G_NN"])
    points = data[~data["M_G_NN"].mask]
    assert len(points) >= 0.97 * np.count_nonzero(chosen)  # the axes leave out the outermost, 0.1 % at each end
    assert set(points["M_G_NN"]) <= set(columns["M_G_NN"][chosen])
    per_panel = [np.count_nonzero(points["panel"] == name) for name in ("S/N < 20", "S/N ≥ 100")]
    assert per_panel[0] == pytest.approx(inputs.metrics["internal"]["by_snr"][0]["n_finite"], abs=3)
    assert per_panel[1] == pytest.approx(inputs.metrics["internal"]["by_snr"][3]["n_finite"], abs=3)


def test_data_of_the_distances_count_every_star_once(inputs: report.ReportInputs) -> None:
    data = figures.distances.draw_distances(inputs.catalogue).data
    columns = inputs.catalogue
    inside = (columns["DIST"] >= data["distance_min"][0]) & (columns["DIST"] < data["distance_max"][-1])
    assert data["all"].sum() == np.count_nonzero(inside) >= 0.99 * np.count_nonzero(np.isfinite(columns["DIST"]))
    assert data["precise"].sum() == np.count_nonzero(inside & (validation.relative_error(columns) < 0.25))


def test_medians_of_the_truth_figure_are_those_of_the_metrics(folder: Path, inputs: report.ReportInputs) -> None:
    data = Table.read(folder / "figures/truth.ecsv")
    drawn = data[data["panel"] == "all, median"]["BIAS"]
    cells = inputs.metrics["truth"]["by_distance"]
    for median, cell in zip(drawn, cells, strict=True):
        if cell["n_finite"] < 20:
            assert np.isnan(median)
        else:  # a star of the middle, where the metrics take the mean of the two middle ones
            assert median == pytest.approx(cell["median_bias"], abs=0.02)


@pytest.mark.parametrize(("x_scale", "y_limits"), [("linear", (0.1, 4.0)), ("log", (4.0, 0.1))])
def test_a_density_holds_every_star_within_the_axes(x_scale: str, y_limits: tuple[float, float]) -> None:
    random = np.random.default_rng(0)
    x, y = random.uniform(0.0, 5.0, (2, 3 * style.MOST_POINTS))
    x[:10] = np.nan
    axis = Figure().subplots()
    axis.set(xscale=x_scale, xlim=(0.2, 4.5), ylim=y_limits)
    drawn = style.draw_stars(axis, x, y)
    assert drawn["count"].sum() == np.count_nonzero((x >= 0.2) & (x <= 4.5) & (y >= 0.1) & (y <= 4.0))
    assert drawn["count"].max() > 1
    assert np.average(drawn["y"], weights=drawn["count"]) == pytest.approx(2.05, abs=0.1)


def many() -> report.ReportInputs:
    """Return a run with so many stars that their density is drawn."""
    columns, truth = catalogue(9000)
    return replace(
        full(),
        catalogue=columns,
        metrics=validation.metrics(columns, validation.Known(truth), injected=injected(columns)),
        truth=truth,
        members=None,
        rivals={name: rival(columns, 0.1) for name in ("one", "two", "three")},
        names=None,
        groups=None,
        components=None,
    )


@pytest.mark.parametrize("make", [pytest.param(full, marks=pytest.mark.slow), many], ids=["points", "densities"])
def test_labels_of_ticks_do_not_collide_and_colours_have_a_bar(make: Callable[[], report.ReportInputs]) -> None:
    densities = set()
    for plot in report.plots(make()):
        with style.styled():
            canvas = FigureCanvasAgg(plot.figure)
            canvas.draw()
        labels = [written for axes in plot.figure.axes for written in tick_labels(axes, canvas.get_renderer())]
        for (word, box), (other, beside) in itertools.combinations(labels, 2):
            assert not box.overlaps(beside), f"{plot.name}: {word} and {other}"
        meshes = [mesh for axes in plot.figure.axes for mesh in axes.collections if isinstance(mesh, QuadMesh)]
        bars = [axes for axes in plot.figure.axes if axes.get_label() == "<colorbar>"]
        shades = [mesh for mesh in meshes if mesh.axes not in bars]
        assert len(bars) == bool(shades), plot.name
        assert len({mesh.norm for mesh in shades}) <= 1
        if shades:
            densities.add(plot.name)
    assert densities >= (set() if make is full else {"fig04", "fig05", "fig09", "fig10", "truth"})


def tick_labels(axes: Axes, renderer: Any) -> Iterator[tuple[str, Bbox]]:
    """Yield text and place of the labels that are drawn along both axes."""
    for place, axis in enumerate((axes.xaxis, axes.yaxis)):
        if not axes.axison:
            continue
        low, high = sorted(axis.get_view_interval())
        for text in (*axis.get_ticklabels(), *axis.get_ticklabels(minor=True)):
            if text.get_visible() and text.get_text() and low <= text.get_position()[place] <= high:
                box = text.get_window_extent(renderer)
                yield text.get_text(), box.shrunk(0.98, 0.75)  # a box has room for letters below the line


def test_few_stars_are_points() -> None:
    axis = Figure().subplots()
    axis.set(xlim=(0, 1), ylim=(0, 1))
    drawn = style.draw_stars(axis, np.array([0.5, 2.0, np.nan]), np.array([0.25, 0.5, 0.5]))
    assert (drawn["x"].tolist(), drawn["y"].tolist(), drawn["count"].tolist()) == ([0.5], [0.25], [1])


def test_what_a_run_lacks_is_said_in_the_page_and_no_empty_figure_is_drawn(tmp_path: Path) -> None:
    directory = tmp_path / "report"
    directory.mkdir()
    (directory / "left-over.txt").write_text("of an older report, which goes whole")
    report.write_report(directory, nothing(), PROVENANCE)
    assert {path.name for path in directory.iterdir()} == {"index.html", "rates.html", "figures"}
    text = (directory / "index.html").read_text(encoding="utf-8")
    assert not [*(directory / "figures").iterdir()]
    assert "<figure" not in text
    for plot in report.plots(nothing()):
        assert not plot.is_drawn
        assert re.fullmatch(r"Not drawn: [^.]+\.", plot.caption)
        assert f'id="{plot.name}"' in text
        assert plot.caption in text
    assert "None: every spectrum of the sample was read." in text
    assert "The true distances of this survey are not known." in text


def test_figures_of_too_few_stars_say_so_instead() -> None:
    columns, truth = catalogue(40)
    measured = validation.metrics(columns, validation.Known(truth), injected=injected(columns))
    plots = {
        plot.name: plot
        for plot in (
            figures.distances.draw_errors_by_kind(columns),
            figures.binaries.draw_models(measured["binaries"]),
            figures.binaries.draw_fractions(measured["binaries"]),
            figures.binaries.draw_estimators(measured["truth"]),
            figures.binaries.draw_recalibration(measured["calibration"]),
        )
    }
    assert set(plots) == {"fig12", "fig15", "fig16", "estimators", "recalibration"}
    for plot in plots.values():
        assert not plot.is_drawn, plot.name
        assert re.search("too few stars: no cell .*has [23]0", plot.caption), plot.name


def test_a_survey_without_snr_still_has_its_errors_drawn() -> None:
    columns, _ = catalogue(200)
    plot = figures.distances.draw_uncertainties(columns | {"SN": np.full(200, np.nan)})
    assert set(plot.data["panel"]) == {"distribution", "against distance"}
    assert "no star has S/N" in {text.get_text() for text in plot.figure.axes[1].texts}


# -- maps --------------------------------------------------------------------------------------------------------------


def unpacked(text: str) -> np.ndarray:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype="<u4")


def test_maps_hold_every_star_once_in_its_class() -> None:
    columns, _ = catalogue(2000)
    columns["SN"][:7] = np.nan
    content = explorer.explorer(columns)
    sizes = [len(kind["values"]) for kind in content["classes"]]
    assert sizes == [4, 5, 3]
    for found, inside in zip(content["maps"], (np.isfinite(columns["M_G_NN"]), np.full(2000, True)), strict=True):
        keys, counts = np.cumsum(unpacked(found["steps"]), dtype=np.int64), unpacked(found["counts"])
        assert counts.sum() == found["stars"]
        assert found["stars"] + found["outside"] == 2000
        assert found["stars"] >= 0.99 * inside.sum()
        assert keys.max() < found["shape"][0] * found["shape"][1] * np.prod(sizes)
    star_class = keys % np.prod(sizes)  # of the sky, on which every star has a place
    snr = star_class // sizes[2] % sizes[1]
    assert counts[snr == 4].sum() == 7
    assert counts[snr == 0].sum() == np.count_nonzero(columns["SN"] < 20)
    giants = counts[star_class % sizes[2] == 0].sum()
    assert giants == np.count_nonzero(columns["LOGG"] < 3.8)
    precise = counts[star_class // (sizes[1] * sizes[2]) == 0].sum()
    assert precise == np.count_nonzero(validation.relative_error(columns) < 0.25)


def test_stars_lie_in_their_cell_of_the_sky() -> None:
    columns, _ = catalogue(1)
    columns |= {"RA": np.array([90.2]), "DEC": np.array([30.0])}
    sky = explorer.explorer(columns)["maps"][1]
    nx, ny = sky["shape"]
    cell = int(np.cumsum(unpacked(sky["steps"]))[0]) // 60
    assert cell % nx == int(90.2 / 360 * nx)
    assert cell // nx == int((0.5 + 1) / 2 * ny)  # the sine of 30 degrees


def test_without_colours_the_map_has_temperatures() -> None:
    columns, _ = catalogue(50)
    columns |= {"PHOT_BP_MEAN_MAG": np.full(50, np.nan, np.float32)}
    assert explorer.explorer(columns)["maps"][0]["x"]["label"] == "Teff [K]"


# -- equal runs, equal bytes -------------------------------------------------------------------------------------------


def test_equal_inputs_give_equal_bytes(tmp_path: Path) -> None:
    def written(name: str) -> dict[str, bytes]:
        (tmp_path / name).mkdir()
        figures.magnitudes.draw_hr_diagrams(catalogue(3 * style.MOST_POINTS)[0]).save(tmp_path / name, PROVENANCE)
        return {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}

    first, second = written("one"), written("two")
    assert set(first) == {"fig04.png", "fig04.pdf", "fig04.ecsv"}
    assert first == second


def test_the_page_depends_neither_on_date_nor_on_speed(inputs: report.ReportInputs) -> None:
    pictures = {name: Picture(name, "", name, "a caption", 500, 400, "data:image/png;base64,AAAA") for name in NAMES}
    pages = {render(replace(inputs, stages=stages(seconds)), pictures, PROVENANCE) for seconds in (1.0, 77.7)}
    assert len(pages) == 1
    assert not re.search(r"20\d\d-\d\d|\d\d:\d\d", pages.pop())
