"""Distributions of absolute magnitude, and the probability of a parallax under them (section 5, Eqs 7 to 9)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from specdis.jaxed import ArrayLike, jax, jnp
from specdis.network.settings import Jacobian, MixtureSettings

_C = float(np.log(10) / 5)
"""Derivative of ln(parallax) with respect to the absolute magnitude, per mag."""
_LOG_ROOT_2PI = float(0.5 * np.log(2 * np.pi))
_STEPS = 12
_NODES = 32
_NODES_OF_DISTRIBUTION = 64
_FALL = 16.0
"""Fall of the logarithm of the integrand from its mode to the first and the last node."""
_LONGEST_STEP = 2.0  # mag


class Mixture(NamedTuple):
    """Gaussians in absolute magnitude, Eq. 7 with any number of them.

    Parameters
    ----------
    log_weight
        Natural logarithm of the fraction of each, shape (..., component); they add up to 1.
    mean, sigma
        Mean and standard deviation, mag, shape (..., component).
    """

    log_weight: jax.Array
    mean: jax.Array
    sigma: jax.Array

    def pooled(self) -> Mixture:
        """Join the components of all networks, shape (star, network, component), on one axis."""
        return Mixture(*(values.reshape(len(values), -1) for values in self))

    @property
    def average(self) -> jax.Array:
        """Mean magnitude of the whole, shape (...)."""
        return (jnp.exp(self.log_weight) * self.mean).sum(-1)


class ParallaxInErrors(NamedTuple):
    """A parallax in units of its error, so that single precision is sufficient for the likelihood.

    Parameters
    ----------
    snr
        Corrected parallax over its error, of either sign, shape (star,).
    magnitude
        Absolute magnitude at which the parallax of the model is `max(snr, 1)` errors, mag, shape (star,).
    """

    snr: jax.Array
    magnitude: jax.Array

    @classmethod
    def of(cls, magnitude: ArrayLike, parallax: ArrayLike, error: ArrayLike) -> ParallaxInErrors:
        """Convert extinction-corrected G magnitudes, parallaxes and errors in mas, shape (star,).

        Differences of magnitudes are computed in double precision, before rounding.
        """
        magnitude, parallax, error = (np.asarray(values, np.float64) for values in (magnitude, parallax, error))
        reference = magnitude - 10 + 5 * np.log10(error * np.maximum(parallax / error, 1))
        return cls(jnp.asarray(parallax / error, jnp.float32), jnp.asarray(reference, jnp.float32))

    def with_errors(self, factor: jax.Array) -> ParallaxInErrors:
        """Return the same parallaxes in units of errors larger by a factor, shape () or (star,)."""
        fainter = 5 * jnp.log10(jnp.maximum(self.snr, factor) / jnp.maximum(self.snr, 1))
        return ParallaxInErrors(self.snr / factor, self.magnitude + fainter)


class Spurious(NamedTuple):
    """Spurious parallaxes: a share of all, which scatters by several times its error.

    Parameters
    ----------
    share
        Between 0 and 1 exclusively, shape () or (star,).
    width
        Their scatter over their error, at least 1, shape () or (star,).
    """

    share: ArrayLike
    width: ArrayLike

    @classmethod
    def of(cls, settings: MixtureSettings) -> Spurious | None:
        """Return those of the settings; None if there are none."""
        return cls(settings.spurious_share, settings.spurious_width) if settings.spurious_share else None


class _Part(NamedTuple):
    """One Gaussian of the likelihood.

    Parameters
    ----------
    data
        Parallaxes in units of its width, shape (star,).
    log_height
        ln of its share and of what makes densities in these units those per error, shape () or (star,).
    """

    data: ParallaxInErrors
    log_height: jax.Array


def _parts(data: ParallaxInErrors, spurious: Spurious | None, tilt: float = 0.0) -> tuple[_Part, ...]:
    """Return the Gaussians of the likelihood; `tilt` is the power of the model's parallax that multiplies it."""
    if spurious is None:
        return (_Part(data, jnp.zeros((), jnp.float32)),)
    share, width = (jnp.asarray(values, jnp.float32) for values in spurious)
    log_height = jnp.log(share) + (tilt - 1) * jnp.log(width)
    return _Part(data, jnp.log1p(-share)), _Part(data.with_errors(width), log_height)


class _Nodes(NamedTuple):
    """Nodes for the integrand of a component.

    Parameters
    ----------
    place
        Magnitude minus that of the data, shape (star, component, node).
    weight
        Interval of magnitude that each represents, mag, of the same shape.
    """

    place: jax.Array
    weight: jax.Array


def log_probabilities(
    mixture: Mixture, data: ParallaxInErrors, jacobian: Jacobian = "none", spurious: Spurious | None = None
) -> jax.Array:
    """Return ln of the contribution of each component to the probability of a parallax (Eq. 8).

    The probability density is that of the parallax in units of its error,
    `integral P(M) N(parallax | 10^((M - m + 10)/5), error) dM`. As printed, Eq. 8 has the parallax of the model as a
    further factor, so that it is not a density of the parallax: it favours faint stars by 2.17/snr^2 mag (decision 8).
    With spurious parallaxes N is the sum of two Gaussians, and the integral that of two (decision 20).

    An integral is a sum over 32 nodes between those points where the integrand, a Gaussian times a Gaussian, has
    fallen by e^-16 from its largest value. For derivatives the nodes count as
    fixed, so that these are as exact as the sum.

    Parameters
    ----------
    mixture
        Of shape (star, component).
    data
        Parallaxes, shape (star,).
    jacobian
        `none`, or `paper` for Eq. 8 as printed, its factor in units of the parallax error.
    spurious
        Share and width of spurious parallaxes; None if there are none.

    Returns
    -------
    Array, shape (star, component)
        Their log-sum-exp over components is the ln of the likelihood of the star.
    """
    tilt = 1.0 if jacobian == "paper" else 0.0
    heights = [
        part.log_height[..., None] + _log_integral(mixture, part.data, tilt) for part in _parts(data, spurious, tilt)
    ]
    return mixture.log_weight + jax.nn.logsumexp(jnp.stack(heights), axis=0)


def _log_integral(mixture: Mixture, data: ParallaxInErrors, tilt: float) -> jax.Array:
    """Return ln of the integral of each component times a Gaussian, shape (star, component)."""
    nodes, height = _integrand(mixture, data, _NODES, tilt)
    return jax.nn.logsumexp(height, axis=-1, b=nodes.weight) - 2 * _LOG_ROOT_2PI


def _integrand(mixture: Mixture, data: ParallaxInErrors, count: int, tilt: float = 0.0) -> tuple[_Nodes, jax.Array]:
    """Return a number of nodes, and ln of each component times a Gaussian there, without the factor of 1/(2 pi)."""
    snr, reference = data.snr[:, None], _reference(data)
    offset = mixture.mean - data.magnitude[:, None]
    nodes = jax.tree.map(jax.lax.stop_gradient, _nodes(offset, mixture.sigma, data, count, tilt))
    k = (nodes.place - offset[..., None]) / mixture.sigma[..., None]
    height = -0.5 * (k**2 + _residual(nodes.place, snr[..., None], reference[..., None]) ** 2)
    if tilt:
        height = height + tilt * (_C * nodes.place + jnp.log(reference)[..., None])
    return nodes, height - jnp.log(mixture.sigma)[..., None]


def _reference(data: ParallaxInErrors) -> jax.Array:
    """Return the parallax, in errors, of the reference magnitude of the nodes, shape (star, 1)."""
    return jnp.maximum(data.snr, 1)[:, None]


def _residual(place: jax.Array, snr: jax.Array, reference: jax.Array) -> jax.Array:
    """Return the model parallax minus the observed one, in errors, without cancellation if they agree."""
    return reference * jnp.expm1(_C * place) + (reference - snr)


def _nodes(offset: jax.Array, sigma: jax.Array, data: ParallaxInErrors, count: int, tilt: float) -> _Nodes:
    """Place nodes where component times likelihood is not negligible.

    Parameters
    ----------
    offset, sigma
        Mean minus the magnitude of the data, and standard deviation of each component, shape (star, component).
    data
        Parallaxes, shape (star,).
    count
        Number of nodes.
    tilt
        Power of the model's parallax that multiplies the integrand.
    """
    snr, reference = data.snr[:, None], _reference(data)
    place = offset / (1 + (sigma * _C * reference) ** 2)
    for _ in range(_STEPS):  # Gauss and Newton, towards the mode
        slope_of_residual = _C * reference * jnp.exp(_C * place)
        slope = -(place - offset) / sigma**2 - _residual(place, snr, reference) * slope_of_residual + tilt * _C
        step = slope / (1 / sigma**2 + slope_of_residual**2)
        place = place + jnp.clip(step, -_LONGEST_STEP, _LONGEST_STEP)
    k, z = (place - offset) / sigma, _residual(place, snr, reference)
    # Beyond this reach one squared term alone exceeds the cut-off, so the integrand is negligible.
    reach = jnp.sqrt(2 * _FALL + k**2 + z**2) + tilt * _C * sigma
    faintest = jnp.minimum(offset + sigma * reach, _place_of(snr + reach - reference, reference))
    brightest = offset - sigma * reach
    bounded = snr > reach
    brightest = jnp.where(
        bounded, jnp.maximum(brightest, _place_of(jnp.where(bounded, snr - reach - reference, 0), reference)), brightest
    )
    # A wide component has a long tail beyond a narrow likelihood: nodes are dense at the mode and sparse far from it.
    width = 1 / jnp.sqrt(1 / sigma**2 + (_C * (snr + z)) ** 2)
    first, last = jnp.arcsinh((brightest - place) / width), jnp.arcsinh((faintest - place) / width)
    even = first[..., None] + (last - first)[..., None] * jnp.linspace(0, 1, count, dtype=offset.dtype)
    stretch = width * (last - first) / (count - 1)
    return _Nodes(place[..., None] + width[..., None] * jnp.sinh(even), stretch[..., None] * jnp.cosh(even))


def _place_of(excess: jax.Array, reference: jax.Array) -> jax.Array:
    """Return the position at which the model parallax is a given number of errors above the reference."""
    return jnp.log1p(excess / reference) / _C


def binary_probability(
    mixture: Mixture, data: ParallaxInErrors, jacobian: Jacobian = "none", spurious: Spurious | None = None
) -> jax.Array:
    """Return the probability that a star belongs to the brighter of two components (Eq. 9), shape (star,).

    Parameters
    ----------
    mixture
        Of shape (star, network, component), two components each.
    data, jacobian, spurious
        As in `log_probabilities`.
    """
    each = log_probabilities(mixture.pooled(), data, jacobian, spurious).reshape(mixture.mean.shape)
    single, binary = jnp.moveaxis(jax.nn.logsumexp(each, axis=1), -1, 0)
    return jax.nn.sigmoid(binary - single)


class Points(NamedTuple):
    """A distribution of magnitudes as weighted points.

    Parameters
    ----------
    magnitude
        Increasing, mag, shape (star, node).
    mass
        Adds up to 1, shape (star, node).
    """

    magnitude: jax.Array
    mass: jax.Array

    def below(self, magnitude: jax.Array) -> jax.Array:
        """Return the probability of less (brighter) than a magnitude per star, shape (star,)."""
        return jax.vmap(jnp.interp)(magnitude, self.magnitude, self._below())

    def quantiles(self, levels: jax.Array) -> jax.Array:
        """Return the magnitudes below which given fractions of the mass lie, shape (level, star).

        Parameters
        ----------
        levels
            The fractions, shape (level,), or (star, level) where every star has its own.
        """
        by_star = 0 if levels.ndim == 2 else None
        return jax.vmap(jnp.interp, in_axes=(by_star, 0, 0), out_axes=1)(levels, self._below(), self.magnitude)

    def _below(self) -> jax.Array:
        # Rounding may make the sum slightly larger than 1.
        return jnp.clip(jnp.cumsum(self.mass, axis=-1) - 0.5 * self.mass, 0, 1)


def points(mixture: Mixture) -> Points:
    """Return P(M) of Eq. 7 as points, spaced by a quarter of the width of each component.

    Parameters
    ----------
    mixture
        Of shape (star, component).
    """
    k = jnp.linspace(-4.5, 4.5, 37, dtype=mixture.mean.dtype)
    place = mixture.mean[..., None] + mixture.sigma[..., None] * k
    return _in_order(place, mixture.log_weight[..., None] - 0.5 * k**2)


def points_with_parallax(mixture: Mixture, data: ParallaxInErrors, spurious: Spurious | None = None) -> Points:
    """Return P(M) times the likelihood of the star's own parallax as points; arguments as in `log_probabilities`."""
    places, log_masses = [], []
    for part in _parts(data, spurious):
        nodes, height = _integrand(mixture, part.data, _NODES_OF_DISTRIBUTION)
        places.append(nodes.place + part.data.magnitude[:, None, None])
        prior = mixture.log_weight + part.log_height[..., None]
        log_masses.append(prior[..., None] + height + jnp.log(nodes.weight))
    return _in_order(jnp.concatenate(places, axis=-1), jnp.concatenate(log_masses, axis=-1))


def _in_order(place: jax.Array, log_mass: jax.Array) -> Points:
    """Return the points of all components together; those of components without weight go to the end."""
    place, log_mass = (values.reshape(len(values), -1) for values in (place, log_mass))
    # In between they would be steps of the distribution function where there are none.
    some = log_mass != -jnp.inf
    place = jnp.where(some, place, jnp.max(jnp.where(some, place, -jnp.inf), axis=-1, keepdims=True))
    order = jnp.argsort(place, axis=-1)
    mass = jax.nn.softmax(jnp.take_along_axis(log_mass, order, axis=-1), axis=-1)
    return Points(jnp.take_along_axis(place, order, axis=-1), mass)
