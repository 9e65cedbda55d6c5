"""Compiled programs are kept for all tests of a worker."""

from __future__ import annotations

from pathlib import Path

import pytest

import tiny_run
from specdis.jaxed import jax


@pytest.fixture(scope="session", autouse=True)
def compiled(tmp_path_factory) -> Path:
    """Keep compiled programs in a folder, because runs with equal settings compile the same ones.

    From the first test on: a server of processes that a test starts keeps its settings, and a program from the folder
    may differ in the last bit from one that was compiled without it. JAX starts here, too: it learns its number of
    threads when it does, sums depend on that in the last bit, and tests of the command line change the variable.
    """
    folder = tmp_path_factory.mktemp("compiled")
    tiny_run.keep_compiled(folder)
    jax.devices()
    return folder
