"""Measure how peak memory grows with the number of stars: whole runs on two mock surveys, each in its own process.

    python tools/measure_memory.py OUT --stars 5000 50000

Prints the peak resident memory and the rate of every stage for both, and compares the growth of the run's peak with the
size of the coefficients of the additional stars. Exit status 1 when it is more. OUT gets surveys and runs, 150 kB per
star, and what is there already is used again: remove a run to measure it anew. The demonstration's configuration is
used, `--set components.n_components=100` and the like change it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from specdis.mock.survey import CATALOGUE
from specdis.pipeline.config import Config
from specdis.pipeline.manifest import Manifest, StageRecord
from specdis.pipeline.templates import template
from specdis.stores.paths import RunPaths

SPECDIS = (sys.executable, "-c", "from specdis.cli import main; main()")


def measured(folder: Path, stars: int, overrides: list[str]) -> tuple[Config, dict[str, StageRecord]]:
    """Make a mock survey and run everything on it; return the configuration and what the stages recorded."""
    subprocess.run([*SPECDIS, "mock", str(folder / "survey"), "--stars", str(stars)], check=True)
    places = {"run.directory": "run", "survey.catalogue": f"survey/{CATALOGUE}", "survey.spectra": "survey/healpix"}
    files = (f"{key}={json.dumps(str(folder / place))}" for key, place in places.items())
    overrides = ["survey.kind=desi", *files, *overrides]
    options = [word for override in overrides for word in ("--set", override)]
    subprocess.run([*SPECDIS, "run", str(template("demo")), *options], check=True)
    return Config.load(template("demo"), overrides), dict(Manifest.read(RunPaths(folder / "run").manifest).stages)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--stars", type=int, nargs=2, default=(5_000, 50_000), metavar=("FEW", "MANY"))
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="SECTION.KEY=VALUE")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    (config, few), (_, many) = (measured(out / str(stars), stars, arguments.overrides) for stars in arguments.stars)
    print(f"{'':<12}{'peak memory, GB':>24}{'stars per second':>24}")
    for name, record in few.items():
        memory = f"{record.peak_memory_gb:>12.3f}{many[name].peak_memory_gb:>12.3f}"
        print(f"{name:<12}{memory}{record.stars_per_second:>12,.0f}{many[name].stars_per_second:>12,.0f}")
    growth = max(r.peak_memory_gb for r in many.values()) - max(r.peak_memory_gb for r in few.values())
    stars = many["components"].stars - few["components"].stars
    coefficients = 4e-9 * stars * config.components.n_components
    print(f"{stars:,} stars more: the peak grows by {growth:.3f} GB, their coefficients are {coefficients:.3f} GB")
    sys.exit(growth > coefficients)


if __name__ == "__main__":
    main()
