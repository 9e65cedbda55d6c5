"""Blocks mapped on this machine's cores, or on a cluster with dask; the answer is the same.

A pass over the stars is a task, which says what to do with a block, and the blocks. Tasks read and write files of the
run, which all workers see, and return little. Nothing depends on which worker does a block, when, or how often.
On one machine every core has a process: interpreters do not wait for each other, and a process that dies, of a damaged
file or for lack of memory, takes nothing with it.
"""

from __future__ import annotations

import logging
import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import os
import pickle
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from functools import cached_property, lru_cache, partial
from importlib import import_module
from itertools import islice
from typing import Any, Literal, NamedTuple, Protocol

from pydantic import PositiveFloat, PositiveInt

from specdis import machine
from specdis.errors import ConfigError, SpecdisError
from specdis.log import logger
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


THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PJRT_NPROC", "ZARR_THREADING__MAX_WORKERS")
"""Variables by which numpy, JAX and zarr learn how many threads to start; they look when they are imported."""
_ONE_EACH = dict.fromkeys(THREADS, "1")
_AHEAD = 2  # blocks under way in this process
_LOOPBACK = "127.0.0.1"
"""What other machines cannot reach: a dask scheduler runs any code that it is sent, and a dashboard shows the run."""


class Died(NamedTuple):
    """In place of the result of a block that killed every process which tried it."""

    reason: str


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
def workers(settings: ClusterSettings, processes: int | None = None) -> Iterator[Workers]:
    """Start those who work when they are needed, and end them.

    Parameters
    ----------
    settings
        Section [cluster].
    processes
        Processes on this machine, for `none`; one per core by default.

    Raises
    ------
    ConfigError
        When a library or a key is missing, or no scheduler answers.
    """
    with ExitStack() as stack:
        if settings.kind == "none":
            yield _Machine(processes or machine.cores(), stack)
        else:
            yield _Dask(settings, stack)


class _Machine:
    """The cores of this machine, a process for each."""

    def __init__(self, n: int, stack: ExitStack) -> None:
        self.n, self._stack = n, stack
        self._processes: ProcessPoolExecutor | None = None
        self._peak: dict[int, float] = {}

    def each(
        self, task: Callable[[Any], Any], blocks: Iterable[Any], *, may_kill: bool = False, here: bool = False
    ) -> Iterator[tuple[Any, Any]]:
        """As in `Workers`."""
        if here:
            yield from read_ahead(task, blocks)
        else:
            yield from _unless_dead(self._each(partial(_called, pickle.dumps(task)), iter(blocks)), may_kill)

    def _each(self, call: Callable[[Any], _Answer], blocks: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
        """Work in processes; when one dies, do again what was under way, each block alone, to see which it was."""
        while True:
            suspects: list[Any] = []
            for block, answer in _finished(partial(self._submit, call), blocks, self.n + 1):
                if isinstance(answer, BrokenProcessPool):
                    suspects.append(block)
                else:
                    yield block, self._heard(answer)
            if not suspects:
                return
            for block in suspects:
                yield block, self._alone(call, block)

    def _alone(self, call: Callable[[Any], _Answer], block: Any) -> Any:
        """Return the result of a block that has the processes for itself."""
        for _ in range(2):
            self._end_processes()
            try:
                return self._heard(self._submit(call, block).result())
            except BrokenProcessPool:
                logger.warning("a process died")
        self._end_processes()
        return Died("a process that worked on it died, twice")

    def _submit(self, call: Callable[[Any], _Answer], block: Any) -> Future[_Answer]:
        if self._processes is None:
            self._processes = ProcessPoolExecutor(self.n, mp_context=_server(), initializer=_begin)
            self._stack.callback(self._end_processes)
        try:
            return self._processes.submit(call, block)
        except BrokenProcessPool as error:
            failed: Future[_Answer] = Future()
            failed.set_exception(error)
            return failed

    def _end_processes(self) -> None:
        if self._processes is not None:
            self._processes.shutdown(wait=True, cancel_futures=True)
            self._processes = None

    def _heard(self, answer: _Answer) -> Any:
        """Pass on what a process logged, and return its result."""
        self._peak[answer.process] = max(answer.peak_memory_gb, self._peak.get(answer.process, 0.0))
        answer.repeat_log()
        return answer.result

    def total(self, task: Callable[[Sequence[Any]], Any], blocks: Sequence[Any], add: Callable[[Any, Any], Any]) -> Any:
        """As in `Workers`; the task itself uses all cores."""
        del add
        return task(blocks)

    def memory_gb(self) -> float:
        """As in `Workers`."""
        peak, self._peak = sum(self._peak.values()), {}
        return peak


class _Dask:
    """A dask cluster. Blocks of a worker that dies go to another; a block that kills several is given up."""

    def __init__(self, settings: ClusterSettings, stack: ExitStack) -> None:
        self._settings, self._stack = settings, stack
        self._peak: dict[int, float] = {}

    @cached_property
    def client(self) -> Any:
        """The client of a cluster that is started, or found, when it is first needed."""
        client = self._stack.enter_context(_client(self._settings, self._stack))
        client.wait_for_workers(1)
        logger.info("cluster: see what the workers do at %s", client.dashboard_link)
        return client

    @property
    def n(self) -> int:
        """Workers that are there now."""
        return max(1, len(self.client.nthreads()))

    def each(
        self, task: Callable[[Any], Any], blocks: Iterable[Any], *, may_kill: bool = False, here: bool = False
    ) -> Iterator[tuple[Any, Any]]:
        """As in `Workers`."""
        del here  # every worker has a device of its own
        yield from _unless_dead(self._each(task, blocks), may_kill)

    def _each(self, task: Callable[[Any], Any], blocks: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        distributed = import_module("distributed")

        packed, waiting, suspects = pickle.dumps(task), iter(blocks), []
        asked = {self._submit(_called, packed, block): block for block in islice(waiting, 2 * self.n + 1)}
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
                started = self._submit(_called, packed, following)
                asked[started] = following
                pending.add(started)
        for block in suspects:  # alone: a block is blamed too for the death of a worker on which it waited
            try:
                yield block, self._heard(self._submit(_called, packed, block).result())
            except distributed.KilledWorker:
                yield block, Died("every worker that tried it died")

    def _submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return self.client.submit(function, *arguments, pure=False)

    def _heard(self, answer: _Answer) -> Any:
        self._peak[answer.process] = max(answer.peak_memory_gb, self._peak.get(answer.process, 0.0))
        answer.repeat_log()
        return answer.result

    def total(self, task: Callable[[Sequence[Any]], Any], blocks: Sequence[Any], add: Callable[[Any, Any], Any]) -> Any:
        """As in `Workers`: each worker sums over its share, and sums meet two by two."""
        packed = pickle.dumps(task)
        share = -(-len(blocks) // self.n)
        parts = [blocks[start : start + share] for start in range(0, len(blocks), share)]
        sums = [self._submit(_result, self._submit(_called, packed, part)) for part in parts]
        while len(sums) > 1:
            pairs = [sums[k : k + 2] for k in range(0, len(sums), 2)]
            sums = [self._submit(add, *pair) if len(pair) == 2 else pair[0] for pair in pairs]
        return sums[0].result()

    def memory_gb(self) -> float:
        """As in `Workers`."""
        peak, self._peak = sum(self._peak.values()), {}
        return peak


def _client(settings: ClusterSettings, stack: ExitStack) -> Any:
    """Start a dask cluster, or find one, and return a client of it."""
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
                env=_ONE_EACH,
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
    """Return a dask cluster of SLURM jobs, none of them started; `job_script()` of it shows one."""
    return import_module("dask_jobqueue").SLURMCluster(
        cores=settings.cores,
        processes=settings.cores,
        memory=f"{settings.memory_gb}GB",
        walltime=settings.walltime,
        queue=settings.queue,
        account=settings.account,
        job_extra_directives=list(settings.directives),
        job_script_prologue=[*(f"export {name}={one}" for name, one in _ONE_EACH.items()), *settings.prologue],
        scheduler_options={"dashboard_address": f"{_LOOPBACK}:0"},
    )


def _unless_dead(found: Iterator[tuple[Any, Any]], may_kill: bool) -> Iterator[tuple[Any, Any]]:
    """Pass on blocks and results, unless one killed its processes and should not have."""
    for block, result in found:
        if isinstance(result, Died) and not may_kill:
            raise SpecdisError(
                f"Part of the work was given up: {result.reason}. If the system ended them for lack of memory, lower "
                "run.threads or cluster.workers. Run again to go on where this stopped."
            )
        yield block, result


def read_ahead(task: Callable[[Any], Any], blocks: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield blocks with their results, as they are finished by threads of this process: one while another is used."""
    with ThreadPoolExecutor(_AHEAD) as threads:
        yield from _finished(lambda block: threads.submit(task, block), blocks, _AHEAD)


def _finished(submit: Callable[[Any], Future[Any]], blocks: Iterable[Any], most: int) -> Iterator[tuple[Any, Any]]:
    """Keep so many blocks under way; yield each with its result, or with the `BrokenProcessPool` it ended in."""
    waiting = iter(blocks)
    asked: dict[Future[Any], Any] = {}
    try:
        while True:
            for block in islice(waiting, most - len(asked)):
                asked[submit(block)] = block
            if not asked:
                return
            broken = False
            for future in wait(asked, return_when=FIRST_COMPLETED).done:
                error = future.exception()
                if error is not None and not isinstance(error, BrokenProcessPool):
                    raise error
                broken |= error is not None
                yield asked.pop(future), error or future.result()
            if broken:
                for future, block in asked.items():
                    yield block, future.exception() or future.result()
                return
    finally:
        for future in asked:
            future.cancel()


class _Answer(NamedTuple):
    """What a process says when it has done a block."""

    result: Any
    log: list[tuple[int, str]]
    process: int
    peak_memory_gb: float

    def repeat_log(self) -> None:
        """Log here what was logged there."""
        for level, message in self.log:
            logger.log(level, "%s", message)


class _Kept(logging.Handler):
    """Keeps the messages of one block."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.messages: list[tuple[int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append((record.levelno, record.getMessage()))


@lru_cache(maxsize=4)
def _unpacked(task: bytes) -> Callable[[Any], Any]:
    """Return a task, the same one for every block, so that it keeps what it has prepared."""
    unpacked: Callable[[Any], Any] = pickle.loads(task)
    return unpacked


def _called(task: bytes, block: Any) -> _Answer:
    """Do a block in another process."""
    kept = _Kept()
    logger.handlers[:] = [kept]
    result = _unpacked(task)(block)
    return _Answer(result, kept.messages, os.getpid(), peak_memory_gb())


def _result(answer: _Answer) -> Any:
    return answer.result


def _server() -> multiprocessing.context.ForkServerContext:
    """Return a server that forks: its processes start at once, and have none of the threads and arrays of this one."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["specdis.pipeline.stages"])
    before = dict(os.environ)
    os.environ.update(_ONE_EACH)
    # A terminal that closes tells all processes: only this one may heed it, and the others inherit that they must not.
    heeded = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, heeded)
        os.environ.clear()
        os.environ.update(before)
    return context


def _begin() -> None:
    """Leave interrupts to the main process, and end with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


def peak_memory_gb() -> float:
    """Return the peak resident memory of this process, GB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
