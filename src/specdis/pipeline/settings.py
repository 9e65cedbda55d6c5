"""Section [run]: where a run is kept and what it may use."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from specdis import machine
from specdis.settings import Settings

MAIN_PROCESS_GB, PROCESS_GB = 1.0, 0.7
"""Memory of the main process beside what grows with stars and pixels, and of each of the others, measured."""


class RunSettings(Settings):
    """Section [run]: where a run is kept and what it may use."""

    name: str
    """Name of the run, in the report and in logs."""
    directory: Path
    """Folder of all products."""
    seed: NonNegativeInt = 1
    """Seed of every random number."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Where networks and components are computed; auto takes a GPU where there is one."""
    threads: PositiveInt | None = None
    """CPU threads; without it, one per core."""
    memory_limit_gb: PositiveFloat | None = None
    """Memory in GB that the run may use: no more processes are started than fit, and `specdis check` compares its
    estimate with it."""

    @property
    def processes(self) -> int:
        """Processes for the passes over the stars: one per thread, as far as the memory goes, and at least one."""
        wanted = self.threads or machine.cores()
        if self.memory_limit_gb is None:
            return wanted
        return int(min(wanted, max(1, (self.memory_limit_gb - MAIN_PROCESS_GB) / PROCESS_GB)))
