"""Measure the fraction of binaries in mock universes where it is known, and print it beside the truth as Markdown.

    python tools/binary_fractions.py OUT --stars 14000 --seed 23

Each universe is a run of its own in OUT, as far as the stage `validation`: without binaries, with few and with many,
with an excess of twins and without. A run that is there already is not made again. The share of twins among injected
companions is that of the universe: what a wrong one does, a second number for it tells (--twins).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from closure_tables import table

from specdis.binaries import LEAST_MASS_RATIO
from specdis.mock.binaries import LEAST_MASS_RATIO as LEAST_OF_ALL
from specdis.pipeline.templates import template
from specdis.storage import read_json
from specdis.stores.paths import RunPaths

CHOICES = (
    *("sample.n_folds=5", "components.n_components=40", "training.batch=64", "training.n_seeds=2"),
    "distances.n_draws=2",
)
"""What suits some ten thousand stars, on top of mock-mixture.toml."""
PARAMETERS = {"FEH": "[Fe/H]", "TEFF": "Teff", "LOGG": "log g"}


class Universe(NamedTuple):
    """Share of the stars that are binaries, and share of twins among these."""

    binaries: float
    twins: float

    @property
    def name(self) -> str:
        return f"{100 * self.binaries:g} %, {100 * self.twins:g} % twins"

    @property
    def twins_above(self) -> float:
        """Share of twins among the companions of mass ratios for which a fraction is measured."""
        others = (1 - self.twins) * (1 - LEAST_MASS_RATIO) / (1 - LEAST_OF_ALL)
        return self.twins / (self.twins + others)


UNIVERSES = tuple(Universe(*pair) for pair in ((0.0, 0.1), (0.25, 0.0), (0.25, 0.1), (0.45, 0.0), (0.45, 0.1)))


def measured(universe: Universe, out: Path, stars: int, seed: int, twins: float | None) -> dict[str, Any]:
    """Run the pipeline on a universe; return `binaries` of its metrics."""
    directory = out.resolve() / f"seed{seed}-binaries{universe.binaries:g}-twins{universe.twins:g}"
    settings = {
        "run.directory": f'"{directory}"',
        "mock.stars": stars,
        "mock.seed": seed,
        "mock.binary_fraction": universe.binaries,
        "mock.twin_fraction": universe.twins,
        "binaries.twin_fraction": round(universe.twins_above if twins is None else twins, 4),
    }
    overrides = [f"--set={key}" for key in (*CHOICES, *(f"{key}={value}" for key, value in settings.items()))]
    command = [Path(sys.executable).with_name("specdis"), "run", template("mock-mixture"), "--to", "validation"]
    subprocess.run([*command, *overrides], check=True, stdout=subprocess.DEVNULL)
    found: dict[str, Any] = read_json(RunPaths(directory).metrics)["binaries"]
    return found


def chi_square(found: Mapping[str, Any], name: str) -> str:
    """Return chi-square per degree of freedom of a parameter's cells about the truth, and the number of cells."""
    cells = zip(found["by_parameter"][name], found["truth"]["by_parameter"][name], strict=True)
    pulls = [pull(here, true) for here, true in cells if here["fraction_corrected"] is not None]
    return f"{np.mean(np.square(pulls)):.2f} ({len(pulls)})" if pulls else "–"


def pull(here: Mapping[str, Any], true: Mapping[str, Any]) -> float:
    """Return by how many errors more stars are called binaries than would be with the true fraction.

    The error is that of a number drawn with that fraction, together with those of completeness and false alarms: of few
    stars, that of the most likely fraction is no Gaussian. Where none is called and none can be, it is 0.
    """
    stars, share = here["n_main_sequence"], true["fraction_true"]
    chance = share * here["completeness"] + (1 - share) * here["false_alarms"]
    uncertain = np.hypot(share * here["completeness_err"], (1 - share) * here["false_alarms_err"])
    more, error = here["n_called"] - stars * chance, np.hypot(np.sqrt(stars * chance * (1 - chance)), stars * uncertain)
    return float(more / error) if more or error else 0.0


def written(cell: Mapping[str, Any], name: str) -> str:
    """Write a number of the metrics with its error."""
    return "–" if cell[name] is None else f"{cell[name]:.3f} ± {cell[f'{name}_err']:.3f}"


def overview(found: Mapping[str, Mapping[str, Any]]) -> Iterator[list[str]]:
    """Yield a row for each universe."""
    for name, one in found.items():
        here, true = one["all"], one["truth"]["all"]
        numbers = [written(here, key) for key in ("fraction", "completeness", "false_alarms", "fraction_corrected")]
        away = "–" if here["fraction_corrected"] is None else f"{pull(here, true):+.1f}"
        chi = [chi_square(one, parameter) for parameter in PARAMETERS]
        yield [name, f"{here['n_main_sequence']:,}", *numbers, written(true, "fraction_true"), away, *chi]


def by_cell(one: Mapping[str, Any]) -> Iterator[list[str]]:
    """Yield a row for each cell of the parameters that holds stars."""
    for name, words in PARAMETERS.items():
        for here, true in zip(one["by_parameter"][name], one["truth"]["by_parameter"][name], strict=True):
            if here["n_main_sequence"]:
                place = f"{words} {here[f'{name}_min']:g} to {here[f'{name}_max']:g}"
                numbers = [written(here, key) for key in ("completeness", "false_alarms", "fraction_corrected")]
                yield [place, f"{here['n_main_sequence']:,}", *numbers, written(true, "fraction_true")]


def by_ratio(one: Mapping[str, Any]) -> Iterator[list[str]]:
    """Yield completeness by mass ratio, of injected companions and of true ones."""
    for here, true in zip(one["by_mass_ratio"], one["truth"]["by_mass_ratio"], strict=True):
        ratio = f"{here['ratio_min']:g} to {here['ratio_max']:.3g}"
        yield [ratio, written(here, "completeness"), written(true, "completeness"), f"{true['n']:,}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--stars", type=int, default=14_000)
    parser.add_argument("--seed", type=int, default=23)
    parser.add_argument("--twins", type=float, help="share of twins among injected companions, whatever the universe")
    arguments = parser.parse_args()
    given = (arguments.out, arguments.stars, arguments.seed, arguments.twins)
    found = {universe.name: measured(universe, *given) for universe in UNIVERSES}
    head = ["binaries", "main sequence", "found", "completeness", "false alarms", "corrected", "true", "errors away"]
    print(table([*head, *(f"χ² per cell, {words}" for words in PARAMETERS.values())], overview(found)))
    for name, one in found.items():
        print(f"\n{name}\n")
        print(table(["cell", "stars", "completeness", "false alarms", "corrected", "true"], by_cell(one)))
        print()
        print(table(["mass ratio", "injected: found", "true: found", "true binaries"], by_ratio(one)))


if __name__ == "__main__":
    main()
