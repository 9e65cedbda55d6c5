"""Results of verbs as lines and columns of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from specdis.log import duration

if TYPE_CHECKING:
    from specdis.pipeline.staleness import StageStatus
    from specdis.verbs.bench.cases import Rate
    from specdis.verbs.check import Findings


def status_lines(stages: Sequence[StageStatus]) -> Iterator[str]:
    """Yield one line per stage: its state, and its rate or the reasons why it is stale."""
    for stage in stages:
        yield f"{stage.name:<12}{stage.state:<13}{_detail(stage)}".rstrip()


def _detail(stage: StageStatus) -> str:
    record = stage.record
    if stage.reasons or record is None:
        return "; ".join(stage.reasons)
    lost = sum(count["stars"] for count in record.fault_counts.values())
    return (
        f"{record.stars:,} stars in {duration(record.seconds)}, {record.stars_per_second:,.0f} per s, "
        f"{record.peak_memory_gb:.2f} GB" + (f", {lost:,} stars lost to faults" if lost else "")
    )


def findings_lines(found: Findings) -> Iterator[str]:
    """Yield the result of `check`."""
    for name, value in found.facts.items():
        yield f"{name}: {value}"
    yield f"choices that differ from the paper's: {len(found.differences)}"
    for problem in found.problems:
        yield f"problem: {problem}"
    yield f"{len(found.problems)} problems" if found.problems else "ready to run"


def comparison_lines(found: dict[str, Any]) -> Iterator[str]:
    """Yield differences of distance moduli by our modulus, and the errors of both against known distances."""
    yield f"{found['n_matched']:,} of {found['n_catalogue']:,} stars are in both"
    yield f"{'theirs - ours':<24}{'stars':>8}{'median [mag]':>18}{'scatter [mag]':>18}"
    differences = found["comparison"]
    rows = [("all", differences["difference"])]
    rows += [
        (f"{cell['modulus_min']:g} <= m - M < {cell['modulus_max']:g}", cell) for cell in differences["by_modulus"]
    ]
    for kind in ("members", "bhb"):
        if kind in differences:
            rows += [(f"{kind}: {who} - known", differences[kind][who]) for who in ("rival", "ours")]
    for name, cell in rows:
        if cell["n_finite"]:
            median, scatter = (f"{cell[key]:+.3f} +- {cell[f'{key}_err']:.3f}" for key in ("median_mag", "scatter_mag"))
            yield f"{name:<24}{cell['n_finite']:>8,}{median:>18}{scatter.lstrip('+'):>18}"


def rates_lines(rows: Sequence[Rate]) -> Iterator[str]:
    """Yield the rate of each stage beside its limit and the plain version's rate."""
    yield f"{'stars per second':<28}{'here':>10}{'limit':>10}  {'set by':<10}{'of limit':>8}{'plain':>10}{'GB':>7}"
    for row in rows:
        share, plain = f"1/{row.limit / row.rate:.1f}", f"{row.plain:,.0f}" if row.plain == row.plain else "-"
        yield (
            f"{row.stage:<28}{row.rate:>10,.0f}{row.limit:>10,.0f}  {row.limited_by:<10}{share:>8}{plain:>10}"
            f"{row.memory_gb:>7.2f}"
        )
