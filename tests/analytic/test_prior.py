"""Posterior distances against closed forms, and the fitted density against toy universes whose density is known."""

from __future__ import annotations

import itertools
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from scipy.special import ndtri
from scipy.stats import chi2

from specdis.distances.columns import LEVELS
from specdis.errors import InputError
from specdis.jaxed import jax, jnp
from specdis.network.mixture import Mixture, ParallaxInErrors, Spurious, points, points_with_parallax
from specdis.network.reduction import reduced
from specdis.prior import (
    DensityTable,
    Observed,
    Posterior,
    Prior,
    PriorSettings,
    fit_prior,
    galactic_direction,
    given_density,
)
from specdis.prior.stars import random_moduli

MODULUS = np.arange(0.0, 30.0, 0.02)
SMOOTHNESS = PriorSettings().smoothness


def mixture(weight, mean, sigma) -> Mixture:
    """Return a mixture of (star, component) numbers."""
    with np.errstate(divide="ignore"):
        return Mixture(*(jnp.asarray(np.atleast_2d(v), jnp.float32) for v in (np.log(weight), mean, sigma)))


def prior_with(log_density) -> Prior:
    """Return a prior with equal effective volumes."""
    return Prior(DensityTable(MODULUS, log_density), np.array([-15.0, 25.0]), np.zeros(2))


def moduli(columns) -> np.ndarray:
    """Return the quantiles of the distance moduli, shape (level, star)."""
    names = ("DIST_POST_05", "DIST_POST_16", "DIST_POST", "DIST_POST_84", "DIST_POST_95")
    return np.stack([5 * np.log10(columns[name]) + 10 for name in names])


def nowhere(stars: int) -> np.ndarray:
    return np.full((stars, 3), np.nan)


# One star


@pytest.mark.parametrize(("mean", "sigma", "middle", "width"), [(1.0, 0.5, 16.0, 0.7), (5.0, 0.1, 13.2, 2.0)])
def test_gaussian_times_gaussian(mean, sigma, middle, width):
    """To 0.03 widths: the points of a distribution are a quarter of its width apart."""
    magnitude = np.array([18.0])
    found = Posterior(prior_with(-0.5 * ((MODULUS - middle) / width) ** 2)).columns(
        Observed(mixture([1.0], [mean], [sigma]), magnitude, nowhere(1))
    )
    share = width**2 / (width**2 + sigma**2)
    expected = share * (18.0 - mean) + (1 - share) * middle + np.sqrt(share) * sigma * ndtri(LEVELS)
    np.testing.assert_allclose(moduli(found)[:, 0], expected, atol=0.03 * sigma)
    kpc = 10 ** (expected / 5 - 2)
    np.testing.assert_allclose(found["DISTERR_POST"], 0.5 * (kpc[3] - kpc[1]), rtol=0.03)


GAUSSIANS = (
    [[0.2, 0.5, 0.3], [1.0, 0.0, 0.0]],
    [[-1.0, 0.5, 4.5], [2.0, 2.0, 2.0]],
    [[0.4, 0.2, 0.3], [0.6, 0.6, 0.6]],
)


def test_a_density_that_is_flat_in_modulus_gives_back_the_distribution():
    both, magnitude = mixture(*GAUSSIANS), np.array([17.3, 15.0])
    found = moduli(Posterior(prior_with(np.zeros(len(MODULUS)))).columns(Observed(both, magnitude, nowhere(2))))
    expected = magnitude - np.asarray(points(both).quantiles(1 - jnp.asarray(LEVELS, jnp.float32)))
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("spurious", [None, Spurious(0.05, 5.0)])
def test_the_star_s_own_parallax_counts_where_there_is_one(spurious):
    both, magnitude = mixture(*GAUSSIANS), np.array([17.3, 15.0])
    own = ParallaxInErrors.of(magnitude, np.array([0.2, 0.2]), np.array([0.02, 0.02]))
    posterior = Posterior(prior_with(np.zeros(len(MODULUS))), spurious)
    found = moduli(posterior.columns(Observed(both, magnitude, nowhere(2), (own, np.array([True, False])))))
    levels = 1 - jnp.asarray(LEVELS, jnp.float32)
    np.testing.assert_allclose(
        found[:, 0], 17.3 - np.asarray(points_with_parallax(both, own, spurious).quantiles(levels))[:, 0], atol=1e-4
    )
    if spurious:
        trusting = np.asarray(points_with_parallax(both, own).quantiles(levels))[:, 0]
        assert np.abs(found[:, 0] - 17.3 + trusting).max() > 0.01
    np.testing.assert_allclose(found[:, 1], 15.0 - np.asarray(points(both).quantiles(levels))[:, 1], atol=1e-4)


def test_the_probability_of_a_smaller_distance_is_that_of_the_quantiles():
    both, magnitude = mixture(*GAUSSIANS), np.array([17.3, 15.0])
    own = ParallaxInErrors.of(magnitude, np.array([0.2, 0.2]), np.array([0.02, 0.02])), np.array([True, False])
    posterior = Posterior(prior_with(-0.1 * MODULUS))
    for parallaxes in (None, own):
        stars = Observed(both, magnitude, nowhere(2), parallaxes)
        levels = np.array([[0.01, 0.2, 0.5, 0.99], [0.03, 0.3, 0.6, 0.9]])
        found = posterior.moduli(stars, levels)
        below = np.stack([posterior.below(stars, 10 ** (column / 5 - 2)) for column in found.T], axis=1)
        np.testing.assert_allclose(below, levels, atol=2e-3)
    assert np.isnan(posterior.below(Observed(both, magnitude * np.nan, nowhere(2)), np.ones(2))).all()


def test_draws_are_of_the_quoted_distribution_and_depend_on_the_star_alone():
    stars = 600
    random = np.random.default_rng(2)
    some = mixture(
        np.tile([0.3, 0.7], (stars, 1)), random.normal(2, 2, (stars, 2)), random.uniform(0.1, 0.9, (stars, 2))
    )
    magnitude = random.uniform(14, 19, stars)
    observed = Observed(some, magnitude, nowhere(stars))
    posterior = Posterior(prior_with(-0.05 * (MODULUS - 16) ** 2))
    names = {
        "TARGETID": np.arange(stars),
        "SURVEY": np.full(stars, b"main"),
        "PROGRAM": np.full(stars, b"dark"),
        "HEALPIX": np.full(stars, 7),
    }
    columns = posterior.columns(observed)
    distance = columns["DIST_POST"].copy()
    distance[5] = np.nan
    drawn = random_moduli(posterior, observed, {**names, "DIST_POST": distance}, 200, 3)
    assert (drawn.dtype, drawn.shape) == (np.float16, (stars, 200))
    assert np.isnan(drawn[5]).all()
    assert np.isnan(drawn).sum() == 200
    known = np.delete(np.arange(stars), 5)
    for level, quantile in zip(LEVELS, moduli(columns), strict=True):
        share = (drawn[known] < quantile[known, None]).mean()
        assert share == pytest.approx(level, abs=5 * np.sqrt(level * (1 - level) / drawn[known].size) + 2e-3)
    # Within a star, too: the number of draws below its median is binomial.
    below = (drawn[known] < moduli(columns)[2][known, None]).sum(1)
    assert chi2.sf(((below - 100) ** 2 / 50).sum(), len(known)) > 1e-4
    # The draws of different stars are independent of each other.
    assert abs(np.corrcoef(drawn[10].astype(float), drawn[11].astype(float))[0, 1]) < 0.35
    order = random.permutation(stars)[:50]
    part = random_moduli(
        posterior,
        Observed(Mixture(*(np.asarray(v)[order] for v in some)), magnitude[order], nowhere(50)),
        {name: values[order] for name, values in {**names, "DIST_POST": distance}.items()},
        20,
        3,
    )
    np.testing.assert_array_equal(part, drawn[order, :20])
    other = random_moduli(posterior, observed, {**names, "DIST_POST": distance}, 1, 4)
    assert not np.allclose(other[known], drawn[known, :1])


def test_missing_input_or_no_density_gives_no_distance():
    some = mixture([[1.0]] * 4, [[1.0], [np.nan], [1.0], [1.0]], [[0.3]] * 4)
    table = DensityTable.of_distances([0.1, 30.0], [1.0, 1.0])
    prior = Prior(table, np.array([-15.0, 25.0]), np.zeros(2))
    found = Posterior(prior).columns(Observed(some, np.array([17.0, 17.0, np.nan, 27.0]), nowhere(4)))
    for name, values in found.items():
        assert np.isfinite(values).tolist() == [True, False, False, False], name


def test_tiles_do_not_change_a_star():
    stars = 1100
    random = np.random.default_rng(1)
    some = mixture(np.full((stars, 2), 0.5), random.normal(3, 2, (stars, 2)), random.uniform(0.1, 1, (stars, 2)))
    posterior = Posterior(prior_with(-0.1 * MODULUS))
    magnitude = random.uniform(14, 19, stars)
    whole = posterior.columns(Observed(some, magnitude, nowhere(stars)))
    row = slice(700, 703)
    part = posterior.columns(Observed(Mixture(*(v[row] for v in some)), magnitude[row], nowhere(3)))
    for name, values in part.items():
        np.testing.assert_array_equal(values, whole[name][row])


# Densities


def test_directions_are_those_of_astropy():
    ra, dec = np.array([0.0, 83.0, 192.86, 266.4, 300.0]), np.array([0.0, 22.0, 27.13, -28.9, -75.0])
    known = SkyCoord(ra, dec, unit="deg").galactic.cartesian.xyz.value.T
    np.testing.assert_allclose(galactic_direction(ra, dec), known, atol=2e-7)


def log_densities(kind: str, kpc, direction, **keys) -> np.ndarray:
    """Return ln of stars per volume along one direction."""
    settings = PriorSettings(kind=kind, **keys)
    modulus = 5 * np.log10(np.asarray(kpc, float))[None] + 10
    return (
        np.asarray(given_density(settings)(jnp.asarray(modulus), jnp.asarray([direction], float)))[0]
        - 0.6 * np.log(10) * modulus[0]
    )


def test_the_halo_falls_with_its_two_slopes():
    near, outer = (
        np.diff(log_densities("halo", kpc, (0.0, 1.0, 0.0), sun_radius=1e-6, halo_break=20.0))[0]
        for kpc in ([5.0, 10.0], [100.0, 200.0])
    )
    assert near == pytest.approx(-2.3 * np.log(2), abs=0.02)
    assert outer == pytest.approx(-4.6 * np.log(2), abs=0.001)
    across, up = (log_densities("halo", [200.0], axis)[0] for axis in ((0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
    assert across - up == pytest.approx(4.6 * np.log(1 / 0.6), abs=0.01)


def test_the_discs_fall_with_their_scales_and_the_halo_is_beneath():
    up = log_densities("disc-halo", [0.001, 0.3], (0.0, 0.0, 1.0), thick_fraction=0.0, halo_fraction=1e-12)
    assert up[1] - up[0] == pytest.approx(-1.0, abs=0.01)
    at_sun = np.exp(log_densities("disc-halo", [0.001], (0.0, 0.0, 1.0)))[0]
    assert at_sun == pytest.approx(1 + 0.12 + 0.005, rel=0.01)
    far = [log_densities(kind, [60.0], (0.0, 0.0, 1.0))[0] for kind in ("halo", "disc-halo")]
    assert far[0] == pytest.approx(far[1], abs=1e-6)


@pytest.mark.parametrize(
    ("distance", "density", "message"),
    [
        ([1.0], [1.0], "two or more distances"),
        ([1.0, 1.0], [1.0, 1.0], "two or more distances"),
        ([0.0, 1.0], [1.0, 1.0], "two or more distances"),
        ([1.0, 2.0], [1.0, 1.0, 1.0], "two or more distances"),
        ([1.0, 2.0], [1.0, -1.0], "not negative"),
        ([1.0, 2.0], [0.0, 0.0], "one at least positive"),
        ([1.0, 2.0], [np.nan, 1.0], "finite"),
    ],
)
def test_a_wrong_table_is_refused(distance, density, message):
    with pytest.raises(InputError, match=message):
        DensityTable.of_distances(np.array(distance), np.array(density))


def test_a_table_is_a_power_law_between_its_entries_and_zero_outside():
    table = DensityTable.of_distances([1.0, 10.0, 100.0], [1.0, 1e-3, 0.0])
    modulus = jnp.asarray([[9.9, 10.001, 12.5, 14.999, 15.1, 20.1]])
    found = np.asarray(table(modulus, jnp.zeros((1, 3))))[0]
    np.testing.assert_allclose(found[1:4] - found[1], [0, 0, 0], atol=1e-4)
    assert np.isneginf(found[[0, 4, 5]]).all()


# A survey


MANY = 20_000


class Universe(NamedTuple):
    """A toy survey: true magnitudes, apparent ones, and calibrated Gaussian-mixture answers of a network."""

    absolute: np.ndarray
    magnitude: np.ndarray
    answers: Mixture
    log_rho: np.ndarray
    """ln of stars per mag of modulus at `MODULUS`."""


@cache
def universe(stars: int, seed: int) -> Universe:
    """Return giants and dwarfs around 16 kpc, seen between 12 and 19 mag.

    The network knows the luminosities of the whole survey, not how they change with the magnitude: its answer is the
    Gaussian likelihood of M times a mixture of Gaussians that the survey's magnitudes are drawn from.
    """
    random = np.random.default_rng(seed)
    log_rho = -0.5 * ((MODULUS - 16) / 1.2) ** 2
    means, widths, shares = np.array([-1.5, 0.7, 5.0]), np.array([1.0, 0.8, 1.2]), np.array([0.25, 0.35, 0.4])
    # Stars of the luminosity function, with moduli of the density, kept if bright and faint enough.
    cells = np.arange(-6, 12, 0.05)
    phi = sum(s * np.exp(-0.5 * ((cells - m) / w) ** 2) / w for s, m, w in zip(shares, means, widths, strict=True))
    grid = np.arange(12, 19, 0.05)
    rho = np.exp(np.interp(grid[None] - cells[:, None], MODULUS, log_rho, left=-np.inf, right=-np.inf))
    joint = phi[:, None] * rho
    rows, columns = np.unravel_index(random.choice(joint.size, stars, p=(joint / joint.sum()).ravel()), joint.shape)
    absolute = cells[rows] + random.uniform(-0.025, 0.025, stars)
    magnitude = grid[columns] + random.uniform(-0.025, 0.025, stars)
    sigma = random.uniform(0.3, 0.8, stars)[:, None]
    observed = absolute[:, None] + sigma * random.normal(size=(stars, 1))
    # P(M) of the survey as narrow Gaussians, so that likelihood times P(M) is a mixture again.
    nodes, narrow = cells[::12][None], 0.4
    share = np.interp(nodes, cells, joint.sum(1))
    spread = sigma**2 + narrow**2
    weight = share * np.exp(-0.5 * (observed - nodes) ** 2 / spread)
    weight /= weight.sum(1, keepdims=True)
    mean = (observed * narrow**2 + nodes * sigma**2) / spread
    width = np.broadcast_to(sigma * narrow / np.sqrt(spread), mean.shape)
    few = jax.jit(reduced, static_argnums=1)(mixture(weight, mean, width), 5)
    return Universe(absolute, magnitude, few, log_rho)


def bias_by_predicted(predicted, universe: Universe, edges=(5, 10, 20, 40)) -> list[float]:
    """Return the median of predicted minus true modulus by predicted distance."""
    kpc, error = 10 ** (predicted / 5 - 2), predicted - (universe.magnitude - universe.absolute)
    return [float(np.median(error[(kpc > low) & (kpc < high)])) for low, high in itertools.pairwise(edges)]


def under(prior: Prior, made: Universe) -> np.ndarray:
    """Return the quantiles of moduli under a prior."""
    return moduli(Posterior(prior).columns(Observed(made.answers, made.magnitude, nowhere(len(made.magnitude)))))


def alone(made: Universe) -> np.ndarray:
    """Return the quantiles of moduli from the networks alone."""
    return under(prior_with(np.zeros(len(MODULUS))), made)


@cache
def fitted(stars: int, seed: int) -> np.ndarray:
    """Return the quantiles of moduli under the density fitted to a toy survey."""
    made = universe(stars, seed)
    return under(fit_prior(made.answers, made.magnitude, nowhere(stars), SMOOTHNESS), made)


@pytest.mark.parametrize("stars", [pytest.param(5_000, marks=pytest.mark.slow), MANY])
def test_the_fitted_density_removes_the_bias_by_predicted_distance(stars):
    made = universe(stars, 5)
    before, after = bias_by_predicted(alone(made)[2], made), bias_by_predicted(fitted(stars, 5)[2], made)
    assert max(map(abs, before)) > 0.15
    assert max(map(abs, after)) < 0.06


def test_the_fitted_density_gives_the_posterior_of_the_true_one():
    made = universe(MANY, 5)
    known = fit_prior(made.answers, made.magnitude, nowhere(MANY), SMOOTHNESS, DensityTable(MODULUS, made.log_rho))
    expected = under(known, made)
    error = fitted(MANY, 5)[2] - expected[2]
    far = made.magnitude > 17.5
    assert abs(np.median(error[far])) < 0.02
    assert np.quantile(np.abs(error[far]), 0.9) < 0.12


def test_a_power_law_of_the_distance_changes_nothing():
    made = universe(5_000, 5)
    for slope in (0.0, 4.0):
        table = DensityTable.of_distances(np.array([1e-3, 1e5]), np.array([1.0, 10 ** (-8 * slope)]))
        prior = fit_prior(made.answers, made.magnitude, nowhere(5_000), SMOOTHNESS, table)
        assert np.abs(under(prior, made) - alone(made)).max() < 0.01


def test_ranks_are_flat_under_the_fitted_density_and_not_without_it():
    """Calibration by simulation (SBC): true values between quoted quantiles, for faint stars."""
    made = universe(MANY, 5)
    truth, faint = made.magnitude - made.absolute, made.magnitude > 17.5
    limit = chi2.ppf(0.999, len(LEVELS)) / len(LEVELS)
    after, before = (rank_chi_square(found[:, faint], truth[faint]) for found in (fitted(MANY, 5), alone(made)))
    assert after < limit < before


def rank_chi_square(quantiles, truth) -> float:
    """Return the reduced chi-square of the numbers of true values between quoted quantiles."""
    counts = np.bincount((quantiles < truth).sum(0), minlength=len(LEVELS) + 1)
    expected = len(truth) * np.diff([0.0, *LEVELS, 1.0])
    return float(((counts - expected) ** 2 / expected).sum() / len(LEVELS))


# Few Gaussians for many


def moments(some: Mixture) -> np.ndarray:
    weight, mean, sigma = np.exp(some.log_weight), np.asarray(some.mean), np.asarray(some.sigma)
    middle = (weight * mean).sum(1)
    return np.array([weight.sum(1), middle, (weight * (sigma**2 + (mean - middle[:, None]) ** 2)).sum(1)])


@pytest.mark.parametrize("components", [1, 3, 5, 12, 15])
def test_fewer_gaussians_keep_the_moments(components):
    random = np.random.default_rng(3)
    weight = random.dirichlet(np.ones(12), 200) * (random.random((200, 12)) < 0.6)
    weight /= weight.sum(1, keepdims=True)
    many = mixture(weight, random.normal(3, 2, (200, 12)), random.uniform(0.05, 2, (200, 12)))
    few = reduced(many, components)
    assert few.mean.shape == (200, components)
    np.testing.assert_allclose(moments(few), moments(many), rtol=2e-5)
    assert np.isfinite(few.mean).all()
    assert (np.asarray(few.sigma) > 0).all()


def test_gaussians_that_can_stay_do():
    weight = [[0.0, 0.3, 0.0, 0.5, 0.2]]
    few = reduced(mixture(weight, [[9.0, 1.0, 7.0, -1.0, 4.0]], [[1.0, 0.2, 1.0, 0.3, 0.4]]), 3)
    np.testing.assert_allclose(np.exp(few.log_weight), [[0.5, 0.3, 0.2]], rtol=1e-6)
    np.testing.assert_allclose(few.mean, [[-1.0, 1.0, 4.0]])
    np.testing.assert_allclose(few.sigma, [[0.3, 0.2, 0.4]], rtol=1e-6)


def test_the_nearest_of_equal_kind_are_merged():
    few = reduced(mixture([[0.25] * 4], [[0.0, 0.05, 4.0, 4.1]], [[0.3] * 4]), 2)
    np.testing.assert_allclose(few.mean, [[0.025, 4.05]], rtol=1e-5)
    np.testing.assert_allclose(np.exp(few.log_weight), [[0.5, 0.5]], rtol=1e-6)
