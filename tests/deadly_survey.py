"""A survey that kills its readers: other processes have to find it by the name of a module."""

from __future__ import annotations

import os
import signal
from typing import Any

from specdis.pipeline.inputs import open_survey
from specdis.surveys import desi

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
    survey = open_survey(config)
    survey.__class__, survey.deadly = Deadly, int(config.run.name)
    return survey
