"""The training stars that a model remembers, to predict them by networks that were not trained on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from specdis.arrays import Array, Bool, Int
from specdis.rng import hash64, stream
from specdis.sample.split import star_id


class TrainedStars(NamedTuple):
    """Training and test stars as hashes of their identifiers.

    Parameters
    ----------
    key
        Hashes of every STAR_ID, SOURCE_ID and TARGETID, uint64, sorted. A file may have any of them: a DESI coadd
        has no SOURCE_ID, and clones have a parent.
    fold
        Fold of the star, int16, whose networks were not trained on it; -1 if all networks were.
    calibration
        Whether the star was used for recalibration.
    complete
        Whether every star had a SOURCE_ID, so that any other SOURCE_ID is a new star.
    """

    key: Array
    fold: Int
    calibration: Bool
    complete: Bool

    @classmethod
    def of(cls, stars: Mapping[str, Array]) -> TrainedStars:
        """Collect the training and test stars of a sample.

        Parameters
        ----------
        stars
            TRAINABLE, STAR_ID, SOURCE_ID, TARGETID, FOLD and CALIBRATION of the sample, shape (star,).
        """
        rows = np.flatnonzero(stars["TRAINABLE"])
        star, source, target = (stars[name][rows] for name in ("STAR_ID", "SOURCE_ID", "TARGETID"))
        has_source = source > 0
        key, first = np.unique(_keys(np.concatenate([star, source[has_source], target])), return_index=True)
        row = np.concatenate([rows, rows[has_source], rows])[first]
        return cls(key, stars["FOLD"][row], stars["CALIBRATION"][row], np.asarray(has_source.all()))

    @classmethod
    def unknown(cls) -> TrainedStars:
        """Return the record for a model without a list of its training stars."""
        return cls(np.zeros(0, np.uint64), np.zeros(0, np.int16), np.zeros(0, np.bool_), np.asarray(False))

    def held_out(self, stars: Mapping[str, Array]) -> dict[str, Array]:
        """Return FOLD, HELD_OUT and CALIBRATION of stars that may be training stars.

        Parameters
        ----------
        stars
            SOURCE_ID, TARGETID and, for clones, PARENT_ID, shape (star,).

        Returns
        -------
        dict
            FOLD, -1 if the mean over all networks predicts the star; HELD_OUT, False if a network that predicts the
            star was trained on it, or if that is unknown; and CALIBRATION.
        """
        star = star_id(stars)
        wanted = _keys(star)
        place = np.minimum(np.searchsorted(self.key, wanted), max(len(self.key) - 1, 0))
        found = self.key[place] == wanted if len(self.key) else np.zeros(len(star), np.bool_)
        fold, calibration = np.full(len(star), -1, np.int16), np.zeros(len(star), np.bool_)
        fold[found], calibration[found] = self.fold[place[found]], self.calibration[place[found]]
        certainly_new = ~found & self.complete & (stars["SOURCE_ID"] > 0)
        return {"FOLD": fold, "HELD_OUT": (fold >= 0) | certainly_new, "CALIBRATION": calibration}

    def is_sound(self) -> bool:
        """Tell whether the arrays have the right types and lengths, and are sorted."""
        kinds = tuple(column.dtype.kind for column in self)
        shapes = tuple(column.shape for column in self)
        return bool(
            kinds == ("u", "i", "b", "b")
            and shapes == (*[(len(self.key),)] * 3, ())
            and (self.key[1:] > self.key[:-1]).all()
        )


def _keys(identifiers: Array) -> Array:
    return hash64(stream(0, "trained stars"), identifiers)
