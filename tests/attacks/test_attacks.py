"""The attacks that take seconds; `python -m tests.attacks` tries all of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_attacks_are_held_or_named():
    """In a process of its own: who has started JAX cannot fork."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.attacks", "--quick", "--processes", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, "\n".join(line for line in done.stdout.splitlines() if not line.startswith("held"))
    assert "0 failed" in done.stdout.splitlines()[-1]


SCRIPT = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests")!r})
import os, time
from pathlib import Path
from attacks import process
process.GIGABYTES = 1.0
attacks = {{
    "fails": lambda folder: 1 / 0,
    "hangs": lambda folder: time.sleep(60),
    "dies": lambda folder: os.kill(os.getpid(), 9),
    "fills": lambda folder: [b"x" * (1 << 31), time.sleep(60)],
    "prints a traceback": lambda folder: print("Traceback (most recent call last)", flush=True),
    "holds": lambda folder: "held",
}}
def attempt(*names):
    for result in process.tried({{name: attacks[name] for name in names}}, Path({{!r}}), 1):
        print(result.name, "|", result.held, "|", " ".join(result.said.split())[-60:])

attempt(*attacks.keys() - {{"hangs"}})
process.SECONDS = 2  # for this attack alone: on a busy machine any other may take longer
attempt("hangs")
"""


def test_what_goes_wrong_is_noticed(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT.replace("{!r}", repr(str(tmp_path)))],
        capture_output=True,
        text=True,
        check=True,
    )
    found = {line.split(" | ")[0]: line.split(" | ")[1:] for line in done.stdout.splitlines()}
    assert found.pop("holds") == ["True", "held"]
    assert {held for held, _ in found.values()} == {"False"}
    expected = {"fails": "division by zero", "hangs": "no end after", "dies": "signal 9", "fills": "more than 1.0 GB"}
    assert all(words in found[name][1] for name, words in expected.items()), found
