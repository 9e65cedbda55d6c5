"""The mock's Gaia catalogue: known numbers of the zero point and the extinction, and the distribution of errors."""

from __future__ import annotations

import numpy as np
import pytest

from specdis.mock import gaia
from specdis.mock.galaxy import universe
from specdis.mock.settings import MockSettings

Table = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def observed() -> tuple[Table, Table]:
    settings = MockSettings(stars=20_000)
    stars = universe(settings)
    return stars, gaia.observed_by_gaia(stars, settings)


def test_zero_point_has_the_published_values() -> None:
    # the reference implementation's values, mas
    g, colour = np.array([15.0, 16.0, 15.0, 15.0, 21.5]), np.array([1.5, 1.5, 1.5, 1.0, 1.5])
    six = np.array([False, False, True, False, False])
    expected = [-0.039935, -0.035727, -0.039220, -0.105754, -0.018544]
    np.testing.assert_allclose(gaia.true_zero_point(g, colour, np.full(5, 20.0), six), expected, atol=6e-7)


@pytest.mark.parametrize(
    ("ebv", "expected"),
    [
        (0.03, [2.038, 2.219, 2.357, 2.462, 2.544, 2.678]),
        (0.50, [1.971, 2.139, 2.265, 2.361, 2.434, 2.555]),
    ],
)
def test_extinction_has_the_published_values(ebv: float, expected: list[float]) -> None:
    teff = np.array([4000.0, 5000.0, 6000.0, 7000.0, 8000.0, 10000.0])
    np.testing.assert_allclose(gaia.true_extinction(teff, np.full(6, ebv), "G") / ebv, expected, atol=6e-4)


def test_extinction_reddens() -> None:
    teff, ebv = np.array([4500.0, 9000.0]), np.full(2, 0.1)
    blue, green, red = (gaia.true_extinction(teff, ebv, band) for band in ("BP", "G", "RP"))
    assert (blue > green).all()
    assert (green > red).all()


def test_parallax_errors_are_those_of_the_release() -> None:
    # 0.02-0.03 mas at G < 15, 0.07 at 17, 0.5 at 20 (Gaia Collaboration 2021, A&A 649, A1), within a quarter
    error = gaia.parallax_error(np.array([15.0, 17.0, 20.0]))
    np.testing.assert_allclose(error, [0.025, 0.07, 0.5], rtol=0.25)
    assert gaia.parallax_error(np.array([11.0])) == gaia.parallax_error(np.array([13.0]))


def test_apparent_magnitude_is_absolute_magnitude_distance_and_extinction(observed: tuple[Table, Table]) -> None:
    stars, catalogue = observed
    extinction = gaia.true_extinction(stars["TEFF"], stars["EBV_IN_FRONT"], "G")
    expected = stars["M_G"] + 5 * np.log10(stars["DIST"] / 0.01) + extinction
    np.testing.assert_allclose(catalogue["PHOT_G_MEAN_MAG"], expected, atol=1e-9)


def _pull(stars: Table, catalogue: Table) -> np.ndarray:
    """Return what parallaxes without their zero point differ from 1 / distance by, in units of their errors."""
    six = catalogue["ASTROMETRIC_PARAMS_SOLVED"] == 95
    colour = np.where(six, catalogue["PSEUDOCOLOUR"], catalogue["NU_EFF_USED_IN_ASTROMETRY"])
    offset = gaia.true_zero_point(catalogue["PHOT_G_MEAN_MAG"], colour, catalogue["ECL_LAT"], six)
    return (catalogue["PARALLAX"] - offset - 1 / stars["DIST"]) / catalogue["PARALLAX_ERROR"]


def test_parallaxes_without_their_zero_point_scatter_as_they_claim_when_nothing_is_wrong_with_them() -> None:
    settings = MockSettings(stars=20_000, error_inflation="none", spurious_fraction=0.0)
    stars = universe(settings)
    pull = _pull(stars, gaia.observed_by_gaia(stars, settings))
    pull = pull[np.isfinite(pull)]
    # 20,000 numbers: the mean is good to 0.007, the standard deviation to 0.005; 4 sigma
    assert pull.mean() == pytest.approx(0.0, abs=0.028)
    assert pull.std() == pytest.approx(1.0, abs=0.02)
    assert np.mean(np.abs(pull) < 1) == pytest.approx(0.6827, abs=0.014)


def test_parallaxes_are_off_by_what_is_injected() -> None:
    plain = MockSettings(stars=500)
    stars = universe(plain)
    before = gaia.observed_by_gaia(stars, plain)
    moved = gaia.observed_by_gaia(stars, MockSettings(stars=500, parallax_offset=0.01, parallax_inflation=1.2))
    pulls = [_pull(stars, table) * table["PARALLAX_ERROR"] for table in (before, moved)]
    np.testing.assert_allclose(pulls[1], 1.2 * pulls[0] + 0.01, atol=1e-9)
    np.testing.assert_array_equal(moved["PARALLAX_ERROR"], before["PARALLAX_ERROR"])


def test_errors_are_larger_than_parallaxes_claim_by_the_published_factor() -> None:
    # Eq. 16 of El-Badry, Rix & Heintz (2021) by hand: 0.210 at the top of the bump, and a parabola
    # 1.141 + 0.0040 G - 0.00062 G^2, which falls below 1 beyond G = 18.6
    np.testing.assert_allclose(
        gaia.true_error_inflation(np.array([12.65, 15.0, 18.0])), [1.302, 1.062, 1.012], atol=0.002
    )
    assert gaia.true_error_inflation(np.array([25.0]))[0] == 1.0


def test_parallaxes_scatter_by_the_inflated_error_and_the_spurious_ones_five_times_as_much(
    observed: tuple[Table, Table],
) -> None:
    stars, catalogue = observed
    pull = _pull(stars, catalogue) / gaia.true_error_inflation(catalogue["PHOT_G_MEAN_MAG"])
    has = np.isfinite(pull)
    honest, spurious = (pull[has & (catalogue["SPURIOUS"] == kind)] for kind in (False, True))
    # 3 % of 20,000 and the rest; 4 sigma
    assert len(spurious) / has.sum() == pytest.approx(0.03, abs=0.005)
    assert honest.std() == pytest.approx(1.0, abs=0.02)
    assert spurious.std() == pytest.approx(5.0, abs=5.0 * 4 / np.sqrt(2 * len(spurious)))


def test_half_of_the_spurious_parallaxes_and_a_quarter_of_the_near_binaries_have_a_raised_ruwe(
    observed: tuple[Table, Table],
) -> None:
    stars, catalogue = observed
    has = np.isfinite(catalogue["RUWE"])
    raised = catalogue["RUWE"] > 1.2  # beyond 3.5 sigma of the others
    near_binary = np.isfinite(stars["MASS_RATIO"]) & (stars["DIST"] < 2.0)
    for group, share in (
        (catalogue["SPURIOUS"], 0.5),
        (near_binary & ~catalogue["SPURIOUS"], 0.25),
        (~near_binary & ~catalogue["SPURIOUS"], 0.04),
    ):
        n = np.sum(group & has)
        assert np.mean(raised[group & has]) == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / n))


def test_leaving_the_zero_point_in_shows(observed: tuple[Table, Table]) -> None:
    stars, catalogue = observed
    pull = (catalogue["PARALLAX"] - 1 / stars["DIST"]) / catalogue["PARALLAX_ERROR"]
    assert np.nanmean(pull) < -0.2


def test_a_share_of_parallaxes_is_negative(observed: tuple[Table, Table]) -> None:
    _, catalogue = observed
    assert 0.08 < np.nanmean(catalogue["PARALLAX"] < 0) < 0.20
    assert np.mean(catalogue["PARALLAX"] > 10 * catalogue["PARALLAX_ERROR"]) > 0.2


def test_solutions_have_the_columns_that_gaia_gives_them(observed: tuple[Table, Table]) -> None:
    _, catalogue = observed
    solution = catalogue["ASTROMETRIC_PARAMS_SOLVED"]
    assert set(np.unique(solution)) == {3, 31, 95}
    for name, has in (("NU_EFF_USED_IN_ASTROMETRY", solution == 31), ("PSEUDOCOLOUR", solution == 95)):
        np.testing.assert_array_equal(np.isfinite(catalogue[name]), has)
    for name in ("PARALLAX", "PARALLAX_ERROR", "PMRA", "RUWE"):
        np.testing.assert_array_equal(np.isfinite(catalogue[name]), solution != 3)
    # the range in which the zero point is defined
    assert np.nanmin(catalogue["NU_EFF_USED_IN_ASTROMETRY"]) > 1.1
    assert np.nanmax(catalogue["NU_EFF_USED_IN_ASTROMETRY"]) < 1.9


def test_quality_cuts_remove_some_stars_and_keep_most(observed: tuple[Table, Table]) -> None:
    _, catalogue = observed
    assert 0.03 < np.nanmean(catalogue["RUWE"] >= 1.2) < 0.10
    assert 0.005 < np.mean(catalogue["PHOT_VARIABLE_FLAG"] == b"VARIABLE") < 0.03
    assert 0.003 < np.mean(~catalogue["MATCHED"]) < 0.008


def test_ecliptic_latitude_of_the_poles() -> None:
    latitude = gaia.ecliptic_latitude(np.array([270.0, 90.0, 0.0]), np.array([66.5607089, -66.5607089, 0.0]))
    np.testing.assert_allclose(latitude, [90.0, -90.0, 0.0], atol=1e-5)
