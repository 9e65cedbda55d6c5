"""Copies as other instruments would see their stars."""

import numpy as np
import pytest
from pydantic import ValidationError

from specdis import rng
from specdis.errors import SpecdisError
from specdis.pipeline.config import Config
from specdis.pipeline.templates import template
from specdis.spectra.grid import PixelGrid
from specdis.spectra.instruments import FWHM, Instruments
from specdis.spectra.normalise import normalise
from specdis.spectra.pixels import Pixels
from specdis.spectra.settings import InstrumentSettings, SpectraSettings
from specdis.surveys.base import Arm, Spectra

SETTINGS = SpectraSettings(join="none")
NATIVE = np.arange(4000.0, 6000.0, 0.9)
GRID = PixelGrid.of({"A": NATIVE}, SETTINGS)
STARS = 40
ALL = np.arange(STARS)
EVERYTHING = {"fwhm": 4, "calibration": 0.1, "velocity": 10, "noise": True, "missing": True}
SNR = 100.0
LINES = np.array([4400.0, 5000.0, 5600.0])
WIDTH = 2.0  # sigma of the lines, Angstrom


def at_rest(arm):
    velocity = np.zeros(len(arm.flux))
    return Spectra(np.arange(len(velocity)), {"A": arm}, velocity, velocity)


def stored(flux, settings=SETTINGS):
    """Return spectra on the grid as a run stores them; flux of shape (star, native pixel)."""
    arm = Arm.cleaned(NATIVE, flux, (SNR / flux) ** 2, np.zeros(flux.shape, bool))
    return normalise(at_rest(arm), GRID, settings)


def with_lines(depth=0.5, stars=STARS):
    lines = np.exp(-0.5 * ((NATIVE - LINES[:, None]) / WIDTH) ** 2).sum(0)
    return np.repeat((1 - depth * lines)[None], stars, 0)


def chance(stars=ALL):
    return lambda purpose: rng.uniform(rng.stream(1, purpose), stars)


def seen(pixels, stars=ALL, factor=1.0, spectra=SETTINGS, **settings):
    return Instruments(InstrumentSettings(**settings), spectra, GRID).see(
        pixels, np.full(len(stars), factor), chance(stars)
    )


def widths(pixels, line):
    """Return the variance of a line's profile, Angstrom^2."""
    near, aside = (np.abs(GRID.wavelength - line) < 15, np.abs(np.abs(GRID.wavelength - line) - 20) < 5)
    depth = pixels.flux[:, aside].mean(1, keepdims=True) - pixels.flux[:, near]
    return (depth * (GRID.wavelength[near] - line) ** 2).sum(1) / depth.sum(1)


def test_an_equal_instrument_sees_the_same_spectra():
    pixels = stored(with_lines())
    found = seen(pixels)
    np.testing.assert_allclose(found.flux, pixels.flux, atol=2e-6)
    np.testing.assert_allclose(found.sigma, pixels.sigma, atol=2e-6)
    np.testing.assert_array_equal(found.bad, pixels.bad)


def test_lines_are_broadened_by_what_was_drawn():
    pixels = stored(with_lines())
    found = seen(pixels, fwhm=6.0)
    ends = [(6.0 / FWHM) ** 2 * chance()(f"blur {end}") for end in ("blue", "red")]
    for line in LINES:
        share = (line - GRID.wavelength[0]) / np.ptp(GRID.wavelength)
        expected = ends[0] + share * (ends[1] - ends[0])
        np.testing.assert_allclose(widths(found, line) - widths(pixels, line), expected, rtol=0.06, atol=0.03)


def test_lines_move_by_the_error_of_the_velocity():
    pixels = stored(with_lines())
    found = seen(pixels, velocity=30.0)
    near = np.abs(GRID.wavelength - LINES[1]) < 25

    def centre(flux):
        depth = 1 - flux[:, near]
        return (depth * GRID.wavelength[near]).sum(1) / depth.sum(1)

    moved = (centre(found.flux) - centre(pixels.flux)) / LINES[1] * 299_792.458
    assert moved.std() == pytest.approx(30.0, rel=0.35)
    assert abs(moved.mean()) < 15


def test_what_is_left_of_calibration_errors_is_what_the_running_mean_leaves():
    """The same errors put into the native flux, which is then normalised, give the same spectra."""
    instruments = Instruments(InstrumentSettings(calibration=0.1), SETTINGS, GRID)
    error = instruments._calibration(chance())
    native = np.stack([np.interp(NATIVE, GRID.wavelength, one) for one in error])
    direct = stored(with_lines() * (1 + native))
    found = instruments.see(stored(with_lines()), np.ones(STARS), chance())
    inner = slice(10, -10)
    np.testing.assert_allclose(found.flux[:, inner], direct.flux[:, inner], atol=3e-3)
    assert 0.005 < np.std(found.flux - stored(with_lines()).flux) < np.std(error)


def test_missing_pixels_leave_the_continuum_of_the_others():
    """The same pixels missing in the native flux give the same spectra."""
    pixels = stored(with_lines())
    found = seen(pixels, missing=True)
    lost = found.bad & ~pixels.bad
    share = lost.mean(1)
    assert (share == 0).any()
    assert 0.02 < share.mean() < 0.3
    assert share.max() < 0.6
    flux = with_lines()
    arm = Arm.cleaned(NATIVE, flux, (SNR / flux) ** 2, np.zeros(flux.shape, bool))
    instruments = Instruments(InstrumentSettings(missing=True), SETTINGS, GRID)
    masked = instruments._lost(pixels.flux, pixels.sigma, chance())
    for star in np.flatnonzero(share)[:5]:
        place = np.interp(NATIVE, GRID.wavelength, np.arange(len(GRID.wavelength)))
        gone = masked[star][np.rint(place).astype(int)]
        one = Arm.cleaned(NATIVE, flux[:1], arm.ivar[:1], gone[None])
        direct = normalise(at_rest(one), GRID, SETTINGS)
        both = ~direct.bad[0] & ~found.bad[star]
        assert both.sum() > 0.5 * (~found.bad[star]).sum()
        np.testing.assert_allclose(direct.flux[0, both], found.flux[star, both], atol=4e-3)


def test_noise_rises_to_the_blue_and_fills_lines_and_its_level_stays():
    pixels = stored(with_lines())
    found = seen(pixels, noise=True)
    ratio = found.sigma / pixels.sigma
    blue, red = (np.median(ratio[:, part], 1) for part in (slice(0, 400), slice(-400, None)))
    assert (blue > red).mean() > 0.7
    assert (blue / red).max() > 5
    core = np.argmin(np.abs(GRID.wavelength - LINES[1]))
    assert np.median(ratio[:, core] / np.median(ratio[:, core - 60 : core + 60], 1)) > 1.1
    assert 0.8 < np.median(ratio) < 1.25


def test_pixels_of_too_much_noise_are_missing_in_spectra_and_copies_alike():
    limit = SETTINGS.model_copy(update={"noise_max": 0.3})
    flux = with_lines()
    ivar = np.full(flux.shape, 100.0)  # noise of 0.1
    ivar[:, NATIVE < 4500] = 4.0  # noise of 0.5
    arm = Arm.cleaned(NATIVE, flux, ivar, np.zeros(flux.shape, bool))
    found, free = (normalise(at_rest(arm), GRID, settings) for settings in (limit, SETTINGS))
    assert found.bad[:, GRID.wavelength < 4499].all()
    assert not found.bad[:, GRID.wavelength > 4640].any()
    assert not free.bad[:, 10:].any()
    copies = seen(stored(flux), factor=50.0, spectra=limit)  # noise of 0.5 everywhere
    assert copies.bad[:, np.abs(GRID.wavelength[:, None] - LINES).min(1) > 10].all()


def test_a_star_sees_the_same_instrument_in_any_block():
    pixels = stored(with_lines())
    whole = seen(pixels, **EVERYTHING)
    few = np.array([3, 17, 30])
    part = seen(pixels.take(few), few, **EVERYTHING)
    np.testing.assert_array_equal(part.bad, whole.bad[few])
    np.testing.assert_allclose(part.flux, whole.flux[few], atol=1e-6)


def test_a_spectrum_without_a_good_pixel_stays_one():
    pixels = stored(with_lines())
    nothing = Pixels(0 * pixels.flux, 0 * pixels.sigma, np.ones_like(pixels.bad), pixels.velocity)
    found = seen(nothing, **EVERYTHING)
    assert found.bad.all()
    assert not found.flux.any()


def test_instruments_need_copies(tmp_path):
    with pytest.raises(SpecdisError, match=r"instruments: needs training\.noisy_copies"):
        Config.load(template("demo"), ["training.noisy_copies=0", "network.colours=[]", "training.instruments.fwhm=3"])
    with pytest.raises(ValidationError):
        InstrumentSettings(calibration=2.0)
