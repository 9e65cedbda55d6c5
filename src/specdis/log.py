"""Logging to stderr and to the run's log file, and progress with rate and time left."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

logger = logging.getLogger("specdis")
logger.setLevel(logging.DEBUG)  # the log file keeps everything; each handler has a level of its own

_INTERVAL = 30.0


def to_stderr(level: int = logging.INFO) -> None:
    """Send the log to stderr; results alone go to stdout."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname).1s %(message)s"))
    handler.setLevel(level)
    logger.handlers[:] = [handler]


@contextmanager
def to_file(path: Path) -> Iterator[None]:
    """Append the log to a file too, with dates, for the length of the block."""
    handler = _LogFile(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        with suppress(OSError):
            handler.close()


class _LogFile(logging.FileHandler):
    """A file that may lack a line: on a full disk the run ends with a message, and the log must not add a traceback."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is the library's
        """Leave it out."""


def _is_quiet() -> bool:
    """Return whether `to_stderr` was asked for warnings alone."""
    return any(getattr(it, "stream", None) is sys.stderr and it.level > logging.INFO for it in logger.handlers)


class Progress:
    """Counts stars through a stage: a bar on a terminal, one line per 30 s otherwise.

    Parameters
    ----------
    stage
        Name shown.
    total
        How many there are to do.
    done
        Stars that an earlier, interrupted run has done; they count for the fraction, not for the rate.
    unit
        What is counted.
    """

    def __init__(self, stage: str, total: int, done: int = 0, unit: str = "stars") -> None:
        self.stage, self.total, self.done, self.unit = stage, total, done, unit
        self._first = done
        self._start = self._last = time.monotonic()
        self._terminal = sys.stderr.isatty() and not _is_quiet()

    def start_from(self, done: int) -> None:
        """Count from `done`, which an interrupted run had reached."""
        self.done = self._first = done

    def advance(self, count: int) -> None:
        """Count so many more, and say so if it is time."""
        self.reach(self.done + count)

    def reach(self, done: int) -> None:
        """Count up to `done`, and say so if it is time."""
        self.done = done
        now = time.monotonic()
        if now - self._last < (0.2 if self._terminal else _INTERVAL):
            return
        self._last = now
        rate = (self.done - self._first) / max(now - self._start, 1e-9)
        left = (self.total - self.done) / max(rate, 1e-9)
        line = f"{self.stage}: {self.done:,} of {self.total:,} {self.unit}, {rate:,.3g} per s, {left:,.0f} s left"
        if self._terminal:
            sys.stderr.write(f"\r{line:<79}")
        else:
            logger.info(line)

    def close(self) -> None:
        """End the bar's line on a terminal."""
        if self._terminal and self._last > self._start:
            sys.stderr.write("\r" + " " * 79 + "\r")
