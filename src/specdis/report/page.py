"""The HTML page: one file that contains its style, script and pictures, and loads nothing else."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from specdis.flags import DESCRIPTIONS
from specdis.report.explorer import explorer
from specdis.report.inputs import ReportInputs
from specdis.report.style import MOST_POINTS, Plot
from specdis.storage import Provenance, as_json
from specdis.validation import cell_name, coverage_cells, has_reference_magnitude, residual_magnitude
from specdis.validation.external import ENOUGH
from specdis.validation.verdict import CHANCE

_NOTHING = "–"
_OUTLIERS = 20
"""Number of stars with the largest residuals that the page lists."""
CONTENTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "verdict": ("Verdict", ()),
    "reading": ("How to read this page", ()),
    "provenance": ("Provenance", ()),
    "sample": ("Sample", ()),
    "learning": ("Spectra and training", ("fig01", "fig02", "figA1", "figA2", "training")),
    "magnitudes": ("Absolute magnitudes", ("fig03", "fig04", "fig05", "groups")),
    "external": ("Stars of known distance", ("fig06", "fig07", "figA3", "figA4")),
    "distances": ("Distances and their errors", ("fig08", "fig09", "fig12", "calibration", "recalibration")),
    "binaries": ("Binaries", ("fig13", "fig14", "fig15", "fig16")),
    "rivals": ("Rival catalogues", ("fig10", "fig11")),
    "against-truth": ("Against truth", ("truth", "estimators")),
    "halo-stars": ("The halo", ("halo",)),
    "paper": ("Paper against this run", ()),
    "failures": ("Failures and flagged stars", ()),
    "maps": ("Maps", ()),
    "numbers": ("All numbers", ()),
}
"""Title of each section of the page, and its figures, in order."""


class Picture(NamedTuple):
    """A figure in the page.

    Parameters
    ----------
    name, number, title, caption
        As in its `Plot`.
    width, height
        Size on a screen, pixels.
    data
        The PNG file as a data URL; empty if nothing is drawn.
    """

    name: str
    number: str
    title: str
    caption: str
    width: int = 0
    height: int = 0
    data: str = ""

    @classmethod
    def of(cls, plot: Plot, folder: Path) -> Self:
        """Return the picture of a plot whose files are saved."""
        words = plot.name, plot.number, plot.title, plot.caption
        if not plot.is_drawn:
            return cls(*words)
        width, height = (round(100 * inches) for inches in plot.figure.get_size_inches())
        png = (folder / f"{plot.name}.png").read_bytes()
        data = f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
        return cls(*words, width, height, data)


def render(inputs: ReportInputs, pictures: Mapping[str, Picture], provenance: Provenance) -> str:
    """Return index.html, without dates and durations: equal inputs give equal pages."""
    metrics = as_json(inputs.metrics)
    return (
        _environment()
        .get_template("index.html.j2")
        .render(
            inputs=inputs,
            metrics=metrics,
            numbers=list(numbers(metrics)),
            plots=pictures,
            coverage_cells=list(coverage_cells(metrics.get("calibration", {}))),
            truth_cells_by_kind=list(coverage_cells(metrics.get("truth", {}))),
            contents=CONTENTS,
            most_points=MOST_POINTS,
            chance=CHANCE,
            explorer=explorer(inputs.catalogue),
            faults=_faults(inputs.stages),
            unread=_unread(inputs.stages),
            flags=_flags(inputs),
            outliers=_outliers(inputs),
            enough=ENOUGH,
            provenance=provenance.to_dict(),
        )
    )


def render_rates(stages: Mapping[str, Mapping[str, Any]]) -> str:
    """Return rates.html: the rate of each stage, the only page in which equal runs differ."""
    return _environment().get_template("rates.html.j2").render(stages=stages)


def numbers(content: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value of nested metrics with its path, as `internal.by_snr[0].scatter_mag`."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            yield from numbers(value, f"{path}.{key}" if path else str(key))
    elif isinstance(content, list):
        for place, value in enumerate(content):
            yield from numbers(value, f"{path}[{place}]")
    else:
        yield path, content


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("specdis.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": _count,
        "number": _number,
        "percent": _percent,
        "quantity": _quantity,
        "json": json.dumps,
        "with_error": _with_error,
    }
    environment.globals["cell_name"] = cell_name
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    return environment


def _faults(stages: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, int, int]]:
    """Return stage, name, number of faults and stars lost."""
    return [
        (stage, name, count["faults"], count["stars"])
        for stage, record in stages.items()
        for name, count in record["fault_counts"].items()
    ]


def _unread(stages: Mapping[str, Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the reference files that could not be used, with the reason."""
    faults = stages.get("validation", {}).get("faults", ())
    return [fault for fault in faults if fault["name"] == "unread-reference"]


def _flags(inputs: ReportInputs) -> list[tuple[str, str, int]]:
    """Return name, meaning and number of rows of each flag."""
    flags = np.asarray(inputs.catalogue["FLAGS"])
    return [(flag.name or "", text, int(np.count_nonzero(flags & flag))) for flag, text in DESCRIPTIONS.items()]


def _outliers(inputs: ReportInputs) -> list[dict[str, Any]]:
    """Return the held-out stars of precise parallax whose predicted magnitude is farthest from the geometric one."""
    catalogue = inputs.catalogue
    residual = residual_magnitude(catalogue)
    chosen = np.asarray(catalogue["SELECTED"]) & has_reference_magnitude(catalogue) & np.isfinite(residual)
    rows = np.flatnonzero(chosen)
    rows = rows[np.argsort(-np.abs(residual[rows]), kind="stable")][:_OUTLIERS]
    names = inputs.names
    return [
        {
            "name": "" if names is None else str(names[row]),
            "targetid": int(catalogue["TARGETID"][row]),
            "source_id": int(catalogue["SOURCE_ID"][row]),
            "residual": float(residual[row]),
            **{name: float(catalogue[name][row]) for name in ("M_G_NN", "M_G_GEO", "SN", "TEFF", "LOGG", "FEH")},
            "flags": int(catalogue["FLAGS"][row]),
        }
        for row in rows
    ]


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _number(value: float | None, decimals: int = 2, sign: bool = False) -> str:
    """Write a number; a minus sign, not a hyphen, before a negative one."""
    if value is None or not np.isfinite(value):
        return _NOTHING
    rounded = round(float(value), decimals) + 0.0  # which turns -0.0 into 0.0
    return f"{rounded:{'+' if sign else ''}.{decimals}f}".replace("-", "−")


def _percent(value: float | None, decimals: int = 1, sign: bool = False) -> str:
    if value is None or not np.isfinite(value):
        return _NOTHING
    return f"{_number(100 * value, decimals, sign)} %"


def _with_error(block: Mapping[str, Any], key: str, decimals: int = 2, sign: bool = False) -> str:
    """Write a number of the metrics with its error."""
    value, error = block.get(key), block.get(f"{key}_err")
    written = _number(value, decimals, sign)
    return written if written == _NOTHING or error is None else f"{written} ± {_number(error, decimals)}"


def _quantity(value: float | None, unit: str, error: float | None = None) -> str:
    """Write a number of the comparison with the paper in its unit, with its error if it has one."""
    if value is None or not np.isfinite(value):
        return _NOTHING
    if unit == "stars":
        return _count(value)
    scale, decimals, ending = (100.0, 1, " %") if unit == "share" else (1.0, 2, f" {unit}" if unit else "")
    spread = "" if error is None or not np.isfinite(error) else f" ± {_number(scale * error, decimals)}"
    return f"{_number(scale * value, decimals)}{spread}{ending}"
