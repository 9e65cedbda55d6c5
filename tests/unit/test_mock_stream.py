"""The mock survey without files gives the very stars and spectra of the one with files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from specdis.mock.settings import MockSettings
from specdis.mock.stream import MockSurvey
from specdis.mock.survey import CATALOGUE, TRUTH, write_mock
from specdis.storage import read_table
from specdis.surveys.base import IDENTIFIER, Fault, Spectra, Stars
from specdis.surveys.desi import DesiSurvey
from specdis.validation import join

SINGLE = {"rtol": 2e-5, "atol": 1e-5}
"""Spectra are products of matrices in single precision, which round as the number of stars in a block makes them."""

SETTINGS = MockSettings(stars=700, repeat_fraction=0.1, unmatched_fraction=0.05, dead_arm_fraction=0.05, seed=7)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("mock")
    write_mock(directory, SETTINGS)
    return directory


@pytest.fixture(scope="module")
def survey() -> MockSurvey:
    return MockSurvey(SETTINGS)


@pytest.fixture(scope="module")
def stars(survey: MockSurvey) -> Stars:
    return Stars.concatenate(list(survey.stars()))


def test_every_column_is_that_of_the_files(files: Path, survey: MockSurvey, stars: Stars) -> None:
    read = DesiSurvey(files / CATALOGUE, files)
    assert survey.columns == read.columns
    written = Stars.concatenate(list(read.stars()))
    assert len(stars) == len(written) > 700  # some have a second spectrum
    written = written.take(join(stars.columns, written.columns))
    for name in sorted(survey.columns):
        if written[name].dtype.kind == "f":
            np.testing.assert_allclose(stars[name], written[name], **SINGLE, err_msg=name)
        else:
            np.testing.assert_array_equal(stars[name], written[name], err_msg=name)


def test_every_pixel_is_that_of_the_files(files: Path, survey: MockSurvey, stars: Stars) -> None:
    chosen = stars.take(np.arange(0, len(stars), 7))
    found = _by_row(survey, chosen)
    written = _by_row(DesiSurvey(files / CATALOGUE, files), chosen)
    assert found.keys() == written.keys() == set(range(len(chosen)))
    for row, arms in found.items():
        for name in ("B", "R"):
            for ours, theirs in zip(arms[name], written[row][name], strict=True):
                np.testing.assert_allclose(ours, theirs, **SINGLE)


def _by_row(survey: MockSurvey | DesiSurvey, stars: Stars) -> dict[int, dict[str, tuple[np.ndarray, ...]]]:
    result = {}
    for part in survey.spectra(stars):
        assert isinstance(part, Spectra)
        for place, row in enumerate(part.row):
            arms = {name: (arm.flux[place], arm.ivar[place], arm.bad[place]) for name, arm in part.arms.items()}
            result[int(row)] = {**arms, "velocity": (part.velocity[place],)}
    return result


def test_the_truth_is_that_of_the_files(files: Path, survey: MockSurvey, stars: Stars) -> None:
    written = read_table(files / TRUTH)
    found = survey.truth(stars)
    assert found.keys() == written.keys()
    row = join(found, written)
    for name, values in found.items():
        np.testing.assert_array_equal(values, written[name][row], err_msg=name)


def test_the_size_of_blocks_changes_nothing(survey: MockSurvey, stars: Stars) -> None:
    blocks = list(survey.stars(block=64))
    assert {len(block) for block in blocks[:-1]} == {64}
    for name, values in Stars.concatenate(blocks).columns.items():
        if values.dtype.kind == "f":
            np.testing.assert_allclose(values, stars[name], **SINGLE, err_msg=name)
        else:
            np.testing.assert_array_equal(values, stars[name], err_msg=name)


def test_a_star_is_known_by_its_identifier_alone(survey: MockSurvey, stars: Stars) -> None:
    row = 123
    named = stars.take(slice(row, row + 1))
    alone, among = (next(iter(survey.spectra(part))) for part in (named, stars.take(slice(row - 20, row + 20))))
    assert isinstance(alone, Spectra)
    assert isinstance(among, Spectra)
    for name, arm in alone.arms.items():
        np.testing.assert_allclose(arm.flux[0], among.arms[name].flux[20], **SINGLE)
    larger = MockSurvey(SETTINGS.model_copy(update={"stars": 4000}))
    known = larger.truth(Stars({name: named[name] for name in IDENTIFIER}))
    for name, values in survey.truth(named).items():
        np.testing.assert_array_equal(known[name], values, err_msg=name)


def test_no_spectrum_is_lost(survey: MockSurvey, stars: Stars) -> None:
    assert not [part for part in survey.spectra(stars) if isinstance(part, Fault)]
