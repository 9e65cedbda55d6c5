"""Where a model holds: measures of strangers that noise does not move, whatever errors are claimed."""

from functools import cache

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from specdis.domain import Domain, measure_domain, reference_directions
from specdis.encoding.encoder import Fit
from specdis.encoding.measures import swan_depth
from specdis.spectra.normalise import normalise
from specdis.spectra.settings import SpectraSettings
from specdis.surveys.base import Arm, Spectra
from specdis.surveys.wavelengths import refractive_index
from synthetic_spectra import SMALL, model, rest_flux

WIDE = SpectraSettings(join=4310.0, continuum_width=250.5, sky_windows="none")
"""A running mean so wide that the noise in it leaves no mark on products of residuals."""
C = 299_792.458
TRAINED = 400
_TILE = 100


def observed(flux, snr, seed=4, claimed=1.0):
    """Return spectra of a flux that is a function of wavelength, shape (star, pixel), with white native noise."""
    random, arms = np.random.default_rng(seed), {}
    for name, wavelength in SMALL.items():
        values = flux(wavelength)
        sigma = values.mean(1, keepdims=True) / snr * np.ones_like(values)
        seen = values + sigma * random.standard_normal(values.shape)
        arms[name] = Arm.cleaned(wavelength, seen, (claimed * sigma) ** -2, np.zeros(values.shape, bool))
    rest = np.zeros(len(values))
    return Spectra(np.arange(len(values)), arms, rest, rest)


def encoded(block):
    """Return coefficients and how well the components hold the spectra, as numpy arrays."""
    made = model(WIDE)
    pixels, coefficients, fits = normalise(block, made.grid, WIDE), [], []
    for start in range(0, len(block), _TILE):
        rows = np.minimum(np.arange(start, start + _TILE), len(block) - 1)  # always as many: compiled once
        found = made.encode(pixels.take(rows))
        coefficients.append(np.asarray(found.coefficients))
        fits.append([np.asarray(values, float) for values in found.fit])
    fit = Fit(*(np.concatenate(column)[: len(block)] for column in zip(*fits, strict=True)))
    return np.concatenate(coefficients)[: len(block)], fit


@pytest.mark.parametrize("claimed", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("snr", [5.0, 100.0])
def test_noise_alone_has_no_structure(snr, claimed):
    fit = encoded(observed(lambda wavelength: np.ones((300, len(wavelength))), snr, claimed=claimed))[1]
    z = fit.structure / fit.structure_error
    # Ten components and the running mean take broad noise with them: 0.4 errors of products of two pixels, and twice as
    # much of products with all pixels of 6 A, of which the noise adds up. 300 stars know a mean to 0.06.
    assert -1.0 < z.mean() < 0.2
    assert z.std() == pytest.approx(1, abs=0.25)


def test_a_broad_residual_is_structure():
    def flux(wavelength):
        return np.ones((50, 1)) * (1 + 0.02 * np.sin(2 * np.pi * wavelength / 37))

    clean, noisy = (encoded(observed(flux, snr))[1] for snr in (1000.0, 50.0))
    # Where there is no noise, all that is left is structure but for the phase of 3 A, or of 3 to 9 A, in a wave of 37.
    phases = [2 * np.pi * lags / 37 for lags in (np.array([3.0]), np.arange(3.0, 9.1, WIDE.grid.step))]
    near = [np.abs(clean.structure / clean.residual / np.cos(phase).mean() - 1) < 0.05 for phase in phases]
    assert (near[0] | near[1]).all()
    assert (noisy.structure > 4 * noisy.structure_error).all()


@pytest.mark.parametrize("period", [16.0, 20.0, 25.0, 37.0, 80.0])
def test_ripples_of_many_periods_are_structure(period):
    def flux(wavelength):
        return np.ones((20, 1)) * (1 + 0.03 * np.sin(2 * np.pi * wavelength / period))

    fit = encoded(observed(flux, 50.0))[1]
    assert (fit.structure > 4 * fit.structure_error).all()


def blurred(square):
    """Return the flux of stars whose lines are broader by that squared width, Angstrom^2, as a function."""
    fine = np.arange(3900.0, 4800.0, 0.1)
    flux = rest_flux(fine, 200, 9)
    smooth = gaussian_filter1d(flux, np.sqrt(square) / 0.1, axis=1) if square else flux
    return lambda wavelength: np.stack([np.interp(wavelength, fine, row) for row in smooth])


@pytest.mark.parametrize("snr", [20.0, 1000.0])
def test_the_broadening_is_that_of_the_blur(snr):
    none, blur = (encoded(observed(blurred(square), snr))[1] for square in (0.0, 0.5))
    # Lines are 1 A wide and more: terms of the fourth derivative take part of it off the sharpest.
    error = np.sqrt(np.mean(blur.broadening_error**2) / 200)
    assert blur.broadening.mean() - none.broadening.mean() == pytest.approx(0.5, abs=0.15 + 4 * error)
    assert abs(none.broadening.mean()) < 0.05 + 4 * error
    if snr == 20.0:
        assert none.broadening.std() == pytest.approx(np.sqrt(np.mean(none.broadening_error**2)), rel=0.35)


# The domain of clean spectra


def stars(seed, count):
    return lambda wavelength: rest_flux(wavelength, count, seed)


@cache
def domain():
    coefficients, fit = encoded(observed(stars(9, TRAINED), 500.0, seed=1))
    reference = reference_directions(coefficients, np.arange(float(TRAINED)))
    return Domain(measure_domain(coefficients, fit, reference, {}, {}), reference)


@pytest.mark.parametrize("claimed", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("snr", [5.0, 20.0, 500.0])
def test_the_same_stars_are_inside_whatever_their_noise(snr, claimed):
    # Other stars of the same kind, of which at most 2 per cent exceed a limit, with the scatter of 500.
    coefficients, fit = encoded(observed(stars(12, 500), snr, seed=2, claimed=claimed))
    assert domain().outside(coefficients, fit).mean() <= 0.02


STRANGERS = {
    "in air": lambda wavelength: rest_flux(wavelength * refractive_index(wavelength), 100, 12),
    "at 500 km/s": lambda wavelength: rest_flux(wavelength * (1 - 500 / C), 100, 12),
    "without features": lambda wavelength: np.ones((100, len(wavelength))) * (wavelength / 4300) ** -2,
    "with other lines": lambda wavelength: rest_flux(wavelength[::-1], 100, 12),
}


def carbon_stars(strength):
    """Return the flux of the same stars behind bands of C2, (1-0) to (3-2), longer and shorter than expected."""

    def flux(wavelength):
        depth = np.zeros((100, len(wavelength)))
        for head, relative in ((4738.4, 0.6), (4716.5, 0.5), (4698.9, 0.3)):
            violet = head - wavelength
            depth += relative * np.where(violet > 0, np.exp(-violet / np.linspace(50, 110, 100)[:, None]), 0)
        return rest_flux(wavelength, 100, 12) * np.exp(-strength * depth)

    return flux


@pytest.mark.parametrize("snr", [5.0, 20.0])
def test_noise_alone_has_no_carbon(snr):
    fit = encoded(observed(lambda wavelength: np.ones((300, len(wavelength))), snr))[1]
    z = fit.carbon / fit.carbon_error
    # A sum over hundreds of pixels is normal: 300 stars know its mean to 0.06 and its spread to 4 per cent. Pixels of
    # the grid share noise, and the running mean takes part of it: a quarter is allowed for both.
    assert abs(z.mean()) < 0.25
    assert z.std() == pytest.approx(1, abs=0.25)


def test_the_bands_of_carbon_have_their_heads_in_vacuum_and_fade_to_the_violet():
    # 5165.2 A in air (Pearse & Gaydon 1976), times the refractive index of air there, 1.000278 (Ciddor 1996).
    head, step = 5165.2 * 1.000278, 0.01
    wavelength = np.arange(5155.0, 5180.0, step)
    depth = swan_depth(wavelength)
    assert wavelength[np.diff(depth).argmin()] == pytest.approx(head, abs=0.3)  # a tenth of the way from air to vacuum
    assert depth[0] > 20 * (depth[-1] - swan_depth(np.array([5300.0]))[0])


def test_faint_carbon_stars_are_outside():
    plain = encoded(observed(stars(12, 100), 10.0, seed=2))[1]
    strong, weak = (encoded(observed(carbon_stars(strength), 10.0, seed=2)) for strength in (1.0, 0.7))
    assert domain().outside(*strong).mean() >= 0.9
    # It is the bands that tell: without them fewer are outside, by 0.33 of 100 stars of which each share has 0.05.
    coefficients, fit = weak
    without = domain().outside(coefficients, fit._replace(carbon=plain.carbon)).mean()
    assert domain().outside(coefficients, fit).mean() > without + 0.2


@pytest.mark.parametrize("claimed", [1.0, 10.0])
@pytest.mark.parametrize("kind", STRANGERS)
def test_strangers_are_outside(kind, claimed):
    coefficients, fit = encoded(observed(STRANGERS[kind], 50.0, seed=2, claimed=claimed))
    assert domain().outside(coefficients, fit).mean() >= 0.95


def test_noise_alone_is_outside():
    assert domain().outside(*encoded(observed(lambda wavelength: np.ones((100, len(wavelength))), 5.0))).all()


def test_a_measure_that_is_no_number_is_outside():
    coefficients, fit = encoded(observed(stars(12, 4), 100.0))
    assert not domain().outside(coefficients, fit).any()
    for name in ("structure", "structure_error", "broadening", "broadening_error", "carbon", "carbon_error", "noise"):
        wrong = fit._replace(**{name: np.array([np.nan, *getattr(fit, name)[1:]])})
        assert domain().outside(coefficients, wrong).tolist() == [True, False, False, False], name
    coefficients = coefficients.copy()
    coefficients[2] = np.nan
    assert domain().outside(coefficients, fit).tolist() == [False, False, True, False]
