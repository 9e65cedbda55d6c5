"""The stage `training`: networks learn from parallaxes (sections 3.2 and 5 of the paper)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from specdis import jaxed
from specdis.anchors import anchored, is_anchor, known_parallaxes
from specdis.arrays import Array, Bool, Float64, Int, Int64, aligned_empty
from specdis.binaries import BinariesSettings
from specdis.colours import Bands, Colours, noisier
from specdis.errors import InputError
from specdis.jaxed import jax
from specdis.log import Progress, logger
from specdis.network.ensemble import LabelEnsemble, MixtureEnsemble
from specdis.network.inputs import ColourScale, NetworkInputs
from specdis.network.nuisances import NUISANCE_COLUMNS, TERMS, Nuisances, OwnParallaxes, nuisance_terms
from specdis.network.objectives import TrainingStars
from specdis.network.training import TrainingState, train_joint, train_label, train_mixture
from specdis.photometry import sqrt_flux
from specdis.pipeline.inputs import truth_of
from specdis.pipeline.stage import Context, Outcome
from specdis.pipeline.tasks import anchor_names, bands_of, fill_inputs, read_sample, trainable
from specdis.storage import atomic, read_arrays, write_arrays, write_text
from specdis.surveys import IDENTIFIER
from specdis.validation import join

Trained = tuple[Any, Float64]
"""Networks, with their nuisances if these were trained too, and the history of their training."""
Part = LabelEnsemble | MixtureEnsemble | ColourScale | Nuisances

CHECKPOINT_SECONDS = 20.0
_MEASURED = 20_000  # training stars from which the colours' scale is measured
_FEWEST_PRECISE = 100  # stars of precise parallax, for a binary network


def run(context: Context) -> Outcome:
    """Train the label, mixture and binary networks (sections 3.2 and 5)."""
    config = context.config
    jaxed.use(config.run.device)
    rows = trainable(context)
    copied = context.coefficients.with_copies(rows)
    learned, anchor, scale = _training_stars(context, rows, copied)
    mixture, nuisances, history = _mixture(context, learned)
    fitted = {}
    if nuisances is not None:
        assert learned.own is not None
        fitted = {"nuisances": nuisances.summary(learned.own.terms[: len(rows)])}
        learned = learned.without(nuisances)
    use = _is_precise(learned, config.binaries) & ~anchor
    precise = learned.fold[: len(rows)][use[: len(rows)]]
    done = {"label": _trained(context, "label", partial(train_label, learned)), "mixture": (mixture, history)}
    if _fewest_outside(precise) >= _FEWEST_PRECISE:
        one = partial(train_mixture, learned._replace(use=use), n_mixture=2)
        done["binaries"] = _trained(context, "binaries", one)
    else:
        logger.warning(
            "training: no binary network: %d stars have a parallax S/N above binaries.parallax_snr_min = %g",
            len(precise),
            config.binaries.parallax_snr_min,
        )
    parts: dict[str, Part] = {name: found for name, (found, _) in done.items()}
    parts |= {name: part for name, part in (("colours", scale), ("nuisances", nuisances)) if part is not None}
    with atomic(context.paths.networks) as folder:
        folder.mkdir()
        for name, part in parts.items():
            write_arrays(folder / f"{name}.npz", context.provenance("networks"), part.arrays())
    histories = {name: history for name, (_, history) in done.items()}
    write_text(context.paths.history, _history_csv(histories, config.training.n_seeds))
    notes = {
        "precise_parallaxes": len(precise),
        "copies": len(learned.inputs) - len(rows),
        **{f"epochs_{name}": len(history) for name, (_, history) in done.items()},
        **fitted,
    }
    return Outcome(len(rows), notes=notes)


def _mixture(context: Context, learned: TrainingStars) -> tuple[MixtureEnsemble, Nuisances | None, Float64]:
    """Train the mixture networks, with the nuisances of the parallaxes where the stars have any."""
    count = context.config.network.mixture.n_mixture
    if learned.own is None:
        found, history = _trained(context, "mixture", partial(train_mixture, learned, n_mixture=count))
        return found, None, history
    (found, nuisances), history = _trained(context, "mixture", partial(train_joint, learned, n_mixture=count))
    mean = nuisances.summary(learned.own.terms)
    logger.info(
        "training: beside the recipes, the zero point is %+.1f uas and errors are %.3f times as large",
        *(mean["zero_point_uas"], mean["inflation"]),
    )
    return found, nuisances, history


def _training_stars(context: Context, rows: Int64, copied: Int64) -> tuple[TrainingStars, Bool, ColourScale | None]:
    """Return the training set with noisier copies of some stars, which of it are anchors, the scale of the colours."""
    names = ("G_0", "PARALLAX_CORRECTED", "PARALLAX_ERROR_USED", "FOLD", "STAR_ID")
    store, settings = context.coefficients, context.config.network
    stars = read_sample(context, (*names, *NUISANCE_COLUMNS, *IDENTIFIER, *anchor_names(context, "training")))
    both = np.concatenate([rows, *[copied] * store.n_copies])
    bands, colours = bands_of(context, stars), Colours(settings.colours)
    scale = _colour_scale(context, rows, bands, colours) if settings.colours else None
    seen = NetworkInputs(settings, 1.0, scale)
    inputs = aligned_empty((len(both), store.n_components + seen.n_features), np.float32)
    spectra, features = inputs[:, : store.n_components], inputs[:, store.n_components :]
    sound = fill_inputs(context, seen, rows, bands, inputs[: len(rows)])
    place = np.searchsorted(rows, copied)
    names_of_copied = [stars[name][copied] for name in IDENTIFIER]
    for number in range(store.n_copies):
        part = slice(len(rows) + number * len(copied), len(rows) + (number + 1) * len(copied))
        store.inputs(copied, number, spectra[part])
        if settings.colours:
            copy = noisier(sound.take(place), colours, context.config.run.seed, number, names_of_copied)
            features[part] = seen.features(copy)
    if not settings.spectrum:
        spectra[:] = 0
    own = _own_parallaxes(context, stars)
    if is_anchor(stars).any():
        stars["PARALLAX_CORRECTED"], stars["PARALLAX_ERROR_USED"] = anchored(stars)
    if context.config.training.labels == "truth":
        stars |= _true_parallaxes(context, stars)
    magnitude, *others = (stars[name][both] for name in names)
    learned = TrainingStars(inputs, sqrt_flux(magnitude), *others)
    if own is not None:
        learned = learned._replace(own=own.take(both))
    return learned, is_anchor(stars)[both], scale


def _own_parallaxes(context: Context, stars: Mapping[str, Array]) -> OwnParallaxes | None:
    """Return the parallaxes whose nuisances are to be fitted; None if none are, or if true distances replace them."""
    count = TERMS[context.config.photometry.nuisances]
    if not count or context.config.training.labels == "truth":
        return None
    parallax, error = (np.asarray(stars[name], np.float64) for name in ("PARALLAX_CORRECTED", "PARALLAX_ERROR_USED"))
    defined = ~np.isnan(stars["PARALLAX_ZPC"])
    return OwnParallaxes(parallax, error, *known_parallaxes(stars), defined, nuisance_terms(stars, count))


_TRUE = 100.0
"""S/N of true parallaxes: magnitudes are then known to 0.02 mag, and the losses stay finite."""


def _true_parallaxes(context: Context, stars: Mapping[str, Array]) -> dict[str, Array]:
    """Return the parallaxes of the true distances, as if they were measured without an error to speak of.

    Raises
    ------
    InputError
        When no true distances are known, or not for all stars.
    """
    known = truth_of(context.config, context.paths)
    kpc = None if known is None else np.append(known["DIST_TRUE"], np.nan)[join(stars, known)]
    if kpc is None or not np.isfinite(kpc).all():
        raise InputError(
            'training.labels = "truth"',
            expected="the true distance of every star",
            found="none" if kpc is None else f"none for {np.sum(~np.isfinite(kpc)):,} stars",
            remedy='Name the file in survey.truth, or set training.labels = "parallax".',
        )
    return {"PARALLAX_CORRECTED": 1 / kpc, "PARALLAX_ERROR_USED": 1 / (_TRUE * kpc)}


def _colour_scale(context: Context, rows: Int64, bands: Bands, colours: Colours) -> ColourScale:
    """Measure the colours of a part of the training stars, and their relation to the spectra."""
    few = rows[np.linspace(0, len(rows) - 1, min(len(rows), _MEASURED)).astype(np.int64)]
    few = np.unique(few)
    return ColourScale.of_stars(bands.take(few), colours, context.coefficients.inputs(few))


def _is_precise(stars: TrainingStars, settings: BinariesSettings) -> Bool:
    """Tell which stars have a parallax precise enough to separate binaries from single stars."""
    return np.asarray(stars.parallax > settings.parallax_snr_min * stars.error)


def _fewest_outside(fold: Int) -> int:
    """Return the smallest number of training stars over the folds."""
    return len(fold) - int(np.bincount(fold[fold >= 0], minlength=1).max())


def _trained(context: Context, name: str, one: Callable[..., Trained]) -> Trained:
    """Train one kind of network, resuming an interrupted attempt."""
    progress = Progress(f"training {name}", context.config.training.epochs, unit="epochs at most")
    checkpoint = _Checkpoint(context, progress, name)
    config = context.config
    trained = one(
        network=config.network,
        settings=config.training,
        seed=config.run.seed,
        checkpoint=checkpoint,
    )
    checkpoint.finish()
    progress.close()
    return trained


def _history_csv(histories: Mapping[str, Float64], n_seeds: int) -> str:
    """Return the histories as CSV: one line per kind, epoch and network."""
    lines = ["network,epoch,fold,seed,training_loss,early_stopping_loss"]
    for name, history in histories.items():
        for epoch, networks in enumerate(history, start=1):
            for number, (loss, inner) in enumerate(networks):
                fold, seed = divmod(number, n_seeds)
                lines.append(f"{name},{epoch},{fold},{seed},{loss:.9g},{inner:.9g}")
    return "\n".join(lines) + "\n"


class _Checkpoint:
    """Saves an unfinished training in the scratch folder, at intervals."""

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
        logger.info("training %s: resumes after epoch %d", self._name, int(resumed.epoch))
        return resumed

    def save(self, state: TrainingState) -> None:
        self._last = state
        self._progress.reach(int(state.epoch))
        if time.monotonic() - self._saved >= CHECKPOINT_SECONDS:
            self.finish()

    def finish(self) -> None:
        """Save the last state now."""
        state = self._last
        if state is None:
            return
        leaves = {f"leaf{number}": np.asarray(leaf) for number, leaf in enumerate(jax.tree.leaves(state))}
        write_arrays(self._path, self._provenance, leaves)
        self._saved = time.monotonic()
