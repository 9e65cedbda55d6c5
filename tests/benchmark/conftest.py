"""Notes stars per second of each benchmark and prints them at the end."""

from __future__ import annotations

import pytest

RATES = pytest.StashKey[dict[str, float]]()


@pytest.fixture
def note(request):
    """Return a function that notes how many stars a second the test reached."""
    rates = request.config.stash.setdefault(RATES, {})
    return lambda rate: rates.update({request.node.name.removeprefix("test_"): rate})


@pytest.fixture
def measure(benchmark, note):
    """Return a function that times a call on so many stars, after another call that compiles and warms up."""

    def _measure(stars, function, *arguments):
        benchmark.pedantic(function, arguments, rounds=5, warmup_rounds=1)
        note(stars / benchmark.stats["median"])

    return _measure


def pytest_terminal_summary(terminalreporter):
    terminalreporter.section("stars per second")
    for name, rate in terminalreporter.config.stash.get(RATES, {}).items():
        terminalreporter.write_line(f"{name.replace('_', ' '):<40}{rate:>12,.0f}")
