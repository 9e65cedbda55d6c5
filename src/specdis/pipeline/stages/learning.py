"""From stored pixels to a model: the stages `components` and `training`."""

from __future__ import annotations

import time

import numpy as np
import zarr

from specdis import accelerator
from specdis.accelerator import jax, jnp
from specdis.arrays import Float32, Float64, Int, Int64, ranges
from specdis.components import Basis, Moments, encoder
from specdis.distances import training_error
from specdis.log import Progress, logger
from specdis.model import (
    Domain,
    Model,
    ModelSettings,
    basis_arrays,
    basis_of,
    ensemble_arrays,
    ensemble_of,
    input_scale,
)
from specdis.photometry import sqrt_flux
from specdis.pipeline.pixels import PixelStore, array, create_array, open_group, values
from specdis.pipeline.stage import Context, Outcome
from specdis.spectra import PixelGrid, Transform
from specdis.storage import RunPaths, atomic, read_arrays, read_table, write_arrays, write_text
from specdis.surveys import Stars
from specdis.training import Ensemble, TrainingStars, TrainingState, train

_CHECKPOINT_SECONDS = 20.0

_LEARNED = ("TRAINABLE", "G_0", "PARALLAX_CORRECTED", "PARALLAX_ERROR_USED", "FOLD", "STAR_ID")
_PARAMETERS = ("TEFF", "LOGG", "FEH")


def components(context: Context) -> Outcome:
    """Find the principal components of the selected stars and the coefficients of all (section 3.1)."""
    accelerator.use(context.config.run.device)
    store = PixelStore.open(context.paths.pixels)
    transform = store.transform(context.config.spectra)
    progress = Progress("components", 2 * len(store))
    basis, n_stars = _basis(context, store, transform, progress)
    write_arrays(context.paths.basis, context.provenance("basis"), basis_arrays(basis))
    with atomic(context.paths.coefficients) as temporary:
        group = zarr.create_group(temporary)
        group.attrs["provenance"] = context.provenance("coefficients").to_dict()
        arrays = {
            "coefficients": create_array(group, "coefficients", (len(store), basis.n_components), np.float32),
            **{name: create_array(group, name, (len(store),), np.float32) for name in ("residual", "chi2", "bad")},
        }
        encode = encoder(transform, basis)
        for rows in store.blocks():
            flux, sigma, bad = store.read(rows)
            found = {**encode(flux, sigma, bad)._asdict(), "bad": bad[:, transform.kept].mean(1)}
            for name, column in arrays.items():
                column[rows] = np.asarray(found[name], np.float32)
            progress.advance(rows.stop - rows.start)
    progress.close()
    return Outcome(len(store), notes={"explained": basis.explained, "stars_in_basis": n_stars})


def _basis(context: Context, store: PixelStore, transform: Transform, progress: Progress) -> tuple[Basis, int]:
    """Return the principal components of the selected stars that have a spectrum, and the number of these stars."""
    selected = read_table(context.paths.sample, ["SELECTED"])["SELECTED"]
    unit = jax.jit(lambda flux, bad: transform(flux, bad))
    moments = Moments(len(transform.kept))
    for rows in store.blocks():
        flux, bad = store.read_flux(rows)
        use = selected[rows] & ~bad[:, transform.kept].all(1)
        moments.add(np.asarray(unit(flux, bad))[use])
        progress.advance(rows.stop - rows.start)
    return moments.basis(context.config.components), moments.n_stars


def training(context: Context) -> Outcome:
    """Train the networks (section 3.2)."""
    config = context.config
    accelerator.use(config.run.device)
    stars = read_table(context.paths.sample, _LEARNED)
    coefficients = open_group(context.paths.coefficients, "coefficients")
    rows = np.flatnonzero(stars["TRAINABLE"] & (values(coefficients, "bad") < 1))
    learned = TrainingStars(
        network_inputs(context.paths, rows),
        sqrt_flux(stars["G_0"][rows]),
        stars["PARALLAX_CORRECTED"][rows],
        stars["PARALLAX_ERROR_USED"][rows],
        stars["FOLD"][rows],
        stars["STAR_ID"][rows],
    )
    progress = Progress("training", config.training.epochs, unit="epochs")
    ensemble, history = train(
        learned, config.network, config.training, config.run.seed, _Checkpoint(context, progress), progress.reach
    )
    progress.close()
    write_text(context.paths.history, _history_csv(history, ensemble))
    write_arrays(context.paths.networks, context.provenance("networks"), ensemble_arrays(ensemble))
    return Outcome(len(rows), notes={"epochs": len(history), "networks": history.shape[1]})


def network_inputs(paths: RunPaths, rows: Int64 | slice) -> Float32:
    """Return the scaled coefficients of some stars, shape (star, component)."""
    _, basis = read_arrays(paths.basis, "basis")
    coefficients = array(open_group(paths.coefficients, "coefficients"), "coefficients")
    return np.asarray(coefficients.oindex[rows], np.float32) / np.float32(input_scale(basis_of(basis)))


def assemble(context: Context) -> Model:
    """Put together what the stages up to `training` have made."""
    config = context.config
    stars = Stars(read_table(context.paths.sample, ["TRAINABLE", "FOLD", *_PARAMETERS]))
    coefficients, store = open_group(context.paths.coefficients, "coefficients"), PixelStore.open(context.paths.pixels)
    rows = np.flatnonzero(stars["TRAINABLE"] & (values(coefficients, "bad") < 1))
    basis = basis_of(read_arrays(context.paths.basis, "basis")[1])
    ensemble = ensemble_of(read_arrays(context.paths.networks, "networks")[1], config.network)
    labels = _held_out_labels(ensemble, network_inputs(context.paths, rows), stars["FOLD"][rows])
    card = {"training_stars": len(rows), "explained": basis.explained}
    return Model(
        ModelSettings(**{name: getattr(config, name) for name in ModelSettings.model_fields}),
        store.grid,
        store.transform(config.spectra),
        store.sky,
        basis,
        ensemble,
        training_error(labels),
        _domain(stars.take(rows), coefficients, rows, store.grid, config.spectra.bad_fraction_max),
        config.run.seed,
        card,
    )


def _held_out_labels(ensemble: Ensemble, inputs: Float32, fold: Int) -> Float64:
    """Return the label of each star by networks that never saw it, shape (seed, star)."""
    predict = jax.jit(ensemble.held_out_labels)
    parts = [
        predict(jnp.asarray(inputs[rows]), jnp.asarray(fold[rows].astype(np.int32)))
        for rows in ranges(len(fold), 1 << 16)
    ]
    return np.concatenate([np.asarray(part, np.float64) for part in parts], axis=1)


def _domain(stars: Stars, coefficients: zarr.Group, rows: Int64, grid: PixelGrid, bad_fraction_max: float) -> Domain:
    """Measure where the training stars lie."""

    def limit(name: str, share: float) -> float:
        found = values(coefficients, name)[rows]
        found = found[np.isfinite(found)]
        return float(np.quantile(found, share)) if len(found) else float("nan")

    ranges_of = {}
    for name in _PARAMETERS:
        known = stars[name][np.isfinite(stars[name])]
        if len(known):
            low, high = np.quantile(known, (0.001, 0.999))
            ranges_of[name] = (float(low), float(high))
    return Domain(
        chi2=limit("chi2", 0.99),
        residual=limit("residual", 0.99),
        bad_fraction=max(limit("bad", 0.999), bad_fraction_max),
        parameters=ranges_of,
        pixel_width={arm.name: float(np.median(np.diff(arm.native))) for arm in grid.arms},
    )


def _history_csv(history: Float64, ensemble: Ensemble) -> str:
    """Return the history as CSV: one line per epoch and network."""
    lines = ["epoch,fold,seed,training_loss,inner_loss"]
    for epoch, networks in enumerate(history, start=1):
        for number, (loss, inner) in enumerate(networks):
            fold, seed = divmod(number, ensemble.n_seeds)
            lines.append(f"{epoch},{fold},{seed},{loss:.9g},{inner:.9g}")
    return "\n".join(lines) + "\n"


class _Checkpoint:
    """Keeps an unfinished training in the scratch folder, every now and then."""

    def __init__(self, context: Context, progress: Progress) -> None:
        self._progress = progress
        self._path = context.scratch / "training.npz"
        self._provenance = context.provenance("training-state")
        self._saved = time.monotonic()

    def load(self, state: TrainingState) -> TrainingState:
        if not self._path.exists():
            return state
        _, arrays = read_arrays(self._path, "training-state")
        leaves, structure = jax.tree.flatten(state)
        loaded = [arrays[f"leaf{number}"] for number in range(len(leaves))]
        resumed: TrainingState = jax.tree.unflatten(structure, loaded)
        self._progress.start_from(int(resumed.epoch))
        logger.info("training: goes on after epoch %d", int(resumed.epoch))
        return resumed

    def save(self, state: TrainingState) -> None:
        if time.monotonic() - self._saved < _CHECKPOINT_SECONDS:
            return
        leaves = {f"leaf{number}": np.asarray(leaf) for number, leaf in enumerate(jax.tree.leaves(state))}
        write_arrays(self._path, self._provenance, leaves)
        self._saved = time.monotonic()
