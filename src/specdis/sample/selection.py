"""From a survey's rows to the sample: cut, correct, keep the best spectrum of each star, split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from specdis.arrays import Array, Bool, Int64
from specdis.errors import InputError
from specdis.photometry import PhotometrySettings, corrected
from specdis.sample.cuts import Cut, CutFlow, cuts, failures, lines
from specdis.sample.settings import SampleSettings
from specdis.sample.split import split, unusable_fold
from specdis.surveys.base import IDENTIFIER, PHOTOMETRY, STAR_COLUMNS, Missing, Stars


@dataclass(frozen=True)
class Sample:
    """The selected stars, sorted by SURVEY, PROGRAM, HEALPIX, TARGETID, with the cut flow.

    Parameters
    ----------
    stars
        All `STAR_COLUMNS` but those of `PHOTOMETRY` that the survey lacks, its own columns, those of
        `photometry.corrected`, and

        - SELECTED bool: passes all cuts and is the selected spectrum of its star;
        - CUT bytes: name of the first cut that it fails, empty where selected;
        - CUT_FLAGS int32: OUTSIDE_CUTS and NOT_TRAINABLE, 0 where selected;
        - TRAINABLE bool: selected, with all quantities of the loss;
        - STAR_ID int64: the star identifier, shared by repeats and clones;
        - FOLD int16: the fold whose networks were not trained on it; -1 if the mean over all networks predicts it;
        - HELD_OUT bool: predicted by networks that were not trained on any spectrum of the star.
    cutflow
        Counts of all rows of the survey, cut by cut.
    """

    stars: Stars
    cutflow: CutFlow

    def with_split(self, columns: Mapping[str, Array], settings: SampleSettings, seed: int, **counts: int) -> Sample:
        """Return the same stars with these columns and those of the split, and with further counts."""
        stars = Stars({**columns, **split(columns, settings, seed)})
        return Sample(stars, CutFlow(self.cutflow.lines, {**self.cutflow.summary, **_sides(stars), **counts}))


def select(
    blocks: Iterable[Stars],
    columns: frozenset[str],
    settings: SampleSettings,
    photometry: PhotometrySettings,
    seed: int,
    predicts_every_row: bool,
) -> Sample:
    """Cut, correct the photometry, keep the best spectrum of each star, and split (section 2.3).

    Parameters
    ----------
    blocks, columns, settings, photometry
        As in `choose`.
    seed
        Random seed of the run.
    predicts_every_row
        Whether rows outside the cuts are kept, unless `settings.predict_outside` decides.

    Raises
    ------
    InputError
        When no star is left, or the fold column is missing, not of whole numbers, or unusable.
    """
    outside = predicts_every_row if settings.predict_outside is None else settings.predict_outside
    usable = (_with_folds(block, settings.fold_column) for block in blocks)
    chosen = choose(usable, columns, settings, photometry, outside=outside)
    return chosen.with_split(chosen.stars.columns, settings, seed)


def choose(
    blocks: Iterable[Stars],
    columns: frozenset[str],
    settings: SampleSettings,
    photometry: PhotometrySettings,
    *,
    outside: bool,
) -> Sample:
    """Return the sample before the split, without the columns and the counts that the split gives.

    Parameters
    ----------
    blocks
        The survey's rows in file order, in blocks of any size.
    columns
        `STAR_COLUMNS` that the survey's files hold.
    settings, photometry
        The sections `[sample]` and `[photometry]`.
    outside
        Whether rows outside the cuts are kept.

    Raises
    ------
    InputError
        When no star is left.
    """
    flow = cuts(settings)
    passed = len(flow)
    counts = np.zeros(passed + 1, dtype=np.int64)
    parts: list[dict[str, Array]] = []
    missing: Counter[Missing] = Counter()
    for block in blocks:
        missing.update(block.missing)
        first, flags = failures(block, flow, columns)
        counts += np.bincount(first, minlength=passed + 1)
        rows = np.flatnonzero(outside | (first == passed))
        parts.append(
            {
                **_complete(block.take(rows), photometry),
                "CUT": first[rows],
                "CUT_FLAGS": flags[rows],
            }
        )
    if not any(len(part["CUT"]) for part in parts):
        raise _nothing_left(flow, counts)

    keys = (*IDENTIFIER, "SOURCE_ID", "SN", "CUT")
    joined = {name: np.concatenate([part[name] for part in parts]) for name in keys}
    first = joined["CUT"]
    order, again, worse = repeats(joined, first == passed)
    first[again], first[worse] = passed - 2, passed - 1
    counts[-3:] = np.bincount(first, minlength=passed + 1)[-3:]  # both kinds of duplicates, and the rows that pass them
    duplicates_outside = len(first) - len(order) - int(counts[-3])
    if not outside:
        order = order[first[order] == passed]
    stars = _gather(parts, order)
    stars["SELECTED"] = first[order] == passed
    stars["CUT_FLAGS"] |= np.where(first[order] == passed - 1, flow[-1].flag, 0).astype(np.int32)
    stars["CUT"] = np.array([*(cut.name.encode() for cut in flow), b""])[first[order]]
    selected = int(stars["SELECTED"].sum())
    summary = {
        "rows": int(counts.sum()),
        "selected": selected,
        "predicted_outside": len(order) - selected,
        "duplicates_outside": duplicates_outside,
        "missing_values": [{**kind._asdict(), "stars": count} for kind, count in missing.items()],
    }
    return Sample(Stars(stars), CutFlow(lines(flow, counts, columns), summary))


def _with_folds(stars: Stars, fold_column: str | None) -> Stars:
    """Pass on stars that have the fold column."""
    if fold_column is not None and (fold_column not in stars or stars[fold_column].dtype.kind not in "iu"):
        found = str(stars[fold_column].dtype) if fold_column in stars else f"columns {', '.join(stars.columns)}"
        raise unusable_fold(fold_column, "whole numbers", found)
    return stars


def _complete(stars: Stars, photometry: PhotometrySettings) -> dict[str, Array]:
    """Return the survey's own columns, `STAR_COLUMNS` in their types, and the photometry."""
    wanted = {name: column for name, column in STAR_COLUMNS.items() if name in stars or name not in PHOTOMETRY}
    known = {name: stars.get(name).astype(column.dtype, copy=False) for name, column in wanted.items()}
    return {**stars.columns, **known, **corrected(known, photometry)}


def repeats(stars: Mapping[str, Array], passes: Bool) -> tuple[Int64, Int64, Int64]:
    """Find repeated spectra and repeated stars.

    Of rows with one identifier, the first that passes all cuts stays; of the spectra of one Gaia star, the one with
    the highest S/N, and of equal ones that with the lowest identifier.

    Parameters
    ----------
    stars
        `IDENTIFIER`, SOURCE_ID and SN, shape (star,).
    passes
        Rows that pass all cuts, shape (star,).

    Returns
    -------
    order
        The rows sorted by identifier, each identifier once.
    again
        Rows that pass all cuts and repeat an identifier: the last cut but one.
    worse
        Rows that pass all cuts and are not the best spectrum of their star: the last cut.
    """
    order = np.lexsort((~passes, stars["TARGETID"], stars["HEALPIX"], stars["PROGRAM"], stars["SURVEY"]))
    repeated = np.zeros(len(order), dtype=np.bool_)
    repeated[1:] = np.all([stars[name][order[1:]] == stars[name][order[:-1]] for name in IDENTIFIER], axis=0)
    again, order = order[repeated], order[~repeated]

    source = stars["SOURCE_ID"]
    best = order[passes[order] & (source[order] > 0)]
    best = best[np.lexsort((-np.nan_to_num(stars["SN"][best], nan=-np.inf), source[best]))]
    return order, again[passes[again]], best[1:][source[best[1:]] == source[best[:-1]]]


def _gather(parts: Sequence[dict[str, Array]], order: Int64) -> dict[str, Array]:
    """Join the columns of all parts in order, emptying the parts, so that memory holds one table."""
    return {name: np.concatenate([part.pop(name) for part in parts])[order] for name in list(parts[0])}


def _nothing_left(flow: Sequence[Cut], counts: Int64) -> InputError:
    lost = [f"{cut.name} {count:,}" for cut, count in zip(flow, counts) if count]
    return InputError(
        "the survey's stars",
        expected="at least one that passes the cuts",
        found=f"{counts.sum():,} rows" + (f", cut as {', '.join(lost)}" if lost else ""),
        remedy="Loosen the cuts of [sample], or set sample.predict_outside = true.",
    )


def _sides(stars: Stars) -> dict[str, Any]:
    """Return the counts of the sides of the split."""
    folds, group, size = np.unique(stars["FOLD"], return_inverse=True, return_counts=True)
    trainable = np.bincount(group, weights=stars["TRAINABLE"], minlength=len(folds))
    return {
        "trainable": int(stars["TRAINABLE"].sum()),
        "held_out": int(stars["HELD_OUT"].sum()),
        "folds": [
            {"fold": int(fold), "stars": int(all_), "trainable": int(part)}
            for fold, all_, part in zip(folds, size, trainable)
        ],
    }
