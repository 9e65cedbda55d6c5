"""Losses in parallax (section 3.2.1, Eq. 4): linear in the parallax, so that negative ones can be used."""

from __future__ import annotations

from specdis.jaxed import jax, jnp


def chi2(model: jax.Array, parallax: jax.Array, error: jax.Array) -> jax.Array:
    """Return the chi-square of each star, Eq. 4.

    Parameters
    ----------
    model
        Parallax in mas that the label and the magnitude predict, label x 10^(2 - m/5), shape (star,).
    parallax, error
        Observed parallax and its error in mas, shape (star,).
    """
    return ((model - parallax) / error) ** 2


def robust(model: jax.Array, parallax: jax.Array, error: jax.Array, huber: float, scatter: float) -> jax.Array:
    """Return a robust form of Eq. 4, for parallaxes whose errors are smaller than other deviations from the model.

    At a parallax S/N of hundreds the scatter of luminosity at given spectrum, companions and wrong parallaxes
    dominate. A fraction `scatter` of the model parallax is added to the error in quadrature (with its normalisation,
    so that a larger model has no advantage), and beyond `huber` sigma the loss grows linearly (Huber 1964).

    Parameters
    ----------
    model, parallax, error
        As in `chi2`.
    huber
        Residual in sigma where the loss turns linear.
    scatter
        Scatter of the label at given spectrum as a fraction of it.

    Returns
    -------
    Array, shape (star,)
        Twice the negative logarithm of the likelihood within `huber` sigma, up to a constant of the data.
    """
    variance = error**2 + (scatter * model) ** 2
    residual = jnp.abs(model - parallax) / jnp.sqrt(variance)
    bounded = jnp.where(residual < huber, residual**2, huber * (2 * residual - huber))
    return bounded + jnp.log(variance / error**2)
