"""A store that is filled block by block."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import zarr

from specdis.arrays import ranges
from specdis.stores.resumable import Unfinished
from specdis.stores.zarr import create_array

BLOCKS = list(ranges(1200, 512))


def create(path: Path) -> None:
    create_array(zarr.create_group(path), "value", (1200,), "f8")


def fill(unfinished: Unfinished) -> None:
    values = zarr.open_group(unfinished.path)["value"]
    for rows in unfinished.left(BLOCKS):
        values[rows] = rows.start
        unfinished.mark(rows)


def contents(path: Path) -> dict[Path, bytes]:
    return {file.relative_to(path): file.read_bytes() for file in path.rglob("*") if file.is_file()}


KILLED = """
import os, signal, sys
import zarr
sys.addaudithook(lambda event, _: event == "os.rename" and os.kill(os.getpid(), signal.SIGKILL))
zarr.open_group(sys.argv[1])["value"][512:1024] = 7.0
os.kill(os.getpid(), signal.SIGKILL)  # versions of zarr that write in place
"""


def test_a_process_killed_in_the_middle_of_a_chunk_leaves_nothing_in_the_product(tmp_path):
    """Killed between the writing of a chunk and its renaming, which no test by chance meets often."""
    fill(whole := Unfinished(tmp_path / "whole", "store", create))
    whole.publish(tmp_path / "expected")
    unfinished = Unfinished(tmp_path / "scratch", "store", create)
    done = subprocess.run([sys.executable, "-c", KILLED, unfinished.path], check=False, stderr=subprocess.PIPE)
    assert done.returncode == -signal.SIGKILL, done.stderr
    fill(Unfinished(tmp_path / "scratch", "store", create))
    unfinished.publish(tmp_path / "product")
    assert contents(tmp_path / "product") == contents(tmp_path / "expected")


def test_blocks_that_are_marked_are_not_made_again(tmp_path):
    unfinished = Unfinished(tmp_path, "store", create)
    unfinished.mark(BLOCKS[1], ["said"])
    again = Unfinished(tmp_path, "store", lambda path: pytest.fail("made anew"))
    assert again.left(BLOCKS) == [BLOCKS[0], BLOCKS[2]]
    assert list(again.said()) == [["said"]]
    os.rename(again.path, tmp_path / "elsewhere")
    assert Unfinished(tmp_path, "store", create).left(BLOCKS) == BLOCKS
