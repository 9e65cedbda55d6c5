"""Section [cluster]: where the passes over the stars run."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveFloat, PositiveInt

from specdis.settings import Settings


class ClusterSettings(Settings):
    """Section [cluster]: where the passes over the stars run."""

    kind: Literal["none", "local", "slurm", "address"] = "none"
    """On this machine's cores, a dask cluster of processes here, SLURM jobs, or a scheduler that runs already."""
    workers: PositiveInt = 2
    """Processes of `local`, jobs of `slurm`."""
    address: str | None = None
    """Of the scheduler, for `address`: tcp://host:8786, or a scheduler file."""
    cores: PositiveInt = 8
    """Cores of a SLURM job, a worker for each."""
    memory_gb: PositiveFloat = 16.0
    """Memory of a SLURM job, GB."""
    walltime: str = "02:00:00"
    """Time limit of a SLURM job."""
    queue: str | None = None
    """Partition of SLURM."""
    account: str | None = None
    """Account of SLURM."""
    directives: tuple[str, ...] = ()
    """Further lines for the head of the job script, as `--constraint=cpu`."""
    prologue: tuple[str, ...] = ()
    """Commands of the job before a worker starts, as `source .venv/bin/activate`."""
