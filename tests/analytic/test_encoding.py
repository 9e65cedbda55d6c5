"""Coefficients of spectra that lack pixels, against the expectation of a Gaussian model in dense matrices."""

import itertools
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.stats import norm

from specdis.calibration import Calibration, Traits
from specdis.colours import Bands
from specdis.components import Basis
from specdis.distances.answers import between_networks
from specdis.distances.columns import LEVELS
from specdis.distances.errors import Chain, Linear, MonteCarlo, Perturbed
from specdis.distances.settings import DistancesSettings
from specdis.distances.targets import star_keys
from specdis.encoding.completion import Completer, Completion, inverse_of_triangle, sum_of_products
from specdis.encoding.encoder import encoder
from specdis.jaxed import jax, jnp
from specdis.noise import native_pixels
from specdis.spectra.grid import PixelGrid
from specdis.spectra.normalise import normalise
from specdis.spectra.pixels import Pixels
from specdis.spectra.settings import SpectraSettings
from specdis.spectra.transform import Transform
from synthetic_spectra import model, spectra, targets

PIXELS, COMPONENTS = 90, 6
EIGENVALUES = 0.5 * 0.4 ** np.arange(COMPONENTS)
NOISE = 0.01
"""Noise per pixel of unit vectors."""


@cache
def basis(centre=False, pixels=PIXELS, noise=NOISE):
    random = np.random.default_rng(1)
    vectors = np.linalg.qr(random.standard_normal((pixels, COMPONENTS)))[0].T.astype(np.float32)
    mean = 0.3 * np.sin(np.arange(pixels) / 9) / np.sqrt(pixels) if centre else np.zeros(pixels)
    return Basis(vectors, EIGENVALUES, mean.astype(np.float32), EIGENVALUES.sum() + pixels * noise**2)


def draw(basis, stars, noise=NOISE, seed=2):
    """Return spectra of the Gaussian model of which the basis is made, shape (star, pixel)."""
    random = np.random.default_rng(seed)
    z = np.sqrt(basis.eigenvalues) * random.standard_normal((stars, COMPONENTS))
    return z @ basis.vectors + basis.mean + noise * random.standard_normal((stars, len(basis.mean)))


def gap(kind):
    bad = np.zeros(PIXELS, bool)
    bad[{"block": np.r_[20:45], "one": [3], "half": np.r_[: PIXELS // 2], "scattered": np.r_[1:PIXELS:4]}[kind]] = True
    return bad


@cache
def completed(centre, unit_norm):
    """Compile what returns the completion of a spectrum and its coefficients."""
    completer = Completer(basis(centre), True, unit_norm, 1.0, 0.0)

    @jax.jit
    def complete(spectrum, bad):
        completion = completer.completion(spectrum, bad)
        return completion, completer.coefficients(spectrum, bad, completion)

    return complete


def expected(basis, spectrum, bad, variance):
    """Return the expectation of the missing pixels given the others, and their covariance, from the joint Gaussian."""
    vectors = basis.vectors.astype(float)
    joint = (vectors.T * basis.eigenvalues) @ vectors + variance * np.eye(len(bad))
    gain = joint[np.ix_(bad, ~bad)] @ np.linalg.inv(joint[np.ix_(~bad, ~bad)])
    missing = basis.mean[bad] + gain @ (spectrum - basis.mean)[~bad]
    return missing, joint[np.ix_(bad, bad)] - gain @ joint[np.ix_(~bad, bad)]


@pytest.mark.parametrize("unit_norm", [True, False])
@pytest.mark.parametrize("centre", [True, False])
@pytest.mark.parametrize("kind", ["block", "one", "half", "scattered"])
def test_coefficients_are_those_of_the_expected_spectrum(kind, centre, unit_norm):
    found, bad = basis(centre), gap(kind)
    vectors = found.vectors.astype(float)
    for spectrum in draw(found, 3):
        spectrum = np.where(bad, 0, spectrum)
        if unit_norm:
            spectrum = spectrum / np.linalg.norm(spectrum)
        given = spectrum.astype(np.float32)
        completion, complete = completed(centre, unit_norm)(given, bad)
        whole, variance = spectrum.copy(), float(completion.noise)
        whole[bad], covariance = expected(found, spectrum, bad, variance)
        # The norm is that of a whole spectrum, of which the missing pixels have noise like the others.
        shrink = 1 / np.sqrt((whole**2).sum() + np.trace(covariance)) if unit_norm else 1.0
        coefficients = vectors @ (shrink * whole - found.mean)
        # Single precision: sums of 90 numbers, and the inverse of a matrix of which the condition is 100 at most.
        np.testing.assert_allclose(complete, coefficients, rtol=0, atol=3e-5)
        part = shrink * vectors[:, bad]
        signal = part @ (covariance - variance * np.eye(bad.sum())) @ part.T
        both = part @ covariance @ part.T
        slopes = np.random.default_rng(4).standard_normal((5, COMPONENTS)).astype(np.float32)
        np.testing.assert_allclose(completion.spread(slopes), np.diag(slopes @ signal @ slopes.T), rtol=2e-3)
        np.testing.assert_allclose(completion.widening(slopes), np.diag(slopes @ both @ slopes.T), rtol=2e-3)
        # Deviations are linear in independent normal numbers, so that those of unit vectors say all of it.
        factor = np.asarray(completion.versions(np.eye(COMPONENTS, dtype=np.float32)), float)
        np.testing.assert_allclose(factor.T @ factor, signal, rtol=0, atol=2e-3 * np.abs(signal).max())


@pytest.mark.parametrize("unit_norm", [True, False])
@pytest.mark.parametrize("centre", [True, False])
def test_without_missing_pixels_it_is_eq_2(centre, unit_norm):
    found, bad = basis(centre), np.zeros(PIXELS, bool)
    spectrum = draw(found, 1)[0]
    spectrum = (spectrum / np.linalg.norm(spectrum)).astype(np.float32)
    completion, coefficients = completed(centre, unit_norm)(spectrum, bad)
    # The subtracted mean is taken off after the sum instead of before it: rounding of numbers below 1.
    np.testing.assert_allclose(coefficients, found.project(spectrum), rtol=0, atol=3e-7)
    assert not np.asarray(completion.spread(np.ones((1, COMPONENTS), np.float32))).any()
    assert not np.asarray(completion.widening(np.ones((1, COMPONENTS), np.float32))).any()
    assert not np.asarray(completion.versions(np.ones((4, COMPONENTS), np.float32))).any()


def test_zeros_stay_zeros_where_missing_pixels_are_not_estimated():
    found, bad = basis(), gap("block")
    spectrum = np.where(bad, 0, draw(found, 1)[0]).astype(np.float32)
    completer = Completer(found, False, True)
    assert completer.completion(spectrum, bad) is None
    np.testing.assert_array_equal(completer.coefficients(spectrum, bad, None), found.project(spectrum))


@cache
def estimated_noise(pixels):
    """Compile what estimates the noise of spectra that lack the same pixels."""
    completer = Completer(basis(pixels=pixels), True, False, 1.0, 0.0)
    return jax.jit(jax.vmap(lambda spectrum, bad: completer.completion(spectrum, bad).noise, in_axes=(0, None)))


@pytest.mark.parametrize("noise", [NOISE / 5, NOISE, 5 * NOISE])
def test_the_noise_is_that_of_the_pixels(noise):
    stars, pixels = 200, 400
    found = basis(pixels=pixels)
    bad = np.arange(pixels) < 60
    given = np.where(bad, 0, draw(found, stars, noise)).astype(np.float32)
    # A variance of 334 degrees of freedom in 200 stars, known to 0.55 %; the prior leaves 0.5 % of the signal at most.
    assert np.mean(estimated_noise(pixels)(given, bad)) / noise**2 == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("shared_by", [1, 2])
def test_shifts_are_what_is_said_of_them(shared_by):
    # (whole - completed) has that covariance, where noise of pixels is independent and where neighbours share it.
    stars = 600
    one = basis()
    vectors = np.repeat(one.vectors, shared_by, axis=1) / np.float32(np.sqrt(shared_by))
    found = one._replace(vectors=vectors, mean=np.zeros(PIXELS * shared_by, np.float32))
    bad = np.repeat(gap("scattered"), shared_by)
    completer = Completer(found, True, False, 1 / shared_by, 0.0)

    @jax.jit
    @jax.vmap
    def both(spectrum):
        missing = jnp.where(bad, 0, spectrum)
        completion = completer.completion(missing, bad)
        width = jnp.sqrt(completion.widening(jnp.eye(COMPONENTS, dtype=np.float32)))
        return completer.coefficients(missing, bad, completion), found.project(missing), width

    whole = np.repeat(draw(one, stars), shared_by, axis=1).astype(np.float32) / np.float32(np.sqrt(shared_by))
    complete, zeros, width = (np.asarray(values, float) for values in both(whole))
    shift = complete - np.asarray(found.project(whole), float)
    # 600 stars know a standard deviation to 2.9 %; 70 degrees of freedom know the noise of each to 8 %.
    np.testing.assert_allclose((shift / width).std(0), 1, rtol=0, atol=4 * 0.029 + 0.02)
    assert (np.sqrt((shift**2).mean(0)) < 0.5 * np.sqrt(((zeros - found.project(whole)) ** 2).mean(0))).all()


def test_what_the_components_do_not_hold_widens_the_covariance():
    # Spectra of six smooth components, of which a basis of five is made: the sixth is as strong as the fifth.
    place = (np.arange(PIXELS) + 0.5) / PIXELS
    vectors = np.sqrt(2 / PIXELS) * np.cos(np.pi * np.arange(1, COMPONENTS + 1)[:, None] * place)
    eigenvalues = np.append(EIGENVALUES[:-1], EIGENVALUES[-2])
    whole = basis()._replace(vectors=vectors.astype(np.float32), eigenvalues=eigenvalues)
    bad, spectra = gap("block"), draw(whole, 400, noise=1e-4).astype(np.float32)
    less = whole._replace(vectors=whole.vectors[:-1], eigenvalues=eigenvalues[:-1])

    @jax.jit
    def both(spectra, unheld):
        completer = Completer(less, True, False, 1.0, unheld)

        def one(spectrum):
            missing = jnp.where(bad, 0, spectrum)
            completion = completer.completion(missing, bad)
            width = jnp.sqrt(completion.widening(jnp.eye(COMPONENTS - 1, dtype=np.float32)))
            return completer.coefficients(missing, bad, completion), width

        return jax.vmap(one)(spectra)

    def deviation(unheld):
        complete, width = (np.asarray(values, float) for values in both(spectra, unheld))
        return ((complete - np.asarray(less.project(spectra), float)) / width).std(0)

    # Taken for noise of single pixels, it makes the errors too small.
    assert np.median(deviation(0.0)) > 2
    assert np.median(deviation(1.0)) < 1.5


def test_huge_gaps_stay_finite():
    eigenvalues = 10.0 ** -np.arange(COMPONENTS) * 0.5
    eigenvalues[-1] = 0
    found = basis()._replace(eigenvalues=eigenvalues, total=float(eigenvalues.sum()))
    completer = Completer(found, True, True)

    @jax.jit
    def complete(spectrum, bad):
        completion = completer.completion(spectrum, bad)
        widening = completion.widening(jnp.eye(COMPONENTS, dtype=np.float32))
        again = completer.again(bad, completion.pixel_noise, completion.shrink)
        return completion, again, completer.coefficients(spectrum, bad, completion), widening

    for noise, good in itertools.product((1e-7, 1e-2), (0, 1, 3, COMPONENTS, 12)):
        bad = np.arange(PIXELS) >= good
        given = np.where(bad, 0, draw(found, 1, noise)[0])
        given = (given / max(np.linalg.norm(given), 1e-30)).astype(np.float32)
        completion, again, coefficients, widening = complete(given, bad)
        assert all(np.isfinite(part).all() for part in completion), good
        for one, other in zip(completion, again, strict=True):
            scale = np.abs(one).max() or 1.0
            np.testing.assert_allclose(np.asarray(other) / scale, np.asarray(one) / scale, rtol=0, atol=1e-6)
        # A unit vector has coefficients of unit length at most.
        assert np.linalg.norm(coefficients) <= 1 + 1e-3, good
        assert np.isfinite(widening).all()


def test_without_a_good_pixel_all_is_zero():
    found = basis()
    grid = PixelGrid(4000 + 0.5 * np.arange(PIXELS), (), 0.5)
    zero = np.zeros((1, PIXELS), np.float32)
    encode = encoder(Transform(np.arange(PIXELS)), found, grid, SpectraSettings())
    encoded = encode(Pixels(zero, zero, np.ones(zero.shape, bool), np.zeros(1)))
    np.testing.assert_array_equal(encoded.coefficients, 0)
    assert np.isnan(encoded.fit.chi2[0])
    assert np.isfinite(encoded.pixel_noise).all()
    assert np.isfinite(np.concatenate([np.ravel(part) for part in encoded.fit[:-1]])).all()


TILE = 24


@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_claimed_errors_change_nothing_but_the_chi_square(factor):
    made = model()
    pixels = normalise(spectra(TILE, seed=3, snr=20.0), made.grid, made.settings.spectra)
    pixels.bad[:, 300:420] = True
    claimed, other = made.encode(pixels), made.encode(pixels._replace(sigma=np.float32(factor) * pixels.sigma))
    for one, two in zip(*(jax.tree.leaves(some._replace(fit=some.fit[:-1])) for some in (claimed, other)), strict=True):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_allclose(other.fit.chi2, np.asarray(claimed.fit.chi2) / factor**2, rtol=1e-4)


def test_the_inverse_of_a_triangle():
    for size in (1, 3, 8, 33):  # one, a power of two, and others
        random = np.random.default_rng(size)
        square = random.standard_normal((size, 2 * size))
        lower = np.linalg.cholesky(square @ square.T / size)
        found = np.asarray(jax.jit(inverse_of_triangle)(lower.astype(np.float32)), float)
        np.testing.assert_allclose(found, np.linalg.inv(lower), rtol=0, atol=2e-5 * np.abs(found).max())
        assert not np.triu(found, 1).any()


def test_the_sum_of_products_is_that_of_the_chosen_rows():
    vectors = np.random.default_rng(1).standard_normal((301, 7)).astype(np.float32)
    total = jax.jit(sum_of_products)
    for chosen in (np.zeros(301, bool), np.ones(301, bool), np.arange(301) == 300, np.arange(301) % 3 == 1):
        rows = vectors[chosen].astype(float)
        np.testing.assert_allclose(total(vectors, chosen), rows.T @ rows, rtol=0, atol=1e-4)


# Spectra and networks


def lacking(block):
    """Return the pixels of stars that lack a fifth of them."""
    pixels = normalise(block, model().grid, model().settings.spectra)
    pixels.bad[:, 200:330] = pixels.bad[:, 900:1020] = True
    return pixels


def test_draws_and_derivatives_agree_on_missing_pixels():
    made, settings = model(), DistancesSettings(n_draws=200)
    gappy = lacking(spectra(TILE, seed=3, snr=1000.0, noise=False))
    completer = Completer(made.basis, True, made.transform.unit_norm)
    networks = made.networks.label, made.networks.mixture
    chain = Chain(made.grid, made.settings.spectra, made.transform, completer, made.network_inputs, *networks)
    encoded, native = made.encode(gappy), native_pixels(made.grid)
    found = []
    for method in (MonteCarlo(chain, settings), Linear(chain, settings)):
        fold, keys = np.full(TILE, -1, np.int32), star_keys(7, np.arange(TILE))
        for factor in (100, 0):
            completion = made.completion(gappy, encoded)
            completion = completion._replace(noise=factor * completion.noise)
            stars = Perturbed(gappy, keys, fold, encoded.coefficients, completion, Bands.none(TILE))
            labels, magnitudes = method(stars, native)
            found.append((np.asarray(labels).mean(0).std(0, ddof=1), np.asarray(magnitudes).std(0, ddof=1)))
    for drawn, propagated, without in zip(found[0], found[2], found[3], strict=True):
        # 200 draws know a standard deviation to 5 %: three of them for the mean of 24. For a star four, and as much as
        # the corners of ReLUs bend noise as wide as that.
        np.testing.assert_allclose(drawn / propagated, 1, rtol=0, atol=0.35)
        assert np.mean(drawn / propagated) == pytest.approx(1, abs=3 * 0.05 / np.sqrt(TILE))
        # The noise of the pixels that are there is the lesser part of it.
        assert (propagated > 1.3 * without).all()


def test_a_star_has_the_same_answers_beside_any_others():
    """Some are held out by folds, others by none; the former need the networks of their fold alone."""
    made, fold = model(), np.array([2, -1, 0, -1, 1])
    stars, given = lacking(spectra(5, seed=3)), targets(5)._replace(fold=fold)
    encoded = made.encode(stars)
    together = made.answers(stars, encoded, given)
    for star in range(5):
        one = jax.tree.map(lambda values, rows=slice(star, star + 1): np.asarray(values)[rows], encoded)
        alone = made.answers(stars.take(slice(star, star + 1)), one, given.take(slice(star, star + 1)))
        for both, single in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(np.asarray(both)[..., star], np.asarray(single)[..., 0], rtol=2e-5, atol=1e-6)
    inputs = (encoded.coefficients / made.scale).astype(np.float32)
    every = between_networks(made.networks.mixture.held_out_mixture(inputs, fold))
    np.testing.assert_allclose(together.magnitudes.spread, every, rtol=1e-4)


def test_networks_of_the_own_fold_are_all_that_predict_a_star():
    mixtures, fold = replace(model().networks.mixture, typical=np.array([4.0, 5.0, 6.0])), np.array([2, 1, 0, 1])
    inputs = np.random.default_rng(4).standard_normal((4, 10)).astype(np.float32)
    every, own = (mixtures.held_out_mixture(inputs, fold, own=own) for own in (False, True))
    assert own.mean.shape == (4, 2, 3)
    for star in range(4):
        networks = 2 * fold[star] + np.arange(2)
        assert np.isneginf(np.delete(every.log_weight[star], networks, axis=0)).all()
        for all_of_them, mine in zip(every, own, strict=True):
            np.testing.assert_allclose(mine[star], all_of_them[star][networks], rtol=1e-6)


def test_the_mixture_is_wider_by_what_is_missing():
    # A recalibration to 1/200 of the width, and noisy spectra, so that it shows beside the width of the networks.
    narrow = Calibration(np.zeros(10), np.log(0.005) * (np.arange(10) == 0))
    made, stars = replace(model(n_folds=1), calibration=narrow), 8
    gappy = lacking(spectra(stars, seed=3, snr=5.0))
    given, fold = targets(stars), np.full(stars, -1, np.int32)
    encoded = made.encode(gappy)
    quantiles = made.answers(gappy, encoded, given).magnitudes.quantiles
    inputs, completion = np.asarray(encoded.coefficients / made.scale, float), made.completion(gappy, encoded)

    @jax.jit
    def compiled(inputs):
        found = made.networks.mixture.held_out_mixture(inputs, fold)
        return found.pooled().average, narrow.apply(found, Traits(given.snr, given.feh, np.zeros(stars))).pooled()

    def mean(inputs):
        return np.asarray(compiled(inputs.astype(np.float32))[0], float)

    step = 1e-3  # the networks bend: a longer one meets their corners
    slopes = np.stack([(mean(inputs + d) - mean(inputs - d)) / (2 * step) for d in step * np.eye(10)], 1) / made.scale
    hidden = np.stack([made.basis.vectors[:, row] @ made.basis.vectors[:, row].T for row in gappy.bad]).astype(float)
    mixture = [np.asarray(part, float) for part in compiled(inputs.astype(np.float32))[1]]
    for star in range(stars):
        root = np.asarray(completion.root[star], float)
        known = hidden[star] @ root.T @ root @ hidden[star] + hidden[star]
        unseen = (
            float(completion.noise[star]) * float(completion.shrink[star]) ** 2 * slopes[star] @ known @ slopes[star]
        )
        weight, middle, narrowest = (part[star] for part in mixture)
        assert (unseen > 0.2 * narrowest**2).all()
        width = np.sqrt(narrowest**2 + unseen)

        def share(magnitude, weight=weight, middle=middle, width=width):
            """Return the share of the distribution below a magnitude."""
            return (np.exp(weight) * norm.cdf((magnitude - middle) / width)).sum()

        # A quantile of the distance is one of the magnitude from the other end; its nodes know it to 0.016.
        np.testing.assert_allclose(
            [share(value) for value in quantiles[:, star]], 1 - np.array(LEVELS), rtol=0, atol=0.02
        )


@pytest.mark.parametrize("share", [0.1, 0.4])
@pytest.mark.parametrize("snr", [10.0, 50.0])
def test_masked_blocks_move_coefficients_little(share, snr):
    made = model()
    pixels = normalise(spectra(4 * TILE, seed=3, snr=snr), made.grid, made.settings.spectra)
    flux, bad = pixels.flux, pixels.bad
    masked = bad.copy()
    masked[:, 100 : 100 + int(share * bad.shape[1])] = True
    whole = np.asarray(made.encode(pixels).coefficients)
    gappy = pixels._replace(flux=np.where(masked, 0, flux), bad=masked)
    encoded = made.encode(gappy)
    shift = np.asarray(encoded.coefficients) - whole
    zeros = np.asarray(made.basis.project(made.transform(flux, masked))) - whole
    # Where noise is the most of it, what the missing pixels had of it cannot be known.
    assert np.sqrt((shift**2).sum(1).mean() / (zeros**2).sum(1).mean()) < (0.5 if snr == 50.0 else 0.9)
    eye = np.eye(whole.shape[1], dtype=np.float32)
    width = np.sqrt(np.asarray(jax.vmap(lambda one: Completion.widening(one, eye))(made.completion(gappy, encoded))))
    z = np.sqrt(((shift / width) ** 2).mean())
    # Neighbours share the noise of native pixels: on broad features it has 2.4 times the variance that pixels say.
    assert 0.8 < z < 1.1 * np.sqrt(2.4)
