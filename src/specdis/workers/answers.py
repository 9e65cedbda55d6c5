"""What a worker does with a block, and what it answers."""

from __future__ import annotations

import logging
import os
import pickle
import resource
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from specdis.errors import SpecdisError
from specdis.log import logger

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PJRT_NPROC", "ZARR_THREADING__MAX_WORKERS")
"""Variables by which numpy, JAX and zarr learn how many threads to start; they look when they are imported."""
ONE_EACH = dict.fromkeys(THREADS, "1")


class Died(NamedTuple):
    """In place of the result of a block that killed every process which tried it."""

    reason: str


def unless_dead(found: Iterator[tuple[Any, Any]], may_kill: bool) -> Iterator[tuple[Any, Any]]:
    """Pass on blocks and results, unless one killed its processes and should not have."""
    for block, result in found:
        if isinstance(result, Died) and not may_kill:
            raise SpecdisError(
                f"Part of the work was given up: {result.reason}. If the system ended them for lack of memory, lower "
                "run.threads or cluster.workers. Run again to go on where this stopped."
            )
        yield block, result


class Answer(NamedTuple):
    """What a process says when it has done a block."""

    result: Any
    log: list[tuple[int, str]]
    process: int
    peak_memory_gb: float

    def repeat_log(self) -> None:
        """Log here what was logged there."""
        for level, message in self.log:
            logger.log(level, "%s", message)


class _Kept(logging.Handler):
    """Keeps the messages of one block."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.messages: list[tuple[int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append((record.levelno, record.getMessage()))


@lru_cache(maxsize=4)
def _unpacked(task: bytes) -> Callable[[Any], Any]:
    """Return a task, the same one for every block, so that it keeps what it has prepared."""
    unpacked: Callable[[Any], Any] = pickle.loads(task)
    return unpacked


def called(task: bytes, block: Any) -> Answer:
    """Do a block in another process."""
    kept = _Kept()
    logger.handlers[:] = [kept]
    result = _unpacked(task)(block)
    return Answer(result, kept.messages, os.getpid(), peak_memory_gb())


def result_of(answer: Answer) -> Any:
    """Return what a worker made of a block."""
    return answer.result


def peak_memory_gb() -> float:
    """Return the peak resident memory of this process, GB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
