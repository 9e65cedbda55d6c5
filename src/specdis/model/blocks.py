"""Blocks of a survey's stars, and predictions for them."""

from __future__ import annotations

from typing import NamedTuple

from specdis.arrays import Array, Int64
from specdis.distances.targets import Targets
from specdis.surveys.base import Fault, Stars


class SurveyBlock(NamedTuple):
    """Some stars of a survey that are predicted at once.

    Parameters
    ----------
    start
        Number of the first one in the sample.
    stars, targets
        The stars, and what predicting needs of them besides spectra.
    """

    start: int
    stars: Stars
    targets: Targets


class BlockPrediction(NamedTuple):
    """Predictions for a block.

    Parameters
    ----------
    parts
        Rows of the sample, shape (star,), with the columns of `Model.predict_pixels`.
    faults
        Spectra that could not be read.
    remarks
        Differences of the spectra from those of the training.
    """

    parts: list[tuple[Int64, dict[str, Array]]]
    faults: list[Fault]
    remarks: list[str]


class Predicted(NamedTuple):
    """Predictions for the stars of a survey.

    Parameters
    ----------
    stars
        The sample.
    columns
        The columns of the catalogue, in its order.
    spectra
        Number of readable spectra.
    """

    stars: Stars
    columns: dict[str, Array]
    spectra: int
