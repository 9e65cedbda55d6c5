"""Workers of a dask cluster: local processes, SLURM jobs, or those of a running scheduler."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import cached_property
from importlib import import_module
from itertools import islice
from typing import Any

from specdis.errors import ConfigError
from specdis.log import logger
from specdis.workers.answers import ONE_EACH, Died, TaskResult, called, result_of, unless_dead
from specdis.workers.settings import ClusterSettings

_LOOPBACK = "127.0.0.1"
"""Address that other machines cannot reach: dask runs any code that it receives, and a dashboard shows the run."""


class Dask:
    """A dask cluster. Blocks of a dead worker go to another; a block that kills several is abandoned."""

    def __init__(self, settings: ClusterSettings, stack: ExitStack) -> None:
        self._settings, self._stack = settings, stack
        self._peak: dict[int, float] = {}

    @cached_property
    def client(self) -> Any:
        """The client of a cluster, started or found when first needed."""
        client = self._stack.enter_context(_client(self._settings, self._stack))
        client.wait_for_workers(1)
        logger.info("cluster: dashboard of the workers at %s", client.dashboard_link)
        return client

    @property
    def n(self) -> int:
        """Current number of workers."""
        return max(1, len(self.client.nthreads()))

    def each(
        self, task: Callable[[Any], Any], blocks: Iterable[Any], *, may_kill: bool = False, here: bool = False
    ) -> Iterator[tuple[Any, Any]]:
        """As in `Workers`."""
        del here  # every worker has its own device
        yield from unless_dead(self._each(task, blocks), may_kill)

    def _each(self, task: Callable[[Any], Any], blocks: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        distributed = import_module("distributed")

        packed, waiting, suspects = pickle.dumps(task), iter(blocks), []
        asked = {self._submit(called, packed, block): block for block in islice(waiting, 2 * self.n + 1)}
        pending = distributed.as_completed(list(asked))
        for future in pending:
            block = asked.pop(future)
            try:
                answer = future.result()
            except distributed.KilledWorker:
                suspects.append(block)
            else:
                yield block, self._heard(answer)
            for following in islice(waiting, 1):
                started = self._submit(called, packed, following)
                asked[started] = following
                pending.add(started)
        for block in suspects:  # alone, because the death of a worker also counts for blocks that wait on it
            try:
                yield block, self._heard(self._submit(called, packed, block).result())
            except distributed.KilledWorker:
                yield block, Died("every worker that tried it died")

    def _submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return self.client.submit(function, *arguments, pure=False)

    def _heard(self, answer: TaskResult) -> Any:
        self._peak[answer.process] = max(answer.peak_memory_gb, self._peak.get(answer.process, 0.0))
        answer.repeat_log()
        return answer.result

    def total(self, task: Callable[[Sequence[Any]], Any], blocks: Sequence[Any], add: Callable[[Any, Any], Any]) -> Any:
        """As in `Workers`: each worker sums its share, and sums are added in pairs."""
        packed = pickle.dumps(task)
        share = -(-len(blocks) // self.n)
        parts = [blocks[start : start + share] for start in range(0, len(blocks), share)]
        sums = [self._submit(result_of, self._submit(called, packed, part)) for part in parts]
        while len(sums) > 1:
            pairs = [sums[k : k + 2] for k in range(0, len(sums), 2)]
            sums = [self._submit(add, *pair) if len(pair) == 2 else pair[0] for pair in pairs]
        return sums[0].result()

    def memory_gb(self) -> float:
        """As in `Workers`."""
        peak, self._peak = sum(self._peak.values()), {}
        return peak


def _client(settings: ClusterSettings, stack: ExitStack) -> Any:
    """Start or find a dask cluster, and return a client."""
    try:
        distributed = import_module("distributed")

        if settings.kind == "address":
            if settings.address is None:
                raise ConfigError('cluster.kind is "address": set cluster.address to that of the scheduler.')
            place = "scheduler_file" if settings.address.endswith(".json") else "address"
            return distributed.Client(**{place: settings.address})
        if settings.kind == "local":
            local = distributed.LocalCluster(
                settings.workers,
                threads_per_worker=1,
                host=_LOOPBACK,
                dashboard_address=f"{_LOOPBACK}:0",
                memory_limit=0,
                env=ONE_EACH,
            )
            return distributed.Client(stack.enter_context(local))
        jobs = stack.enter_context(slurm(settings))
    except ImportError as error:
        raise ConfigError(
            f'cluster.kind is "{settings.kind}", which needs {error.name}: pip install "specdis[slurm]".'
        ) from error
    except OSError as error:
        raise ConfigError(f"cluster.address {settings.address}: no scheduler answers ({error}).") from error
    jobs.scale(jobs=settings.workers)
    return distributed.Client(jobs)


def slurm(settings: ClusterSettings) -> Any:
    """Return a dask cluster of SLURM jobs without starting any; its `job_script()` shows one."""
    return import_module("dask_jobqueue").SLURMCluster(
        cores=settings.cores,
        processes=settings.cores,
        memory=f"{settings.memory_gb}GB",
        walltime=settings.walltime,
        queue=settings.queue,
        account=settings.account,
        job_extra_directives=list(settings.directives),
        job_script_prologue=[*(f"export {name}={one}" for name, one in ONE_EACH.items()), *settings.prologue],
        scheduler_options={"dashboard_address": f"{_LOOPBACK}:0"},
    )
