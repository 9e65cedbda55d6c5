"""The report on a synthetic catalogue: its files, its links, and the numbers that it shows."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table
from matplotlib.figure import Figure

from specdis import report, validation
from specdis.report import figures, style
from specdis.report.page import render
from specdis.storage import Provenance
from synthetic_catalogue import catalogue

NAMES = ("fig01", "fig02", "fig03", "fig04", "fig08", "fig09", "training", "truth")
PROVENANCE = Provenance("report", "0123456789abcdef", 42)


@dataclass
class Page(HTMLParser):
    """What a test wants to know of a page: links, pictures, identifiers, and tables by the section they are in."""

    text: str
    links: list[str] = field(default_factory=list)
    identifiers: list[str] = field(default_factory=list)
    rows: dict[str, list[list[str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()
        self._section, self._cell = "", False
        self.feed(self.text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
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


def stages(seconds: float) -> dict[str, dict[str, Any]]:
    record = {"stars": 1100, "seconds": seconds, "stars_per_second": 1100 / seconds, "fault_counts": {}}
    return {
        "sample": record,
        "spectra": record | {"fault_counts": {"unreadable-file": {"faults": 3, "stars": 1234}}},
    }


def full(stars: int = 400, seconds: float = 2.0) -> report.ReportInputs:
    columns, truth = catalogue(stars)
    wavelength = np.arange(4000.0, 4500.0, 0.5)
    random = np.random.default_rng(5)
    spectrum = random.normal(0.0, 0.01, len(wavelength))
    spectrum[100:120] = np.nan
    loss = np.array([[3.0, 4.0], [2.0, 2.5], [2.2, 2.4], [2.3, np.nan]])
    return report.ReportInputs(
        name="mock <1>",
        catalogue=columns,
        metrics=validation.metrics(columns, truth),
        cutflow=cutflow(),
        stages=stages(seconds),
        differences={"training.loss": ("robust", "chi2")},
        truth=truth,
        history=report.History(loss - 0.1, loss),
        error_stack=report.ErrorStack(wavelength, random.uniform(0.1, 0.2, len(wavelength)), [(4050.0, 4060.0)]),
        reconstruction=report.Reconstruction(wavelength, spectrum, 0.5 * np.nan_to_num(spectrum), 100, 3.0),
    )


def nothing() -> report.ReportInputs:
    """Return a run that lacks whatever a run can lack."""
    columns, _ = catalogue(30)
    columns = {name: values for name, values in columns.items() if not name.startswith("PHOT")}
    columns |= {name: np.full(30, np.nan) for name in ("M_G_NN", "DIST", "DISTERR", "DIST_16", "DIST_84")}
    columns["FLAGS"] = np.zeros(30, dtype=np.int32)
    metrics = validation.metrics(columns)
    return report.ReportInputs("empty", columns, metrics, cutflow(), {}, {})


@pytest.fixture(scope="module")
def inputs() -> report.ReportInputs:
    return full()


@pytest.fixture(scope="module")
def folder(inputs: report.ReportInputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("run") / "report"
    report.write(directory, inputs, PROVENANCE)
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
    outside = [link for link in page.links if "://" in link]
    assert outside == ["https://arxiv.org/abs/2503.02291"]
    for link in set(page.links) - set(outside):
        if link.startswith("#"):
            assert link[1:] in page.identifiers
        else:
            assert (folder / link).is_file(), link
    assert len(page.identifiers) == len(set(page.identifiers))
    assert {f"figures/{name}.png" for name in NAMES} <= set(page.links)


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
    rows = page.rows["magnitudes"][1:]
    assert [row[0] for row in rows] == ["all", "S/N < 20", "20 ≤ S/N < 60", "60 ≤ S/N < 100", "S/N ≥ 100"]
    for row, cell in zip(rows, [internal["all"], *internal["by_snr"]], strict=True):
        counts = [f"{cell[key]:,}" for key in ("n", "n_finite", "n_giants")]
        numbers = [shown(cell["median_mag"], 3, "+"), shown(cell["scatter_mag"], 3), shown(cell["std_mag"], 3)]
        assert row[1:] == counts + numbers


def test_truth_in_the_page_equals_the_metrics(page: Page, inputs: report.ReportInputs) -> None:
    truth = inputs.metrics["truth"]
    blocks = [
        [block["all"], *block[by]]
        for block in (truth, truth["precise"])
        for by in ("by_distance", "by_predicted_distance")
    ]
    wanted = [cell for block in blocks for cell in block] + truth["by_snr_and_logg"]
    rows = [row for row in page.rows["against-truth"] if row[1] != "stars"]
    for row, cell in zip(rows, wanted, strict=True):
        assert row[1:3] == [f"{cell['n']:,}", f"{cell['n_finite']:,}"]
        for text, key, sign in ((row[3], "median_bias", "+"), (row[4], "scatter", ""), (row[5], "coverage68", "")):
            assert text == ("–" if np.isnan(cell[key]) else f"{shown(100 * cell[key], 1, sign)} %")
    assert rows[1][0] == "1–2"
    assert rows[-1][0] == "S/N ≥ 100, log g ≥ 3.8"


def test_the_comparison_with_the_paper_equals_the_metrics(page: Page, inputs: report.ReportInputs) -> None:
    rows = page.rows["paper"][1:]
    for row, line in zip(rows, inputs.metrics["paper"], strict=True):
        assert row[:2] == [line["section"], line["quantity"]]
        written = "{:.0f} %" if line["unit"] == "share" else "{:.2f} mag"
        factor = 100 if line["unit"] == "share" else 1
        assert row[3] == written.format(factor * line["paper"])
        assert row[2] == "–" if not np.isfinite(line["here"]) else written.format(factor * line["here"])


def test_headline_cut_flow_faults_and_differences(page: Page, inputs: report.ReportInputs) -> None:
    text = " ".join(page.text.split())
    assert f"<dd>{shown(inputs.metrics['internal']['all']['scatter_mag'], 2)} mag</dd>" in text
    assert f"<dd>{shown(100 * inputs.metrics['truth']['all']['coverage68'], 1)} %</dd>" in text
    assert page.row("sample", "ruwe")[2:] == ["1,400", "300", "1,100"]
    assert page.row("sample", "feh")[1].endswith("(not applied: the survey has no FEH)")
    assert page.row("sample", "spectra", "unreadable-file")[2:] == ["3", "1,234"]
    assert page.row("configuration", "training.loss") == ["training.loss", "robust", "chi2"]
    assert "mock &lt;1&gt;" in page.text


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
    data = figures.distances(inputs.catalogue).data
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


def test_few_stars_are_points() -> None:
    axis = Figure().subplots()
    axis.set(xlim=(0, 1), ylim=(0, 1))
    drawn = style.draw_stars(axis, np.array([0.5, 2.0, np.nan]), np.array([0.25, 0.5, 0.5]))
    assert (drawn["x"].tolist(), drawn["y"].tolist(), drawn["count"].tolist()) == ([0.5], [0.25], [1])


def test_what_a_run_lacks_is_said_in_picture_data_and_page(tmp_path: Path) -> None:
    directory = tmp_path / "report"
    directory.mkdir()
    (directory / "left-over.txt").write_text("of an older report, which goes whole")
    report.write(directory, nothing(), PROVENANCE)
    assert {path.name for path in directory.iterdir()} == {"index.html", "rates.html", "figures"}
    text = (directory / "index.html").read_text(encoding="utf-8")
    for name in NAMES:
        reason = Table.read(directory / f"figures/{name}.ecsv")["missing"][0]
        assert f"Not drawn: {reason}." in text
        assert (directory / f"figures/{name}.png").stat().st_size > 1000
    assert "None: every spectrum of the sample was read." in text
    assert "The true distances of this survey are not known." in text


def test_a_survey_without_snr_still_has_its_errors_drawn() -> None:
    columns, _ = catalogue(200)
    plot = figures.uncertainties(columns | {"SN": np.full(200, np.nan)})
    assert set(plot.data["panel"]) == {"distribution", "against distance"}
    assert "no star has S/N" in {text.get_text() for text in plot.figure.axes[1].texts}


# -- equal runs, equal bytes -------------------------------------------------------------------------------------------


def test_equal_inputs_give_equal_bytes(tmp_path: Path) -> None:
    def written(name: str) -> dict[str, bytes]:
        (tmp_path / name).mkdir()
        figures.hr_diagrams(catalogue(3 * style.MOST_POINTS)[0]).save(tmp_path / name, PROVENANCE)
        return {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}

    first, second = written("one"), written("two")
    assert set(first) == {"fig04.png", "fig04.pdf", "fig04.ecsv"}
    assert first == second


def test_the_page_depends_neither_on_date_nor_on_speed(inputs: report.ReportInputs) -> None:
    plots = [style.missing(name, name, "this is a test") for name in NAMES]
    pages = {render(replace(inputs, stages=stages(seconds)), plots, PROVENANCE) for seconds in (1.0, 77.7)}
    assert len(pages) == 1
    assert not re.search(r"20\d\d-\d\d|\d\d:\d\d", pages.pop())
