"""The likelihood of a mixture against numerical integration, and what the factor in Eq. 8 does (section 5)."""

import itertools
from functools import cache

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.special import logsumexp

from specdis.jaxed import jax, jnp
from specdis.network.mixture import Mixture, ParallaxInErrors, Spurious, binary_probability, log_probabilities

C = np.log(10) / 5
PARALLAX_SNR = (-10.0, -3.0, -1.0, -0.1, 0.1, 0.5, 1.0, 2.0, 4.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
WIDTHS = (0.02, 0.1, 0.3, 1.0, 3.0)
OFFSETS = (-3.0, -1.0, 0.0, 1.0, 3.0)
MAGNITUDE = 17.0
ERROR = 0.05  # mas


class Case:
    """One Gaussian and one parallax; `mean` is so many widths of Gaussian and likelihood together from the parallax."""

    def __init__(self, snr, sigma, offset):
        self.snr, self.sigma = snr, sigma
        seen = MAGNITUDE - 10 + 5 * np.log10(ERROR * max(snr, 1.0))
        self.mean = seen + offset * np.hypot(sigma, min(1 / (C * max(snr, 1.0)), 3.0))

    def log_integrand(self, magnitude, jacobian="none"):
        """Return ln of the integrand of Eq. 8, written as in the paper but for the unit of the parallax."""
        parallax = 10 ** ((magnitude - MAGNITUDE + 10) / 5)
        value = -0.5 * ((magnitude - self.mean) / self.sigma) ** 2 - 0.5 * (parallax / ERROR - self.snr) ** 2
        value = value - np.log(2 * np.pi * self.sigma)
        return value + np.log(parallax / ERROR) if jacobian == "paper" else value

    def moments(self, jacobian="none"):
        """Return ln of the integral, and the mean and mean square of (M - mean)/sigma under the integrand."""
        seen = MAGNITUDE - 10 + 5 * np.log10(ERROR * max(self.snr, 1.0))
        grid = np.concatenate(
            [
                np.linspace(-60, 40, 20_001),
                seen + np.linspace(-0.2, 0.2, 8001),
                self.mean + self.sigma * np.arange(-9, 9, 0.1),
            ]
        )
        grid.sort()
        heights = self.log_integrand(grid, jacobian)
        top = heights.max()
        inside = grid[heights > top - 40]
        edges = np.unique(np.concatenate([np.linspace(inside[0], inside[-1], 12), [grid[heights.argmax()]]]))

        def integral(power):
            def integrand(m):
                return ((m - self.mean) / self.sigma) ** power * np.exp(self.log_integrand(m, jacobian) - top)

            return sum(quad(integrand, a, b, epsabs=0, epsrel=1e-9, limit=200)[0] for a, b in itertools.pairwise(edges))

        whole = integral(0)
        return top + np.log(whole), integral(1) / whole, integral(2) / whole


CASES = [Case(*values) for values in itertools.product(PARALLAX_SNR, WIDTHS, OFFSETS)]


def data_of(cases):
    snr = np.array([case.snr for case in cases])
    return ParallaxInErrors.of(np.full(len(cases), MAGNITUDE), ERROR * snr, np.full(len(cases), ERROR))


def mixture_of(cases):
    mean = jnp.asarray([[case.mean] for case in cases], jnp.float32)
    return Mixture(jnp.zeros_like(mean), mean, jnp.asarray([[case.sigma] for case in cases], jnp.float32))


@pytest.mark.parametrize("jacobian", ["none", "paper"])
def test_likelihood_and_gradient_are_those_of_numerical_integration(jacobian):
    expected = np.array([case.moments(jacobian) for case in CASES])
    sigma = np.array([case.sigma for case in CASES])

    def total(mean, width):
        found = log_probabilities(Mixture(jnp.zeros_like(mean), mean, width), data_of(CASES), jacobian)
        return found.sum(), found

    mixture = mixture_of(CASES)
    (slope, growth), found = jax.jit(jax.grad(total, argnums=(0, 1), has_aux=True))(mixture.mean, mixture.sigma)
    assert found.dtype == jnp.float32
    # Single precision, and 32 nodes: asked for is 1e-4.
    np.testing.assert_allclose(np.asarray(found)[:, 0], expected[:, 0], rtol=0, atol=1e-4)
    # d ln p / d mean = <k> / sigma and d ln p / d sigma = (<k^2> - 1) / sigma, with k the place in widths. Means of up
    # to 10 magnitudes are rounded by 5e-7, which is 2.5e-5 of the least width, and six times that for the square at
    # k = 3; 32 nodes are worst for the widest Gaussian at a parallax S/N of 2, where one side is a tail of 20
    # magnitudes: 3e-4, and 1.2e-3 of the square.
    np.testing.assert_allclose(np.asarray(slope)[:, 0] * sigma, expected[:, 1], rtol=1e-4, atol=5e-4)
    np.testing.assert_allclose(np.asarray(growth)[:, 0] * sigma, expected[:, 2] - 1, rtol=1e-4, atol=2e-3)


def test_the_probability_of_a_binary_is_that_of_numerical_integration():
    singles = [case for case in CASES if abs(case.snr) >= 0.5]
    alpha, gap = 0.8, 0.7
    expected, means, sigmas = [], [], []
    for single in singles:
        binary = Case(single.snr, 1.3 * single.sigma, 0.0)
        binary.mean = single.mean - gap
        one, two = np.log(alpha) + single.moments()[0], np.log(1 - alpha) + binary.moments()[0]
        expected.append(1 / (1 + np.exp(one - two)))
        means.append([single.mean, binary.mean])
        sigmas.append([single.sigma, binary.sigma])
    weight = jnp.log(jnp.asarray([alpha, 1 - alpha], jnp.float32)) * jnp.ones((len(singles), 1, 1), jnp.float32)
    means, sigmas = (jnp.asarray(values, jnp.float32)[:, None] for values in (means, sigmas))
    mixture = Mixture(weight, means, sigmas)
    found = np.asarray(jax.jit(binary_probability)(mixture, data_of(singles)))
    # The parallax is up to 60 widths from a component of a very narrow mixture, which costs a few digits of ln p; a
    # probability changes by a quarter of that at most.
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-4)
    assert min(expected) < 1e-3
    assert max(expected) > 0.99


# Spurious parallaxes


def seen_at(snr):
    """Return the absolute magnitude at which the parallax is `max(snr, 1)` errors."""
    return MAGNITUDE - 10 + 5 * np.log10(ERROR * max(snr, 1.0))


class Grid:
    """Nodes of a Gauss-Legendre rule in thousands of intervals, dense at one Gaussian and at one parallax."""

    def __init__(self, case):
        around = seen_at(case.snr) + np.linspace(-60, 60, 2401) / (C * max(case.snr, 1.0))
        edges = np.concatenate(
            [np.linspace(-80, 60, 2001), around, case.mean + case.sigma * np.linspace(-13, 13, 1001)]
        )
        edges = np.unique(edges)
        place, weight = np.polynomial.legendre.leggauss(4)
        middle, half = 0.5 * (edges[1:] + edges[:-1]), 0.5 * np.diff(edges)
        self.magnitude = (middle[:, None] + half[:, None] * place).ravel()
        self.log_weight = np.log((half[:, None] * weight).ravel())
        parallax = 10 ** ((self.magnitude - MAGNITUDE + 10) / 5) / ERROR
        self.log_parallax, self.residual = np.log(parallax), np.minimum(parallax - case.snr, 1e6)
        self.log_prior = -0.5 * ((self.magnitude - case.mean) / case.sigma) ** 2 - np.log(2 * np.pi * case.sigma)

    def log_integral(self, share, width, jacobian):
        """Return ln of the integral of the Gaussian times two Gaussians of the parallax."""
        good = np.log1p(-share) - 0.5 * self.residual**2
        bad = np.log(share / width) - 0.5 * (self.residual / width) ** 2
        factor = self.log_parallax if jacobian == "paper" else 0
        return logsumexp(self.log_prior + np.logaddexp(good, bad) + factor + self.log_weight)


WIDE_RANGE = [
    Case(*values) for values in itertools.product((-30.0, -5.0, 0.5, 4.0, 20.0, 100.0, 5000.0), WIDTHS, OFFSETS)
]
likelihood = jax.jit(log_probabilities, static_argnames="jacobian")
GRIDS = cache(lambda: [Grid(case) for case in WIDE_RANGE])


@pytest.mark.parametrize("jacobian", ["none", "paper"])
@pytest.mark.parametrize(("share", "width"), [(0.02, 5.0), (0.3, 5.0), (0.1, 2.0), (0.001, 20.0)])
def test_the_likelihood_with_spurious_parallaxes_is_that_of_numerical_integration(share, width, jacobian):
    expected = np.array([grid.log_integral(share, width, jacobian) for grid in GRIDS()])
    found = likelihood(mixture_of(WIDE_RANGE), data_of(WIDE_RANGE), jacobian, Spurious(share, width))
    found = np.asarray(found)[:, 0]
    # Single precision: 1e-4 is asked for, and 1e-6 of a logarithm of hundreds.
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-4)


def test_a_share_for_each_star_counts_for_that_star():
    def of(share):
        return np.asarray(likelihood(mixture_of(CASES), data_of(CASES), "none", Spurious(share, 5.0)))

    few, many = of(0.01), of(0.4)
    found = of(np.where(np.arange(len(CASES)) % 2, 0.4, 0.01))
    np.testing.assert_array_equal(found[1::2], many[1::2])
    np.testing.assert_array_equal(found[::2], few[::2])
    assert np.abs(many - few).max() > 3


def test_a_spurious_parallax_says_little_of_a_binary():
    # A star whose parallax says 10 errors fainter than both Gaussians, and one that agrees with the brighter.
    mean, sigma = jnp.asarray([[[5.0, 4.25]]] * 2), jnp.full((2, 1, 2), 0.1)
    mixture = Mixture(jnp.log(jnp.asarray([[[0.8, 0.2]]] * 2)), mean, sigma)
    error = 0.05
    parallax = 10 ** ((np.array([5.0, 4.25]) - 15 + 10) / 5) + np.array([10 * error, 0.0])
    data = ParallaxInErrors.of([15.0, 15.0], parallax, [error, error])
    of = jax.jit(binary_probability)
    certain, cautious = (np.asarray(of(mixture, data, spurious=s)) for s in (None, Spurious(0.02, 5.0)))
    assert certain[0] < 1e-6
    assert 1e-3 < cautious[0] < 0.2
    assert cautious[1] == pytest.approx(certain[1], abs=0.02)


@cache
def surprise(jacobian):
    """Compile minus the mean log-likelihood of one Gaussian, of which mean and ln(sigma) are given, and its slope."""

    def loss(parameters, data):
        shape = len(data.snr), 1
        mean, sigma = (jnp.full(shape, value, jnp.float32) for value in (parameters[0], jnp.exp(parameters[1])))
        found = log_probabilities(Mixture(jnp.zeros_like(mean), mean, sigma), data, jacobian)
        return -found.astype(jnp.float64).mean()

    return jax.jit(jax.value_and_grad(loss))


def fitted(distance, jacobian, seed, stars=6000):
    """Fit one Gaussian to the parallaxes of stars with M ~ N(0, 0.3) at about one distance in kpc."""
    random = np.random.default_rng(seed)
    true = 0.3 * random.standard_normal(stars)
    magnitude = 5 * np.log10(distance) + 10 + 0.2 * random.standard_normal(stars)
    parallax = 10 ** ((true - magnitude + 10) / 5) + ERROR * random.standard_normal(stars)
    data = ParallaxInErrors.of(magnitude, parallax, np.full(stars, ERROR))

    def step(x):
        value, slope = surprise(jacobian)(x, data)
        return float(value), np.asarray(slope, np.float64)

    limits = [(-5, 5), (np.log(0.02), np.log(5))]
    best = minimize(step, [0.0, np.log(0.5)], jac=True, method="L-BFGS-B", bounds=limits)
    return best.x[0], float(np.exp(best.x[1]))


@pytest.mark.parametrize(("distance", "tolerance"), [(2.0, 0.02), (5.0, 0.03), (10.0, 0.06)])
def test_without_the_factor_mean_and_width_are_recovered_at_every_parallax_snr(distance, tolerance):
    # Parallax S/N 10, 4 and 2: 0.3 mag and the parallax error together over the root of 6000 stars are 0.005, 0.008
    # and 0.015 mag; four times that.
    mean, sigma = fitted(distance, "none", 1)
    assert abs(mean) < tolerance
    # The width is known worse where the parallax error, 2.17 mag over S/N, is the wider of the two.
    assert abs(sigma - 0.3) < 4 * tolerance / 3 + 0.01


@pytest.mark.parametrize(("distance", "snr"), [(2.0, 10.0), (5.0, 4.0)])
def test_the_factor_of_eq_8_moves_the_mean_by_217_over_the_square_of_parallax_snr(distance, snr):
    shift = fitted(distance, "paper", 1)[0] - fitted(distance, "none", 1)[0]
    assert shift == pytest.approx(5 / np.log(10) / snr**2, rel=0.25)


def test_the_factor_of_eq_8_fails_at_low_parallax_snr():
    # Prior simulations of the same: +0.41 mag and no width left at a parallax S/N of 2.
    mean, sigma = fitted(10.0, "paper", 1)
    assert mean == pytest.approx(0.42, abs=0.08)
    assert sigma < 0.03
