"""Section [cluster]: workers for the passes over the stars."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveFloat, PositiveInt

from specdis.settings import Settings


class ClusterSettings(Settings):
    """Section [cluster]: where the passes over the stars run."""

    kind: Literal["none", "local", "slurm", "address"] = "none"
    """Cores of this machine, a dask cluster of local processes, SLURM jobs, or a running scheduler."""
    workers: PositiveInt = 2
    """Number of processes for `local`, of jobs for `slurm`."""
    address: str | None = None
    """Address of the scheduler, for `address`: tcp://host:8786, or a scheduler file."""
    cores: PositiveInt = 8
    """Cores of a SLURM job, each with a worker."""
    memory_gb: PositiveFloat = 16.0
    """Memory of a SLURM job, GB."""
    walltime: str = "02:00:00"
    """Time limit of a SLURM job."""
    queue: str | None = None
    """SLURM partition."""
    account: str | None = None
    """SLURM account."""
    directives: tuple[str, ...] = ()
    """Further lines for the head of the job script, as `--constraint=cpu`."""
    prologue: tuple[str, ...] = ()
    """Commands of the job before a worker starts, such as `source .venv/bin/activate`."""
