"""The survey that a configuration names, from files or a mock universe, and its truth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from specdis import surveys
from specdis.arrays import Array
from specdis.references import References
from specdis.storage import column_names, read_table
from specdis.stores.paths import RunPaths
from specdis.surveys import IDENTIFIER, Stars, Survey
from specdis.validation import join

if TYPE_CHECKING:
    from specdis.pipeline.config import Config


def survey_of(config: Config) -> Survey:
    """Open the survey that a configuration names.

    Raises
    ------
    InputError
        When its files are missing or not what they should be.
    """
    if config.survey.kind == "mock":
        from specdis.mock.stream import MockSurvey

        return MockSurvey(config.mock)
    return surveys.open_survey(config.survey)


def truth_of(config: Config, paths: RunPaths) -> dict[str, Array] | None:
    """Return `IDENTIFIER`, DIST_TRUE (kpc) and columns of companions, None without a truth.

    Parameters
    ----------
    config
        The configuration.
    paths
        Paths of the run, whose sample is requested. A file with the truth may hold other stars too.

    Returns
    -------
    dict or None
        With BINARY_TRUE and MASS_RATIO if the truth has them.
    """
    columns = (*IDENTIFIER, "DIST_TRUE", "BINARY_TRUE", "MASS_RATIO")
    if config.survey.kind == "mock":
        from specdis.mock.stream import MockSurvey

        found = MockSurvey(config.mock).truth(Stars(read_table(paths.sample, IDENTIFIER)))
        return {name: found[name] for name in columns}
    path = config.survey.truth_file
    if path is None:
        return None
    present = column_names(path)
    return read_table(path, [name for name in columns if name in present or name == "DIST_TRUE"])


def references_of(config: Config) -> References:
    """Return the lists of members and rival catalogues named in a configuration or found beside the survey."""
    stars = config.survey.catalogue or config.survey.spectra
    return References(config.references, config.gaia, stars and stars.parent)


def known_files(config: Config) -> list[Path]:
    """Return the external files about the stars: lists, rival catalogues, the truth."""
    path = config.survey.truth_file
    return [*references_of(config).files, *([] if path is None else [path])]


def sample_files(config: Config) -> list[Path]:
    """Return the external files of the sample: the truth if it names the parents of clones, and lists of anchors."""
    return [*copies_files(config), *(references_of(config).files if config.anchors.use != "none" else ())]


def sample_sections(config: Config) -> tuple[str, ...]:
    """Return the sections and keys about lists of members, if these are anchors."""
    of_anchors = ("survey.gaia", "anchors.kinds", "anchors.least_error", "anchors.usual_error")
    return ("references", *of_anchors) if config.anchors.use != "none" else ()


def copies_files(config: Config) -> list[Path]:
    """Return the file with the truth if it names the parents of clones, or nothing."""
    path = config.survey.truth_file
    return [] if path is None or "PARENT_ID" not in column_names(path) else [path]


def parents(config: Config) -> Callable[[Stars], Stars]:
    """Return a function that adds PARENT_ID to clones, if the truth names their parents."""
    copies = copies_files(config)
    if not copies:
        return lambda stars: stars
    known = read_table(copies[0], (*IDENTIFIER, "PARENT_ID"))
    parent = np.append(known["PARENT_ID"], 0)
    return lambda stars: stars.replace(PARENT_ID=parent[join(stars.columns, known)])
