"""The stage `model`: assemble networks, recalibration and domain into a model."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from specdis import jaxed, rng
from specdis.anchors import anchored, is_anchor
from specdis.arrays import Float32, Float64, Int, Int64, aligned_empty, ranges
from specdis.calibration import Calibration, Traits, calibration_stars, fit
from specdis.components import Basis
from specdis.distances.answers import training_error
from specdis.domain import Domain, Parameter, measure_domain, reference_directions
from specdis.encoding.encoder import Fit
from specdis.jaxed import jax, jnp
from specdis.log import logger
from specdis.model.engine import ModelSettings
from specdis.model.files import save_model
from specdis.model.model import Model
from specdis.network.ensemble import LabelEnsemble, MixtureEnsemble, Networks
from specdis.network.inputs import NetworkInputs
from specdis.network.mixture import Mixture, ParallaxInErrors, Spurious
from specdis.network.reduction import reduced
from specdis.network.settings import RELEASED
from specdis.pipeline.stage import Context, Outcome
from specdis.pipeline.tasks import anchor_names, bands_of, copies_factor, fill_inputs, read_corrected, trainable
from specdis.prior import FEWEST_STARS, Prior, galactic_direction, prior_of
from specdis.sample import TrainedStars
from specdis.spectra.grid import PixelGrid
from specdis.storage import atomic, read_arrays
from specdis.stores.coefficients import CoefficientStore
from specdis.surveys import IDENTIFIER, Stars

_FEWEST_CALIBRATION = 300
_RELEASED_BLOCK = 1 << 14

_CALIBRATED = ("G_0", "PARALLAX_CORRECTED", "PARALLAX_ERROR_USED", "A_G_ERR", "SN", "RA", "DEC")
_PARAMETERS: tuple[Parameter, ...] = ("TEFF", "LOGG", "FEH")
_MEASURED = 20_000  # training stars that set the limits of the domain


def run(context: Context) -> Outcome:
    """Assemble the model from the trained networks, the recalibration and the domain."""
    config = context.config
    jaxed.use(config.run.device)
    names = ["FOLD", *_PARAMETERS, "TRAINABLE", "STAR_ID", "SOURCE_ID", *IDENTIFIER, *_CALIBRATED]
    names += anchor_names(context, "calibration")
    networks = _networks(context)
    stars, rows = Stars(read_corrected(context, names, networks)), trainable(context)
    store = context.pixels
    basis = Basis.of(read_arrays(context.paths.basis, "basis")[1])
    seen = NetworkInputs(config.network, basis.scale, networks.colours)
    bands = bands_of(context, stars.columns)

    def inputs(rows: Int64, copy: int | None = None) -> Float32:
        found = aligned_empty((len(rows), basis.n_components + seen.n_features), np.float32)
        fill_inputs(context, seen, rows, bands, found)
        if copy is not None:
            context.coefficients.inputs(rows, copy, found[:, : basis.n_components])
        if not config.network.spectrum:
            found[:, : basis.n_components] = 0
        return found

    domain = _domain(context, stars.take(rows), rows, store.grid)

    held_out = _HeldOut(networks.mixture, stars, rows, inputs, partial(traits_of, context, stars, domain))
    labels = _held_out_labels(networks.label, inputs(rows), stars["FOLD"][rows])
    card = {"training_stars": len(rows), "explained": basis.explained}
    recalibration = _calibration(context, held_out)
    calibration = calibration_stars(stars["FOLD"], stars["STAR_ID"], config.calibration, config.run.seed)
    trained = TrainedStars.of({**stars.columns, "CALIBRATION": calibration})
    model = Model(
        settings=ModelSettings(**{name: getattr(config, name) for name in ModelSettings.model_fields}),
        grid=store.grid,
        transform=store.transform(config.spectra),
        sky=store.sky,
        basis=basis,
        networks=networks,
        calibration=recalibration,
        prior=_prior(context, recalibration, held_out),
        training_error=training_error(labels),
        domain=domain,
        seed=config.run.seed,
        card=card,
        trained=lambda: trained,
    )
    with atomic(context.paths.model) as folder:
        save_model(model, folder, context.provenance("model"))
    notes = {"training_error_mag": model.training_error}
    if model.calibration.spurious is not None:
        share, width = model.calibration.share_and_width
        notes |= {"spurious_share": float(share), "spurious_width": float(width)}
    return Outcome(len(rows), notes=notes)


def _networks(context: Context) -> Networks:
    """Read the trained networks."""
    paths = sorted(context.paths.networks.glob("*.npz"))
    return Networks.of({path.stem: read_arrays(path, "networks")[1] for path in paths}, context.config.network)


def traits_of(context: Context, stars: Stars, domain: Domain, rows: Int64, copy: int | None = None) -> Traits:
    """Return what the recalibration knows of some stars of the sample, or of their noisier copies of a number."""
    mine, store = stars.take(rows), context.coefficients
    outside = domain.outside(store.coefficients_of(rows, copy), store.fit(rows, copy))
    factor = 1.0 if copy is None else copies_factor(context.config.run.seed, copy, mine.columns)
    return Traits(mine["SN"] / factor, mine["FEH"], outside)


class _HeldOut(NamedTuple):
    """What the networks say of the stars that they were not trained on.

    Parameters
    ----------
    ensemble
        The mixture networks.
    stars
        The sample.
    rows
        Its trainable rows.
    inputs, traits
        Return the networks' inputs, and the traits, of some rows, or of their noisier copies of a number.
    """

    ensemble: MixtureEnsemble
    stars: Stars
    rows: Int64
    inputs: Callable[[Int64, int | None], Float32]
    traits: Callable[[Int64, int | None], Traits]

    def mixture(self, rows: Int64, copy: int | None = None) -> Mixture:
        """Return the mixture of each of some rows that folds hold out, or of their copies, (star, seed, component)."""
        return _held_out_mixture(self.ensemble, self.inputs(rows, copy), self.stars["FOLD"][rows])


def _calibration(context: Context, held_out: _HeldOut) -> Calibration:
    """Fit the recalibration to its share of the held-out stars.

    A model for other instruments is recalibrated on the copies that stand for them.
    """
    config, spurious = context.config, Spurious.of(context.config.network.mixture)
    stars, rows = held_out.stars, held_out.rows
    rows = rows[calibration_stars(stars["FOLD"][rows], stars["STAR_ID"][rows], config.calibration, config.run.seed)]
    if len(rows) < _FEWEST_CALIBRATION:
        if config.calibration.on:
            logger.warning("model: %d held-out stars are too few for recalibration: errors are as predicted", len(rows))
        return Calibration.identity(spurious)
    if len(rows) > config.calibration.stars_max:
        chance = rng.uniform(rng.stream(config.run.seed, "calibration stars"), stars["STAR_ID"][rows])
        rows = rows[np.sort(np.argsort(chance)[: config.calibration.stars_max])]
    copies: list[int | None] = [None]
    if config.training.instruments.on:
        rows, copies = context.coefficients.with_copies(rows), [*range(context.coefficients.n_copies)]
    mine = stars.take(rows)
    parallax, error = mine["PARALLAX_CORRECTED"], mine["PARALLAX_ERROR_USED"]
    if is_anchor(mine.columns).any():
        parallax, error = anchored(mine.columns)
    data = ParallaxInErrors.of(*(np.tile(values, len(copies)) for values in (mine["G_0"], parallax, error)))
    seen = [(held_out.mixture(rows, copy), held_out.traits(rows, copy)) for copy in copies]
    mixture, traits = jax.tree.map(lambda *parts: np.concatenate(parts), *seen)
    return fit(mixture, data, traits, spurious)


def _prior(context: Context, calibration: Calibration, held_out: _HeldOut) -> Prior | None:
    """Fit the prior to the held-out stars."""
    config, stars, rows = context.config, held_out.stars, held_out.rows
    if config.prior.kind == "none":
        return None
    rows = rows[(stars["FOLD"][rows] >= 0) & np.isfinite(stars["G_0"][rows])]
    if len(rows) < FEWEST_STARS:
        logger.warning("model: %d held-out stars are too few for a prior: no posterior distances", len(rows))
        return None
    chance = rng.uniform(rng.stream(config.run.seed, "prior stars"), stars["STAR_ID"][rows])
    rows = rows[np.sort(np.argsort(chance, kind="stable")[: config.prior.stars_max])]
    parts = []
    for block in ranges(len(rows), _RELEASED_BLOCK):
        some = rows[block]
        few = _released(calibration, held_out.mixture(some), held_out.traits(some, None))
        parts.append(few._replace(sigma=jnp.hypot(few.sigma, stars["A_G_ERR"][some][:, None])))
    found = Mixture._make(np.concatenate(values) for values in zip(*parts, strict=True))
    return prior_of(found, stars["G_0"][rows], galactic_direction(stars["RA"][rows], stars["DEC"][rows]), config.prior)


def _released(calibration: Calibration, mixture: Mixture, traits: Traits) -> Mixture:
    """Return the few Gaussians of recalibrated distributions."""
    return reduced(calibration.apply(mixture, traits).pooled(), RELEASED)


def _held_out_mixture(ensemble: MixtureEnsemble, inputs: Float32, fold: Int) -> Mixture:
    """Return the held-out mixture of each star by the networks of its fold, shape (star, seed, component)."""
    predict = jax.jit(partial(ensemble.held_out_mixture, own=True))
    parts = [
        predict(jnp.asarray(inputs[rows]), jnp.asarray(fold[rows].astype(np.int32)))
        for rows in ranges(len(fold), 1 << 14)
    ]
    return Mixture._make(jnp.concatenate(values) for values in zip(*parts, strict=True))


def _held_out_labels(ensemble: LabelEnsemble, inputs: Float32, fold: Int) -> Float64:
    """Return the held-out label of each star, shape (seed, star)."""
    predict = jax.jit(ensemble.held_out_labels)
    parts = [
        predict(jnp.asarray(inputs[rows]), jnp.asarray(fold[rows].astype(np.int32)))
        for rows in ranges(len(fold), 1 << 16)
    ]
    return np.concatenate([np.asarray(part, np.float64) for part in parts], axis=1)


def _with_copies(store: CoefficientStore, rows: Int64, coefficients: Float32, fit: Fit) -> tuple[Float32, Fit]:
    """Add the copies for other instruments of some stars to their coefficients and the quality of these."""
    copied, numbers = store.with_copies(rows), range(store.n_copies)
    copies = (store.coefficients_of(copied, number) for number in numbers)
    fits = (store.fit(copied, number) for number in numbers)
    joined: Fit = jax.tree.map(lambda *values: jnp.concatenate(values), fit, *fits)
    return np.concatenate([coefficients, *copies]), joined


def _domain(context: Context, stars: Stars, rows: Int64, grid: PixelGrid) -> Domain:
    """Measure the domain from a part of the training stars."""
    ranges_of: dict[Parameter, tuple[float, float]] = {}
    for name in _PARAMETERS:
        known = stars[name][np.isfinite(stars[name])]
        if len(known):
            low, high = np.quantile(known, (0.001, 0.999))
            ranges_of[name] = (float(low), float(high))
    chance = rng.uniform(rng.stream(context.config.run.seed, "domain"), stars["STAR_ID"])
    chosen = np.sort(np.argsort(chance, kind="stable")[:_MEASURED])
    coefficients = context.coefficients.coefficients_of(rows[chosen])
    reference = reference_directions(coefficients, chance[chosen])
    fit = context.coefficients.fit(rows[chosen])
    if context.config.training.instruments.on:
        coefficients, fit = _with_copies(context.coefficients, rows[chosen], coefficients, fit)
    widths = {arm.name: float(np.median(np.diff(arm.native))) for arm in grid.arms}
    return Domain(measure_domain(coefficients, fit, reference, ranges_of, widths), reference)
