"""Absolute magnitudes and distances with their errors (section 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field
from scipy.special import ndtri

from specdis import streams
from specdis.accelerator import in_tiles, jax, jnp
from specdis.arrays import Array, Bool, Float64
from specdis.encoding import Completer, Completion
from specdis.flags import Flag
from specdis.network.mixture import Mixture, ParallaxInErrors, Points, points, points_with_parallax
from specdis.noise import NativePixels, Noise, perturber, propagator
from specdis.photometry import (
    absolute_magnitude,
    distance,
    distance_of_modulus,
    label_of_magnitude,
    parallax,
    sqrt_flux,
)
from specdis.settings import Settings, departs
from specdis.spectra import PixelGrid, SpectraSettings, Transform
from specdis.surveys.base import IDENTIFIER
from specdis.training import Ensemble

_MAGNITUDES = 5 / np.log(10)
"""Magnitudes per unit relative error of a distance."""
LEVELS = (0.05, 0.16, 0.50, 0.84, 0.95)
"""Quantiles of the distance that are quoted, as fractions."""
QUANTILES = tuple(f"DIST_{round(100 * level):02d}" for level in LEVELS)
"""Their columns."""
FARTHEST = 1e4
"""kpc: farther than any star whose spectrum a survey takes; the brightest have a magnitude of 20 there."""

_POINTS, _GENERATOR = 610, 377
"""A Fibonacci lattice: every level of the noise is met by a level of the training error, spread evenly over both.

What lies below a quantile of two Gaussians' sum is right to 0.5 per cent of all, whichever is the wider."""
GIANT_MAGNITUDE = 3.5
"""Absolute G magnitude that giants are brighter than: log g < 3.8 on the isochrones of old stars."""


class DistancesSettings(Settings):
    """Section [distances]: section 3.3 of the paper."""

    method: Literal["monte-carlo", "linear"] = "monte-carlo"
    """How the error of a spectrum becomes an error of the distance: by perturbed versions, or by derivatives."""
    n_draws: Annotated[int, Field(ge=2, le=10_000)] = 20
    """Perturbed versions of each spectrum, or points of the Gaussian that stands for them."""
    noise: Noise = departs("native", paper="paper")
    """Noise drawn at the native pixels, or, as in the paper, independently at the pixels of the grid."""
    training_error: Literal["constant", "star"] = "constant"
    """Training error in the label's errors and quantiles: one constant as in the paper, or each star's own spread
    between seeds."""
    use_own_parallax: bool = False
    """Whether the mixture's distances take the star's own parallax in; without it they can be combined with Gaia."""


TARGET_COLUMNS = ("G_0", "PARALLAX_CORRECTED", "PARALLAX_ERROR_USED", "SN", "FOLD")
"""Columns of a sample that `Targets.of` reads besides the identifier."""


class Targets(NamedTuple):
    """What predicting needs of stars besides their spectra, one row per star.

    Parameters
    ----------
    magnitude
        Extinction-corrected G magnitude, shape (star,); NaN gives absolute magnitudes alone.
    parallax, error
        Corrected parallax and its error in mas, shape (star,); NaN where there is none: no probability of a binary.
    snr
        S/N of the spectrum, on which the recalibration depends, shape (star,); NaN where it is not known.
    fold
        Fold that holds each star out, shape (star,); -1 for the mean over all folds.
    keys
        Random keys from `star_keys`, shape (star, 2).
    """

    magnitude: Float64
    parallax: Float64
    error: Float64
    snr: Float64
    fold: Array
    keys: Array

    @classmethod
    def of(cls, stars: Mapping[str, Array], seed: int) -> Targets:
        """Return the targets among the columns of a sample."""
        magnitude, parallax, error, snr, fold = (stars[name] for name in TARGET_COLUMNS)
        keys = star_keys(seed, *(stars[name] for name in IDENTIFIER))
        return cls(magnitude, parallax, error, np.asarray(snr, np.float64), fold, keys)

    def take(self, rows: Array | slice) -> Targets:
        """Return some of the stars."""
        return Targets._make(column[rows] for column in self)

    def brighter(self, excess: Float64) -> Targets:
        """Return the stars as they would be so many mag brighter at the same distance."""
        return self._replace(magnitude=self.magnitude - excess)

    def with_parallax_of(self, magnitude: Float64) -> Targets:
        """Return the stars with the parallaxes that other absolute magnitudes, of shape (star,), would give them."""
        return self._replace(parallax=parallax(label_of_magnitude(magnitude), self.magnitude))

    @property
    def has_parallax(self) -> Bool:
        """Which stars have a magnitude and a parallax with an error."""
        return np.isfinite(self.magnitude) & np.isfinite(self.parallax) & (self.error > 0)

    def parallaxes(self) -> ParallaxInErrors:
        """Return the parallaxes in units of their errors; 0 +- 1 mas at magnitude 20 where there is none."""
        there = self.has_parallax
        filled = (
            np.where(there, self.magnitude, 20),
            np.where(there, self.parallax, 0),
            np.where(there, self.error, 1),
        )
        return ParallaxInErrors.of(*filled)


class Labels(NamedTuple):
    """What the networks of the label say of some stars.

    Parameters
    ----------
    label
        1/sqrt(L_G) of Eq. 3 from the spectrum itself, by every seed, shape (seed, star); NaN without a spectrum.
    draws
        The same from perturbed spectra, shape (seed, draw, star); NaN for stars without errors.
    """

    label: Float64
    draws: Float64


class Magnitudes(NamedTuple):
    """What the networks of the mixture say of some stars.

    Parameters
    ----------
    quantiles
        Absolute magnitudes below which `LEVELS` of the recalibrated distribution lie, in the order of distances: the
        first is the faintest; shape (level, star). NaN without a spectrum.
    giant
        Probability of an absolute magnitude below `GIANT_MAGNITUDE`, shape (star,).
    spread
        Standard deviation between networks of their mean magnitudes, mag, shape (star,); NaN for a single network.
    draws
        Mean magnitude from perturbed spectra, shape (draw, star); NaN for stars without errors.
    shift, stretch
        What recalibration moved the distribution by, mag, and widened it by, a factor; shape (star,).
    """

    quantiles: Float64
    giant: Float64
    spread: Float64
    draws: Float64
    shift: Float64
    stretch: Float64


def star_keys(seed: int, *identifier: Array, purpose: str = "noise") -> Array:
    """Return one random key per star, uint32, shape (star, 2), for its Monte-Carlo draws or another purpose."""
    hashed = streams.hash64(streams.stream(seed, purpose), *identifier)
    return np.ascontiguousarray(hashed).view("<u4").reshape(-1, 2)


class Chain(NamedTuple):
    """All that lies between stored pixels and what the networks say of them.

    Parameters
    ----------
    grid, spectra
        The pixels, and how they were normalised.
    transform, completer
        What is done to them, and the way on to coefficients.
    scale
        The number by which coefficients are divided before the networks see them.
    label, mixture
        The networks of the label and those of the mixture.
    """

    grid: PixelGrid
    spectra: SpectraSettings
    transform: Transform
    completer: Completer
    scale: float
    label: Ensemble
    mixture: Ensemble

    def answers(self, inputs: jax.Array, fold: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return labels, shape (seed, star), and mean magnitudes of the mixture, (star,), of scaled coefficients."""
        labels = self.label.held_out_labels(inputs, fold)
        return labels, self.mixture.held_out_mixture(inputs, fold).pooled().average


Draw = Callable[..., tuple[jax.Array, jax.Array]]
"""Takes flux, sigma, bad (star, pixel), velocity (star,), keys (star, 2), fold (star,), the coefficients (star,
component) of the spectra as they are, what completed them, and their native pixels; returns labels, shape (seed, draw,
star), and mean magnitudes of the mixture, (draw, star), of equally likely versions of the spectra."""


def drawer(chain: Chain, settings: DistancesSettings) -> Draw:
    """Compile the Monte-Carlo draws: perturbed spectra through the same transform, the fixed basis and the networks."""
    perturb = perturber(chain.grid, chain.spectra, settings.n_draws, settings.noise)

    @jax.jit
    def draw(
        flux: jax.Array,
        sigma: jax.Array,
        bad: jax.Array,
        velocity: jax.Array,
        keys: jax.Array,
        fold: jax.Array,
        coefficients: jax.Array,
        completion: Completion | None,
        native: NativePixels,
    ) -> tuple[jax.Array, jax.Array]:
        del coefficients

        def one(star: tuple[Any, ...]) -> jax.Array:
            flux, sigma, bad, velocity, key, completion = star
            versions = chain.transform.versions(perturb(flux, sigma, bad, velocity, key, native), bad)
            found = chain.completer.coefficients(versions.T, bad[chain.transform.kept], completion)
            if completion is None:
                return found
            normal = jax.random.normal(jax.random.wrap_key_data(key), found.shape, jnp.float32)
            return jnp.asarray(found + completion.versions(normal))

        # Star by star, so that what is computed of one never leaves the processor's cache.
        drawn = jax.lax.map(one, (flux, sigma, bad, velocity, keys, completion))
        n_star, n_draw, n_component = drawn.shape
        inputs = drawn.reshape(-1, n_component) / chain.scale
        labels, magnitudes = chain.answers(inputs, jnp.repeat(fold, n_draw))
        return labels.reshape(-1, n_star, n_draw).swapaxes(1, 2), magnitudes.reshape(n_star, n_draw).T

    return draw


def linear(chain: Chain, settings: DistancesSettings) -> Draw:
    """Compile the linear errors: exact derivatives of every step, instead of draws.

    Noise moves the mean label over seeds and the mean magnitude by a Gaussian of the width that derivatives give; for
    the draws stand as many points of this Gaussian, equally likely, which are the same for all seeds.
    """
    propagate = propagator(chain.grid, chain.spectra, settings.noise)
    points = ndtri((np.arange(settings.n_draws) + 0.5) / settings.n_draws)
    points = jnp.asarray(points / points.std(ddof=1), jnp.float32)

    @jax.jit
    def draw(
        flux: jax.Array,
        sigma: jax.Array,
        bad: jax.Array,
        velocity: jax.Array,
        keys: jax.Array,
        fold: jax.Array,
        coefficients: jax.Array,
        completion: Completion | None,
        native: NativePixels,
    ) -> tuple[jax.Array, jax.Array]:
        del keys

        def mean_answers(coefficients: jax.Array, fold: jax.Array) -> jax.Array:
            labels, magnitudes = chain.answers(coefficients[None] / chain.scale, fold[None])
            return jnp.stack([labels.mean(0)[0], magnitudes[0]])

        def one(
            flux: jax.Array,
            sigma: jax.Array,
            bad: jax.Array,
            velocity: jax.Array,
            slopes: jax.Array,
            completion: Completion | None,
        ) -> jax.Array:
            def steps(flux: jax.Array) -> jax.Array:
                spectrum = chain.transform.one(flux, bad)
                return chain.completer.coefficients(spectrum, bad[chain.transform.kept], completion)

            # A vector times the derivatives of all steps up to the coefficients, for each of the two answers.
            _, pull_back = jax.vjp(steps, flux.astype(jnp.float32))
            (per_pixel,) = jax.vmap(pull_back)(slopes)
            unseen = 0 if completion is None else completion.spread(slopes)
            return jnp.sqrt(propagate(flux, sigma, bad, velocity, per_pixel, native) + unseen)

        slopes = jax.vmap(jax.jacrev(mean_answers))(coefficients, fold)
        of_label, of_magnitude = in_tiles(one)(flux, sigma, bad, velocity, slopes, completion).T
        labels, magnitudes = chain.answers(coefficients / chain.scale, fold)
        return labels[:, None] + of_label * points[:, None], magnitudes + of_magnitude * points[:, None]

    return draw


def distribution(
    mixture: Mixture, data: ParallaxInErrors, has_parallax: jax.Array, settings: DistancesSettings
) -> Points:
    """Return the distribution of magnitude that distances are quoted from.

    Parameters
    ----------
    mixture
        Recalibrated, shape (star, component).
    data, has_parallax
        The star's own parallax, and whether there is one, shape (star,): used where `use_own_parallax` says so.
    """
    alone = points(mixture)
    if not settings.use_own_parallax:
        return alone
    both = points_with_parallax(mixture, data)
    nodes = max(alone.mass.shape[1], both.mass.shape[1])

    def widened(values: jax.Array, mode: str) -> jax.Array:
        return jnp.pad(values, ((0, 0), (0, nodes - values.shape[1])), mode=mode)

    return Points(
        jnp.where(has_parallax[:, None], widened(both.magnitude, "edge"), widened(alone.magnitude, "edge")),
        jnp.where(has_parallax[:, None], widened(both.mass, "constant"), widened(alone.mass, "constant")),
    )


def between_networks(mixture: Mixture) -> jax.Array:
    """Return the standard deviation between networks of their mean magnitudes, shape (star,), NaN for a single one.

    Parameters
    ----------
    mixture
        Shape (star, network, component); networks that saw the star have no weight.
    """
    weight = jnp.exp(mixture.log_weight)
    share = weight.sum(-1)
    mean = jnp.where(share > 0, (weight * mixture.mean).sum(-1) / jnp.where(share > 0, share, 1), 0)
    middle = (share * mean).sum(-1, keepdims=True)
    networks = (share > 0).sum(-1)
    variance = (share * (mean - middle) ** 2).sum(-1) * networks / jnp.maximum(networks - 1, 1)
    return jnp.where(networks > 1, jnp.sqrt(variance), jnp.nan)


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


def summarise_labels(
    labels: Labels, magnitude: Float64, constant_error: float, settings: DistancesSettings
) -> dict[str, Array]:
    """Turn labels into magnitudes, distances, errors and quantiles, as the paper does.

    The label of a star is the mean over seeds, and so are its draws. A label <= 0 has no magnitude and no distance: NaN
    and a flag. A draw <= 0 lies at infinity: quantiles use all draws, but the standard deviations of such a star are
    null. Errors and quantiles hold both the noise and the training error, as section 3.3 adds them. With one seed alone
    there is no training error: they are those of the noise.

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
        Columns LABEL, M_G_NN, M_G_NN_ERR, M_G_NN_ERR_NOISE, M_G_NN_ERR_TRAINING (mag), DIST, DISTERR, DIST_05 to
        DIST_95 (kpc), DISTMOD, DISTMOD_ERR (mag), FRACTION_UNBOUND and FLAGS, shape (star,).
    """
    label, draws = labels.label.mean(0), labels.draws.mean(0)
    absolute, kpc = absolute_magnitude(label), distance(label, magnitude)
    has_draws = np.isfinite(draws).all(0)
    unbound = np.where(has_draws, (draws <= 0).mean(0), np.nan)
    noise, kpc_noise = absolute_magnitude(draws).std(0, ddof=1), distance(draws, magnitude).std(0, ddof=1)
    spread, training = np.full(len(label), np.nan), np.zeros(len(label))  # one seed tells nothing of the training
    if len(labels.label) > 1:
        spread = absolute_magnitude(labels.label).std(0, ddof=1)
        training = np.full(len(label), constant_error)
        if settings.training_error == "star":
            # Where a seed gives a label <= 0 there are no magnitudes to compare; the labels still say how they scatter.
            relative = labels.label.std(0, ddof=1) / np.where(label > 0, label, np.nan)
            training = np.where(np.isfinite(spread), spread, _MAGNITUDES * relative)
    total = np.hypot(noise, training)
    quantiles = _quantiles(draws, training, magnitude, settings.method)
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
    draws: Float64, training: Float64, magnitude: Float64, method: Literal["monte-carlo", "linear"]
) -> dict[str, Float64]:
    """Return the distances in kpc that `LEVELS` of the distribution lie within; infinite where its label is <= 0.

    The distribution is that of a label with the noise of the draws, times 10^(e/5) for a training error of e mag. A
    label <= 0 stays so whatever the training error. It is not computed with random numbers: at the points of a lattice
    the noise takes each of many levels once and the error each level of its Gaussian once, independently.

    Parameters
    ----------
    draws
        Labels, shape (draw, star).
    training
        Training error in mag, shape (star,).
    magnitude
        Extinction-corrected G magnitude, shape (star,).
    method
        Where the draws come from, which says what share lies below the k-th of n: k / (n + 1) of equally likely values
        in the mean, or (k - 1/2) / n where they stand evenly on a Gaussian.
    """
    place = np.arange(_POINTS)
    noise_level = (place + 0.5) / _POINTS
    # The offset makes the lattice symmetric about the middle of both.
    error_level = ((_GENERATOR * place + (_GENERATOR - 1 + _POINTS) // 2) % _POINTS + 0.5) / _POINTS
    rule: Literal["weibull", "hazen"] = "weibull" if method == "monte-carlo" else "hazen"
    noisy = np.quantile(draws, noise_level, axis=0, method=rule)
    noisy *= label_of_magnitude(np.multiply.outer(ndtri(error_level), training))
    labels = np.quantile(noisy, [1 - level for level in LEVELS], axis=0, method="hazen", overwrite_input=True)
    with np.errstate(divide="ignore"):
        return dict(zip(QUANTILES, 1 / (np.maximum(labels, 0) * sqrt_flux(magnitude)), strict=True))


def summarise_mixture(magnitudes: Magnitudes, magnitude: Float64) -> dict[str, Array]:
    """Turn distributions of magnitude into magnitudes, distances, errors and quantiles.

    The magnitude of a star is the median. Its error is half of what lies between the 16 and 84 per cent quantiles,
    which holds the width that the network gives to such spectra, their noise with it, and the scatter between
    networks; the scatter of draws is quoted beside it and not added a second time.

    Parameters
    ----------
    magnitudes
        What the networks of the mixture say.
    magnitude
        Extinction-corrected G magnitude, shape (star,); NaN gives M_G alone.

    Returns
    -------
    dict
        The columns of `summarise_labels` but LABEL and FRACTION_UNBOUND, since every magnitude has a distance; and
        PROB_GIANT, MIX_SHIFT and MIX_STRETCH, shape (star,).
    """
    _, faint, middle, bright, _ = magnitudes.quantiles
    kpc = distance_of_modulus(magnitude - magnitudes.quantiles)
    error = 0.5 * (faint - bright)
    has_draws = np.asarray(np.isfinite(magnitudes.draws).all(0))
    single = {
        "M_G_NN_ERR": error,
        "M_G_NN_ERR_NOISE": np.where(has_draws, magnitudes.draws.std(0, ddof=1), np.nan),
        "M_G_NN_ERR_TRAINING": magnitudes.spread,
        "DISTERR": 0.5 * (kpc[3] - kpc[1]),
        "DISTMOD_ERR": np.where(np.isfinite(magnitude), error, np.nan),
        "PROB_GIANT": magnitudes.giant,
        "MIX_SHIFT": magnitudes.shift,
        "MIX_STRETCH": magnitudes.stretch,
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


def summarise(labels: dict[str, Array], mixture: dict[str, Array], kind: Literal["mlp", "mixture"]) -> dict[str, Array]:
    """Join what both kinds of network say.

    Parameters
    ----------
    labels, mixture
        `summarise_labels` and `summarise_mixture` of the same stars.
    kind
        The one whose distances stand under the plain names.

    Returns
    -------
    dict
        The columns of that one; LABEL, FRACTION_UNBOUND, PROB_GIANT, MIX_SHIFT, MIX_STRETCH; and DIST, DISTERR, M_G_NN
        and M_G_NN_ERR of either, with the suffixes _CHI2 and _MIX. FLAGS say what concerns either: the columns _CHI2,
        and with them binaries, depend on the label whichever is chosen.
    """
    chosen = labels if kind == "mlp" else mixture
    by_kind = {
        f"{name}_{suffix}": columns[name]
        for suffix, columns in (("CHI2", labels), ("MIX", mixture))
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
