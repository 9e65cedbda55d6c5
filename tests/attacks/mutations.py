"""Mutated files of every kind through the readers, kind after kind in processes of their own."""

from __future__ import annotations

import os
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

import fuzz

SHARES = {
    **dict.fromkeys((kind for kind in fuzz.KINDS if kind.startswith("list ")), 1.2),
    **dict.fromkeys(("coadd", "catalogue", "spmod", "velocities", "table"), 1.0),
    **{"toml": 4.0, "model": 3.0, "summed model": 3.0, "store": 1.5, "run": 0.75, "json of a run": 0.75},
}
"""Parts of the mutations by kind of file."""
_PIECE = 250
"""Mutations tried in one process: what it keeps in memory must not add up."""


def mutate(mutations: int, first: int, processes: int, kinds: list[str]) -> int:
    """Try mutated files of all kinds, and print those that did worse than a message; return how many."""
    chosen = {kind: share for kind, share in SHARES.items() if not kinds or kind in kinds}
    number = {kind: round(mutations * share / sum(chosen.values())) for kind, share in chosen.items()}
    worse = 0
    with tempfile.TemporaryDirectory() as place, get_context("spawn").Pool(processes, maxtasksperchild=1) as pool:
        tasks = [(kind, first, count, Path(place) / kind) for kind, count in number.items()]
        for kind, found, seconds in pool.imap_unordered(_mutated, tasks, chunksize=1):
            worse += len(found)
            for number_of, said in found:
                print(f"{kind} {number_of}: {said}", flush=True)
            print(f"{kind}: {number[kind]} mutations, {len(found)} worse than a message, {seconds:.0f} s", flush=True)
    print(f"{sum(number.values())} mutations, {worse} worse than a message")
    return worse


def _mutated(task: tuple[str, int, int, Path]) -> tuple[str, list[tuple[int, str]], float]:
    kind, first, count, place = task
    started, found = time.monotonic(), []
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what readers warn of
    for piece in range(first, first + count, _PIECE):
        numbers = range(piece, min(piece + _PIECE, first + count))
        folder = place / str(piece)
        place.mkdir(exist_ok=True)
        found += fuzz.tried(kind, numbers, fuzz.prepared(kind, folder))
    return kind, found, time.monotonic() - started
