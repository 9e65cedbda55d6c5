"""Blocks mapped on this machine's cores, or on a cluster with dask; the answer is the same.

A pass over the stars is a task, which says what to do with a block, and the blocks. Tasks read and write files of the
run, which all workers see, and return little. Nothing depends on which worker does a block, when, or how often.
On one machine every core has a process: interpreters do not wait for each other, and a process that dies, of a damaged
file or for lack of memory, takes nothing with it.
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
    """Who does the work.

    A task takes one block and returns something small; it can be pickled, and what it prepares for itself it keeps for
    the next block.
    """

    def each(
        self, task: Callable[[Any], Any], blocks: Iterable[Any], *, may_kill: bool = False, here: bool = False
    ) -> Iterator[tuple[Any, Any]]:
        """Yield blocks with their results, as they are finished.

        Parameters
        ----------
        task, blocks
            What to do, with what; blocks are taken as they are needed.
        may_kill
            A block may kill its process, as damaged files do with the libraries that read them: the result is then a
            `Died`. Else that is an error, like any exception of the task.
        here
            This machine's GPU does the computing, which one process at a time can have: work in this one, a block being
            read while another is computed.

        Raises
        ------
        SpecdisError
            When a block killed every process that tried it.
        """
        ...

    def total(self, task: Callable[[Sequence[Any]], Any], blocks: Sequence[Any], add: Callable[[Any, Any], Any]) -> Any:
        """Return the sum over blocks: the task sums over some of them, and `add` adds two such sums."""
        ...

    def memory_gb(self) -> float:
        """Return the peak memory of the other processes that took part since this was asked last, GB."""
        ...


@contextmanager
def start_workers(
    settings: ClusterSettings, processes: int | None = None, preload: Sequence[str] = ()
) -> Iterator[Workers]:
    """Start workers when they are needed, and end them.

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
