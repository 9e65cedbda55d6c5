"""Columns of distances.parquet: magnitudes, distances, errors and flags (section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy.special import ndtri

from specdis.arrays import Array, Float64
from specdis.distances.answers import Labels, Magnitudes
from specdis.distances.settings import DistancesSettings
from specdis.distances.targets import Targets
from specdis.flags import Flag
from specdis.network.settings import MIXTURE_PARTS
from specdis.photometry import absolute_magnitude, distance, distance_of_modulus, label_of_magnitude, sqrt_flux

_MAGNITUDES = 5 / np.log(10)
"""Magnitudes per unit relative error of a distance."""
LEVELS = (0.05, 0.16, 0.50, 0.84, 0.95)
"""Quoted quantiles of the distance, as fractions."""
QUANTILES = tuple(f"DIST_{round(100 * level):02d}" for level in LEVELS)
"""Their columns."""
FARTHEST = 1e4
"""Largest distance, kpc, beyond that of any observed star: the brightest have a magnitude of 20 there."""

_POINTS, _GENERATOR = 610, 377
"""Number of points of a Fibonacci lattice, which pairs levels of the noise and of the training error evenly.

The fraction below a quantile of the sum of two Gaussians is accurate to 0.5 per cent, for any ratio of their widths."""


def summarise_labels(
    labels: Labels, targets: Targets, constant_error: float, settings: DistancesSettings
) -> dict[str, Array]:
    """Turn labels into magnitudes, distances, errors and quantiles, as the paper does.

    The label of a star is the mean over seeds, and so are its draws. A label <= 0 has no magnitude and no distance: NaN
    and a flag. A draw <= 0 means infinite distance: quantiles use all draws, but the standard deviations of such a star
    are null. Errors and quantiles include noise and training error, added as in section 3.3. With a single seed there
    is no training error, and they include only the noise. Those of distances include the error of A_G as well.

    Parameters
    ----------
    labels
        Labels of the stars and of their draws.
    targets
        The stars; without a magnitude they have M_G alone.
    constant_error
        The paper's training error, mag.
    settings
        Section [distances].

    Returns
    -------
    dict
        Columns LABEL, M_G_NN, M_G_NN_ERR, M_G_NN_ERR_NOISE, M_G_NN_ERR_TRAINING (mag), DIST, DISTERR, DIST_05 to
        DIST_95 (kpc), DISTMOD, DISTMOD_ERR (mag), FRACTION_UNBOUND and FLAGS, shape (star,).
    """
    magnitude, of_dust = targets.magnitude, targets.magnitude_error
    label, draws = labels.label.mean(0), labels.draws.mean(0)
    absolute, kpc = absolute_magnitude(label), distance(label, magnitude)
    has_draws = np.isfinite(draws).all(0)
    unbound = np.where(has_draws, (draws <= 0).mean(0), np.nan)
    noise, kpc_noise = absolute_magnitude(draws).std(0, ddof=1), distance(draws, magnitude).std(0, ddof=1)
    spread, training = np.full(len(label), np.nan), np.zeros(len(label))  # no training error from a single seed
    if len(labels.label) > 1:
        spread = absolute_magnitude(labels.label).std(0, ddof=1)
        training = np.full(len(label), constant_error)
        if settings.training_error == "star":
            # If a seed gives a label <= 0 there are no magnitudes to compare, but the labels still have a scatter.
            relative = labels.label.std(0, ddof=1) / np.where(label > 0, label, np.nan)
            training = np.where(np.isfinite(spread), spread, _MAGNITUDES * relative)
    total = np.hypot(noise, training)
    beside_noise = np.hypot(training, of_dust)
    quantiles = _quantiles(draws, beside_noise, magnitude, settings.method)
    columns = {
        "M_G_NN_ERR": total,
        "M_G_NN_ERR_NOISE": noise,
        "M_G_NN_ERR_TRAINING": spread,
        "DISTERR": np.hypot(kpc_noise, kpc * beside_noise / _MAGNITUDES),
        "DISTMOD_ERR": np.where(np.isfinite(magnitude), np.hypot(total, of_dust), np.nan),
        "FRACTION_UNBOUND": unbound,
    }
    errors = {name: np.where(np.isfinite(label), values, np.nan) for name, values in columns.items()}
    positive = label > 0
    return _within_reach(
        {
            "LABEL": label,
            "M_G_NN": absolute,
            "DIST": kpc,
            **{name: np.where(positive, values, np.nan) for name, values in quantiles.items()},
            "DISTMOD": magnitude - absolute,
            **{
                name: np.where(positive | (name == "FRACTION_UNBOUND"), values, np.nan).astype(np.float32)
                for name, values in errors.items()
            },
            "FLAGS": _flags(label, magnitude, has_draws, unbound),
        }
    )


def _quantiles(
    draws: Float64, error: Float64, magnitude: Float64, method: Literal["monte-carlo", "linear"]
) -> dict[str, Float64]:
    """Return the distances in kpc at `LEVELS` of the distribution; infinite where its label is <= 0.

    The distribution is that of a label with the noise of the draws, times 10^(e/5) for a further error of e mag. A
    label <= 0 stays so for any such error. Points of a lattice replace random numbers: the noise takes each of many
    levels once, and the other error each level of its Gaussian once, independently.

    Parameters
    ----------
    draws
        Labels, shape (draw, star).
    error
        Training error and that of A_G together, mag, shape (star,).
    magnitude
        Extinction-corrected G magnitude, shape (star,).
    method
        Origin of the draws, which decides the share below the k-th of n: k / (n + 1) for equally likely values, in the
        mean, or (k - 1/2) / n for evenly spaced levels of a Gaussian.
    """
    place = np.arange(_POINTS)
    noise_level = (place + 0.5) / _POINTS
    # The offset makes the lattice symmetric about the middle of both.
    error_level = ((_GENERATOR * place + (_GENERATOR - 1 + _POINTS) // 2) % _POINTS + 0.5) / _POINTS
    rule: Literal["weibull", "hazen"] = "weibull" if method == "monte-carlo" else "hazen"
    noisy = np.quantile(draws, noise_level, axis=0, method=rule)
    noisy *= label_of_magnitude(np.multiply.outer(ndtri(error_level), error))
    labels = np.quantile(noisy, [1 - level for level in LEVELS], axis=0, method="hazen", overwrite_input=True)
    with np.errstate(divide="ignore"):
        return dict(zip(QUANTILES, 1 / (np.maximum(labels, 0) * sqrt_flux(magnitude)), strict=True))


def summarise_mixture(magnitudes: Magnitudes, targets: Targets) -> dict[str, Array]:
    """Turn distributions of magnitude into magnitudes, distances, errors and quantiles.

    The magnitude of a star is the median. Its error is half of the range from the 16 to the 84 per cent
    quantile, which includes the width predicted for such spectra with their noise, and the scatter between networks;
    the scatter of draws is quoted separately, and not added again. Distances have the error of A_G in addition: the
    distance of each quantile from the median grows in quadrature by as many times that error as in a Gaussian.

    Parameters
    ----------
    magnitudes
        Answers of the mixture networks.
    targets
        The stars; without a magnitude they have M_G alone.

    Returns
    -------
    dict
        The columns of `summarise_labels` except LABEL and FRACTION_UNBOUND, since every magnitude has a distance; and
        PROB_GIANT, MIX_SHIFT, MIX_STRETCH and those of the `RELEASED` Gaussians, shape (star,).
    """
    magnitude, (_, faint, middle, bright, _) = targets.magnitude, magnitudes.quantiles
    levels = ndtri(np.asarray(LEVELS))[:, None]
    farther = np.sign(levels) * np.hypot(magnitudes.quantiles - middle, levels * targets.magnitude_error)
    kpc = distance_of_modulus(magnitude - middle + farther)
    error = 0.5 * (faint - bright)
    has_draws = np.asarray(np.isfinite(magnitudes.draws).all(0))
    single = {
        "M_G_NN_ERR": error,
        "M_G_NN_ERR_NOISE": np.where(has_draws, magnitudes.draws.std(0, ddof=1), np.nan),
        "M_G_NN_ERR_TRAINING": magnitudes.spread,
        "DISTERR": 0.5 * (kpc[3] - kpc[1]),
        "DISTMOD_ERR": np.where(np.isfinite(magnitude), np.hypot(error, targets.magnitude_error), np.nan),
        "PROB_GIANT": magnitudes.giant,
        "MIX_SHIFT": magnitudes.shift,
        "MIX_STRETCH": magnitudes.stretch,
        **mixture_columns((magnitudes.weight, magnitudes.mean, magnitudes.sigma)),
    }
    return _within_reach(
        {
            "M_G_NN": middle,
            "DIST": kpc[2],
            **dict(zip(QUANTILES, kpc, strict=True)),
            "DISTMOD": magnitude - middle,
            **{name: values.astype(np.float32) for name, values in single.items()},
            "FLAGS": _flags(np.where(np.isfinite(middle), 1.0, np.nan), magnitude, has_draws, np.zeros(len(middle))),
        }
    )


def mixture_columns(parts: Sequence[Array]) -> dict[str, Array]:
    """Return the columns of Gaussians from their fractions, means and standard deviations, shape (component, star)."""
    return {
        f"{name}_{number}": column
        for name, columns in zip(MIXTURE_PARTS, parts, strict=True)
        for number, column in enumerate(columns, start=1)
    }


NETWORK_SUFFIXES = {"label": "LABEL", "mixture": "MIX"}
"""Ending of the columns of each network, by `network.kind`."""


def summarise(
    labels: dict[str, Array], mixture: dict[str, Array], kind: Literal["label", "mixture"]
) -> dict[str, Array]:
    """Join the columns of both kinds of network.

    Parameters
    ----------
    labels, mixture
        `summarise_labels` and `summarise_mixture` of the same stars.
    kind
        The kind for the columns without suffix.

    Returns
    -------
    dict
        The columns of that kind; LABEL, FRACTION_UNBOUND, PROB_GIANT and the Gaussians; and DIST, DISTERR, M_G_NN
        and M_G_NN_ERR of either, with the suffixes `_LABEL` and `_MIX`. FLAGS are those of both, because
        the columns _LABEL, and with them binaries, always depend on the label network.
    """
    chosen = labels if kind == "label" else mixture
    by_kind = {
        f"{name}_{suffix}": columns[name]
        for suffix, columns in zip(NETWORK_SUFFIXES.values(), (labels, mixture), strict=True)
        for name in ("DIST", "DISTERR", "M_G_NN", "M_G_NN_ERR")
    }
    return {**labels, **mixture, **chosen, **by_kind, "FLAGS": labels["FLAGS"] | mixture["FLAGS"]}


def _within_reach(columns: dict[str, Array]) -> dict[str, Array]:
    """Return the columns without distances beyond `FARTHEST`, which are flagged: the magnitude or G must be wrong."""
    beyond = columns["DIST"] > FARTHEST
    nulls = {
        name: np.where(beyond, np.nan, columns[name]).astype(columns[name].dtype)
        for name in ("DIST", "DISTERR", "DISTMOD", "DISTMOD_ERR", *QUANTILES)
    }
    return {**columns, **nulls, "FLAGS": columns["FLAGS"] | np.where(beyond, Flag.BEYOND_REACH, 0).astype(np.int32)}


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
