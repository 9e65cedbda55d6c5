"""The paper's choices undone one by one: each variant is a run like any other, and leaves the full method's alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from astropy.table import Table

import table_files
import tiny_run
from specdis.anchors import Use
from specdis.catalogue import read_catalogue
from specdis.errors import InputError
from specdis.mock.settings import MockSettings
from specdis.mock.stream import MockSurvey
from specdis.pipeline.config import Config
from specdis.storage import read_json
from specdis.surveys import IDENTIFIER, Stars
from specdis.validation import join
from specdis.verbs.ablate import FULL, VARIANTS, Variant, applies, run_ablations, table

UNIVERSE = MockSettings(stars=900, seed=4)
SETTINGS = tiny_run.SETTINGS.replace("n_folds = 2", "train_fraction = 0.5")
TRIED = (
    FULL,
    Variant("8 components", {"components.n_components": 8}),  # what the full method has
    Variant("without negative parallaxes", {"sample.train_drop_negative": True}),  # these are held out, too
    Variant("raw pixels", {"components.kind": "pixels"}),
    Variant("colours alone", {"network.spectrum": False}),
    Variant("the floor", {"training.labels": "truth"}),
)


NAMES = ("without negative parallaxes", "raw pixels", "colours alone", "the floor")
TABLE = (FULL, Variant("pixels alike", {"spectra.weights": "none"}))


@pytest.fixture(scope="module")
def path(tmp_path_factory, compiled) -> Path:
    path = tmp_path_factory.mktemp("ablation") / "tiny.toml"
    universe = f"[survey]\nkind = 'mock'\n[mock]\nstars = {UNIVERSE.stars}\nseed = {UNIVERSE.seed}\n"
    path.write_text(f'[run]\nname = "tiny"\ndirectory = "run"\n{universe}{SETTINGS}')
    return path


@pytest.fixture(scope="module")
def alone(path) -> dict[str, str]:
    """Return what the full method has made before any variant."""
    return tiny_run.products(run_ablations(path, [tiny_run.ONE_PROCESS], variants=TRIED[:1]).parent / "the-full-method")


@pytest.fixture(scope="module")
def page(path, alone) -> Path:
    return run_ablations(path, [tiny_run.ONE_PROCESS], variants=TRIED)


@pytest.fixture(scope="module")
def rows(page) -> list[dict]:
    return read_json(page.with_suffix(".json"))


@pytest.mark.slow
def test_a_variant_that_is_the_full_method_is_no_row(rows, page):
    assert [row["name"] for row in rows] == [FULL.name, *NAMES]
    tables = page.read_text().split("\n\nScatter in mag, and its change:\n\n")
    assert len(tables) == 2
    for lines in (part.splitlines() for part in tables):
        assert len(lines) == 2 + len(rows)
        assert len({line.count("|") for line in lines}) == 1
    assert page.read_text() == table(rows)


@pytest.mark.slow
def test_numbers_are_those_of_the_catalogues_and_the_truth(rows, page):
    for row, folder in zip(rows, (name.replace(" ", "-") for name in (FULL.name, *NAMES)), strict=True):
        stars = read_catalogue(page.parent / folder / "catalogue" / "specdis.fits")
        named = {name: np.asarray(stars[name]) for name in IDENTIFIER}
        named |= {name: named[name].astype("S") for name in ("SURVEY", "PROGRAM")}
        truth = MockSurvey(UNIVERSE).truth(Stars(named))
        true = truth["DIST_TRUE"][join(named, truth)]
        error = 5 * np.log10(np.ma.filled(stars["DIST"], np.nan) / true)
        held_out = np.asarray(stars["HELD_OUT"]) & np.asarray(stars["SELECTED"])
        assert row["without_distance"] == np.sum(np.isnan(error[held_out]))
        if row is rows[0]:
            known = error[held_out & np.isfinite(error)]
            cell = row["cells"]["all"]
            assert cell["n"] == len(known)
            assert cell["median_mag"] == pytest.approx(np.median(known))
            deviation = np.median(np.abs(known - np.median(known)))
            assert cell["scatter_mag"] == pytest.approx(1.4826 * deviation, rel=1e-4)
            assert cell["scatter_difference_mag"]["value"] == 0.0


@pytest.mark.slow
def test_dropping_negative_parallaxes_trains_on_fewer_stars(rows):
    full, positive, *others = (row["trainable"] for row in rows)
    assert 0.7 * full < positive < 0.95 * full
    assert others == [full] * 3


@pytest.mark.slow
def test_variants_leave_the_full_method_as_it_was_and_are_what_they_are_from_scratch(page, path, alone):
    assert tiny_run.products(page.parent / "the-full-method") == alone
    overrides = ("distances.n_draws=2", "sample.train_drop_negative=true")
    tiny_run.start(path, page.parent / "scratch", *overrides, last="catalogue")
    found = tiny_run.products(page.parent / "without-negative-parallaxes")
    assert found == tiny_run.products(page.parent / "scratch")


@pytest.mark.slow
def test_a_second_time_nothing_runs(path, page, rows, caplog):
    before = page.read_bytes()
    with caplog.at_level("INFO"):
        run_ablations(path, [tiny_run.ONE_PROCESS], variants=TRIED)
    assert page.read_bytes() == before
    assert not [record for record in caplog.records if ": running, because" in record.getMessage()]


def test_the_table_shows_cells_that_some_variants_lack():
    estimate = {"value": -0.01, "error": 0.002}
    cell = {"median_mag": 0.1, "scatter_mag": 0.2, "n": 60}
    cell |= {"scatter_difference_mag": estimate, "median_difference_mag": estimate}
    full = {"name": "full", "trainable": 1000, "without_distance": 0, "cells": {"all": cell, "1-10 kpc": cell}}
    other = {"name": "other", "trainable": 90, "without_distance": 3, "cells": {"all": cell}}
    assert "Scatter in mag" not in table([full, other])
    first, second = table([full, other]).splitlines()[2:]
    assert first == "| full | 1,000 | 0 | 0.200 |  | +0.100 | +0.100 |"
    assert second == "| other | 90 | 3 | 0.200 | -0.010 ± 0.002 | +0.100 (-0.010 ± 0.002) | – |"


def test_variants_that_a_configuration_cannot_have_are_left_out(table_run):
    full = Config.load(table_run / "config.resolved.toml")
    lacking = [one for one in VARIANTS if not applies(one, full)]
    keys = ["network.spectrum", "training.labels", *["anchors.use"] * 4]
    assert [list(one.settings) for one in lacking] == [[key] for key in keys]


def test_anchors_are_compared_where_there_are_lists_of_them(path, tmp_path):
    """Four rows, of which a run leaves out the one that it is."""
    of_anchors = [one for one in VARIANTS if "anchors.use" in one.settings]
    assert {one.settings["anchors.use"] for one in of_anchors} == set(get_args(Use))
    folder = tmp_path / "members" / "dwarfs"
    folder.mkdir(parents=True)
    Table({"SOURCE_ID": [1, 2]}).write(folder / "draco_1.csv")
    full = Config.load(path, [f'references.directory="{tmp_path}"'])
    assert all(applies(one, full) for one in of_anchors)


@pytest.mark.slow
def test_where_no_truth_is_known_stars_with_precise_parallaxes_are_compared(tmp_path, table_run):
    """The full method is `table_run`, so that it need not run once more."""
    path, stars = tmp_path / "table.toml", table_run.with_name("spectra.fits")
    path.write_text(stars.with_suffix(".toml").read_text().replace(f'"{stars.name}"', f'"{stars}"'))
    alone = tmp_path / "run" / "ablations" / "the-full-method"
    shutil.copytree(table_run, alone)
    full, other = read_json(run_ablations(path, [tiny_run.ONE_PROCESS], variants=TABLE).with_suffix(".json"))
    assert tiny_run.products(alone) == tiny_run.products(table_run)
    assert list(full["cells"]) == ["all"]
    assert full["cells"]["all"]["n"] == other["cells"]["all"]["n"] > 50
    assert other["cells"]["all"]["scatter_mag"] != full["cells"]["all"]["scatter_mag"]


@pytest.mark.slow
def test_too_few_stars_to_compare_is_an_error(tmp_path, compiled):
    path = table_files.write_config(table_files.write(tmp_path / "stars.fits", table_files.table(40)))
    with pytest.raises(InputError, match="at least 50 held-out stars"):
        run_ablations(path, [tiny_run.ONE_PROCESS], variants=(FULL,))


def test_every_claim_of_the_paper_has_a_variant_that_loads(path):
    assert VARIANTS[0] is FULL
    for variant in VARIANTS:
        Config.load(path, [f"{key}={json.dumps(value)}" for key, value in variant.settings.items()])
