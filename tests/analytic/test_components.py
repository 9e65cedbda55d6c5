"""The streaming principal components against a full singular-value decomposition (section 3.1, Eq. 2)."""

import numpy as np
import pytest

from specdis import components
from specdis.arrays import ranges
from specdis.components import Basis, ComponentsSettings, Sums, add_moments, basis_of_moments, vectors_of
from specdis.encoding.encoder import encoder
from specdis.errors import InputError
from specdis.spectra.grid import PixelGrid
from specdis.spectra.pixels import Pixels
from specdis.spectra.settings import SpectraSettings
from specdis.spectra.transform import Transform

STARS, PIXELS, COMPONENTS = 700, 120, 8
GRID = PixelGrid(4000 + 0.5 * np.arange(PIXELS), (), 0.5)
PLAIN = Transform(np.arange(PIXELS), subtract_mean=False, signed_log=False, unit_norm=False)


@pytest.fixture(autouse=True)
def several_bands(monkeypatch):
    """Sum the moments of 120 pixels in three bands, the last of them short, as those of thousands are."""
    monkeypatch.setattr(components, "ranges", lambda pixels, _: ranges(pixels, 50))


@pytest.fixture(scope="module")
def spectra():
    """Return spectra with a spectrum of well separated eigenvalues above noise, and a mean that is not zero."""
    random = np.random.default_rng(1)
    strength = 2.0 ** -np.arange(COMPONENTS + 2)
    values = random.standard_normal((STARS, len(strength))) * strength @ random.standard_normal((len(strength), PIXELS))
    values += 1 + np.sin(np.arange(PIXELS) / 9) + 1e-3 * random.standard_normal((STARS, PIXELS))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def pixels(flux, sigma=None, bad=None):
    """Return spectra at rest, without bad pixels if none are given."""
    return Pixels(flux, sigma, np.zeros(flux.shape, bool) if bad is None else bad, np.zeros(len(flux)))


def basis(spectra, blocks, centre=False, n_components=COMPONENTS):
    return basis_of_moments(sums(spectra, blocks), ComponentsSettings(n_components=n_components, centre=centre))


def sums(spectra, blocks):
    vectors, total = vectors_of(PLAIN), Sums.zero(spectra.shape[1])
    for rows in blocks:
        flux = spectra[rows]
        total = add_moments(total, vectors(pixels(flux), np.ones(len(flux), bool)))
    return total


def full_svd(spectra, centre):
    """Return eigenvalues and vectors by numpy's decomposition of all spectra at once, in double precision."""
    values = spectra.astype(np.float64)
    mean = values.mean(0) if centre else np.zeros(PIXELS)
    _, singular, vectors = np.linalg.svd(values - mean, full_matrices=False)
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(1)[:, None], 1)
    return singular**2 / len(values), vectors * np.sign(largest), mean


@pytest.mark.parametrize("centre", [False, True])
@pytest.mark.parametrize("n_components", [COMPONENTS, 70])
def test_streaming_equals_a_full_decomposition(spectra, centre, n_components):
    # 8 of 120 goes through Lanczos, 70 of 120 through the dense solver.
    found = basis(spectra, [slice(None)], centre, n_components)
    eigenvalues, vectors, mean = full_svd(spectra, centre)
    # Products in single precision leave 6e-8 of the trace, which is 1 for unit vectors.
    np.testing.assert_allclose(found.eigenvalues, eigenvalues[:n_components], rtol=0, atol=2e-7)
    assert found.total == pytest.approx(eigenvalues.sum(), abs=2e-7)
    assert found.explained == pytest.approx(eigenvalues[:n_components].sum() / eigenvalues.sum(), abs=5e-6)
    # A vector turns by that over the gap to the next eigenvalue; those compared here are at least 1e-5 apart.
    apart = np.abs(np.diff(eigenvalues[: COMPONENTS + 1])).min()
    assert apart > 1e-5
    np.testing.assert_allclose(found.vectors[:COMPONENTS], vectors[:COMPONENTS], rtol=0, atol=2e-7 / apart)
    np.testing.assert_allclose(found.mean, mean, rtol=0, atol=1e-7)


@pytest.mark.parametrize("centre", [False, True])
def test_the_components_span_the_same_space(spectra, centre):
    found = basis(spectra, [slice(None)], centre).vectors
    vectors = full_svd(spectra, centre)[1][:COMPONENTS]
    # Cosines of the angles between the two spaces: 1 to single precision.
    cosines = np.linalg.svd(found @ vectors.T, compute_uv=False)
    np.testing.assert_allclose(cosines, 1, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found @ found.T, np.eye(COMPONENTS), rtol=0, atol=1e-6)


def test_the_largest_element_of_every_component_is_positive(spectra):
    vectors = basis(spectra, [slice(None)]).vectors
    assert (np.take_along_axis(vectors, np.abs(vectors).argmax(1)[:, None], 1) > 0).all()


@pytest.mark.parametrize("centre", [False, True])
@pytest.mark.parametrize("size", [1, 7, 256, 5000])
def test_blocks_and_their_order_do_not_matter(spectra, centre, size):
    reference = basis(spectra, [slice(None)], centre)
    shuffled = spectra[np.random.default_rng(size).permutation(STARS)]
    found = basis(shuffled, [slice(start, start + size) for start in range(0, STARS, size)], centre)
    # As above: 6e-8 of the trace from single precision, over a gap of 1e-5 and more for the vectors.
    np.testing.assert_allclose(found.eigenvalues, reference.eigenvalues, rtol=0, atol=2e-7)
    np.testing.assert_allclose(found.vectors, reference.vectors, rtol=0, atol=2e-2)
    np.testing.assert_allclose(found.vectors[:4], reference.vectors[:4], rtol=0, atol=2e-4)


def test_equal_blocks_give_equal_bits(spectra):
    first, second = (basis(spectra, [slice(0, 300), slice(300, None)]) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_sums_over_blocks_are_the_same_bits_in_whatever_order_and_by_whomever_they_are_added(spectra):
    blocks = [slice(start, start + 100) for start in range(0, STARS, 100)]
    # Blocks so unlike that double precision holds no exact sum of what single precision gives for each.
    spectra = spectra * np.repeat(10.0 ** -np.arange(len(blocks)), 100)[:STARS, None].astype(np.float32)
    together = sums(spectra, blocks)
    shares = sums(spectra, blocks[::-2]), sums(spectra, blocks[-2::-2])
    for one, *parts in zip(together, *shares, strict=True):
        np.testing.assert_array_equal(one, np.asarray(parts[0]) + np.asarray(parts[1]))


def test_stars_that_are_not_used_or_have_no_good_pixel_do_not_count(spectra):
    use, bad = np.arange(STARS) % 3 > 0, np.zeros(spectra.shape, bool)
    bad[1::3] = True
    found = add_moments(Sums.zero(PIXELS), vectors_of(PLAIN)(pixels(spectra, bad=bad), use))
    expected = sums(spectra[2::3], [slice(None)])
    assert int(found.stars) == int(expected.stars) == len(spectra[2::3])
    # Other stars in a tile change the order of a sum of 700 numbers in single precision.
    np.testing.assert_allclose(found.first, expected.first, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.second, expected.second, rtol=0, atol=1e-4)


def test_every_star_weighs_the_same(spectra):
    # Eq. 2 has no weights: a star that comes twice counts twice.
    twice = basis(spectra, [slice(None), slice(0, 50)]).eigenvalues
    eigenvalues, *_ = full_svd(np.concatenate([spectra, spectra[:50]]), False)
    np.testing.assert_allclose(twice, eigenvalues[:COMPONENTS], rtol=0, atol=2e-7)


@pytest.mark.parametrize(("stars", "centre"), [(COMPONENTS - 1, False), (COMPONENTS, True)])
def test_too_few_stars_is_a_clear_error(spectra, stars, centre):
    # The mean takes one degree of freedom: 8 centred spectra span 7 dimensions.
    with pytest.raises(
        InputError, match=rf"components\.n_components.*{stars} stars.*Set components\.n_components to 7"
    ):
        basis(spectra, [slice(0, stars)], centre)


def test_just_enough_stars(spectra):
    found = basis(spectra, [slice(0, COMPONENTS)])
    assert found.explained == pytest.approx(1, abs=1e-6)


def test_too_few_pixels_is_a_clear_error(spectra):
    with pytest.raises(InputError, match="at least 130 pixels, found 700 stars, 120 pixels"):
        basis(spectra, [slice(None)], n_components=130)


@pytest.mark.parametrize("centre", [False, True])
def test_projection_reconstruction_and_residual(spectra, centre):
    found = basis(spectra, [slice(None)], centre)
    coefficients = np.asarray(found.project(spectra))
    residual = spectra - np.asarray(found.reconstruct(coefficients))
    # R of Eq. 2 is orthogonal to every component, to the rounding of sums of 120 terms of order 0.1.
    np.testing.assert_allclose(residual @ found.vectors.T, 0, rtol=0, atol=1e-6)
    # Pythagoras, summed over the stars: what the components do not explain is left.
    left = (residual.astype(np.float64) ** 2).sum(1).mean()
    assert left == pytest.approx(found.total - found.eigenvalues.sum(), abs=2e-7)
    np.testing.assert_allclose((coefficients.astype(np.float64) ** 2).mean(0), found.eigenvalues, rtol=0, atol=2e-7)
    # A spectrum inside the space comes back.
    inside = found.reconstruct(coefficients[:5])
    np.testing.assert_allclose(found.reconstruct(found.project(inside)), inside, rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def encode(spectra):
    """Return the compiled way from pixels of 40 stars to their coefficients, and the components that it uses."""
    found = basis(spectra, [slice(None)])
    return encoder(PLAIN, found, GRID, SpectraSettings()), found


def test_the_encoder_does_the_same(spectra, encode):
    spectra, (encode, found) = spectra[:40], encode
    encoded = encode(pixels(spectra, np.full_like(spectra, 0.01)))
    np.testing.assert_allclose(encoded.coefficients, found.project(spectra), rtol=0, atol=1e-6)
    residual = spectra - np.asarray(found.reconstruct(found.project(spectra)))
    np.testing.assert_allclose(encoded.fit.residual, (residual**2).sum(1) / (spectra**2).sum(1), rtol=1e-3, atol=1e-9)
    # Reduced by the pixels less the coefficients that were fitted to them.
    expected = ((residual / 0.01) ** 2).sum(1) / (PIXELS - COMPONENTS)
    np.testing.assert_allclose(encoded.fit.chi2, expected, rtol=1e-3)


def test_chi_square_of_noise_is_one_for_independent_pixels():
    random = np.random.default_rng(4)
    vectors = np.linalg.qr(random.standard_normal((PIXELS, 5)))[0].T.astype(np.float32)
    flat = Basis(vectors, np.ones(5), np.zeros(PIXELS, np.float32), 5.0)
    sigma = np.broadcast_to(random.uniform(0.5, 2, (2000, 1)), (2000, PIXELS)).astype(np.float32)
    noise = (sigma * random.standard_normal(sigma.shape)).astype(np.float32)
    encoded = encoder(PLAIN, flat, GRID, SpectraSettings())(pixels(noise, sigma))
    # 2000 stars of 115 degrees of freedom: three standard errors of the mean.
    assert np.mean(encoded.fit.chi2) == pytest.approx(1, abs=3 * np.sqrt(2 / 115 / 2000))


def test_a_sigma_of_nan_or_zero_is_no_error(spectra, encode):
    spectra, (encode, found) = spectra[:40], encode
    sigma = np.full_like(spectra, 0.01)
    sigma[1, :60] = np.nan
    sigma[2] = 0
    encoded = encode(pixels(spectra, sigma))
    assert np.isfinite(encoded.fit.chi2[:2]).all()
    assert np.isnan(encoded.fit.chi2[2])
    assert encoded.fit.chi2[0] != encoded.fit.chi2[1]
    np.testing.assert_allclose(encoded.coefficients, found.project(spectra), rtol=0, atol=1e-6)
