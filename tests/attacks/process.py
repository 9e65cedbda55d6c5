"""Attacks in processes of their own, several at once, which may hang, fill the memory or die."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from typer.testing import CliRunner

from specdis.cli import app
from specdis.errors import SpecdisError

SECONDS = 120
"""More than any attack takes that is held, on a machine that is busy."""
GIGABYTES = 3.0
"""Resident memory; a process that has imported everything has half of one."""
_ADDRESSES = 16 << 30
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1, 2  # linux/capability.h
_PR_CAPBSET_DROP = 24  # linux/prctl.h

Attack = Callable[[Path], object]


class Result(NamedTuple):
    """What came of an attack."""

    name: str
    held: bool
    said: str
    seconds: float
    gigabytes: float

    def __str__(self) -> str:
        return f"{self.name} ({self.seconds:.1f} s, {self.gigabytes:.1f} GB): {' '.join(self.said.split())[:300]}"


class _Running(NamedTuple):
    name: str
    folder: Path
    started: float


def tried(attacks: Mapping[str, Attack], place: Path, processes: int) -> Iterator[Result]:
    """Try attacks, each in a folder of its own below `place`; yield what came of them, as they end."""
    waiting, running = list(attacks.items()), dict[int, _Running]()
    while waiting or running:
        while waiting and len(running) < processes:
            name, attack = waiting.pop(0)
            folder = place / name.replace("/", "-").replace(" ", "-")
            folder.mkdir(parents=True)
            running[_begun(attack, folder)] = _Running(name, folder, time.monotonic())
        time.sleep(0.02)
        for child, attack in list(running.items()):
            seconds, gigabytes = time.monotonic() - attack.started, _memory(child)
            late, large = seconds > SECONDS, gigabytes > GIGABYTES
            if late or large:
                os.killpg(child, signal.SIGKILL)
            ended, status, used = os.wait4(child, 0 if late or large else os.WNOHANG)
            if not ended:
                continue
            del running[child]
            gigabytes = max(gigabytes, used.ru_maxrss / 1e6)
            worse = (
                f"no end after {SECONDS} s" if late else f"more than {GIGABYTES} GB" if gigabytes > GIGABYTES else ""
            )
            yield _result(attack, worse or _death(status), seconds, gigabytes)


def _begun(attack: Attack, folder: Path) -> int:
    """Begin an attack in a process of its own, and return its number."""
    sys.stdout.flush()
    if child := os.fork():
        return child
    os.setsid()
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESSES, _ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    output = os.open(folder / "output.txt", os.O_WRONLY | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    try:
        _as_any_user()
        os.chdir(folder)
        held, said = True, str(attack(folder))
    except BaseException:
        held, said = False, traceback.format_exc(limit=-4)
    (folder / "result.json").write_text(json.dumps([held, said]))
    os._exit(0)


def _as_any_user() -> None:
    """Give up what lets the superuser read files that are closed, so that permissions are tried as any user."""
    if os.geteuid():
        return
    libc = ctypes.CDLL(None, use_errno=True)
    for right in (_DAC_OVERRIDE, _DAC_READ_SEARCH):  # of programs that this one will start
        if libc.prctl(_PR_CAPBSET_DROP, right, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")
    header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if libc.capget(header, data):
        raise OSError(ctypes.get_errno(), "capget")
    data[0] &= ~(1 << _DAC_OVERRIDE | 1 << _DAC_READ_SEARCH)
    if libc.capset(header, data):
        raise OSError(ctypes.get_errno(), "capset")


def _memory(process: int) -> float:
    """Return the resident memory of a process, GB; 0 when it has ended."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize() / 1e9
    except OSError:
        return 0.0


def _death(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"killed by signal {-code}" if code < 0 else f"ended with status {code}" if code else ""


def _result(attack: _Running, worse: str, seconds: float, gigabytes: float) -> Result:
    held, said = False, worse
    if not worse:
        held, said = json.loads((attack.folder / "result.json").read_text())
        output = (attack.folder / "output.txt").read_text(errors="replace")
        if held and "Traceback (most recent call last)" in output:
            held, said = False, output
    return Result(attack.name, held, said, seconds, gigabytes)


# What attacks ask


def refused(call: Callable[[], object], expected: str = "") -> str:
    """Return the message with which something is refused, which holds what is expected."""
    try:
        found = call()
    except SpecdisError as error:
        said = str(error)
    else:
        raise AssertionError(f"taken: {str(found)[:200]}")
    assert expected in said, f"said {said}, expected '{expected}'"
    return said


def specdis(*arguments: object) -> tuple[int, str]:
    """Run the command line; return its exit status and all that it said, which shows no fault of its own."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    said = result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert "Traceback" not in said, said
    assert "a bug in specdis" not in said, said
    assert "not enough memory" not in said, said
    return result.exit_code, said


def stops(*arguments: object, expected: str = "") -> str:
    """Return the message with which a command ends, which holds what is expected."""
    status, said = specdis(*arguments)
    assert status == 1, f"ended with status {status}: {said[-300:]}"
    message = [line for line in said.splitlines() if line.startswith("specdis: ")]
    assert len(message) == 1, said
    assert expected in message[0], f"said {message[0]}, expected '{expected}'"
    return message[0]
