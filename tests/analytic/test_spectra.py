"""Normalisation against an independent implementation, and Eq. 1 against numbers (section 2.4)."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import uniform_filter1d

from specdis.jaxed import jax, jnp
from specdis.spectra.grid import PixelGrid
from specdis.spectra.normalise import normalise, running_mean
from specdis.spectra.settings import GridSettings, SpectraSettings
from specdis.spectra.sky import ErrorStack
from specdis.spectra.transform import Transform
from specdis.surveys.base import Arm, Spectra
from specdis.surveys.layout import SPMOD_GRID
from synthetic_spectra import DESI, SMALL, SMALL_SETTINGS, spectra

C = 299_792.458
VELOCITY = np.array([0.0, 152.3, -287.9, 31.7])


def recipe(wavelength, flux, ivar, bad, velocity, grid, width=501):
    """Return flux and sigma over continuum and the good pixels on a grid, star by star, in the plainest way.

    The published recipe of the survey's normalised spectra: rest frame by (1 - v/c), linear interpolation with constant
    ends of flux, sigma and mask, uniform filter over 501 pixels with repeated ends.
    """
    normalised, error, good = (np.zeros((len(flux), len(grid))) for _ in range(3))
    for star in range(len(flux)):
        rest = wavelength * (1 - velocity[star] / C)
        largest = 1000 * flux.max()
        sigma = np.array([1 / np.sqrt(w) if w > 0 else largest for w in ivar[star].astype(float)])
        on_grid = np.interp(grid, rest, flux[star].astype(float))
        continuum = uniform_filter1d(on_grid, width, mode="nearest")
        spoilt = np.interp(grid, rest, bad[star].astype(float)) > 1e-6  # more than rounding
        good[star] = ~spoilt & (grid > rest[0] - 1e-6) & (grid < rest[-1] + 1e-6) & (continuum > 0)
        safe = np.where(continuum == 0, 1, continuum)
        normalised[star], error[star] = on_grid / safe, np.interp(grid, rest, sigma) / safe
    return normalised, error, good.astype(bool)


@pytest.fixture(scope="module")
def observed():
    """Return DESI spectra with single bad pixels, runs of them, bad ends and a dead arm, at four velocities."""
    block = spectra(4, arms=DESI, snr=40.0, velocity=VELOCITY)
    arms = {}
    for name, arm in block.arms.items():
        masked = np.random.default_rng(8).random(arm.flux.shape) < 0.002
        masked[0, 1000:1005] = True
        masked[1, :30] = masked[1, -9:] = True
        masked[2, 700] = True
        if name == "R":
            masked[3] = True
        arms[name] = Arm.cleaned(arm.wavelength, arm.flux, arm.ivar, masked)
    return Spectra(block.row, arms, block.velocity, block.observed_velocity)


@pytest.mark.parametrize("name", ["B", "R"])
def test_continuum_equals_an_independent_implementation(observed, name):
    settings = SpectraSettings(join="none", missing="zeros")
    arm = observed.arms[name]
    grid = PixelGrid.of({name: arm.wavelength}, settings)
    found = normalise(observed, grid, settings)
    # The survey's own grid, which sticks out beyond the data; the running mean knows what lies there.
    whole = SPMOD_GRID[name].start + 0.5 * np.arange(SPMOD_GRID[name].pixels)
    inside = (whole >= arm.wavelength[0] - 1e-6) & (whole <= arm.wavelength[-1] + 1e-6)
    np.testing.assert_allclose(grid.wavelength, whole[inside], rtol=0, atol=1e-9)
    flux, sigma, good = (
        values[:, inside] for values in recipe(arm.wavelength, arm.flux, arm.ivar, arm.bad, VELOCITY, whole)
    )
    np.testing.assert_array_equal(found.bad, ~good)
    assert good[0].mean() > 0.97
    # Single precision of numbers near 1; sigma is a few per cent.
    np.testing.assert_allclose(found.flux[good], flux[good], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.sigma[good], sigma[good], rtol=0, atol=1e-7)
    assert not found.flux[~good].any()
    assert not found.sigma[~good].any()


def test_joined_arms_are_those_of_the_recipe(observed):
    settings = SpectraSettings(missing="zeros")
    grid = PixelGrid.of(DESI, settings)
    found = normalise(observed, grid, settings)
    for name, part in (("B", grid.wavelength < 5780), ("R", grid.wavelength > 5780)):
        arm = observed.arms[name]
        whole = SPMOD_GRID[name].start + 0.5 * np.arange(SPMOD_GRID[name].pixels)
        flux, _, good = recipe(arm.wavelength, arm.flux, arm.ivar, arm.bad, VELOCITY, whole)
        here = np.searchsorted(whole, grid.wavelength[part] - 1e-6)
        np.testing.assert_array_equal(found.bad[:, part], ~good[:, here])
        good = good[:, here]
        np.testing.assert_allclose(found.flux[:, part][good], flux[:, here][good], rtol=0, atol=1e-6)


def test_the_grid_of_desi_has_8040_pixels():
    grid = PixelGrid.of(DESI, SpectraSettings())
    assert [arm.stop - arm.start for arm in grid.arms] == [4360, 3680]
    assert grid.wavelength[[0, 4359, 4360, -1]] == pytest.approx([3600.2, 5779.7, 5780.2, 7619.7], abs=1e-9)
    np.testing.assert_allclose(np.diff(grid.wavelength), 0.5, rtol=0, atol=1e-9)


def test_a_redshifted_line_comes_to_rest():
    # H-beta at 4862.69 A of a star receding at 200 km/s is seen at 4862.69 / (1 - v/c).
    wavelength = DESI["B"]
    seen = 4862.69 / (1 - 200 / C)
    assert seen > 4862.69
    flux = 1 - 0.5 * np.exp(-0.5 * ((wavelength - seen) / 2.0) ** 2)[None, :]
    arm = Arm.cleaned(wavelength, flux, None, np.zeros(flux.shape, bool))
    settings = SpectraSettings(join="none")
    grid = PixelGrid.of({"B": wavelength}, settings)
    found = normalise(Spectra(np.arange(1), {"B": arm}, np.array([200.0]), np.array([200.0])), grid, settings)
    depth = np.where(found.bad[0], 0, np.clip(0.95 - found.flux[0], 0, None))
    # A fifth of a grid pixel; 200 km/s are 3.2 A.
    assert np.average(grid.wavelength, weights=depth) == pytest.approx(4862.69, abs=0.1)
    assert found.sigma is None


@pytest.mark.parametrize("masked", [False, True])
def test_running_mean(masked):
    random = np.random.default_rng(2)
    values, weight = random.random((3, 60)), random.random((3, 60)) < 0.7
    weight[2, 20:40] = False
    found, count = running_mean(values, 5, weight if masked else None)
    expected = np.zeros((3, 50))
    for star in range(3):
        for pixel in range(50):
            window = slice(pixel, pixel + 11)
            chosen = values[star, window][weight[star, window]] if masked else values[star, window]
            expected[star, pixel] = chosen.mean() if len(chosen) else 0
            assert count[star, pixel] == len(chosen)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)


def mean_of_good_pixels(wavelength, flux, bad, velocity, grid, half=250):
    """Return flux over the mean of the good pixels in the window, and the bad pixels: a loop over stars and pixels.

    Beyond the data there is no pixel; less than three quarters of the good pixels that the window could have is bad.
    """
    beyond = 0.5 * np.arange(1, half + 1)
    wide = np.concatenate([grid[0] - beyond[::-1], grid, grid[-1] + beyond])
    normalised, spoilt = np.zeros((2, len(flux), len(grid)))
    for star in range(len(flux)):
        rest = wavelength * (1 - velocity[star] / C)
        inside = (wide > rest[0] - 1e-6) & (wide < rest[-1] + 1e-6)
        values = np.interp(wide, rest, flux[star].astype(float))
        good = inside & (np.interp(wide, rest, bad[star].astype(float)) < 1e-6)
        for pixel in range(len(grid)):
            window = slice(pixel, pixel + 2 * half + 1)
            here = pixel + np.flatnonzero(good[window])
            ends = np.flatnonzero(good)
            rests = len(here) > 0
            if rests:
                low, high = max(pixel, ends[0]), min(pixel + 2 * half, ends[-1])
                leans = abs(here.mean() - (low + high) / 2) > 0.03 * (2 * half + 1)
                rests = len(here) >= 0.5 * (high - low + 1) and not leans
            spoilt[star, pixel] = not (good[pixel + half] and rests)
            if not spoilt[star, pixel]:
                normalised[star, pixel] = values[pixel + half] / values[window][good[window]].mean()
    return normalised, spoilt.astype(bool)


@pytest.mark.parametrize("name", ["B", "R"])
def test_the_continuum_of_good_pixels_equals_an_independent_implementation(observed, name):
    settings = SpectraSettings(join="none")
    arm = observed.arms[name]
    for block in (observed.arms[name].bad, observed.arms[name].bad | (np.arange(len(arm.wavelength)) // 150 == 6)):
        spectra = Spectra(
            observed.row, {name: Arm.cleaned(arm.wavelength, arm.flux, arm.ivar, block)}, VELOCITY, VELOCITY
        )
        grid = PixelGrid.of({name: arm.wavelength}, settings)
        found = normalise(spectra, grid, settings)
        cleaned = spectra.arms[name]
        flux, bad = mean_of_good_pixels(arm.wavelength, cleaned.flux, cleaned.bad, VELOCITY, grid.wavelength)
        np.testing.assert_array_equal(found.bad, bad)
        np.testing.assert_allclose(found.flux, flux, rtol=0, atol=1e-6)
    assert bad[0].mean() > 0.05


def flat(gap=0, stars=1, snr=None):
    """Return stars of flux 1 with as many bad native pixels in the middle of an arm, with noise if asked."""
    wavelength = DESI["B"]
    flux, bad = np.ones((stars, len(wavelength))), np.zeros((stars, len(wavelength)), bool)
    bad[:, 1400 : 1400 + gap] = True
    if snr is not None:
        flux += np.random.default_rng(5).standard_normal(flux.shape) / snr
    rest = np.zeros(stars)
    return Spectra(np.arange(stars), {"B": Arm.cleaned(wavelength, flux, np.ones_like(flux), bad)}, rest, rest)


@pytest.mark.parametrize("gap", [1, 10, 60, 125, 250])
def test_pixels_are_bad_where_a_gap_makes_their_window_lean(gap):
    settings = SpectraSettings(join="none")
    grid = PixelGrid.of({"B": DESI["B"]}, settings)
    found = normalise(flat(gap), grid, settings)
    low, high = DESI["B"][1399], DESI["B"][1400 + gap]
    outside = np.maximum(low - grid.wavelength, grid.wavelength - high)
    # So much of the window lies in the gap, and so far from the middle of the window is the mean of the rest.
    lost = np.clip(125.25 - np.maximum(outside, 0), 0, high - low)
    lean = lost * (outside + lost / 2) / (250.5 - lost)
    expected = (outside < 0) | (lean > 0.03 * 250.5)
    # Where it begins and where it ends on either side, give or take two pixels.
    assert np.count_nonzero(found.bad[0] != expected) <= 16
    assert found.bad[0].sum() == pytest.approx(expected.sum(), abs=16)
    np.testing.assert_allclose(found.flux[~found.bad], 1, rtol=0, atol=1e-6)


def test_the_ends_of_an_arm_keep_their_pixels_and_are_little_noisier():
    settings = SpectraSettings(join="none")
    grid = PixelGrid.of({"B": DESI["B"]}, settings)
    block = flat(stars=600, snr=20.0)
    for missing in ("estimated", "zeros"):
        found = normalise(block, grid, settings.model_copy(update={"missing": missing}))
        assert not found.bad.any()
        # Means over 50 A, a fifth of the window: what the noise of the continuum moves as one.
        whole = 100 * (found.flux.shape[1] // 100)
        broad = found.flux[:, :whole].reshape(600, -1, 100).mean(2).std(0)
        ratio = np.array([broad[0], broad[-1]]) / broad[5:-5].mean()
        # The recipe repeats one pixel over half the window.
        assert (ratio < 1.6).all() if missing == "estimated" else (ratio > 3).all()


def test_masked_pixels_stay_out_of_the_continuum_if_asked():
    # A flat spectrum: a run of bad pixels pulls the recipe's mean down by n/501, and leaves the masked one alone.
    wavelength = DESI["B"]
    flux, masked = np.full((1, len(wavelength)), 7.0), np.zeros((1, len(wavelength)), bool)
    masked[0, 1000:1100] = True
    block = Spectra(np.arange(1), {"B": Arm.cleaned(wavelength, flux, flux**-2, masked)}, np.zeros(1), np.zeros(1))
    for keep_out, expected in ((False, 1 / (1 - 160.0 / 501)), (True, 1.0)):
        settings = SpectraSettings(join="none", missing="estimated" if keep_out else "zeros")
        grid = PixelGrid.of({"B": wavelength}, settings)
        found = normalise(block, grid, settings)
        before = np.flatnonzero(~found.bad[0] & (grid.wavelength < wavelength[1000]))[-1]
        # 100 native pixels and the slopes at their ends are 160 grid pixels, give or take one.
        assert found.flux[0, before] == pytest.approx(expected, abs=0.005 if not keep_out else 1e-6)


# Eq. 1


@pytest.fixture(scope="module")
def pixels():
    random = np.random.default_rng(3)
    flux = (1 + 0.3 * random.standard_normal((5, 200))).astype(np.float32)
    bad = random.random(flux.shape) < 0.05
    flux[bad] = random.choice([0, 50, -20], bad.sum())
    return flux, bad


@pytest.mark.parametrize("subtract_mean", [True, False])
@pytest.mark.parametrize("signed_log", [True, False])
@pytest.mark.parametrize("unit_norm", [True, False])
def test_eq_1_step_by_step(pixels, subtract_mean, signed_log, unit_norm):
    flux, bad = pixels
    kept = np.flatnonzero(np.random.default_rng(1).random(200) < 0.9)
    found = np.asarray(Transform(kept, subtract_mean, signed_log, unit_norm)(flux, bad))
    for star in range(5):
        good = ~bad[star, kept]
        values = flux[star, kept].astype(float)
        if subtract_mean:
            values -= values[good].mean()
        if signed_log:
            values = np.where(values > 0, np.log(1 + np.abs(values)), -np.log(1 + np.abs(values)))
        values[~good] = 0
        if unit_norm:
            values /= np.sqrt((values**2).sum())
        # Sums of 200 terms in single precision.
        np.testing.assert_allclose(found[star], values, rtol=0, atol=1e-6)
        assert not found[star, ~good].any()
    assert found.dtype == np.float32


def test_unit_vectors_have_unit_norm(pixels):
    found = np.asarray(Transform(np.arange(200))(*pixels), np.float64)
    np.testing.assert_allclose((found**2).sum(1), 1, rtol=0, atol=1e-6)


def test_one_pixel_of_contrast_one():
    # L = 1 gives ln 2, L = -1 gives -ln 2.
    flux = np.array([[0.0, 2.0, 1.0, 1.0]], np.float32)
    found = Transform(np.arange(4), unit_norm=False)(flux, np.zeros((1, 4), bool))
    np.testing.assert_allclose(found[0], [-np.log(2), np.log(2), 0, 0], rtol=0, atol=1e-7)


def test_a_star_without_good_pixels_becomes_zeros_and_its_derivative_is_finite():
    transform = Transform(np.arange(6))
    flux, bad = np.full((1, 6), 3.0, np.float32), np.ones((1, 6), bool)
    found, change = jax.jit(lambda *given: jax.jvp(lambda f: transform(f, bad), *given))((flux,), (np.ones_like(flux),))
    np.testing.assert_array_equal(found, 0)
    np.testing.assert_array_equal(change, 0)
    np.testing.assert_array_equal(jax.jit(transform.slope)(flux[0], bad[0]), 0)


@pytest.mark.parametrize("steps", [(True, True, True), (False, True, True), (True, False, True), (True, True, False)])
def test_the_transform_is_differentiable(pixels, steps):
    flux, bad = pixels[0].astype(np.float32), pixels[1]
    transform = jax.jit(Transform(np.arange(200), *steps).__call__)
    direction = np.random.default_rng(5).standard_normal(flux.shape).astype(np.float32)
    _, exact = jax.jit(lambda *given: jax.jvp(lambda f: transform(f, bad), *given))((flux,), (direction,))
    step = np.float32(2.0**-10)
    finite = (transform(flux + step * direction, bad) - transform(flux - step * direction, bad)) / (2 * step)
    # Rounding of 1e-7 over twice the step, 5e-5, and the step itself where a pixel crosses the mean: the second
    # derivative of the signed logarithm jumps there.
    scale = float(np.abs(exact).max())
    np.testing.assert_allclose(exact / scale, finite / scale, rtol=0, atol=2e-3)
    assert not np.asarray(exact)[pixels[1]].any()


@pytest.mark.parametrize("steps", [(True, True, True), (True, False, True), (True, True, False), (False, True, True)])
def test_slope_is_the_diagonal_of_the_jacobian(pixels, steps):
    flux, bad = jnp.asarray(pixels[0][:1], jnp.float32), jnp.asarray(pixels[1][:1])
    transform = Transform(np.arange(200), *steps)

    @jax.jit
    def of(flux):
        jacobian = jax.jacfwd(lambda f: transform(f, bad)[0])(flux)[:, 0, :]
        return jacobian, transform.slope(flux[0], bad[0]), transform(flux, bad)[0]

    jacobian, slope, unit = (np.asarray(values) for values in of(flux))
    omitted = np.zeros(200)
    if steps[0]:
        omitted += 1 / (~pixels[1][0]).sum()  # through the mean
    if steps[2]:
        omitted += unit**2  # through the norm
    # Left out are the change of the mean, 1/pixel, and that of the norm, the square of the unit vector.
    difference = np.abs(np.diagonal(jacobian) - slope)
    assert (difference <= 1.01 * omitted * slope + 1e-6 * slope.max()).all()
    assert not slope[pixels[1][0]].any()


# Sky lines


LINES = np.array([4098.0, 4190.0, 4450.0])


def sky_spectra(velocity, at_rest):
    """Return spectra whose errors are five times larger in observed-frame lines of 3 A."""
    velocity = np.full(300, velocity) if np.ndim(velocity) == 0 else velocity
    native = SMALL
    block = spectra(len(velocity), arms=native, velocity=0.0 if at_rest else velocity)
    arms = {}
    for name, arm in block.arms.items():
        seen = arm.wavelength / (1 - velocity[:, None] / C) if at_rest else arm.wavelength
        line = (np.abs(seen[..., None] - LINES) < 1.5).any(-1)
        arms[name] = Arm.cleaned(
            arm.wavelength, arm.flux, arm.ivar / np.where(line, 25, 1), np.zeros(arm.flux.shape, bool)
        )
    return Spectra(block.row, arms, np.zeros(len(velocity)) if at_rest else velocity, velocity)


@pytest.mark.parametrize("at_rest", [False, True])
def test_sky_lines_are_found_in_the_observed_frame(at_rest):
    velocity = np.random.default_rng(1).normal(0, 150, 300)
    stack = ErrorStack()
    block = sky_spectra(velocity, at_rest)
    stack.add(block.take(np.arange(100)))
    stack.add(block.take(np.arange(100, 300)))
    windows = stack.windows(1.5)
    assert len(windows) == len(LINES)
    for (low, high), line in zip(windows, LINES, strict=True):
        # A line of 3 A and one native pixel of 0.8 A on either side, each edge known to a pixel.
        assert line - 1.5 - 1.7 <= low <= line - 1.5 + 0.1
        assert line + 1.5 - 0.1 <= high <= line + 1.5 + 1.7


@pytest.mark.parametrize("at_rest", [False, True])
@pytest.mark.parametrize("velocity", [-400.0, 0.0, 400.0])
def test_sky_lines_are_masked_in_every_star_wherever_its_velocity_puts_them(velocity, at_rest):
    block = sky_spectra(np.full(4, velocity), at_rest)
    windows = [(line - 2.0, line + 2.0) for line in LINES]
    settings = SMALL_SETTINGS.model_copy(update={"missing": "zeros"})  # no pixel is bad for what its window lacks
    grid = PixelGrid.of(SMALL, settings)
    found = normalise(block, grid, settings, windows)
    seen = grid.wavelength / (1 - velocity / C)
    core = (np.abs(seen[:, None] - LINES) < 1.9).any(1)
    far = (np.abs(seen[:, None] - LINES) > 2.0 + 0.85).all(1)
    inside = (seen > SMALL["B"][0]) & (seen < SMALL["R"][-1])
    if at_rest:
        inside = np.ones_like(inside)
    assert found.bad[:, core & inside].all()
    assert not found.bad[:, far & inside].any()
    assert not found.flux[:, core].any()
    # At 400 km/s a line is 6 A from where it is in a star at rest: a window there would have missed it.
    if velocity:
        fixed = (np.abs(grid.wavelength[:, None] - LINES) < 1.9).any(1) & ~core & far & inside
        assert fixed.any()
        assert not found.bad[:, fixed].any()


def test_windows_hold_their_own_ends():
    # A window from one native pixel to another masks both: it was made one pixel wider than the line on either side.
    block = spectra(1)
    native = SMALL["B"]
    settings = SpectraSettings(join="none", missing="zeros", continuum_width=50.5, grid=GridSettings(step=0.1))
    grid = PixelGrid.of({"B": native}, settings)
    found = normalise(block, grid, settings, [(native[100], native[103])])
    expected = (grid.wavelength > native[99] + 1e-6) & (grid.wavelength < native[104] - 1e-6)
    np.testing.assert_array_equal(found.bad[0], expected)


@pytest.mark.parametrize("missing", ["zeros", "estimated"])
def test_the_last_digit_of_wavelengths_decides_nothing(missing):
    # Nanometre times ten, or a table's decimals, differ from Angstrom in the last digit. At rest, grid pixels, ends of
    # windows, the join of the arms and native pixels coincide, so that any comparison without a tolerance would show.
    rng = np.random.default_rng(5)
    settings = SMALL_SETTINGS.model_copy(update={"missing": missing})
    block, grid = spectra(6), PixelGrid.of(SMALL, settings)
    for arm in block.arms.values():
        arm.bad[:] = rng.uniform(size=arm.bad.shape) < 0.02
    ends = [(wavelength[place], wavelength[place + 4]) for wavelength in SMALL.values() for place in (50, 150, 250)]

    def made(moved):
        arms = {name: replace(arm, wavelength=moved(arm.wavelength)) for name, arm in block.arms.items()}
        return normalise(replace(block, arms=arms), grid, settings, ends)

    expected = made(lambda wavelength: wavelength)
    assert expected.bad.any(0).sum() > 50
    for moved in (
        lambda wavelength: wavelength / 10 * 10,
        lambda wavelength: wavelength * (1 + rng.choice([-2e-16, 0, 2e-16, 4e-16], len(wavelength))),
        lambda wavelength: np.round(wavelength + 1e-9, 8),
    ):
        found = made(moved)
        np.testing.assert_array_equal(found.bad, expected.bad)
        np.testing.assert_allclose(found.flux, expected.flux, atol=1e-5)


def test_no_sky_lines_in_smooth_errors():
    stack = ErrorStack()
    block = spectra(50)
    arms = {
        name: Arm.cleaned(arm.wavelength, arm.flux, arm.ivar * (arm.wavelength / 4000) ** 8, arm.bad)
        for name, arm in block.arms.items()
    }
    stack.add(Spectra(block.row, arms, block.velocity, block.observed_velocity))
    assert stack.windows(1.5) == []
