"""Real stars in the mock: copies keep what belongs to their parent, and stay on one side of every split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import table_files
from specdis.errors import InputError
from specdis.mock import atmospheres, gaia, library, observation, targets
from specdis.mock.galaxy import universe
from specdis.mock.settings import MockSettings
from specdis.mock.stream import MockSurvey
from specdis.mock.survey import CATALOGUE, TRUTH, write_mock
from specdis.pipeline.config import Config
from specdis.pipeline.inputs import parents
from specdis.sample.settings import SampleSettings
from specdis.sample.split import split
from specdis.storage import read_table
from specdis.surveys import open_survey
from specdis.surveys.base import Spectra, Stars
from specdis.validation import join

WAVELENGTH = np.geomspace(3580, 7640, 6000)
PARENTS = 200
TOO_FAR, TOO_RED, TOO_HOT, WITHOUT_PARAMETERS, MASKED = range(5)
"""Rows of the stars that cannot be parents."""


def _stars() -> dict[str, np.ndarray]:
    stars = universe(MockSettings(stars=2000, binary_fraction=0.0, seed=5))
    rows = np.linspace(0, 1999, PARENTS).astype(int)
    return {name: values[rows] for name, values in stars.items()}


def _table(stars: dict[str, np.ndarray]) -> table_files.Hdus:
    """Return a library of stars whose parallaxes are exact, with spectra that are the model's own."""
    distance, ebv = np.linspace(0.1, 2.0, PARENTS), np.linspace(0.0, 0.1, PARENTS)
    g = stars["M_G"] + 5 * np.log10(distance) + 10 + gaia.true_extinction(stars["TEFF"], ebv / 0.86, "G")
    velocity = np.linspace(-150, 150, PARENTS)
    parameters = [stars[name] for name in ("TEFF", "LOGG", "FEH", "ALPHAFE")]
    flux = atmospheres.spectra(*parameters, WAVELENGTH, velocity)
    hdus: table_files.Hdus = {
        "STARS": {
            "SOURCE_ID": stars["SOURCE_ID"],
            "PARALLAX": 1 / distance,
            "PARALLAX_ERROR": np.full(PARENTS, 0.01, "f4"),
            "PHOT_G_MEAN_MAG": g,
            "EBV": ebv,
            "VRAD": velocity,
            **{name: stars[name].copy() for name in ("TEFF", "LOGG", "FEH")},
        },
        "WAVELENGTH": WAVELENGTH,
        "FLUX": flux,
        "IVAR": (flux / 1000) ** -2.0,
        "MASK": np.zeros(flux.shape, np.int16),
    }
    hdus["STARS"]["PARALLAX_ERROR"][TOO_FAR] = 1.0
    hdus["STARS"]["EBV"][TOO_RED] = 0.2
    hdus["STARS"]["TEFF"][TOO_HOT] = 20_000.0
    hdus["STARS"]["FEH"][WITHOUT_PARAMETERS] = np.nan
    hdus["MASK"][MASKED, :1000] = 1
    return hdus


@pytest.fixture(scope="module")
def real() -> dict[str, np.ndarray]:
    return _stars()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory, real: dict[str, np.ndarray]) -> Path:
    return table_files.write(tmp_path_factory.mktemp("library") / "library.fits", _table(real))


@pytest.fixture(scope="module")
def settings(table: Path) -> MockSettings:
    return MockSettings(stars=600, repeat_fraction=0.1, library=table)


@pytest.fixture(scope="module")
def survey(settings: MockSettings) -> MockSurvey:
    return MockSurvey(settings)


@pytest.fixture(scope="module")
def stars(survey: MockSurvey) -> Stars:
    return Stars.concatenate(list(survey.stars()))


def test_stars_that_are_not_known_well_enough_are_no_parents(table: Path, real: dict[str, np.ndarray]) -> None:
    np.testing.assert_array_equal(library.load(table).identifier, real["SOURCE_ID"][MASKED + 1 :])


def test_copies_have_parameters_and_luminosity_of_their_parent(
    survey: MockSurvey, stars: Stars, real: dict[str, np.ndarray]
) -> None:
    truth = survey.truth(stars)
    order = np.argsort(real["SOURCE_ID"])
    parent = order[np.searchsorted(real["SOURCE_ID"], truth["PARENT_ID"], sorter=order)]
    np.testing.assert_array_equal(real["SOURCE_ID"][parent], truth["PARENT_ID"])
    assert len(np.unique(parent)) > 50
    for name in ("TEFF", "LOGG", "FEH"):
        np.testing.assert_allclose(truth[f"{name}_TRUE"], real[name][parent], rtol=2e-7, err_msg=name)
    # single precision of the table's columns, too
    np.testing.assert_allclose(truth["M_G_TRUE"], real["M_G"][parent], atol=2e-6)
    g = truth["M_G_TRUE"] + 5 * np.log10(truth["DIST_TRUE"]) + 10 + truth["A_G_TRUE"]
    matched = np.isfinite(stars["PHOT_G_MEAN_MAG"])
    np.testing.assert_allclose(stars["PHOT_G_MEAN_MAG"][matched], g[matched], atol=2e-6)
    assert not truth["BINARY_TRUE"].any()  # what a real star is, it is already
    assert truth["DIST_TRUE"].max() > 50.0


def test_spectra_of_copies_are_those_of_their_parents_with_new_velocity_dust_and_distance(
    settings: MockSettings, stars: Stars, real: dict[str, np.ndarray]
) -> None:
    rows, _ = targets.observed(settings, stars.take(slice(0, 100)).columns)
    found = observation.model_flux(rows, settings.library)
    alpha = real["ALPHAFE"][MASKED + 1 :][rows["PARENT"]]  # which a table of real stars does not tell
    single = rows | {"ALPHAFE": alpha, "M_G_PRIMARY": rows["M_G"], "MASS_RATIO": np.full(100, np.nan)}
    for arm, expected in observation.model_flux(single).items():
        if arm != "Z":
            known = np.isfinite(found[arm])
            assert known.mean() > 0.95
            # what a spline through pixels of 0.6 to 0.8 A leaves of lines 1.8 A wide
            error = found[arm][known] / expected[known] - 1
            assert np.std(error) < 0.001
            assert np.abs(error).max() < 0.03


def test_copies_of_a_star_stay_on_one_side_of_every_split(stars: Stars) -> None:
    columns = {**stars.columns, "SELECTED": np.ones(len(stars), bool), "G_0": np.full(len(stars), 15.0)}
    columns |= {"PARALLAX_CORRECTED": np.ones(len(stars)), "PARALLAX_ERROR_USED": np.ones(len(stars))}
    for choice in ({"n_folds": 5}, {"train_fraction": 0.8}):
        parts = split(columns, SampleSettings(**choice), seed=1)
        assert len(np.unique(parts["FOLD"])) == choice.get("n_folds", 2)
        for parent in np.unique(stars["PARENT_ID"]):
            assert np.ptp(parts["FOLD"][stars["PARENT_ID"] == parent]) == 0


def test_the_files_tell_the_same_parents(settings: MockSettings, stars: Stars, tmp_path: Path) -> None:
    small = settings.model_copy(update={"stars": 300})
    write_mock(tmp_path / "survey", small)
    path = tmp_path / "run.toml"
    files = f'catalogue = "survey/{CATALOGUE}"\nspectra = "survey"\ntruth = "survey/{TRUTH}"\n'
    path.write_text(f'[run]\nname = "x"\ndirectory = "run"\n[survey]\nkind = "desi"\n{files}')
    config = Config.load(path)
    read = parents(config)(Stars.concatenate(list(open_survey(config.survey).stars())))
    same = join(read.columns, stars.columns)
    assert (same >= 0).sum() > 250  # of a larger survey with other files
    np.testing.assert_array_equal(read["PARENT_ID"][same >= 0], stars["PARENT_ID"][same[same >= 0]])
    truth = read_table(tmp_path / "survey" / TRUTH)
    np.testing.assert_array_equal(read["PARENT_ID"], truth["PARENT_ID"][join(read.columns, truth)])


def test_pixels_beyond_the_library_are_bad(tmp_path: Path, real: dict[str, np.ndarray]) -> None:
    hdus = _table(real)
    short = WAVELENGTH < 7000
    hdus |= {"WAVELENGTH": WAVELENGTH[short]} | {name: hdus[name][:, short] for name in ("FLUX", "IVAR", "MASK")}
    hdus["MASK"][MASKED, 1000:] = 0
    survey = MockSurvey(MockSettings(stars=300, library=table_files.write(tmp_path / "short.fits", hdus)))
    stars = Stars.concatenate(list(survey.stars()))
    [block] = survey.spectra(stars.take(slice(0, 20)))
    assert isinstance(block, Spectra)
    arm = block.arms["R"]
    assert arm.bad[:, arm.wavelength > 7010].all()
    assert arm.bad[:, arm.wavelength < 6980].mean() < 0.1


@pytest.mark.parametrize(("lacking", "message"), [("TEFF", "no TEFF"), ("EBV", "no EBV"), ("PARALLAX", "no PARALLAX")])
def test_a_library_without_what_a_copy_needs_is_refused(
    tmp_path: Path, real: dict[str, np.ndarray], lacking: str, message: str
) -> None:
    hdus = _table(real)
    del hdus["STARS"][lacking]
    with pytest.raises(InputError, match=message):
        library.load(table_files.write(tmp_path / "library.fits", hdus))


def test_a_library_with_too_few_good_stars_is_refused(tmp_path: Path, real: dict[str, np.ndarray]) -> None:
    hdus = _table(real)
    hdus["STARS"]["PARALLAX_ERROR"][40:] = 10.0
    with pytest.raises(InputError, match="found 35"):
        library.load(table_files.write(tmp_path / "library.fits", hdus))
