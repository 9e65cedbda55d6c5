"""The plain versions give what the stages give, so that their speeds can be compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from specdis.distances.targets import star_keys
from specdis.jaxed import jax
from specdis.noise import NativeNoise, native_pixels
from specdis.spectra.grid import PixelGrid
from specdis.spectra.normalise import normalise
from specdis.spectra.pixels import Pixels
from specdis.spectra.settings import SpectraSettings
from specdis.verbs.bench import plain
from specdis.verbs.bench.limits import MachineLimits, Work
from synthetic_spectra import DESI, model, spectra

SETTINGS = SpectraSettings()
VELOCITY = np.array([-150.0, 0.0, 20.0, 210.0])


@pytest.fixture(scope="module")
def block():
    made = spectra(4, arms=DESI, snr=40.0, velocity=VELOCITY)
    made.arms["B"].bad[1, 300:310] = True
    made.arms["B"].bad[2, 1500:1700] = True
    return made


@pytest.fixture(scope="module")
def pixels(block):
    return normalise(block, PixelGrid.of(DESI, SETTINGS), SETTINGS)


def weighted():
    """Return a model whose pixels count more and more towards the red."""
    made = model(SETTINGS, desi=True)
    weight = np.linspace(0.5, 1.5, len(made.transform.kept)).astype(np.float32)
    return replace(made, transform=made.transform._replace(weight=weight))


def test_normalising(block, pixels):
    images = {}
    for name, arm in block.arms.items():
        images |= {f"{name}_WAVELENGTH": arm.wavelength, f"{name}_FLUX": np.where(arm.bad, 0, arm.flux)}
        images |= {f"{name}_IVAR": arm.ivar, f"{name}_MASK": arm.bad.astype(int)}
    found = plain.normalise_plainly(images, VELOCITY, PixelGrid.of(DESI, SETTINGS), SETTINGS.continuum_half)
    for mine, theirs in zip(pixels[:3], found, strict=True):
        np.testing.assert_allclose(mine.astype(float), theirs.astype(float), rtol=0, atol=2e-6)


@pytest.mark.slow
def test_coefficients(pixels):
    made = weighted()
    ours = made.encode(pixels)
    coefficients, chi2 = plain.encode(pixels, made.basis, made.transform.weight)
    # Sums of 8,040 single-precision numbers in another order: 6e-8 of their size times the square root of their number.
    np.testing.assert_allclose(ours.coefficients, coefficients, rtol=0, atol=1e-5)
    np.testing.assert_allclose(ours.fit.chi2, chi2, rtol=1e-3)


@pytest.mark.slow
def test_draws(pixels):
    made, n_draws = weighted(), 400
    weights, biases = made.networks.label.networks.weights, made.networks.label.networks.biases
    networks = [[(np.asarray(w[k]), np.asarray(b[k])) for w, b in zip(weights, biases, strict=True)] for k in range(2)]
    grid, half = made.grid, SETTINGS.continuum_half
    kept, weight = made.transform.kept, made.transform.weight
    theirs = plain.draws(pixels, grid, half, (kept, weight, made.basis.vectors), networks, n_draws)
    noise, native = NativeNoise(grid, SETTINGS), native_pixels(grid)
    draw = jax.jit(jax.vmap(lambda star, key: noise.perturbed(star, key, n_draws, native)))
    versions = np.asarray(draw(pixels, star_keys(1, np.arange(4)))).swapaxes(1, 2)
    unit = plain.unit_vectors(Pixels(versions[..., kept], None, pixels.bad[:, None, kept], None), weight)
    inputs = unit @ made.basis.vectors.T
    ours = np.mean([plain.perceptron(inputs, layers)[..., 0] for layers in networks], axis=0).std(1, ddof=1)
    # Two standard deviations of 400 draws each: 5 % for their ratio.
    np.testing.assert_allclose(ours / theirs, 1, rtol=0, atol=0.2)


def test_the_scarcest_resource_sets_the_limit():
    limits = MachineLimits(flops=100.0, memory=10.0, disk=1.0)
    assert limits.rate(Work(flops=50.0)) == (2.0, "products")
    assert limits.rate(Work(flops=50.0, memory=50.0)) == (0.2, "memory")
    assert limits.rate(Work(flops=50.0, memory=5.0, disk=1.0)) == (1.0, "disk")
