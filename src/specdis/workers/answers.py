"""Execution of a block in a worker, and its answer."""

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
"""Variables for the number of threads of numpy, JAX and zarr, read at import."""
ONE_EACH = dict.fromkeys(THREADS, "1")


class Died(NamedTuple):
    """Result of a block that killed every process which tried it."""

    reason: str


def unless_dead(found: Iterator[tuple[Any, Any]], may_kill: bool) -> Iterator[tuple[Any, Any]]:
    """Pass on blocks and results; raise an error for one that killed its processes."""
    for block, result in found:
        if isinstance(result, Died) and not may_kill:
            raise SpecdisError(
                f"Part of the work failed: {result.reason}. If the system killed them for lack of memory, lower "
                "run.threads or cluster.workers. Run again to resume."
            )
        yield block, result


class TaskResult(NamedTuple):
    """Answer of a process for one block."""

    result: Any
    log: list[tuple[int, str]]
    process: int
    peak_memory_gb: float

    def repeat_log(self) -> None:
        """Log the worker's messages in this process."""
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
    """Unpickle a task once for all blocks, so that it keeps what it has prepared."""
    unpacked: Callable[[Any], Any] = pickle.loads(task)
    return unpacked


def called(task: bytes, block: Any) -> TaskResult:
    """Process a block in another process."""
    kept = _Kept()
    logger.handlers[:] = [kept]
    result = _unpacked(task)(block)
    return TaskResult(result, kept.messages, os.getpid(), peak_memory_gb())


def result_of(answer: TaskResult) -> Any:
    """Return the result in a worker's answer."""
    return answer.result


def peak_memory_gb() -> float:
    """Return the peak resident memory of this process, GB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
