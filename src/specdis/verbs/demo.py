"""The verb `demo`: a mock survey, the whole pipeline on it, and a report."""

from __future__ import annotations

import json
from pathlib import Path

from specdis.mock.settings import MockSettings
from specdis.mock.survey import CATALOGUE, write_mock
from specdis.pipeline.config import Config
from specdis.pipeline.runner import run_stages
from specdis.pipeline.stages import STAGES
from specdis.pipeline.templates import template


def make_demo(directory: Path, stars: int | None = None) -> tuple[Config, list[str]]:
    """Make a mock survey in `directory`/survey, unless it exists, and run all stages in `directory`/run.

    Parameters
    ----------
    directory
        Folder of both.
    stars
        Number of stars; by default that of section [mock].

    Returns
    -------
    tuple of Config and list of str
        The configuration of the run, and the stages that ran.
    """
    survey = directory.resolve() / "survey"
    write_mock(survey, MockSettings() if stars is None else MockSettings(stars=stars))
    places = {
        "run.directory": directory.resolve() / "run",
        "survey.catalogue": survey / CATALOGUE,
        "survey.spectra": survey / "healpix",
    }
    files = (f"{key}={json.dumps(str(place))}" for key, place in places.items())
    config = Config.load(template("demo"), ["survey.kind=desi", *files])
    return config, run_stages(config, STAGES)
