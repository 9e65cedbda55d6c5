"""The HTML page: one file with its style inside, pictures beside it, and nothing fetched from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from specdis.report.inputs import ReportInputs
from specdis.report.style import Plot
from specdis.storage import Provenance
from specdis.validation import cell_name

_NOTHING = "–"


def render(inputs: ReportInputs, plots: Sequence[Plot], provenance: Provenance) -> str:
    """Return index.html: equal inputs give equal pages, with no date and no duration in them."""
    return (
        _environment()
        .get_template("index.html.j2")
        .render(
            inputs=inputs,
            metrics=inputs.metrics,
            plots={plot.name: plot for plot in plots},
            faults=_faults(inputs.stages),
            provenance=provenance.to_dict(),
        )
    )


def render_rates(stages: Mapping[str, Mapping[str, Any]]) -> str:
    """Return rates.html: how fast each stage went, the one page in which equal runs differ."""
    return _environment().get_template("rates.html.j2").render(stages=stages)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("specdis.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": _count, "number": _number, "percent": _percent, "quantity": _quantity}
    environment.globals["cell_name"] = cell_name
    return environment


def _faults(stages: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, int, int]]:
    """Return stage, name, number of faults and stars lost."""
    return [
        (stage, name, count["faults"], count["stars"])
        for stage, record in stages.items()
        for name, count in record["fault_counts"].items()
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


def _quantity(value: float | None, unit: str) -> str:
    """Write a number of the comparison with the paper in its unit."""
    if unit == "share":
        return _percent(value, 0)
    return f"{_number(value)} {unit}"
