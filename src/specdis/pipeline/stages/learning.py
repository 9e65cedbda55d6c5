"""From components to a model: the stage `training`, and what it takes to put a model together."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from specdis import accelerator, streams
from specdis.accelerator import jax, jnp
from specdis.arrays import Bool, Float32, Float64, Int, Int64, aligned_empty, ranges
from specdis.binaries import BinariesSettings
from specdis.calibration import Calibration, calibration_stars, fit
from specdis.components import Basis
from specdis.distances import training_error
from specdis.domain import Domain, Parameter, measure, references
from specdis.encoding import Fit
from specdis.log import Progress, logger
from specdis.model import (
    Model,
    ModelSettings,
    Networks,
    basis_of,
    ensemble_arrays,
    input_scale,
    networks_of,
)
from specdis.network.mixture import Mixture, ParallaxInErrors
from specdis.photometry import sqrt_flux
from specdis.pipeline.pixels import BLOCK, PixelStore, array, open_group, read_rows, values
from specdis.pipeline.stage import Context, Outcome
from specdis.sample import TrainedStars
from specdis.spectra import PixelGrid
from specdis.storage import RunPaths, atomic, read_arrays, read_table, write_arrays, write_text
from specdis.surveys import Stars
from specdis.training import Ensemble, TrainingStars, TrainingState, train, train_mixture

CHECKPOINT_SECONDS = 20.0
_FEWEST_PRECISE = 100  # stars of precise parallax, for a model of binaries
_FEWEST_CALIBRATION = 300

_PARAMETERS: tuple[Parameter, ...] = ("TEFF", "LOGG", "FEH")
_MEASURED = 20_000  # training stars that show the limits of the domain


def training(context: Context) -> Outcome:
    """Train the networks of the label, of the mixture and of binaries (sections 3.2 and 5)."""
    config = context.config
    accelerator.use(config.run.device)
    rows = _trainable(context.paths)
    copied = _copied(context.paths, rows) if config.training.noisy_copies else rows[:0]
    learned = _training_stars(context.paths, rows, copied)
    use = _is_precise(learned, config.binaries)
    precise = learned.fold[: len(rows)][use[: len(rows)]]
    trainings: dict[str, Callable[..., tuple[Ensemble, Float64]]] = {
        "label": train,
        "mixture": partial(train_mixture, n_mixture=config.network.n_mixture),
    }
    if _fewest_outside(precise) >= _FEWEST_PRECISE:
        trainings["binaries"] = partial(train_mixture, n_mixture=2, use=use)
    else:
        logger.warning(
            "training: no model of binaries: %d stars have a parallax S/N above binaries.parallax_snr_min = %g",
            len(precise),
            config.binaries.parallax_snr_min,
        )
    logger.info(
        'training: loss = "%s" trains the label (columns _CHI2); the mixture is trained by Eq. 8 whatever the loss',
        config.training.loss,
    )
    done = {name: _trained(context, name, partial(one, learned)) for name, one in trainings.items()}
    with atomic(context.paths.networks) as folder:
        folder.mkdir()
        for name, (ensemble, _) in done.items():
            write_arrays(folder / f"{name}.npz", context.provenance("networks"), ensemble_arrays(ensemble))
    write_text(
        context.paths.history, _history_csv({name: history for name, (_, history) in done.items()}, done["label"][0])
    )
    notes = {
        "precise_parallaxes": len(precise),
        "copies": len(learned.inputs) - len(rows),
        **{f"epochs_{name}": len(history) for name, (_, history) in done.items()},
    }
    return Outcome(len(rows), notes=notes)


def _trainable(paths: RunPaths) -> Int64:
    """Return the rows of the stars that may be trained on and have a spectrum."""
    coefficients = open_group(paths.coefficients, "coefficients")
    return np.flatnonzero(read_table(paths.sample, ["TRAINABLE"])["TRAINABLE"] & (values(coefficients, "bad") < 1))


def _copied(paths: RunPaths, rows: Int64) -> Int64:
    """Return those of the rows of which there is a noisier copy."""
    group = open_group(paths.coefficients, "coefficients")
    blocks = ranges(array(group, "copies").shape[0], BLOCK)
    known: Bool = np.concatenate([np.isfinite(read_rows(group, "copies", block)[:, 0, 0]) for block in blocks])
    return rows[known[rows]]


def _training_stars(paths: RunPaths, rows: Int64, copied: Int64) -> TrainingStars:
    """Return what the networks learn from: stars, and noisier copies of some of them."""
    names = ("G_0", "PARALLAX_CORRECTED", "PARALLAX_ERROR_USED", "FOLD", "STAR_ID")
    copies = array(open_group(paths.coefficients, "coefficients"), "copies").shape[1] if len(copied) else 0
    stars, both = read_table(paths.sample, names), np.concatenate([rows, *[copied] * copies])
    inputs = aligned_empty((len(both), _n_components(paths)), np.float32)
    _read_inputs(inputs[: len(rows)], paths, rows, "coefficients")
    for number in range(copies):
        part = slice(len(rows) + number * len(copied), len(rows) + (number + 1) * len(copied))
        _read_inputs(inputs[part], paths, copied, "copies", number)
    magnitude, *others = (stars[name][both] for name in names)
    return TrainingStars(inputs, sqrt_flux(magnitude), *others)


def _is_precise(stars: TrainingStars, settings: BinariesSettings) -> Bool:
    """Return which stars have a parallax that single stars can be told from binaries by."""
    return np.asarray(stars.parallax > settings.parallax_snr_min * stars.error)


def _fewest_outside(fold: Int) -> int:
    """Return the number of stars that the networks of the least lucky fold may be trained on."""
    return len(fold) - int(np.bincount(fold[fold >= 0], minlength=1).max())


def _trained(context: Context, name: str, one: Callable[..., tuple[Ensemble, Float64]]) -> tuple[Ensemble, Float64]:
    """Train one kind of network, going on from where an interrupted attempt has come to."""
    progress = Progress(f"training {name}", context.config.training.epochs, unit="epochs at most")
    checkpoint = _Checkpoint(context, progress, name)
    config = context.config
    trained = one(
        network=config.network,
        settings=config.training,
        seed=config.run.seed,
        checkpoint=checkpoint,
        progress=progress.reach,
    )
    checkpoint.finish()
    progress.close()
    return trained


def network_inputs(paths: RunPaths, rows: Int64) -> Float32:
    """Return the scaled coefficients of some stars, in increasing order, shape (star, component)."""
    inputs = aligned_empty((len(rows), _n_components(paths)), np.float32)
    _read_inputs(inputs, paths, rows, "coefficients")
    return inputs


def _n_components(paths: RunPaths) -> int:
    return int(array(open_group(paths.coefficients, "coefficients"), "coefficients").shape[1])


def _read_inputs(inputs: Float32, paths: RunPaths, rows: Int64, name: str, copy: int | None = None) -> None:
    """Fill in the scaled coefficients of some stars, or of their copies: a block at a time, once in memory."""
    scale = np.float32(input_scale(basis_of(read_arrays(paths.basis, "basis")[1])))
    group = open_group(paths.coefficients, "coefficients")
    for block in ranges(array(group, name).shape[0], BLOCK):
        mine = slice(*np.searchsorted(rows, (block.start, block.stop)))
        if mine.start < mine.stop:
            found = read_rows(group, name, block)[rows[mine] - block.start]
            inputs[mine] = (found if copy is None else found[:, copy]) / scale


def assemble(context: Context) -> Model:
    """Put together what the stages up to `training` have made."""
    config = context.config
    names = ["FOLD", *_PARAMETERS, "TRAINABLE", "STAR_ID", "SOURCE_ID", "TARGETID"]
    stars, rows = Stars(read_table(context.paths.sample, names)), _trainable(context.paths)
    store = PixelStore.open(context.paths.pixels)
    basis = basis_of(read_arrays(context.paths.basis, "basis")[1])
    networks = _networks(context)
    labels = _held_out_labels(networks.label, network_inputs(context.paths, rows), stars["FOLD"][rows])
    card = {"training_stars": len(rows), "explained": basis.explained, "loss": config.training.loss}
    calibration = calibration_stars(stars["FOLD"], stars["STAR_ID"], config.calibration, config.run.seed)
    trained = TrainedStars.of({**stars.columns, "CALIBRATION": calibration})
    return Model(
        ModelSettings(**{name: getattr(config, name) for name in ModelSettings.model_fields}),
        store.grid,
        store.transform(config.spectra),
        store.sky,
        basis,
        networks,
        _calibration(context, networks.mixture, rows),
        training_error(labels),
        _domain(context, stars.take(rows), rows, store.grid, basis),
        config.run.seed,
        card,
        lambda: trained,
    )


def _networks(context: Context) -> Networks:
    """Read the trained networks."""
    paths = sorted(context.paths.networks.glob("*.npz"))
    return networks_of({path.stem: read_arrays(path, "networks")[1] for path in paths}, context.config.network)


def _calibration(context: Context, ensemble: Ensemble, rows: Int64) -> Calibration:
    """Fit the recalibration of the mixture to its share of the held-out stars among some rows of the sample."""
    config = context.config
    stars = read_table(
        context.paths.sample, ["G_0", "PARALLAX_CORRECTED", "PARALLAX_ERROR_USED", "SN", "FOLD", "STAR_ID"]
    )
    mine = calibration_stars(stars["FOLD"][rows], stars["STAR_ID"][rows], config.calibration, config.run.seed)
    rows = rows[mine]
    if len(rows) < _FEWEST_CALIBRATION:
        if config.calibration.on:
            logger.warning(
                "distances: %d held-out stars are too few to recalibrate on: errors are as predicted", len(rows)
            )
        return Calibration.identity()
    if len(rows) > config.calibration.stars_max:
        chance = streams.uniform(streams.stream(config.run.seed, "calibration stars"), stars["STAR_ID"][rows])
        rows = rows[np.sort(np.argsort(chance)[: config.calibration.stars_max])]
    mixture = _held_out_mixture(ensemble, network_inputs(context.paths, rows), stars["FOLD"][rows])
    columns = (stars[name][rows] for name in ("G_0", "PARALLAX_CORRECTED", "PARALLAX_ERROR_USED"))
    return fit(mixture, ParallaxInErrors.of(*columns), stars["SN"][rows])


def _held_out_mixture(ensemble: Ensemble, inputs: Float32, fold: Int) -> Mixture:
    """Return the mixture of each star by networks that never saw it, shape (star, network, component)."""
    predict = jax.jit(ensemble.held_out_mixture)
    parts = [
        predict(jnp.asarray(inputs[rows]), jnp.asarray(fold[rows].astype(np.int32)))
        for rows in ranges(len(fold), 1 << 14)
    ]
    return Mixture._make(jnp.concatenate(values) for values in zip(*parts, strict=True))


def _held_out_labels(ensemble: Ensemble, inputs: Float32, fold: Int) -> Float64:
    """Return the label of each star by networks that never saw it, shape (seed, star)."""
    predict = jax.jit(ensemble.held_out_labels)
    parts = [
        predict(jnp.asarray(inputs[rows]), jnp.asarray(fold[rows].astype(np.int32)))
        for rows in ranges(len(fold), 1 << 16)
    ]
    return np.concatenate([np.asarray(part, np.float64) for part in parts], axis=1)


def _domain(context: Context, stars: Stars, rows: Int64, grid: PixelGrid, basis: Basis) -> Domain:
    """Measure where the training stars lie, of which a part is enough."""
    ranges_of: dict[Parameter, tuple[float, float]] = {}
    for name in _PARAMETERS:
        known = stars[name][np.isfinite(stars[name])]
        if len(known):
            low, high = np.quantile(known, (0.001, 0.999))
            ranges_of[name] = (float(low), float(high))
    chance = streams.uniform(streams.stream(context.config.run.seed, "domain"), stars["STAR_ID"])
    chosen = np.sort(np.argsort(chance, kind="stable")[:_MEASURED])
    group = open_group(context.paths.coefficients, "coefficients")
    fit = Fit(*(jnp.asarray(values(group, name)[rows[chosen]]) for name in Fit._fields))
    coefficients = network_inputs(context.paths, rows[chosen]) * np.float32(input_scale(basis))
    reference = references(coefficients, chance[chosen])
    widths = {arm.name: float(np.median(np.diff(arm.native))) for arm in grid.arms}
    return Domain(measure(coefficients, fit, reference, ranges_of, widths), reference)


def _history_csv(histories: Mapping[str, Float64], ensemble: Ensemble) -> str:
    """Return the histories as CSV: one line per kind, epoch and network."""
    lines = ["network,epoch,fold,seed,training_loss,inner_loss"]
    for name, history in histories.items():
        for epoch, networks in enumerate(history, start=1):
            for number, (loss, inner) in enumerate(networks):
                fold, seed = divmod(number, ensemble.n_seeds)
                lines.append(f"{name},{epoch},{fold},{seed},{loss:.9g},{inner:.9g}")
    return "\n".join(lines) + "\n"


class _Checkpoint:
    """Keeps an unfinished training in the scratch folder, every now and then."""

    def __init__(self, context: Context, progress: Progress, name: str) -> None:
        self._progress = progress
        self._name = name
        self._path = context.scratch / f"{name}.npz"
        self._provenance = context.provenance("training-state")
        self._saved = time.monotonic()
        self._last: TrainingState | None = None

    def load(self, state: TrainingState) -> TrainingState:
        if not self._path.exists():
            return state
        _, arrays = read_arrays(self._path, "training-state")
        leaves, structure = jax.tree.flatten(state)
        loaded = [arrays[f"leaf{number}"] for number in range(len(leaves))]
        resumed: TrainingState = jax.tree.unflatten(structure, loaded)
        self._progress.start_from(int(resumed.epoch))
        logger.info("training %s: goes on after epoch %d", self._name, int(resumed.epoch))
        return resumed

    def save(self, state: TrainingState) -> None:
        self._last = state
        if time.monotonic() - self._saved >= CHECKPOINT_SECONDS:
            self.finish()

    def finish(self) -> None:
        """Keep the last state now."""
        state = self._last
        if state is None:
            return
        leaves = {f"leaf{number}": np.asarray(leaf) for number, leaf in enumerate(jax.tree.leaves(state))}
        write_arrays(self._path, self._provenance, leaves)
        self._saved = time.monotonic()
