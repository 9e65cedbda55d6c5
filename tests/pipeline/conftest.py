"""Surveys and finished runs that are made once for all tests of all workers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import table_files
import tiny_run
from specdis.log import logger


@pytest.fixture(scope="session")
def config(once) -> Path:
    """Return the configuration of a tiny run, to be read only, as its survey is."""
    return once("tiny", tiny_run.write_survey) / "tiny.toml"


@pytest.fixture(scope="session")
def finished(config, once) -> Path:
    """Return the directory of a run that has all but its report, which is to be read only."""

    def make(folder: Path) -> None:
        assert tiny_run.start(config, folder, last="validation") == tiny_run.ALL[:-1]

    return once("tiny/run", make)


@pytest.fixture(scope="session")
def table_run(once) -> Path:
    """Return the directory of a run on an uneven table, which goes as far as the catalogue; to be read only."""

    def make(folder: Path) -> None:
        path = table_files.write(folder / "spectra.fits", table_files.uneven_table())
        path = table_files.write_config(path, table_files.UNEVEN_SETTINGS)
        tiny_run.start(path, folder / "run", last="catalogue")

    return once("table", make) / "run"


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
