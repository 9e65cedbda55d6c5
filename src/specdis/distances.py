"""Absolute magnitudes and distances with their errors (section 3.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field

from specdis import streams
from specdis.accelerator import ArrayLike, jax, jnp
from specdis.arrays import Array, Float64
from specdis.components import Basis
from specdis.flags import Flag
from specdis.noise import NativePlaces, Noise, perturber
from specdis.photometry import absolute_magnitude, distance, sqrt_flux
from specdis.settings import Settings
from specdis.spectra import PixelGrid, SpectraSettings, Transform
from specdis.training import Ensemble

_MAGNITUDES = 5 / np.log(10)
"""Magnitudes per unit relative error of a distance."""


class DistancesSettings(Settings):
    """Section [distances]: section 3.3 of the paper."""

    method: Literal["monte-carlo"] = "monte-carlo"
    """How the error of a spectrum becomes an error of the distance."""
    n_draws: Annotated[int, Field(ge=2)] = 20
    """Perturbed versions of each spectrum; a standard deviation needs two."""
    noise: Noise = "native"
    """Noise drawn at the native pixels, or, as in the paper, independently at the pixels of the grid."""
    training_error: Literal["constant", "star"] = "constant"
    """Training error in the total: one constant as in the paper, or each star's own spread between seeds."""


class Labels(NamedTuple):
    """What the networks say of some stars.

    Parameters
    ----------
    label
        1/sqrt(L_G) of Eq. 3 from the spectrum itself, by every seed, shape (seed, star); NaN without a spectrum.
    draws
        The same from perturbed spectra, shape (seed, draw, star); NaN for stars without errors.
    """

    label: Float64
    draws: Float64


def star_keys(seed: int, *identifier: Array) -> Array:
    """Return one random key per star, uint32, shape (star, 2), for its Monte-Carlo draws."""
    hashed = streams.hash64(streams.stream(seed, "noise"), *identifier)
    return np.ascontiguousarray(hashed).view("<u4").reshape(-1, 2)


def drawer(
    grid: PixelGrid,
    spectra: SpectraSettings,
    transform: Transform,
    basis: Basis,
    scale: float,
    ensemble: Ensemble,
    settings: DistancesSettings,
) -> Callable[[ArrayLike, ArrayLike, ArrayLike, NativePlaces, ArrayLike, ArrayLike], jax.Array]:
    """Compile the Monte-Carlo draws: perturbed spectra through the same transform, the fixed basis and the networks.

    Returns
    -------
    callable
        Takes flux, sigma, bad (star, pixel), places, keys (star, 2) and fold (star,); returns labels, shape
        (seed, draw, star).
    """
    perturb = perturber(grid, spectra, settings.n_draws, settings.noise)

    @jax.jit
    def draw(
        flux: jax.Array, sigma: jax.Array, bad: jax.Array, places: NativePlaces, keys: jax.Array, fold: jax.Array
    ) -> jax.Array:
        spectra = perturb(flux, sigma, bad, places, keys)
        n_star, n_draw, n_pixel = spectra.shape
        unit = transform(spectra.reshape(-1, n_pixel), jnp.repeat(bad, n_draw, axis=0))
        labels = ensemble.held_out_labels(basis.project(unit) / scale, jnp.repeat(fold, n_draw))
        return labels.reshape(-1, n_star, n_draw).swapaxes(1, 2)

    return draw


def training_error(label: Float64) -> float:
    """Return the paper's one training error in mag: the scatter between seeds over all stars (section 3.3.2).

    Parameters
    ----------
    label
        Labels, shape (seed, star). Stars with any label <= 0 are left out. NaN with a single seed.
    """
    if len(label) < 2:
        return float("nan")
    magnitude = absolute_magnitude(label[:, (label > 0).all(0)])
    return float(np.sqrt(magnitude.var(0, ddof=1).mean())) if magnitude.size else float("nan")


def summarise(
    labels: Labels, magnitude: Float64, constant_error: float, settings: DistancesSettings
) -> dict[str, Array]:
    """Turn labels into magnitudes, distances, errors and quantiles.

    The label of a star is the mean over seeds. A label <= 0 has no magnitude and no distance: NaN and a flag. A draw
    <= 0 lies at infinity: quantiles use all draws, of all seeds, but the standard deviations of such a star are null.
    So is the spread between seeds where one of them gives a label <= 0, or where there is one seed alone; then the
    total error is that of the noise.

    Parameters
    ----------
    labels
        Labels of the stars and of their draws.
    magnitude
        Extinction-corrected G magnitude, shape (star,); NaN gives M_G alone.
    constant_error
        The paper's training error, mag.
    settings
        Section [distances].

    Returns
    -------
    dict
        Columns LABEL, M_G_NN, M_G_NN_ERR, M_G_NN_ERR_NOISE, M_G_NN_ERR_TRAINING (mag), DIST, DISTERR, DIST_16,
        DIST_50, DIST_84 (kpc), DISTMOD, DISTMOD_ERR (mag), FRACTION_UNBOUND and FLAGS, shape (star,).
    """
    label, draws = labels.label.mean(0), labels.draws.mean(0)
    absolute, kpc = absolute_magnitude(label), distance(label, magnitude)
    has_draws = np.isfinite(draws).all(0)
    unbound = np.where(has_draws, (draws <= 0).mean(0), np.nan)
    noise, kpc_noise = absolute_magnitude(draws).std(0, ddof=1), distance(draws, magnitude).std(0, ddof=1)
    spread, training = np.full(len(label), np.nan), np.zeros(len(label))  # one seed tells nothing of the training
    if len(labels.label) > 1:
        spread = absolute_magnitude(labels.label).std(0, ddof=1)
        training = spread if settings.training_error == "star" else np.full(len(label), constant_error)
    total = np.hypot(noise, training)
    near, middle, far = _quantiles(labels.draws, magnitude)
    columns = {
        "M_G_NN_ERR": total,
        "M_G_NN_ERR_NOISE": noise,
        "M_G_NN_ERR_TRAINING": spread,
        "DISTERR": np.hypot(kpc_noise, kpc * training / _MAGNITUDES),
        "DISTMOD_ERR": np.where(np.isfinite(magnitude), total, np.nan),
        "FRACTION_UNBOUND": unbound,
    }
    errors = {name: np.where(np.isfinite(label), values, np.nan) for name, values in columns.items()}
    positive = label > 0
    return {
        "LABEL": label,
        "M_G_NN": absolute,
        "DIST": kpc,
        "DIST_16": np.where(positive, near, np.nan),
        "DIST_50": np.where(positive, middle, np.nan),
        "DIST_84": np.where(positive, far, np.nan),
        "DISTMOD": magnitude - absolute,
        **{
            name: np.where(positive | (name == "FRACTION_UNBOUND"), values, np.nan).astype(np.float32)
            for name, values in errors.items()
        },
        "FLAGS": _flags(label, magnitude, has_draws, unbound),
    }


def _quantiles(draws: Float64, magnitude: Float64) -> tuple[Float64, Float64, Float64]:
    """Return the distances in kpc that 16, 50 and 84 % of all draws lie within; infinite where the label is <= 0."""
    everything = draws.reshape(-1, draws.shape[-1])
    with np.errstate(divide="ignore"):
        near, middle, far = 1 / (
            np.maximum(np.quantile(everything, (0.84, 0.50, 0.16), axis=0), 0) * sqrt_flux(magnitude)
        )
    return near, middle, far


def _flags(label: Float64, magnitude: Float64, has_draws: Array, unbound: Float64) -> Array:
    """Return the bits that concern the prediction, int32, shape (star,)."""
    has_label = np.isfinite(label)
    reasons = {
        Flag.NO_SPECTRUM: ~has_label,
        Flag.LABEL_NOT_POSITIVE: label <= 0,
        Flag.DRAW_NOT_POSITIVE: unbound > 0,
        Flag.NO_ERROR_SPECTRUM: has_label & ~has_draws,
        Flag.NO_MAGNITUDE: ~np.isfinite(magnitude),
    }
    return np.asarray(sum(np.where(rows, int(flag), 0) for flag, rows in reasons.items()), dtype=np.int32)
