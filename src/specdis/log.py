"""Logging to stderr and to the run's log file, and progress with the remaining time."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

logger = logging.getLogger("specdis")
logger.setLevel(logging.DEBUG)  # the log file keeps everything; each handler has its own level

INTERVAL = 30.0
"""Seconds between two lines of progress without a terminal."""


def to_stderr(level: int = logging.INFO) -> None:
    """Send log and progress to stderr; only results go to stdout."""
    console = _terminal()
    handler = logging.StreamHandler(sys.stderr) if console is None else _AboveTheBar(console)
    handler.setFormatter(logging.Formatter("%(levelname).1s %(message)s"))
    handler.setLevel(level)
    logger.handlers[:] = [handler]
    hide_progress()
    _shown.by = None if level > logging.INFO else _Lines() if console is None else Bar(console)


def _terminal() -> Console | None:
    """Return the terminal of stderr, or None if it cannot redraw a line."""
    if sys.stderr is None or not sys.stderr.isatty():
        return None
    from rich.console import Console

    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    return None if console.is_dumb_terminal else console


class _AboveTheBar(logging.Handler):
    """Prints lines above the bar, wrapped to the width of the terminal."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._console.print(self.format(record), soft_wrap=True)
        except Exception:  # as in the library's handlers
            self.handleError(record)


@contextmanager
def to_file(path: Path) -> Iterator[None]:
    """Append the log to a file, with dates, during the block."""
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
    """A log file that may lose lines: on a full disk, logging must not add a traceback to the message of the run."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is the library's
        """Drop the line."""


# Progress


def duration(seconds: float) -> str:
    """Write a duration in suitable units."""
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


class _Step:
    """A step of work, with its progress and remaining time."""

    def __init__(self, name: str, total: int | None = None, done: int = 0, unit: str = "stars") -> None:
        self.name, self.total, self.done, self.unit = name, total, done, unit
        self.start = time.monotonic()
        self._first = self._last = (self.start, done)
        self._known = False

    def reach(self, done: int) -> None:
        """Count up to `done`; the first time is ignored for the rate, since it includes compilation."""
        self.done, self._last = done, (time.monotonic(), done)
        if not self._known:
            self._known, self._first = True, self._last

    def left(self, now: float) -> float | None:
        """Return the remaining seconds, from the rate since the first unit; None before that."""
        (start, first), (last, done) = self._first, self._last
        if self.total is None or done <= first or last <= start:
            return None
        left = (self.total - done) * (last - start) / (done - first) - (now - last)
        return left if left > 0 else None

    def counts(self) -> str:
        """Write the progress as text."""
        return "" if self.total is None else f"{self.done:,} of {self.total:,} {self.unit}"


class _Shown:
    """The current stage and steps, and their display."""

    def __init__(self) -> None:
        self.by: _Lines | Bar | None = None
        self.steps: list[_Step] = []
        self.place = (0, 0)  # number of the stage, and of all stages

    def begin(self, step: _Step) -> None:
        self.steps.append(step)
        if self.by is not None and len(self.steps) == 1:
            self.by.start()

    def end(self, step: _Step) -> None:
        """Remove a step, with inner steps left by an error."""
        if step in self.steps:
            del self.steps[self.steps.index(step) :]
        if self.by is not None and not self.steps:
            self.by.stop()


_shown = _Shown()


def hide_progress() -> None:
    """Hide progress after an error or an interrupt."""
    if _shown.steps:
        _shown.end(_shown.steps[0])


@contextmanager
def stage(name: str, number: int, of: int) -> Iterator[None]:
    """Show a stage as running during the block."""
    step = _Step(name)
    _shown.place = (number, of)
    _shown.begin(step)
    try:
        yield
    finally:
        _shown.end(step)
        _shown.place = (0, 0)


class Progress:
    """Counts stars through a stage: a bar on a terminal, one line per 30 s otherwise.

    Parameters
    ----------
    stage
        Name shown.
    total
        Number of units in all.
    done
        Units finished by an interrupted run; they count for the fraction, not for the rate.
    unit
        What is counted.
    """

    def __init__(self, stage: str, total: int, done: int = 0, unit: str = "stars") -> None:
        self.stage = stage
        self.step = _Step(stage, total, done, unit)
        _shown.begin(self.step)

    def start_from(self, done: int) -> None:
        """Count from `done`, reached by an interrupted run."""
        self.step.done = done

    def advance(self, count: int) -> None:
        """Count further units."""
        self.reach(self.step.done + count)

    def reach(self, done: int) -> None:
        """Count up to `done`."""
        self.step.reach(done)

    def close(self) -> None:
        """Remove it from the display."""
        _shown.end(self.step)


class _Lines:
    """Logs a line every 30 s, even without progress."""

    def __init__(self) -> None:
        self._over = threading.Event()

    def start(self) -> None:
        self._over = threading.Event()
        threading.Thread(target=self._log, args=(self._over,), daemon=True).start()

    def stop(self) -> None:
        self._over.set()

    def _log(self, over: threading.Event) -> None:
        while not over.wait(INTERVAL):
            if steps := _shown.steps[:]:
                logger.info("%s", _line(steps, _shown.place))


def _line(steps: Sequence[_Step], place: tuple[int, int]) -> str:
    now, step = time.monotonic(), steps[-1]
    number, of = place
    left = step.left(now)
    parts = [
        (f"stage {number} of {of}, " if number else "") + step.name + (f": {step.counts()}" if step.total else ""),
        f"{duration(now - steps[0].start)} so far",
        "" if left is None else f"about {duration(left)} left",
    ]
    return ", ".join(filter(None, parts))


class Bar:
    """Draws one line at the bottom of a terminal, and redraws it regularly."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None

    def start(self) -> None:
        """Show the line."""
        from rich.live import Live

        # stdout may be a file, whose lines do not belong above the bar.
        self._live = Live(get_renderable=self.drawn, console=self._console, transient=True, redirect_stdout=False)
        self._live.start()

    def stop(self) -> None:
        """Remove the line."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def drawn(self) -> RenderableType:
        """Return the line as it is now, empty between the steps."""
        from rich.progress_bar import ProgressBar
        from rich.table import Column, Table

        steps = _shown.steps[:]
        if not steps:
            return ""
        now, step = time.monotonic(), steps[-1]
        number, of = _shown.place
        narrow = self._console.width < _NARROW
        where = (f"{number}/{of} " if narrow else f"stage {number} of {of}: ") if number else ""
        share = "" if step.total is None else f"{100 * step.done / max(step.total, 1):.0f} %"
        left = step.left(now)
        row = Table.grid(
            *(Column(no_wrap=True), Column(ratio=1), Column(no_wrap=True), Column(no_wrap=True)),
            padding=(0, 1),
            expand=True,
        )
        row.width = self._console.width - len("^C ")  # added by the terminal on an interrupt
        row.add_row(
            where + step.name,
            ProgressBar(step.total, step.done, pulse=step.total is None),
            share if narrow else step.counts(),
            duration(now - steps[0].start) + ("" if left is None else f", {duration(left)} left"),
        )
        return row


_NARROW = 90  # columns, below which words are dropped
