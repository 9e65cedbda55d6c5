"""Fewer Gaussians for one distribution: those that a catalogue can hold."""

from __future__ import annotations

from specdis.jaxed import jax, jnp
from specdis.network.mixture import Mixture

Parts = tuple[jax.Array, jax.Array, jax.Array]
"""Fraction, mean and variance of Gaussians in the order of their means, shape (star, component)."""


def reduced(mixture: Mixture, components: int) -> Mixture:
    """Merge Gaussians until few are left; the mean and the variance of the whole stay.

    Each step merges the two neighbours, in the order of their means, whose merging changes the distribution least by
    the bound of Runnalls (2007, IEEE Trans. Aerosp. Electron. Syst. 43, 989). A Gaussian of fraction 0 costs nothing
    and goes first.

    Parameters
    ----------
    mixture
        Of shape (star, component).
    components
        Number of Gaussians to keep.

    Returns
    -------
    Mixture
        Of shape (star, `components`), in the order of the means. If the mixture has fewer, the others have fraction 0
        and repeat the mean and the standard deviation of one that counts.
    """
    weight, mean, sigma = jnp.exp(mixture.log_weight), mixture.mean, mixture.sigma
    order = jnp.argsort(jnp.where(weight > 0, mean, jnp.inf), axis=-1)
    weight, mean, sigma = (jnp.take_along_axis(values, order, axis=-1) for values in (weight, mean, sigma))
    missing = components - mean.shape[-1]
    if missing > 0:
        weight, mean, sigma = (jnp.pad(values, ((0, 0), (0, missing))) for values in (weight, mean, sigma))
    parts = weight, mean, sigma**2
    for _ in range(-missing):
        parts = _merged(parts)
    weight, mean, variance = parts
    last = jnp.maximum((weight > 0).sum(-1, keepdims=True) - 1, 0)
    mean, variance = (
        jnp.where(weight > 0, values, jnp.take_along_axis(values, last, axis=-1)) for values in (mean, variance)
    )
    return Mixture(jnp.log(weight), mean, jnp.sqrt(variance))


def _merged(parts: Parts) -> Parts:
    """Merge the cheapest pair of neighbours."""
    weight, mean, variance = parts
    left, right = slice(None, -1), slice(1, None)
    pair = weight[:, left] + weight[:, right]
    share = weight[:, left] / jnp.where(pair > 0, pair, 1)
    middle = share * mean[:, left] + (1 - share) * mean[:, right]
    between = share * (1 - share) * (mean[:, left] - mean[:, right]) ** 2
    whole = share * variance[:, left] + (1 - share) * variance[:, right] + between
    own = weight * jnp.log(variance)
    cost = jnp.where(weight[:, right] > 0, pair * jnp.log(whole) - own[:, left] - own[:, right], -jnp.inf)
    first = jnp.argmin(cost, axis=-1)[:, None]
    place = jnp.arange(mean.shape[-1] - 1)

    def put(values: jax.Array, joint: jax.Array) -> jax.Array:
        return jnp.where(place < first, values[:, left], jnp.where(place == first, joint, values[:, right]))

    return put(weight, pair), put(mean, middle), put(variance, whole)
