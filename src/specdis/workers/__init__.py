"""Blocks of stars processed on this machine's cores or on a dask cluster, with the same result.

A pass over the stars applies a task to blocks. Tasks read and write files of the run, which all workers can access, and
return small results. Results do not depend on the worker, the order, or repetitions. On one machine every core has a
process, so that a process that dies, from a damaged file or lack of memory, does not affect the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from specdis import machine
from specdis.workers.dask import Dask
from specdis.workers.processes import Machine
from specdis.workers.settings import ClusterSettings


class Workers(Protocol):
    """Workers that apply tasks to blocks.

    A task takes one block and returns a small result; it can be pickled, and keeps what it has prepared for the next
    block.
    """

    def each(
        self, task: Callable[[Any], Any], blocks: Iterable[Any], *, may_kill: bool = False, here: bool = False
    ) -> Iterator[tuple[Any, Any]]:
        """Yield blocks with their results, in the order of completion.

        Parameters
        ----------
        task, blocks
            The task, and an iterable of blocks, consumed as needed.
        may_kill
            Whether a block may kill its process, as damaged files do: the result is then a `Died`. Otherwise that is
            an error, like any exception of the task.
        here
            Whether to work in this process, because a GPU serves one process at a time; the next block is read while
            one is computed.

        Raises
        ------
        SpecdisError
            When a block killed every process that tried it.
        """
        ...

    def total(self, task: Callable[[Sequence[Any]], Any], blocks: Sequence[Any], add: Callable[[Any, Any], Any]) -> Any:
        """Return the sum over blocks; the task sums over some of them, and `add` combines two sums."""
        ...

    def memory_gb(self) -> float:
        """Return the peak memory of the other processes since the last call, GB."""
        ...


@contextmanager
def start_workers(
    settings: ClusterSettings, processes: int | None = None, preload: Sequence[str] = ()
) -> Iterator[Workers]:
    """Start workers when needed, and stop them at the end of the block.

    Parameters
    ----------
    settings
        Section [cluster].
    processes
        Processes on this machine, for `none`; one per core by default.
    preload
        Modules that processes on this machine import before their first task: once, for all of them.

    Raises
    ------
    ConfigError
        When a library or a key is missing, or no scheduler answers.
    """
    with ExitStack() as stack:
        if settings.kind == "none":
            yield Machine(processes or machine.cores(), stack, preload)
        else:
            yield Dask(settings, stack)
