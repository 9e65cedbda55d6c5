"""One mock survey and one finished run, for all tests of a worker."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import tiny_run
from specdis.log import logger


@pytest.fixture(scope="session")
def config(tmp_path_factory) -> Path:
    """Return the configuration of a tiny run."""
    return tiny_run.write_survey(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def finished(config, compiled) -> Path:
    """Return the directory of a finished run, to be read only."""
    assert tiny_run.start(config, config.parent / "run") == tiny_run.ALL
    return config.parent / "run"


@pytest.fixture
def copied(finished, tmp_path) -> Path:
    """Return a copy of the finished run."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture(autouse=True)
def _log():
    """Take away the handler that the command line adds, which writes to the stderr of a test that is over."""
    handlers = logger.handlers[:]
    yield
    logger.handlers[:] = handlers
