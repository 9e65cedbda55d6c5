"""The mock's spectra: noise, masks, S/N and what the RVS pipeline makes of them."""

from __future__ import annotations

import numpy as np
import pytest

from specdis.mock import gaia, observation
from specdis.mock.galaxy import universe
from specdis.mock.settings import MockSettings
from specdis.surveys.layout import NATIVE_GRID

Table = dict[str, np.ndarray]
SETTINGS = MockSettings(stars=1000, dead_arm_fraction=0.05)


@pytest.fixture(scope="module")
def stars() -> Table:
    stars = universe(SETTINGS)
    stars["PHOT_G_MEAN_MAG"] = gaia.observed_by_gaia(stars, SETTINGS)["PHOT_G_MEAN_MAG"]
    stars["TARGETID"] = stars["SOURCE_ID"]
    return {name: values[500:800] for name, values in stars.items()}


@pytest.fixture(scope="module")
def arms(stars: Table) -> dict[str, observation.ArmData]:
    return observation.observe(stars, SETTINGS)


def test_arms_have_the_native_grids(arms: dict[str, observation.ArmData]) -> None:
    assert {arm: data.flux.shape for arm, data in arms.items()} == {
        "B": (300, 2751),
        "R": (300, 2326),
        "Z": (300, 2881),
    }
    for data in arms.values():
        assert (data.flux.dtype, data.ivar.dtype, data.mask.dtype) == (np.float32, np.float32, np.int32)
    assert arms["B"].wavelength[[0, -1]].tolist() == [3600.0, 5800.0]


def test_noise_is_what_the_inverse_variance_says(stars: Table, arms: dict[str, observation.ArmData]) -> None:
    for arm, truth in observation.model_flux(stars).items():
        data = arms[arm]
        pull = ((data.flux - truth) * np.sqrt(data.ivar))[data.mask == 0].astype(np.float64)
        # 300 x 2326 numbers at least: 0.0012 in the mean, 0.0009 in the standard deviation; 5 sigma
        assert pull.mean() == pytest.approx(0.0, abs=0.006)
        assert pull.std() == pytest.approx(1.0, abs=0.005)
        assert np.abs(pull).max() < 6.5


def test_noise_of_neighbouring_pixels_and_stars_is_independent(
    stars: Table, arms: dict[str, observation.ArmData]
) -> None:
    data, truth = arms["R"], observation.model_flux(stars)["R"]
    alive = (data.mask == 0).any(axis=1)
    pull = np.where(data.mask == 0, (data.flux - truth) * np.sqrt(data.ivar), 0.0)[alive].astype(np.float64)
    # a correlation of 280 x 2300 pairs is good to 0.0013
    assert np.mean(pull[:, 1:] * pull[:, :-1]) == pytest.approx(0.0, abs=0.006)
    assert np.mean(pull[1:] * pull[:-1]) == pytest.approx(0.0, abs=0.006)


def test_a_spectrum_does_not_depend_on_its_neighbours(stars: Table, arms: dict[str, observation.ArmData]) -> None:
    alone = observation.observe({name: values[7:9] for name, values in stars.items()}, SETTINGS)
    for arm, data in alone.items():
        # matrix products of other sizes round differently, in the last bits of the flux
        np.testing.assert_allclose(data.flux, arms[arm].flux[7:9], rtol=2e-4, atol=1e-3)
        np.testing.assert_array_equal(data.mask, arms[arm].mask[7:9])


def test_bad_pixels_have_neither_flux_nor_weight(arms: dict[str, observation.ArmData]) -> None:
    for data in arms.values():
        bad = data.mask != 0
        assert (data.flux[bad] == 0).all()
        assert (data.ivar[bad] == 0).all()
        assert (data.ivar[~bad] > 0).all()


def test_cosmic_rays_bad_columns_and_dead_arms_are_there(arms: dict[str, observation.ArmData]) -> None:
    dead = {arm: (data.mask & observation.BAD_FIBRE).all(axis=1) for arm, data in arms.items()}
    # 5 % of 300 spectra, half in each arm: 7.5 expected in each
    assert 1 <= dead["B"].sum() <= 20
    assert 1 <= dead["R"].sum() <= 20
    assert not dead["Z"].any()
    assert not (dead["B"] & dead["R"]).any()
    for data in arms.values():
        cosmics = (data.mask & observation.COSMIC > 0).sum(axis=1)
        assert cosmics.mean() == pytest.approx(6.0, abs=1.0)
        share = (data.mask & observation.BAD_COLUMN > 0).mean(axis=0)
        assert 1 <= np.sum(share > 0.10) <= 8


def test_errors_rise_in_sky_lines_and_in_the_blue(arms: dict[str, observation.ArmData]) -> None:
    def median_error(arm: str, wavelength: float) -> float:
        pixel = np.argmin(np.abs(arms[arm].wavelength - wavelength))
        return float(np.median(arms[arm].ivar[arms[arm].ivar[:, pixel] > 0, pixel] ** -0.5))

    for arm, line, beside in (("B", 5578.9, 5600.0), ("R", 6302.1, 6320.0), ("R", 7342.9, 7380.0)):
        assert median_error(arm, line) > 1.1 * median_error(arm, beside)
    assert median_error("B", 3620.0) > 1.5 * median_error("B", 4500.0)


def test_flux_is_that_of_the_magnitude(stars: Table) -> None:
    flux = observation.model_flux(stars)["R"]
    grid = NATIVE_GRID["R"].wavelength()
    level = flux[:, (grid >= 6000) & (grid < 6500)].mean(axis=1)
    # a star of G = 15 has 2.5e-15 erg / (s cm2 A) at 6230 A (zero point of Riello et al. 2021)
    np.testing.assert_allclose(level, 250.0 * 10 ** (-0.4 * (stars["PHOT_G_MEAN_MAG"] - 15)), rtol=1e-4)


def test_signal_to_noise_is_the_median_per_root_angstrom() -> None:
    grid = NATIVE_GRID["B"]
    shape = (1, grid.pixels)
    data = observation.ArmData(grid.wavelength(), *(np.full(shape, v, np.float32) for v in (8.0, 4.0)), np.zeros(shape))
    assert observation.signal_to_noise({"B": data})["B"][0] == pytest.approx(16.0 / np.sqrt(0.8))


def test_signal_to_noise_falls_with_magnitude(stars: Table, arms: dict[str, observation.ArmData]) -> None:
    snr = observation.signal_to_noise(arms)["R"]
    good = (snr > 0) & (stars["PROGRAM"] == b"bright")
    slope, _ = np.polyfit(stars["PHOT_G_MEAN_MAG"][good], np.log10(snr[good]), 1)
    # between -0.2 (photons of the star) and -0.4 (of the sky) per magnitude
    assert -0.4 < slope < -0.2


def test_rvs_errors_are_honest_and_failures_are_flagged(stars: Table) -> None:
    n = 20_000
    many = {name: np.resize(values, n) for name, values in stars.items()} | {"TARGETID": np.arange(n)}
    snr = {"B": np.full(n, 20.0), "R": np.full(n, 30.0)}
    found = observation.rvs(many, snr, SETTINGS)
    good = found["RVS_WARN"] == 0
    assert 1 - good.mean() == pytest.approx(SETTINGS.warning_fraction, abs=0.003)
    np.testing.assert_array_equal(found["SUCCESS"], good)
    # a failed fit ends at a limit of the velocities, or has an error that says so
    at_limit, uncertain = np.abs(found["VRAD"]) > 1495, found["VRAD_ERR"] > 100
    np.testing.assert_array_equal(~good, at_limit | uncertain)
    assert np.mean(at_limit[~good]) == pytest.approx(0.5, abs=0.15)  # of 200
    np.testing.assert_array_equal(found["RVS_WARN"] & 2 > 0, at_limit)
    np.testing.assert_array_equal(found["RVS_WARN"] & 4 > 0, uncertain)
    for name in ("VRAD", "TEFF", "LOGG", "FEH", "ALPHAFE"):
        pull = ((found[name] - many[name]) / found[f"{name}_ERR"])[good]
        # 20,000 numbers: 5 sigma
        assert pull.mean() == pytest.approx(0.0, abs=0.036)
        assert pull.std() == pytest.approx(1.0, abs=0.025)


def test_warnings_say_what_is_wrong(stars: Table) -> None:
    settings = MockSettings(warning_fraction=0.0)
    six = {name: np.resize(values, 6) for name, values in stars.items()} | {"TARGETID": np.arange(6)}
    six |= {"TEFF": np.array([5500.0, 5500.0, 5500.0, 20_000.0, 5500.0, 5500.0]), "VRAD": np.full(6, 20.0)}
    six["FEH"] = np.array([-0.5, -0.5, -0.5, -0.5, -6.0, 3.0])
    # at S/N 0.5 the fit fails and no line is seen; at 2.5 lines are worth a chi-square of 375
    snr = {arm: np.array([100.0, 0.5, 2.5, 100.0, 100.0, 100.0]) for arm in "BR"}
    found = observation.rvs(six, snr, settings)
    assert found["RVS_WARN"][0] == found["RVS_WARN"][2] == 0
    assert found["RVS_WARN"][1] & 1
    assert found["RVS_WARN"][1] & 6
    assert (found["RVS_WARN"][3:] == 8).all()
    np.testing.assert_array_equal(found["SUCCESS"], found["RVS_WARN"] == 0)
