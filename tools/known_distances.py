"""Print what a finished run and its rivals say of stars of known distance, as Markdown.

    .venv/bin/specdis demo --stars 60000
    .venv/bin/python tools/known_distances.py demo/run

The numbers are those of the run's validation: predicted less reference modulus in mag, with bootstrapped errors.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from closure_tables import table

from specdis.storage import read_json
from specdis.stores.paths import RunPaths

KINDS = {
    "cluster": "in clusters",
    "dwarf": "in dwarf galaxies",
    "stream": "in the Sagittarius stream",
}
HEAD = ("stars", "number", "median", "scatter", "standard deviation", "reference in 16-84 %", "σ(z)")


def number(cell: dict[str, Any], name: str, sign: str = "") -> str:
    """Return a number with its error."""
    if cell[name] is None:
        return "–"
    return f"{cell[name]:{sign}.2f} ± {cell[f'{name}_err']:.2f}"


def row(name: str, cell: dict[str, Any]) -> list[str]:
    """Return one row of the table of kinds of stars."""
    scatters = [number(cell, column) for column in ("scatter_mag", "std_mag")]
    covered = f"{100 * cell['coverage68']:.0f} %"
    return [name, f"{cell['n']:,}", number(cell, "median_mag", "+"), *scatters, covered, number(cell, "z_scatter")]


def by_modulus(name: str, cells: list[dict[str, Any]]) -> list[str]:
    """Return one row of a table by modulus."""
    return [name, *(number(cell, "median_mag", "+") if cell["n_finite"] else "" for cell in cells)]


def main() -> None:
    metrics = read_json(RunPaths(Path(sys.argv[1])).metrics)
    external, rivals = metrics["external"], metrics["rivals"]
    rows = []
    for kind, name in (("members", "members"), ("bhb", "BHB stars")):
        rows += [row(f"{name}, all", external[kind]["all"])]
        rows += [row(f"{name}, quoted error < 0.5 mag", external[kind]["precise"])]
        if kind == "members":
            rows += [
                row(name, external["by_kind"][kind]) for kind, name in KINDS.items() if kind in external["by_kind"]
            ]
    print(table(HEAD, rows), end="\n\n")
    cells = external["members"]["by_modulus"]
    head = ["m - M", *(f"{cell['modulus_min']:g}-{cell['modulus_max']:g}" for cell in cells)]
    names = {"members": "members", "bhb": "BHB stars"}
    ours = [by_modulus(f"{name}, all", external[kind]["by_modulus"]) for kind, name in names.items()]
    print(table(head, ours), end="\n\n")
    theirs = [
        by_modulus(f"`{rival}`, {name}", [cell["rival"] for cell in found[kind]["by_modulus"]])
        for rival, found in rivals.items()
        for kind, name in names.items()
        if kind in found
    ]
    print(table(head, theirs), end="\n\n")
    systems = [
        [one["system"], f"{one['distance_kpc']:.1f}", f"{one['n']}", number(one, "median_mag", "+")]
        for one in external["systems"]
    ]
    print(table(["system", "kpc", "stars", "median"], systems))


if __name__ == "__main__":
    main()
