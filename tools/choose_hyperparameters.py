"""Choose hyper-parameters inside the training folds of a cross-fitted run (nested cross-validation).

For every fold of the run, each candidate is trained and judged on the other folds alone: they take turns as inner
held-out folds, and the score is the robust scatter of M_G,NN - M_G,geo of their stars with a parallax S/N above 10.
A fold's own stars have no say in what is chosen for it. The last line is the scatter of all stars when every fold is
predicted with its own choice, by networks that never saw it: the number that no choice has flattered.

    python tools/choose_hyperparameters.py configs/miles.toml --set run.directory=runs/miles

The run must have finished its stage `components`, with as many components as the largest candidate asks for.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import numpy as np

from specdis.components import Basis
from specdis.jaxed import jnp
from specdis.network.objectives import TrainingStars
from specdis.network.training import train_label
from specdis.photometry import absolute_magnitude, geometric_magnitude, sqrt_flux
from specdis.pipeline.config import Config
from specdis.statistics import robust_scatter
from specdis.storage import read_arrays, read_table
from specdis.stores.paths import RunPaths
from specdis.stores.zarr import open_group, values

CANDIDATES = {
    "n_components": (40, 100),
    "intrinsic_scatter": (0.1,),
    "weight_decay": (0.0, 1.0, 3.0),
}


def learned(paths: RunPaths, n_components: int) -> tuple[TrainingStars, np.ndarray]:
    """Return the trainable stars with so many components, and their geometric magnitudes (NaN below S/N 10)."""
    stars = read_table(paths.sample)
    store = open_group(paths.coefficients, "coefficients")
    rows = np.flatnonzero(stars["TRAINABLE"] & (values(store, "fraction_bad") < 1))
    eigenvalues = Basis.of(read_arrays(paths.basis, "basis")[1]).eigenvalues[:n_components]
    inputs = values(store, "coefficients")[rows, :n_components] / np.float32(np.sqrt(eigenvalues.mean()))
    parallax, error = stars["PARALLAX_CORRECTED"][rows], stars["PARALLAX_ERROR_USED"][rows]
    magnitude, _ = geometric_magnitude(parallax, error, stars["G_0"][rows])
    identity, fold = stars["STAR_ID"][rows], stars["FOLD"][rows]
    known = np.where(parallax > 10 * error, magnitude, np.nan)
    return TrainingStars(inputs, sqrt_flux(stars["G_0"][rows]), parallax, error, fold, identity), known


def residuals(stars: TrainingStars, known: np.ndarray, config: Config) -> np.ndarray:
    """Return M_G,NN - M_G,geo in mag of every star by networks that never saw its fold."""
    ensemble, _ = train_label(stars, config.network, config.training, config.run.seed)
    labels = np.asarray(ensemble.held_out_labels(jnp.asarray(stars.inputs), jnp.asarray(stars.fold.astype(int))))
    return absolute_magnitude(labels.mean(0)) - known


def scatter(residual: np.ndarray) -> float:
    """Return the robust scatter in mag of the stars that have a residual."""
    return float(robust_scatter(residual[np.isfinite(residual)]))


def inner_score(stars: TrainingStars, known: np.ndarray, outer: int, config: Config) -> float:
    """Return the scatter in mag of a candidate on the folds other than `outer`, each predicted by the others."""
    inside = stars.fold != outer
    _, fold = np.unique(stars.fold[inside], return_inverse=True)
    part = TrainingStars(*(column[inside] for column in stars))._replace(fold=fold)
    return scatter(residuals(part, known[inside], config))


def with_candidate(candidate: tuple[float, ...], config: Config) -> tuple[TrainingStars, np.ndarray, Config]:
    """Return the stars, their geometric magnitudes and the configuration of a candidate."""
    chosen = dict(zip(CANDIDATES, candidate, strict=True))
    stars, known = learned(RunPaths(config.run.directory), int(chosen.pop("n_components")))
    training = config.training.model_copy(update=chosen)
    return stars, known, config.model_copy(update={"training": training})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    arguments = parser.parse_args()
    config = Config.load(arguments.config, arguments.overrides)
    folds = np.unique(learned(RunPaths(config.run.directory), 1)[0].fold)
    print("| candidate |", " | ".join(f"without fold {fold}" for fold in folds), "| mean |", flush=True)
    scores = {}
    for candidate in product(*CANDIDATES.values()):
        stars, known, trial = with_candidate(candidate, config)
        scores[candidate] = [inner_score(stars, known, int(fold), trial) for fold in folds]
        row = " | ".join(f"{score:.3f}" for score in [*scores[candidate], np.mean(scores[candidate])])
        print(f"| {candidate} | {row} |", flush=True)
    nested = np.full(len(known), np.nan)
    for number, fold in enumerate(folds):
        candidate = min(scores, key=lambda candidate: scores[candidate][number])
        stars, known, trial = with_candidate(candidate, config)
        nested = np.where(stars.fold == fold, residuals(stars, known, trial), nested)
        print(f"fold {fold} chooses {candidate}", flush=True)
    print(f"every fold with its own choice: scatter {scatter(nested):.3f} mag, median {np.nanmedian(nested):+.3f} mag")


if __name__ == "__main__":
    main()
