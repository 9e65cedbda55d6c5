"""Workers on the cores of this machine: a process for each."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from functools import partial
from itertools import islice
from typing import Any

from specdis.log import logger
from specdis.workers.answers import ONE_EACH, Died, TaskResult, called, unless_dead

_AHEAD = 2  # blocks under way in this process


class Machine:
    """The cores of this machine, a process for each."""

    def __init__(self, n: int, stack: ExitStack, preload: Sequence[str]) -> None:
        self.n, self._stack, self._preload = n, stack, preload
        self._processes: ProcessPoolExecutor | None = None
        self._peak: dict[int, float] = {}

    def each(
        self, task: Callable[[Any], Any], blocks: Iterable[Any], *, may_kill: bool = False, here: bool = False
    ) -> Iterator[tuple[Any, Any]]:
        """As in `Workers`."""
        if here:
            yield from read_ahead(task, blocks)
        else:
            yield from unless_dead(self._each(partial(called, pickle.dumps(task)), iter(blocks)), may_kill)

    def _each(self, call: Callable[[Any], TaskResult], blocks: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
        """Work in processes; when one dies, repeat the unfinished blocks one by one to find the cause."""
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

    def _alone(self, call: Callable[[Any], TaskResult], block: Any) -> Any:
        """Process a block without others at the same time."""
        for _ in range(2):
            self._end_processes()
            try:
                return self._heard(self._submit(call, block).result())
            except BrokenProcessPool:
                logger.warning("a process died")
        self._end_processes()
        return Died("a process that worked on it died, twice")

    def _submit(self, call: Callable[[Any], TaskResult], block: Any) -> Future[TaskResult]:
        if self._processes is None:
            self._processes = ProcessPoolExecutor(self.n, mp_context=_server(self._preload), initializer=_begin)
            self._stack.callback(self._end_processes)
        try:
            return self._processes.submit(call, block)
        except BrokenProcessPool as error:
            failed: Future[TaskResult] = Future()
            failed.set_exception(error)
            return failed

    def _end_processes(self) -> None:
        if self._processes is not None:
            self._processes.shutdown(wait=True, cancel_futures=True)
            self._processes = None

    def _heard(self, answer: TaskResult) -> Any:
        """Log the messages of a process, and return its result."""
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


def read_ahead(task: Callable[[Any], Any], blocks: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield blocks with their results, from threads of this process: the next is read while one is used."""
    with ThreadPoolExecutor(_AHEAD) as threads:
        yield from _finished(lambda block: threads.submit(task, block), blocks, _AHEAD)


def _finished(submit: Callable[[Any], Future[Any]], blocks: Iterable[Any], most: int) -> Iterator[tuple[Any, Any]]:
    """Keep a number of blocks in work; yield each with its result, or with its `BrokenProcessPool`."""
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


def _server(preload: Sequence[str]) -> multiprocessing.context.ForkServerContext:
    """Return a fork server: its processes start at once, without the threads and arrays of this one."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    before = dict(os.environ)
    os.environ.update(ONE_EACH)
    # A closing terminal signals all processes: only this one handles it, and the others inherit to ignore it.
    heeded = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, heeded)
        os.environ.clear()
        os.environ.update(before)
    return context


def _begin() -> None:
    """Leave interrupts to the main process, and end when it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)
