"""The log, and what is shown of progress: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import io
import logging
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from specdis import log


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    """Leave handlers and what is shown as they were."""
    monkeypatch.setattr(log.logger, "handlers", [])
    monkeypatch.setattr(log, "_shown", log._Shown())


@pytest.fixture
def clock(monkeypatch):
    """Return a clock that stands still until it is set."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_a_log_that_cannot_be_written_ends_nothing_and_shows_no_traceback(capsys):
    with log.to_file(Path("/dev/full")):
        log.logger.warning("a line")
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.13, "0.1 s"), (3.4, "3 s"), (119, "119 s"), (125, "2 min"), (7000, "117 min"), (7500, "2 h 5 min")],
)
def test_durations_are_in_units_that_suit(seconds, said):
    assert log.duration(seconds) == said


# The time left


def test_what_is_compiled_first_takes_no_part_in_the_time_left(clock):
    step = log._Step("training", 10, unit="epochs")
    assert step.left(clock[0]) is None
    clock[0] += 300  # to compile, and the first epoch
    step.reach(1)
    assert step.left(clock[0]) is None
    clock[0] += 2
    step.reach(2)
    assert step.left(clock[0]) == pytest.approx(16)
    clock[0] += 1
    assert step.left(clock[0]) == pytest.approx(15)  # it goes down between two epochs
    clock[0] += 20
    assert step.left(clock[0]) is None  # longer than was thought: nobody knows


def test_what_an_earlier_run_did_is_no_rate(clock):
    progress = log.Progress("distances", 1000, done=900)
    clock[0] += 5
    progress.advance(10)
    clock[0] += 10
    progress.advance(10)
    assert progress.step.left(clock[0]) == pytest.approx(80)


# Lines


@pytest.fixture
def lines(monkeypatch):
    """Log to a stderr that is no terminal, at ten lines a second; return what it holds."""
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(log, "INTERVAL", 0.1)
    log.to_stderr()
    return lambda: stderr.getvalue().splitlines()


def waited_for(found, what: str) -> str:
    """Return the first line with some text, which may take a while to come."""
    for _ in range(600):
        if lines := [line for line in found() if what in line]:
            return lines[0]
        time.sleep(0.05)
    raise AssertionError(f"no line with {what!r}: {found()}")


def test_lines_come_while_a_stage_counts_nothing_and_end_with_it(lines):
    with log.stage("validation", 8, 9):
        assert re.fullmatch(r"I stage 8 of 9, validation, [\d.]+ s so far", waited_for(lines, "validation"))
    time.sleep(0.3)
    before = lines()
    time.sleep(0.3)
    assert lines() == before


def test_lines_have_counts_and_no_time_left_before_it_is_known(lines):
    with log.stage("spectra", 2, 9):
        progress = log.Progress("spectra", 4000)
        progress.advance(1000)
        assert re.fullmatch(
            r"I stage 2 of 9, spectra: 1,000 of 4,000 stars, [\d.]+ s so far", waited_for(lines, "1,000")
        )
        time.sleep(1.0)
        progress.advance(1000)
        assert re.fullmatch(
            r"I .*: 2,000 of 4,000 stars, [\d.]+ s so far, about [\d.]+ s left", waited_for(lines, "2,000")
        )
        progress.close()


def test_warnings_alone_means_no_lines(lines):
    log.to_stderr(logging.WARNING)
    with log.stage("sample", 1, 9):
        time.sleep(0.4)
    assert lines() == []


def test_without_a_log_nothing_is_shown(capsys):
    log.Progress("predict", 10).advance(5)
    assert capsys.readouterr() == ("", "")


# The bar


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_the_bar_is_one_line_of_a_terminal_with_place_counts_and_times(clock, width):
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, color_system=None)
    with log.stage("components", 3, 9):
        progress = log.Progress("components (moments)", 1_338_000)
        for _ in range(2):
            clock[0] += 100
            progress.advance(400_000)
        console.print(log.Bar(console).drawn())
    (line,) = file.getvalue().splitlines()
    assert len(line) <= width - 3
    assert ("3/9 " if width < 90 else "stage 3 of 9: ") + "components (moments) ━" in line
    assert ("60 %" if width < 90 else "800,000 of 1,338,000 stars") in line
    assert "3 min, 2 min left" in line
    assert line.count("━") >= 5


SCRIPT = """
import sys, time, warnings
from specdis import log
log.to_stderr(20)
with log.stage("sample", 1, 2):
    for number in range(20):
        log.logger.info("a line %d, %s", number, "long " * 30)
        time.sleep(0.02)
    print("to stdout")
    print("to stderr", file=sys.stderr)
log.logger.info("the end")
"""


def on_a_terminal(script: str, **environment: str) -> tuple[str, str]:
    """Run a script whose stderr is a terminal; return stdout and what the terminal was sent."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "80"} | environment,
    )
    os.close(theirs)
    sent = b""
    try:
        while part := os.read(ours, 4096):
            sent += part
    except OSError:  # what Linux says when nobody has the other end any more
        pass
    stdout, _ = child.communicate()
    os.close(ours)
    return stdout.decode(), sent.decode()


def screen(sent: str) -> list[str]:
    """Return the lines that a terminal of any width shows after all that it was sent."""
    lines, row, column = [""], 0, 0
    for code, text in re.findall(r"(\x1b\[[0-9;?]*[A-Za-z])|(.)", sent, flags=re.DOTALL):
        if text == "\n":
            row, lines = row + 1, [*lines, ""] if row + 1 == len(lines) else lines
        elif text == "\r":
            column = 0
        elif text:
            lines[row] = lines[row].ljust(column)[:column] + text + lines[row][column + 1 :]
            column += 1
        elif code == "\x1b[2K":
            lines[row] = ""
        elif code.endswith("A"):
            row -= int(code[2:-1] or 1)
    return [line.rstrip() for line in lines if line.strip()]


def test_bar_and_lines_do_not_tear_each_other():
    stdout, sent = on_a_terminal(SCRIPT)
    assert "stage 1 of 2: sample" in sent or "1/2 sample" in sent
    assert stdout == "to stdout\n"
    expected = [f"I a line {number}, {'long ' * 30}".rstrip() for number in range(20)]
    assert screen(sent) == [*expected, "to stderr", "I the end"]


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"NO_COLOR": "1"}])
def test_terminals_without_lines_to_draw_anew_and_without_colours(environment):
    _, sent = on_a_terminal(SCRIPT, **environment)
    assert ("━" in sent) is ("NO_COLOR" in environment)
    assert not re.search(r"\x1b\[[0-9;]*[34][0-9;]*m", sent)  # of colours
    assert screen(sent)[-1] == "I the end"


def test_quiet_draws_no_bar():
    _, sent = on_a_terminal(SCRIPT.replace("to_stderr(20)", "to_stderr(30)"))
    assert sent == "to stderr\r\n"
