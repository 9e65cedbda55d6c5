"""Section [run]: folder and resources of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from specdis import machine
from specdis.settings import Settings

MAIN_PROCESS_GB, PROCESS_GB = 1.0, 0.7
"""Measured memory, GB: of the main process without the parts that grow with stars and pixels, and of each worker."""


class RunSettings(Settings):
    """Section [run]: where a run is kept and what it may use."""

    name: str
    """Name of the run, in the report and in logs."""
    directory: Path
    """Folder of all products."""
    seed: NonNegativeInt = 1
    """Seed of every random number."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Device for networks and components; auto uses a GPU if there is one."""
    threads: PositiveInt | None = None
    """CPU threads; without it, one per core."""
    memory_limit_gb: PositiveFloat | None = None
    """Memory limit of the run, GB: bounds the number of processes; `specdis check` compares its estimate with it."""

    @property
    def processes(self) -> int:
        """Number of processes for the passes over the stars: one per thread, limited by memory, at least one."""
        wanted = self.threads or machine.cores()
        if self.memory_limit_gb is None:
            return wanted
        return int(min(wanted, max(1, (self.memory_limit_gb - MAIN_PROCESS_GB) / PROCESS_GB)))
