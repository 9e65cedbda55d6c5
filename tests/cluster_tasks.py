"""Tasks and surveys for workers: other processes have to find them by the name of a module."""

from __future__ import annotations

import os
import signal
from typing import Any

from specdis.errors import SpecdisError
from specdis.log import logger
from specdis.pipeline.survey import open_survey
from specdis.surveys import desi


def double(number: int) -> int:
    logger.warning("doubling %d", number)
    return 2 * number


def deadly(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def wrong(number: int) -> int:
    raise SpecdisError(f"{number} cannot be")


class Deadly(desi.DesiSurvey):
    """A survey of which one file kills whatever reads it."""

    deadly: int

    def spectra(self, stars):
        if (stars["HEALPIX"] == self.deadly).any():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().spectra(stars)


def open_deadly(config: Any):
    """Open the survey, whose deadly pixel is the name of the run."""
    survey = open_survey(config)
    survey.__class__, survey.deadly = Deadly, int(config.run.name)
    return survey
