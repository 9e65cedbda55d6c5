"""What all tests of a worker share: compiled programs, and a folder that it shares with the other workers."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
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
    Every worker has its own folder: JAX writes a program in place, where another worker might read half of it. Between
    files of tests, workers exchange what they have.
    """
    folder = tmp_path_factory.mktemp("compiled")
    tiny_run.keep_compiled(folder)
    jax.devices()
    return folder


@pytest.fixture(scope="session")
def shared(tmp_path_factory) -> Path:
    """Return the folder of all workers."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def exchange(compiled, shared) -> Callable[[], None]:
    """Return a function that gives this worker's programs to the others, and takes theirs."""
    programs = shared / "programs"
    programs.mkdir(exist_ok=True)

    def exchange() -> None:
        for giver, taker in ((compiled, programs), (programs, compiled)):
            for program in giver.iterdir():
                with contextlib.suppress(FileExistsError):
                    os.link(program, taker / program.name)

    return exchange


@pytest.fixture(scope="module", autouse=True)
def _exchange(exchange) -> Iterator[None]:
    exchange()
    yield
    exchange()


@pytest.fixture(scope="session")
def once(shared, exchange) -> Callable[[str, Callable[[Path], object]], Path]:
    """Return a function that makes a folder in the first worker that needs it; the others wait, and take it as it is.

    They take what the first has compiled until then, too.
    """

    def made(name: str, make: Callable[[Path], object]) -> Path:
        folder, finished = shared / name, shared / f"{name}.finished"
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not finished.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                exchange()
                finished.touch()
        exchange()
        return folder

    return made
