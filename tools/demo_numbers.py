"""Writes what the pages say of the demonstration: `python tools/demo_numbers.py [DEMO]`.

With DEMO, the folder that `make demo` filled, the numbers are measured: its own, and those of the run without faint
parallaxes and of the comparisons that the tutorial shows, which are made when they are missing. docs/demo.json keeps
them, and says what they were measured on. Then every number of the pages that has a mark <!--demo:NAME--> behind it is
replaced.
"""

from __future__ import annotations

import json
import platform
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import specdis
from specdis.pipeline.config import Config
from specdis.pipeline.runner import run_stages
from specdis.pipeline.stages import STAGES
from specdis.storage import read_json
from specdis.verbs.compare import compare_files

ROOT = Path(__file__).parents[1]
NUMBERS = ROOT / "docs" / "demo.json"
PAGES = tuple(ROOT / name for name in ("README.md", "docs/index.md", "docs/quickstart.md", "docs/tutorial.md"))
MARKED = re.compile(r"([-+]?\d[\d.,]*(?: ± \d[\d.,]*)?(?: (?:%|mag|kpc))?)<!--demo:(\w+)-->")
"""A number with its error and its unit, and its name."""

_CUT = "sample.train_parallax_snr_min=5"  # what the tutorial does in its last but one step
_DISTANT = 40.0, 70.0  # kpc


def measure(demo: Path) -> dict[str, Any]:
    """Return the numbers of a demonstration as the pages write them, and what they were measured on."""
    whole, cut, survey = demo / "run", demo / "cut", demo / "survey"
    run_stages(
        Config.load(whole / "config.resolved.toml", [f"run.directory={json.dumps(str(cut.resolve()))}", _CUT]), STAGES
    )
    rival = compare_files(whole, survey / "rivals" / "biased.fits", demo / "comparison", {}, survey)
    between = compare_files(whole, cut, demo / "comparison-of-cut", {})
    ours, theirs = (read_json(folder / "validation" / "metrics.json") for folder in (whole, cut))
    members = rival["comparison"]["members"]
    numbers = {
        "stars": f"{ours['catalogue']['all']['n']:,}",
        "precise": f"{100 * ours['catalogue']['all']['share_precise']:.0f} %",
        "rival_off": _plain(members["rival"], "median_mag", "mag", 2),
        "ours_off": _plain(members["ours"], "median_mag", "mag", 2),
        "bias": _percent(_distant(ours), "median_bias"),
        "bias_cut": _percent(_distant(theirs), "median_bias"),
    }
    for name, metrics, system in (
        ("draco", ours, "Draco"),
        ("sextans", ours, "Sextans"),
        ("draco_cut", theirs, "Draco"),
    ):
        found = _system(metrics, system)
        numbers[name] = _plain(found, "median_distance_kpc", "kpc", 0)
        numbers[f"{system.lower()}_true"] = f"{found['distance_kpc']:.0f} kpc"
    for low in (12, 15, 17):
        cell = next(cell for cell in between["comparison"]["by_modulus"] if cell["modulus_min"] == low)
        numbers[f"cut_from_{low}"] = _plain(cell, "median_mag", "mag", 2)
    header = specdis.read_catalogue(whole, columns=["TARGETID"]).meta
    made_by = {
        "software": header["SOFTWARE"],
        "hash of configuration, inputs, software": header["RUNKEY"],
        "seed": header["SEED"],
        "seed of the mock": read_json(survey / "mock.json")["settings"]["seed"],
        "processor": _processor(),
    }
    return {"measured on": made_by, "numbers": numbers}


def _distant(metrics: Mapping[str, Any]) -> Mapping[str, Any]:
    cells = metrics["truth"]["held_out"]["by_distance"]
    return next(cell for cell in cells if (cell["distance_min_kpc"], cell["distance_max_kpc"]) == _DISTANT)


def _system(metrics: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return next(system for system in metrics["external"]["systems"] if system["system"] == name)


def _percent(measured: Mapping[str, Any], name: str) -> str:
    return f"{100 * measured[name]:.0f} ± {100 * measured[f'{name}_err']:.1g} %"


def _plain(measured: Mapping[str, Any], name: str, unit: str, digits: int) -> str:
    return f"{measured[name]:.{digits}f} ± {measured[f'{name}_err']:.{digits}f} {unit}"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    names = (
        re.findall(r"^model name\s*:\s*(.+)$", information.read_text(), re.MULTILINE) if information.exists() else []
    )
    return names[0] if names else platform.processor() or platform.machine()


def written(page: str, numbers: Mapping[str, str]) -> str:
    """Return a page with its marked numbers replaced."""
    return MARKED.sub(lambda mark: f"{numbers[mark[2]]}<!--demo:{mark[2]}-->", page)


def main(demo: Path | None = None) -> None:
    if demo is not None:
        NUMBERS.write_text(json.dumps(measure(demo), indent=2, ensure_ascii=False) + "\n")
    numbers = read_json(NUMBERS)["numbers"]
    for page in PAGES:
        page.write_text(written(page.read_text(), numbers))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
