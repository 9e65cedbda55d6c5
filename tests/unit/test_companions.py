"""Companions that are put on single stars: by hand, and against light that is added up."""

import numpy as np
import pytest
from astropy import units as u
from astropy.modeling.models import BlackBody

from specdis.companions import (
    blended_spectra,
    companion_magnitude,
    light_share,
    magnitude_excess,
    spectra_of_companions,
)


def test_magnitudes_of_companions_by_hand():
    # A star of one solar mass has M_G = 4.635, one of 0.7 has 6.85, one of 0.86 has 5.553.
    primary = np.full(3, 4.635)
    np.testing.assert_allclose(companion_magnitude(primary, [1.0, 0.7, 0.86]), [4.635, 6.85, 5.553], atol=1e-9)
    steep = companion_magnitude(primary, [1.0, 0.7, 0.86], steepness=0.8)
    np.testing.assert_allclose(steep, 4.635 + 0.8 * np.array([0, 2.215, 0.918]), atol=1e-9)
    # Beyond the table a companion of equal mass is as bright, and one of less mass no brighter.
    for magnitude in (-2.0, 16.0):
        equal, less = companion_magnitude(np.full(2, magnitude), [1.0, 0.6])
        assert equal == magnitude
        assert less >= magnitude


def test_equation_6_with_the_luminosities_of_the_main_sequence():
    # L of Eq. 6 from magnitudes: 2.5 log10(1 + L_2 / L_1); equal stars are 0.75 mag brighter.
    np.testing.assert_allclose(magnitude_excess([5.0, 4.635], [5.0, 6.85]), [0.75257, 0.13271], atol=2e-5)


def test_the_share_of_light_is_that_of_black_bodies():
    wavelength = np.array([3700.0, 6218.0, 9000.0])
    # 5770 and 4440 K, 2.215 mag apart in G.
    share = light_share(wavelength, np.array([4.635]), np.array([6.85]))[0]
    bodies = [
        BlackBody(temperature * u.K, scale=1 * u.erg / u.s / u.cm**2 / u.AA / u.sr) for temperature in (4440, 5770)
    ]
    cool, hot = (body(wavelength * u.AA).value for body in bodies)
    ratio = cool / hot
    ratio *= 10 ** (-0.4 * 2.215) / ratio[1]
    np.testing.assert_allclose(share, ratio / (1 + ratio), rtol=1e-5)
    assert share[0] < share[1] < share[2]
    np.testing.assert_allclose(light_share(wavelength, np.array([6.0]), np.array([6.0])), 0.5)


def test_spectra_over_continuum_add_up_as_the_light_does():
    wavelength = np.linspace(4000, 6000, 50)
    lines = [1 - 0.5 * np.exp(-((wavelength - place) ** 2) / 200) for place in (4300, 5200)]
    primary, companion = 4.635, 6.85
    bodies = [BlackBody(temperature * u.K)(wavelength * u.AA).value / wavelength**2 for temperature in (5770, 4440)]
    at_g = [BlackBody(temperature * u.K)(6218 * u.AA).value / 6218**2 for temperature in (5770, 4440)]
    continua = [
        body / level * 10 ** (-0.4 * m) for body, level, m in zip(bodies, at_g, (primary, companion), strict=True)
    ]
    light = sum(continuum * line for continuum, line in zip(continua, lines, strict=True)) / sum(continua)
    share = light_share(wavelength, np.array([primary]), np.array([companion]))
    missing = np.zeros((1, 50), bool)
    flux = blended_spectra(lines[0][None], lines[1][None], missing, share)
    np.testing.assert_allclose(flux[0], light, rtol=2e-5)
    assert flux.dtype == np.float32
    # What the companion's spectrum lacks is taken for that of the primary.
    missing[0, 20:] = True
    found = blended_spectra(lines[0][None], np.full((1, 50), np.nan), missing, share)[0]
    np.testing.assert_allclose(found[20:], lines[0][20:], rtol=1e-6)


def test_the_spectrum_is_that_of_a_dwarf_of_like_magnitude_and_metallicity():
    magnitude = np.arange(4.0, 10.0, 0.05)
    metallicity = np.where(np.arange(len(magnitude)) % 2, -1.0, 0.0)
    able = magnitude < 9.0
    wanted, own = np.array([5.02, 5.02, 8.0, 12.0]), np.array([-1.0, 0.0, np.nan, 0.0])
    rows = spectra_of_companions(wanted, own, magnitude, metallicity, able)
    assert able[rows].all()
    np.testing.assert_allclose(magnitude[rows][:3], wanted[:3], atol=0.06)
    np.testing.assert_array_equal(metallicity[rows][:2], own[:2])
    # Fainter than all dwarfs at hand: one of the faintest.
    assert magnitude[rows][3] > 8.8
    assert spectra_of_companions(wanted, own, magnitude, metallicity, magnitude < 4.01).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("metallicity", [np.full(3, np.nan), np.zeros(3)])
def test_the_metallicity_need_not_be_known(metallicity):
    rows = spectra_of_companions(
        np.array([5.0]), np.array([np.nan]), np.array([4.0, 5.0, 6.0]), metallicity, np.ones(3, bool)
    )
    assert rows.tolist() == [1]
