"""The noise of perturbed spectra against spectra that were perturbed before they were normalised (section 3.3.1)."""

from functools import cache

import numpy as np
import pytest
from scipy.ndimage import uniform_filter1d

from specdis.distances.settings import DistancesSettings
from specdis.distances.targets import star_keys
from specdis.jaxed import jax, jnp
from specdis.noise import NOISIER, NativeNoise, native_pixels, noise_factor, noise_of
from specdis.spectra.grid import PixelGrid
from specdis.spectra.normalise import normalise
from specdis.spectra.pixels import Pixels
from specdis.spectra.settings import SpectraSettings
from specdis.surveys.base import Arm, Spectra
from synthetic_spectra import DESI, SMALL, SMALL_SETTINGS, model, spectra, targets

C = 299_792.458
ZEROS = SMALL_SETTINGS.model_copy(update={"missing": "zeros"})
DRAWS, TOGETHER = 800, 100
VELOCITY = 150.0
WIDTHS = (2, 5, 10, 20, 50, 100)


def perturbed(block, grid, settings, noise, draws=DRAWS):
    """Return the stored pixels of one star and perturbed versions of them, shape (draw, pixel)."""
    pixels = normalise(block, grid, settings)
    return pixels, versions(grid, settings, draws, noise, *pixels[:3], block.native_velocity)


def versions(grid, settings, draws, noise, *star):
    """Return perturbed versions of a star, shape (draw, pixel); its arrays have one row.

    A hundred versions each of stars that are alike but for their keys: the table of normal numbers, a constant of the
    program, has a column per version, and to compile one of 131 MB takes twelve seconds.
    """
    stars = draws // TOGETHER
    alike = (np.repeat(values, stars, 0) for values in star)
    return draw_all(grid, settings, TOGETHER, noise)(*alike, star_keys(1, np.arange(stars))).reshape(draws, -1)


def draw_all(grid, settings, draws, noise):
    """Return what draws versions of many stars, shape (star, draw, pixel)."""
    source, native = noise_of(noise, grid, settings), native_pixels(grid)
    draw = jax.jit(jax.vmap(lambda *pixels, key: source.perturbed(Pixels(*pixels), key, draws, native)))
    return lambda *stars: np.asarray(draw(*stars[:4], key=stars[4])).swapaxes(1, 2)


def observed_again(block, grid, settings, draws=DRAWS):
    """Return what normalisation makes of the first star, observed many times: noise added to its native pixels."""
    random = np.random.default_rng(3)
    arms = {}
    for name, arm in block.arms.items():
        sigma = np.where(arm.bad[0], 0, 1 / np.sqrt(np.where(arm.bad[0], 1, arm.ivar[0])))
        flux = arm.flux[:1] + sigma * random.standard_normal((draws, len(sigma)))
        ivar, bad = (np.repeat(values[:1], draws, 0) for values in (arm.ivar, arm.bad))
        arms[name] = Arm.cleaned(arm.wavelength, flux, ivar, bad)
    velocity = np.full(draws, block.velocity[0])
    return normalise(Spectra(np.arange(draws), arms, velocity, velocity), grid, settings).flux


def features(wavelength, shape, width, centres):
    """Return profiles of unit sum, shape (pixel, feature): Gaussians of that width at half maximum, or boxes."""
    distance = wavelength[:, None] - centres
    profile = np.exp(-0.5 * (distance * 2.3548 / width) ** 2) if shape == "gauss" else np.abs(distance) <= width / 2
    return profile / profile.sum(0)


@pytest.fixture(scope="module")
def survey():
    """Return the DESI grid and one star: flux perturbed by the code, as in the paper, and observed again."""
    settings = SpectraSettings()
    grid = PixelGrid.of(DESI, settings)
    block = spectra(1, arms=DESI, snr=50.0, velocity=VELOCITY, noise=False)
    return (
        grid,
        perturbed(block, grid, settings, "native")[1],
        perturbed(block, grid, settings, "paper")[1],
        observed_again(block, grid, settings),
    )


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("shape", ["gauss", "box"])
def test_noise_on_features_is_that_of_the_native_pixels(survey, shape, width):
    grid, native, paper, truth = survey
    centres = np.concatenate([np.arange(3800, 5600, 31.3), np.arange(5960, 7440, 31.3)])
    profiles = features(grid.wavelength, shape, width, centres)
    native, paper, truth = (np.sqrt((values @ profiles).var(0, ddof=1).mean()) for values in (native, paper, truth))
    # A hundred features and 800 draws: the sampling error is below 1 % up to 20 A, and 2 % at 100 A, where neighbours
    # overlap.
    assert native / truth == pytest.approx(1, abs=0.03 if width <= 20 else 0.06)
    # White noise of 0.8 A pixels, less its running mean over 501 pixels, against that of 0.5 A pixels: sqrt(0.8/0.5)
    # for narrow features. Below 5 A interpolation itself smooths.
    profile = features(np.arange(-500, 500, 0.5), shape, width, np.zeros(1))[:, 0]
    left = profile - uniform_filter1d(profile, 501)
    expected = np.sqrt(0.8 / 0.5 * (left**2).sum() / (profile**2).sum())
    if 5 <= width <= 20:
        assert 1.15 < expected < 1.27
        assert truth / paper == pytest.approx(expected, rel=0.04)
        assert native / paper == pytest.approx(expected, rel=0.04)


@pytest.mark.parametrize("width", WIDTHS)
def test_noise_at_the_ends_of_the_arms(survey, width):
    # Within half a running mean of an end the recipe repeats the last native pixel: its noise is spread over 125 A.
    grid, native, _, truth = survey
    low, join, high = 3600 * (1 - VELOCITY / C), 5780, 7620 * (1 - VELOCITY / C)
    centres = np.array([low + width, join - width, join + width, high - width])
    profiles = features(grid.wavelength, "box", width, centres)
    native, truth = ((values @ profiles).std(0, ddof=1) for values in (native, truth))
    # Four standard errors of a ratio of two standard deviations of 800 draws.
    np.testing.assert_allclose(native / truth, 1, rtol=0, atol=4 / np.sqrt(DRAWS))


def test_beyond_the_data_the_noise_is_that_of_the_last_pixel():
    settings = SpectraSettings(join="none", grid={"stop": 4400.0})
    grid = PixelGrid.of({"B": DESI["B"]}, settings)
    block = spectra(1, arms={"B": DESI["B"]}, snr=50.0, velocity=-VELOCITY, noise=False)  # the grid begins before
    block.arms["B"].ivar[0, :6] /= np.linspace(5, 1, 6) ** 2
    native, truth = perturbed(block, grid, settings, "native")[1], observed_again(block, grid, settings)
    profiles = features(grid.wavelength, "box", 20, np.array([3625.0, 3650.0, 3675.0]))
    ratio = (native @ profiles).std(0, ddof=1) / (truth @ profiles).std(0, ddof=1)
    # Four standard errors; the last pixel of the grid lies up to 0.6 native pixels inside: its error is a tenth less.
    np.testing.assert_allclose(ratio, 0.95, rtol=0, atol=0.05 + 4 / np.sqrt(DRAWS))


def test_noise_at_the_ends_where_bad_pixels_stay_out_of_the_continuum():
    # The mean over the half window that lies inside the data is far steadier than a repeated pixel.
    settings = SpectraSettings(missing="estimated", join="none", grid={"stop": 4400.0})
    grid = PixelGrid.of({"B": DESI["B"]}, settings)
    block = spectra(1, arms={"B": DESI["B"]}, snr=50.0, velocity=VELOCITY, noise=False)
    block.arms["B"].bad[0, 60:64] = True
    native, truth = perturbed(block, grid, settings, "native")[1], observed_again(block, grid, settings)
    profiles = features(grid.wavelength, "box", 20, np.array([3612.0, 3625.0, 3638.0, 3720.0]))
    ratio = (native @ profiles).std(0, ddof=1) / (truth @ profiles).std(0, ddof=1)
    np.testing.assert_allclose(ratio, 1, rtol=0, atol=4 / np.sqrt(DRAWS))


@pytest.mark.parametrize("noise", ["native", pytest.param("paper", marks=pytest.mark.slow)])
def test_noise_has_mean_zero_and_the_sigma_of_every_pixel(noise):
    grid = PixelGrid.of(SMALL, SMALL_SETTINGS)
    pixels, drawn = perturbed(spectra(1, snr=100.0), grid, SMALL_SETTINGS, noise, 2000)
    deviation = (drawn - pixels.flux[0]) / pixels.sigma[0]
    assert abs(deviation.mean()) < 0.01
    if noise == "paper":
        np.testing.assert_allclose(deviation.std(0), 1, rtol=0, atol=0.08)
    else:
        # A pixel between two native ones has (1-w)^2 + w^2 of their variance: 2/3 in the mean.
        assert (deviation.var(0)).mean() == pytest.approx(2 / 3, abs=0.03)


def test_bad_pixels_and_pixels_without_error_stay():
    block = spectra(3, snr=20.0)
    block.arms["B"].bad[0, 100:120] = True
    block.arms["R"].bad[1] = True
    grid = PixelGrid.of(SMALL, SMALL_SETTINGS)
    pixels = normalise(block, grid, SMALL_SETTINGS)
    sigma = pixels.sigma.copy()
    sigma[2, :] = 0
    sigma[2, 5] = np.nan
    velocity = block.native_velocity
    for noise in ("native", "paper"):
        draw = draw_all(grid, SMALL_SETTINGS, 4, noise)
        drawn = draw(pixels.flux, sigma, pixels.bad, velocity, star_keys(1, np.arange(3)))
        assert np.isfinite(drawn).all()
        assert not drawn[np.broadcast_to(pixels.bad[:, None], drawn.shape)].any()
        np.testing.assert_array_equal(drawn[2], np.broadcast_to(pixels.flux[2], drawn[2].shape))
        assert (drawn[0][:, ~pixels.bad[0]] != pixels.flux[0][~pixels.bad[0]]).all()


@pytest.mark.parametrize(
    "factor", [2.0, pytest.param(1.3, marks=pytest.mark.slow), pytest.param(20.0, marks=pytest.mark.slow)]
)
def test_a_copy_is_as_noisy_as_it_should_be_with_the_noise_that_the_spectrum_has(factor):
    grid = PixelGrid.of(SMALL, SMALL_SETTINGS)
    copies = 2000
    block = spectra(1, snr=100.0, noise=False)
    noisy, drawn = perturbed(block, grid, SMALL_SETTINGS, "native", copies)
    flux, sigma, bad, velocity = (np.repeat(values, copies, 0) for values in noisy)
    flux += drawn - noisy.flux
    noise, native = NativeNoise(grid, SMALL_SETTINGS), native_pixels(grid)
    stars = Pixels(flux, sigma, bad, velocity), star_keys(2, np.arange(copies)), np.full(copies, factor)
    copied = jax.jit(jax.vmap(lambda *star: noise.noisier(*star, native)))(*stars)
    variance = (np.asarray(copied) - noisy.flux).var(0).mean() / (drawn - noisy.flux).var(0).mean()
    # Hundreds of independent pixels, each of which knows its variance to 3 %.
    assert np.sqrt(variance) == pytest.approx(factor, rel=0.01)


# The whole chain: Monte-Carlo error against linear propagation


def native_to_grid(block, star, grid, width):
    """Return the change of the stored pixels with unit normal noise in every native pixel, (pixel, native pixel).

    Computed from the definition: interpolation, and the running mean of what is interpolated.
    """
    columns = []
    for part in grid.arms:
        arm = block.arms[part.name]
        beyond = 0.5 * np.arange(1, width // 2 + 1)
        here = grid.wavelength[part.start : part.stop]
        wide = np.concatenate([here[0] - beyond[::-1], here, here[-1] + beyond])
        rest = arm.wavelength * (1 - block.velocity[star] / C)
        sigma = arm.ivar[star] ** -0.5
        inside = slice(len(beyond), len(beyond) + len(here))
        noise = np.stack([np.interp(wide, rest, row) for row in np.diag(sigma)], 1)
        flux = np.interp(wide, rest, arm.flux[star])
        continuum = uniform_filter1d(flux, width)[inside]
        change = uniform_filter1d(noise, width, axis=0)[inside]
        change = (noise[inside] - (flux[inside] / continuum)[:, None] * change) / continuum[:, None]
        columns.append((change, part))
    matrix = np.zeros((len(grid.wavelength), sum(change.shape[1] for change, _ in columns)))
    first = 0
    for change, part in columns:
        matrix[part.start : part.stop, first : first + change.shape[1]] = change
        first += change.shape[1]
    return matrix


@cache
def model_and_slopes(draws):
    """Return a model and the function that gives the change of M_G with every stored pixel of a star."""
    made = model(ZEROS, DistancesSettings(n_draws=draws), n_folds=1)

    def magnitude(flux, bad):
        inputs = made.basis.project(made.transform(flux[None], bad[None])) / made.scale
        return 5 * jnp.log10(made.networks.label.held_out_labels(inputs, jnp.full(1, -1)).mean())

    return made, jax.jit(jax.vmap(jax.grad(magnitude)))


def errors(snr, stars=32, draws=100):
    """Return the Monte-Carlo and the linear error of M_G in mag, shape (star,)."""
    made, slopes = model_and_slopes(draws)
    block = spectra(stars, seed=3, snr=snr, velocity=np.linspace(-150, 150, stars), noise=False)
    found = made.predict_spectra(block, targets(stars, seed=made.seed))
    pixels = normalise(block, made.grid, made.settings.spectra)
    slope = slopes(pixels.flux, pixels.bad)
    linear = []
    for star in range(stars):
        matrix = native_to_grid(block, star, made.grid, 101) * ~pixels.bad[star][:, None]
        linear.append(np.linalg.norm(np.asarray(slope[star], float) @ matrix))
    return found["M_G_NN_ERR_NOISE"], np.array(linear)


def test_monte_carlo_error_is_linear_propagation_at_high_signal_to_noise():
    monte_carlo, linear = errors(1000.0)
    # 100 draws know a standard deviation to 1/sqrt(198) = 7.1 %: four of them for a star, three for the mean of 32.
    np.testing.assert_allclose(monte_carlo / linear, 1, rtol=0, atol=0.28)
    assert np.mean(monte_carlo / linear) == pytest.approx(1, abs=3 * 0.071 / np.sqrt(32))


def test_draws_are_smaller_than_linear_propagation_at_low_signal_to_noise():
    # The logarithm of Eq. 1 and the norm bend, and the noise takes its share of the norm (decision 11).
    monte_carlo, linear = errors(3.0)
    assert np.mean(monte_carlo / linear) < 0.8


def test_linear_errors_are_those_of_every_derivative():
    by_matrix = errors(1000.0)[1]
    made = model(ZEROS, DistancesSettings(method="linear"), n_folds=1)
    block = spectra(32, seed=3, snr=1000.0, velocity=np.linspace(-150, 150, 32), noise=False)
    found = made.predict_spectra(block, targets(32, seed=made.seed))
    # Single precision, and points that lie on a bent scale of magnitudes, 0.01 mag apart.
    np.testing.assert_allclose(found["M_G_NN_ERR_NOISE"], by_matrix, rtol=5e-3)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("noise", ["native", "paper"])
def test_propagated_variances_are_those_of_small_draws(noise, masked):
    # With whole arms of bad pixels at their ends, and answers of one pixel each: the last ones before either end too.
    settings = SMALL_SETTINGS.model_copy(update={"missing": "estimated" if masked else "zeros"})
    grid = PixelGrid.of(SMALL, settings)
    block = spectra(1, snr=50.0, velocity=VELOCITY, noise=False)
    block.arms["B"].bad[0, 20:40] = True
    pixels = normalise(block, grid, settings)
    star = pixels.flux, 1e-3 * pixels.sigma, pixels.bad, block.native_velocity
    flux, bad = pixels.flux[0], pixels.bad[0]
    good = np.flatnonzero(~bad)
    chosen = good[[0, 1, 2, 30, len(good) // 2, -31, -2, -1]]
    smooth = np.exp(-0.5 * ((np.arange(len(flux)) - chosen[4]) / 40) ** 2)
    slopes = np.concatenate([np.eye(len(flux))[chosen], smooth[None]]).astype(np.float32)
    source, native = noise_of(noise, grid, settings), native_pixels(grid)
    one = Pixels(*(values[0] for values in star))
    variance = jax.jit(lambda *given: source.variances(*given, native))(one, slopes)
    drawn = versions(grid, settings, 2000, noise, *star)
    by_draws = ((drawn.astype(float) - flux) @ slopes.T).var(0, ddof=1)
    # 2,000 draws know a variance to 3.2 %: four of them; single precision of a flux of 1 adds half a percent.
    np.testing.assert_allclose(variance, by_draws, rtol=0.14)


def test_copies_of_clean_spectra_reach_down_to_a_low_signal_to_noise():
    snr = np.array([3.0, 20.0, 100.0, 400.0, np.nan])
    most = noise_factor(snr, np.ones(5))
    # Four times as noisy at most, or as many times as lead to 5; what is not known counts as noisy.
    np.testing.assert_allclose(most, [4, 4, 20, 80, 4], rtol=1e-12)
    np.testing.assert_allclose(snr[2:4] / most[2:4], 5, rtol=1e-12)
    np.testing.assert_allclose(noise_factor(snr, np.zeros(5)), NOISIER[0], rtol=1e-12)
    # Half way in the logarithm.
    assert noise_factor(np.array([100.0]), np.array([0.5]))[0] == pytest.approx(np.sqrt(1.3 * 20), rel=1e-12)
    assert np.isfinite(noise_factor(np.array([-3.0, 0.0]), np.array([0.5, 0.5]))).all()
