"""The split of section 2.3: stars to train on, and the networks that predict each star."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from specdis.arrays import Array, Bool, Int64
from specdis.errors import InputError
from specdis.rng import stream, uniform
from specdis.sample.settings import SampleSettings


def split(stars: Mapping[str, Array], settings: SampleSettings, seed: int) -> dict[str, Array]:
    """Return STAR_ID, TRAINABLE, FOLD and HELD_OUT of the sample.

    With folds, all spectra of a training star have its fold: no spectrum is predicted by networks that were trained on
    another of the same star. Other stars are predicted by all networks.
    """
    star = star_id(stars)
    trainable = is_trainable(stars, settings)
    if settings.fold_column is not None:
        trainable &= stars[settings.fold_column] >= 0
    in_training = trainable.copy()
    in_training[~trainable] = np.isin(star[~trainable], star[trainable])

    chance = uniform(stream(seed, "split"), star)
    if settings.train_fraction is not None:
        fold = np.where(chance < settings.train_fraction, -1, 0)
    elif settings.n_folds is not None:
        fold = np.where(in_training, np.floor(chance * settings.n_folds), -1)
    elif settings.fold_column is not None:
        fold = np.full(len(star), -1)
        given = stars[settings.fold_column][trainable].astype(np.int64)
        fold[in_training] = _fold_of_star(settings.fold_column, star[trainable], given, star[in_training])
    return {
        "STAR_ID": star,
        "TRAINABLE": trainable,
        "FOLD": fold.astype(np.int16),
        "HELD_OUT": (fold >= 0) | ~in_training,
    }


def star_id(stars: Mapping[str, Array]) -> Int64:
    """Return the star identifier, shared by repeats and clones: PARENT_ID, else SOURCE_ID, else TARGETID.

    The members of a system whose distance is used share one, ANCHOR_GROUP: they are never on both sides of a split.
    """
    star = np.where(stars["SOURCE_ID"] > 0, stars["SOURCE_ID"], stars["TARGETID"])
    if "PARENT_ID" in stars:
        star = np.where(stars["PARENT_ID"] > 0, stars["PARENT_ID"], star)
    if "ANCHOR_GROUP" in stars:
        star = np.where(stars["ANCHOR_GROUP"] > 0, stars["ANCHOR_GROUP"], star)
    return star.astype(np.int64)


def is_trainable(stars: Mapping[str, Array], settings: SampleSettings) -> Bool:
    """Tell which stars may train: selected, with magnitude, parallax and error, of any sign and S/N (section 2.3)."""
    parallax, error = stars["PARALLAX_CORRECTED"], stars["PARALLAX_ERROR_USED"]
    trainable = stars["SELECTED"] & np.isfinite(stars["G_0"]) & np.isfinite(parallax) & np.isfinite(error) & (error > 0)
    if settings.train_parallax_snr_min is not None:
        trainable &= parallax >= settings.train_parallax_snr_min * stars["PARALLAX_ERROR"]
    if settings.train_drop_negative:
        trainable &= parallax > 0
    return np.asarray(trainable)


def _fold_of_star(column: str, trained: Int64, fold: Int64, star: Int64) -> Int64:
    """Return the fold of each star from those of its spectra; refuse folds that split a star or leave none to train."""
    known, where, group = np.unique(trained, return_index=True, return_inverse=True)
    torn = np.count_nonzero(fold != fold[where][group])
    if torn:
        raise unusable_fold(column, "one fold per star", f"{torn:,} spectra in another fold than their star's first")
    if len(fold) and (fold.min() == fold.max() or fold.max() > np.iinfo(np.int16).max):
        found = f"{fold.min()} to {fold.max()} over the {len(fold):,} stars to train on"
        raise unusable_fold(column, f"at least two folds, numbered up to {np.iinfo(np.int16).max}", found)
    return np.asarray(fold[where][np.searchsorted(known, star)])


def unusable_fold(column: str, expected: str, found: str) -> InputError:
    """Return the error for a wrong fold column."""
    return InputError(
        "the survey's stars",
        expected=f"a column {column} with {expected}",
        found=found,
        remedy="Correct sample.fold_column or the column, or use sample.n_folds.",
    )
