"""Tasks and surveys for workers: other processes have to find them by the name of a module."""

from __future__ import annotations

import os
import signal
from typing import Any

from specdis.log import logger
from specdis.pipeline.inputs import survey_of
from specdis.surveys import desi
from specdis.surveys.fits import FileError


def double(number: int) -> int:
    logger.warning("doubling %d", number)
    return 2 * number


def deadly(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def wrong(number: int) -> int:
    raise FileError("unreadable-file", "a.fits", expected="a number", found=f"{number}", remedy="Replace it.")


CATALOGUE = -1
"""In place of a pixel."""


class Deadly(desi.DesiSurvey):
    """A survey of which one file, or the catalogue, kills whatever reads it."""

    deadly: int

    def part(self, rows):
        if self.deadly == CATALOGUE:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().part(rows)

    def spectra(self, stars):
        if (stars["HEALPIX"] == self.deadly).any():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().spectra(stars)


def open_deadly(config: Any):
    """Open the survey, whose deadly pixel, or `CATALOGUE`, is the name of the run."""
    survey = survey_of(config)
    survey.__class__, survey.deadly = Deadly, int(config.run.name)
    return survey
