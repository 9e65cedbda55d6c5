"""Try all attacks: `python -m tests.attacks`, see `main`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import warnings
from collections import Counter
from multiprocessing import get_context
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))
warnings.simplefilter("ignore")  # that JAX does not bear forks: no process that forks has started it

import fuzz  # noqa: E402
from attacks import machine, models, references, runs, stores, surveys  # noqa: E402
from attacks.process import Attack, tried  # noqa: E402

NAMED = {
    "stale/catalogue_changed_same_size_mtime": "same size and date",
    "model/wl_shift10A": "makes its sums anew",
    "verify/v_swap_teff_logg": "makes its sums anew",
}
"""Attacks that are not held, and the words with which docs/faults.md names them; each shows that it is as said there."""
SLOW = ("model/", "kept_flip/", "zarr/", "stale/", "mended/", "perm/pixel", "units/", "survey/wl_", "survey/gzbomb")
SLOWER = (
    "dask_bind",
    "mock600",
    "ref/parquet_bomb",
    "_gz_bomb",
    "long_words",
    "rce_zarr",
    "digit flips",
    "user/",
    "predict/",
)
"""Parts of the names of what takes seconds, beside all that needs a finished run."""

SHARES = {
    **dict.fromkeys((kind for kind in fuzz.KINDS if kind.startswith("list ")), 1.2),
    **dict.fromkeys(("coadd", "catalogue", "spmod", "velocities", "table"), 1.0),
    **{"toml": 4.0, "model": 3.0, "summed model": 3.0, "store": 1.5, "run": 0.75, "json of a run": 0.75},
}
"""Parts of the mutations by kind of file."""
_PIECE = 250
"""Mutations tried in one process: what it keeps in memory must not add up."""


def rows(run: Path | None) -> dict[str, Attack]:
    """Return the attacks of an earlier version and more of their kinds, by name; with a finished run, those on it."""
    found: dict[str, Attack] = {}
    for module in (surveys, references, models, stores, runs, machine):
        found |= module.ROWS | getattr(module, "MORE", {})
    return found | ({} if run is None else runs.rows(run))


def attack(names: list[str], processes: int, quick: bool) -> int:
    """Try attacks, and print what came of each and how many there are; return how many failed."""
    counts: Counter[str] = Counter()
    documented = " ".join((TESTS.parent / "docs" / "faults.md").read_text().split())
    with tempfile.TemporaryDirectory() as place:
        run = None if quick else runs.finished(_made(Path(place) / "finished"))
        wanted = {name: row for name, row in rows(run).items() if not names or any(part in name for part in names)}
        if quick:
            wanted = {name: row for name, row in wanted.items() if not any(part in name for part in SLOW + SLOWER)}
        for result in tried(wanted, Path(place), processes):
            state = "held" if result.held else "failed"
            if result.held and (words := NAMED.get(result.name)):
                state = "named" if words in documented else "failed"
            counts[state] += 1
            print(f"{state:<7}{result}", flush=True)
    print(f"{counts.total()} attacks: {counts['held']} held, {counts['named']} named, {counts['failed']} failed")
    return counts["failed"]


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


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


def main() -> None:
    """Try all attacks, or those whose name holds one of the words given; then so many mutated files."""
    parser = argparse.ArgumentParser(prog="python -m tests.attacks", description=main.__doc__)
    parser.add_argument("names", nargs="*", help="parts of names of attacks, or kinds of files to mutate")
    parser.add_argument("--quick", action="store_true", help="leave out what takes more than seconds")
    parser.add_argument("--mutations", type=int, default=0, help="mutate files so many times, in place of the attacks")
    parser.add_argument("--first", type=int, default=100_000, help="number of the first mutation")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    if given.mutations:
        sys.exit(bool(mutate(given.mutations, given.first, given.processes, given.names)))
    sys.exit(bool(attack(given.names, given.processes, given.quick)))


if __name__ == "__main__":
    main()
