import numpy as np
import pytest
from pydantic import ValidationError

from specdis.errors import InputError
from specdis.spectra.grid import PixelGrid, native_position
from specdis.spectra.normalise import normalise
from specdis.spectra.settings import GridSettings, SpectraSettings
from specdis.spectra.sky import ErrorStack, merge_windows
from specdis.surveys.base import Arm, Spectra, flux_unit
from synthetic_spectra import SMALL, SMALL_SETTINGS, spectra

GRID = PixelGrid.of(SMALL, SMALL_SETTINGS)


# The grid


def test_the_grid_is_trimmed_to_the_data_and_to_the_settings():
    settings = SpectraSettings(join="none", grid=GridSettings(start=4050.0, stop=4100.0, step=1.0))
    wavelength = PixelGrid.of({"B": SMALL["B"]}, settings).wavelength
    assert wavelength[0] == pytest.approx(4050.2)
    assert wavelength[-1] == pytest.approx(4099.2)
    np.testing.assert_allclose(np.diff(wavelength), 1.0)


def test_a_grid_outside_the_data_is_a_clear_error():
    settings = SpectraSettings(grid=GridSettings(start=9000.0, stop=9100.0))
    with pytest.raises(InputError, match=r"spectra\.grid: .* between 9000\.0 and 9100\.0 A"):
        PixelGrid.of(SMALL, settings)


def test_an_arm_that_fills_no_pixel_is_left_out():
    settings = SMALL_SETTINGS.model_copy(update={"grid": GridSettings(stop=4200.0)})
    grid = PixelGrid.of(SMALL, settings)
    assert [arm.name for arm in grid.arms] == ["B"]
    assert normalise(spectra(2), grid, settings).flux.shape == (2, len(grid.wavelength))


def test_arms_come_in_order_of_wavelength():
    grid = PixelGrid.of(dict(reversed(SMALL.items())), SMALL_SETTINGS)
    np.testing.assert_array_equal(grid.wavelength, GRID.wavelength)
    assert [arm.name for arm in grid.arms] == ["B", "R"]


def test_native_positions_on_uniform_and_other_grids():
    wavelength = np.array([3999.2, 4000.0, 4000.4, 4319.6, 4320.0, 4320.8])
    np.testing.assert_allclose(native_position(SMALL["B"], wavelength), [-1, 0, 0.5, 399.5, 400, 401], atol=1e-6)
    logarithmic = 4000 * np.exp(1e-3 * np.arange(5))
    middle = (logarithmic[1] + logarithmic[2]) / 2
    np.testing.assert_allclose(native_position(logarithmic, np.array([3990.0, 4000.0, middle])), [-1, 0, 1.5])


# Stars that lack something


def test_a_star_of_unknown_velocity_is_bad_throughout():
    block = spectra(3)
    velocity = np.array([0.0, np.nan, 10.0])
    found = normalise(Spectra(block.row, block.arms, velocity, velocity), GRID, SMALL_SETTINGS, [(4100.0, 4110.0)])
    assert found.bad[1].all()
    assert not found.flux[1].any()
    assert not found.bad[0].all()


def test_a_missing_arm_is_bad():
    block = spectra(2)
    found = normalise(
        Spectra(block.row, {"B": block.arms["B"]}, block.velocity, block.observed_velocity), GRID, SMALL_SETTINGS
    )
    blue = slice(GRID.arms[0].start, GRID.arms[0].stop)
    assert not found.bad[:, blue].any()
    assert np.delete(found.bad, np.arange(blue.start, blue.stop), 1).all()


def test_a_dead_arm_and_flux_of_zero_or_below_are_bad_without_warnings():
    block = spectra(3)
    block.arms["R"].bad[0] = True
    block.arms["R"].ivar[0] = 0
    block.arms["B"].flux[1] = 0
    block.arms["B"].flux[2] *= -1
    found = normalise(block, GRID, SMALL_SETTINGS)
    blue, red = (slice(arm.start, arm.stop) for arm in GRID.arms)
    assert found.bad[0, red].all()
    assert not found.bad[0, blue].any()
    assert found.bad[1:, blue].all()
    for values in (found.flux, found.sigma):
        assert np.isfinite(values).all()
        assert not values[found.bad].any()


def test_stars_without_errors_have_no_sigma():
    block = spectra(2)
    arms = {name: Arm.cleaned(arm.wavelength, arm.flux, None, arm.bad) for name, arm in block.arms.items()}
    bare = Spectra(block.row, arms, block.velocity, block.observed_velocity)
    found = normalise(bare, GRID, SMALL_SETTINGS)
    assert found.sigma is None
    np.testing.assert_array_equal(found.flux, normalise(block, GRID, SMALL_SETTINGS).flux)
    stack = ErrorStack()
    stack.add(bare)
    assert stack.windows(1.5) == []


def test_a_star_does_not_depend_on_its_block():
    # More stars than one tile of work holds.
    block = spectra(300, velocity=np.linspace(-200, 200, 300))
    together = normalise(block, GRID, SMALL_SETTINGS, [(4100.0, 4110.0)])
    for star in (0, 255, 256, 299):
        alone = normalise(block.take(np.array([star])), GRID, SMALL_SETTINGS, [(4100.0, 4110.0)])
        for one, all_of_them in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one[0], all_of_them[star])


def test_the_unit_of_flux_does_not_matter():
    block = spectra(2)
    scale = 2.0**-60
    arms = {
        name: Arm.cleaned(arm.wavelength, arm.flux * scale, arm.ivar / scale**2, arm.bad)
        for name, arm in block.arms.items()
    }
    scaled = normalise(Spectra(block.row, arms, block.velocity, block.observed_velocity), GRID, SMALL_SETTINGS)
    for one, other in zip(scaled, normalise(block, GRID, SMALL_SETTINGS), strict=True):
        np.testing.assert_array_equal(one, other)


def test_flux_unit_is_a_power_of_two_near_the_flux():
    unit = flux_unit(np.array([[3e-17, 4e-17, -5e-17, np.nan], [0, 0, 0, 0], [7, 8, 9, 0]]))
    assert unit.shape == (3, 1)
    np.testing.assert_array_equal(np.log2(unit) % 1, 0)
    assert unit[0, 0] == pytest.approx(4e-17, rel=0.5)
    assert unit[1:].tolist() == [[1.0], [8.0]]


def test_spectra_that_come_normalised_are_only_put_on_the_grid():
    # At rest, on the grid itself, and already divided by a continuum: values stay.
    native = {name: GRID.wavelength[arm.start : arm.stop] for name, arm in zip("BR", GRID.arms, strict=True)}
    flux = {name: 1 + 0.1 * np.random.default_rng(1).standard_normal((2, len(w))) for name, w in native.items()}
    arms = {
        name: Arm.cleaned(native[name], flux[name], np.full(flux[name].shape, 100.0), np.zeros(flux[name].shape, bool))
        for name in native
    }
    block = Spectra(np.arange(2), arms, np.zeros(2), np.full(2, 250.0), normalised=True)
    found = normalise(block, GRID, SMALL_SETTINGS)
    assert not found.bad.any()
    np.testing.assert_allclose(found.flux, np.concatenate(list(flux.values()), 1), rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.sigma, 0.1, rtol=1e-6)


# Sky windows


def test_windows_may_overlap():
    windows = [(4110.0, 4120.0), (4100.0, 4112.0), (4105.0, 4106.0)]
    assert merge_windows(windows) == [(4100.0, 4120.0)]
    assert merge_windows([(5.0, 6.0), (1.0, 2.0)]) == [(1.0, 2.0), (5.0, 6.0)]
    bad = [normalise(spectra(1), GRID, SMALL_SETTINGS, which).bad for which in (windows, merge_windows(windows))]
    np.testing.assert_array_equal(*bad)
    assert bad[0].any()


def test_stacks_of_parts_merge_to_that_of_all():
    block, whole, merged = spectra(30), ErrorStack(), ErrorStack()
    block.arms["B"].ivar[3, 10:20] *= 1e-4
    whole.add(block)
    for rows in (np.arange(10), np.arange(10, 30)):
        part = ErrorStack()
        part.add(block.take(rows))
        merged.merge(part)
    for one, other in zip(whole.spectrum(), merged.spectrum(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_spectra_of_unknown_velocity_take_no_part_in_the_stack():
    block = spectra(4)
    known, unknown = ErrorStack(), ErrorStack()
    known.add(block.take(np.array([0, 1])))
    velocity = np.array([0.0, 0.0, np.nan, np.nan])
    unknown.add(Spectra(block.row, block.arms, velocity, velocity))
    for one, other in zip(known.spectrum(), unknown.spectrum(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "key",
    [
        {"continuum_width": 0.0},
        {"bad_fraction_max": 1.5},
        {"sky_windows": "some"},
        {"join": "both"},
        {"grid": {"step": 0.0}},
        {"grid": {"stopp": 1.0}},
        {"noise_max": 0.0},
        {"noise_max": 0.3, "missing": "zeros"},
    ],
)
def test_settings_out_of_range_are_refused(key):
    with pytest.raises(ValidationError):
        SpectraSettings(**key)


def test_the_paper_s_continuum_is_501_pixels():
    assert SpectraSettings().continuum_half == 250
