"""Try all attacks: `python -m tests.attacks`, see `main`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))
warnings.simplefilter("ignore")  # that JAX does not bear forks: no process that forks has started it

from attacks import machine, models, references, runs, stores, surveys  # noqa: E402
from attacks.mutations import mutate  # noqa: E402
from attacks.process import Attack, tried  # noqa: E402

NAMED = {
    "stale/catalogue_changed_same_size_mtime": "same size and date",
    "model/wl_shift10A": "updates its sums",
    "verify/v_swap_teff_logg": "updates its sums",
}
"""Attacks that are not held, with the words by which docs/faults.md names them; each shows what is said there."""
SLOW = ("model/", "kept_flip/", "zarr/", "survey/gzbomb")
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
