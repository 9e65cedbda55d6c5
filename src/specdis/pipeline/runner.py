"""Runs the stale stages in order, resuming interrupted ones.

Products are written atomically and the manifest after them, so that a killed run leaves either a finished stage or one
that runs again.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from specdis import __version__, log
from specdis.errors import ConfigError, InputError, ProductError, SpecdisError
from specdis.log import logger
from specdis.pipeline.inputs import survey_of
from specdis.pipeline.manifest import (
    FAULTS_LISTED,
    Manifest,
    ProductSize,
    StageRecord,
    by_content,
    count_faults,
    software_versions,
)
from specdis.pipeline.stage import Context, Stage, SurveyFiles
from specdis.pipeline.staleness import Plan
from specdis.storage import content_digest, digest, require_file, require_plain, write_text
from specdis.stores.paths import RunPaths
from specdis.surveys import Survey
from specdis.workers import start_workers
from specdis.workers.answers import peak_memory_gb

if TYPE_CHECKING:
    from specdis.pipeline.config import Config


def run_stages(
    config: Config,
    stages: Sequence[Stage],
    *,
    first: str | None = None,
    last: str | None = None,
    force: bool = False,
    opener: Callable[[Any], Survey] = survey_of,
) -> list[str]:
    """Run the stale stages, in order.

    Parameters
    ----------
    config
        The configuration.
    stages
        All stages, in order.
    first, last
        Names of the first and last stage that may run.
    force
        Run all stages from their beginning, even if not stale.
    opener
        Opens the survey that a configuration names.

    Returns
    -------
    list of str
        Names of the stages that ran.

    Raises
    ------
    ConfigError
        When `first` or `last` is not a stage.
    SpecdisError
        When another run uses the directory, a stage before `first` is stale, or a stage fails.
    """
    chosen = _between([stage.name for stage in stages], first, last)
    paths = RunPaths(config.run.directory)
    _keep_large_arrays_apart()
    with (
        _locked(paths.directory),
        log.to_file(paths.log),
        start_workers(config.cluster, config.run.processes, preload=("specdis.pipeline.stages",)) as workers,
    ):
        manifest = _start(config, paths)
        files = SurveyFiles(config, manifest, opener)
        plan = Plan(config, stages, files)
        ran: list[str] = []
        whole: set[str] = set()
        stale: dict[str, list[str]] = {}
        for number, stage in enumerate(stages, start=1):
            reasons = plan.reasons(stage, manifest, stale)
            if stage.name in chosen and (reasons or force):
                _require_fresh(stage, stale)
                _require_whole(stage, manifest, paths, whole)
                logger.info("%s: running, because %s", stage.name, "; ".join(reasons) or "it is forced")
                scratch = plan.scratch(stage, manifest)
                context = Context(config, paths, plan.keys[stage.name], scratch, manifest, files, workers)
                with _explained(stage, paths), log.stage(stage.name, number, len(stages)):
                    manifest = _make(stage, plan, context, force=force)
                ran.append(stage.name)
                whole.add(stage.name)
            elif reasons:
                stale[stage.name] = reasons
            else:
                plan.discard(stage)
        if not ran:
            logger.info("everything asked for is up to date in %s", paths.directory)
        return ran


def _between(names: Sequence[str], first: str | None, last: str | None) -> Sequence[str]:
    """Return the names from first to last, inclusive."""
    for option, name in (("--from", first), ("--to", last)):
        if name is not None and name not in names:
            close = get_close_matches(name, names, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise ConfigError(f"{option} {name}: expected a stage, one of {', '.join(names)}{hint}")
    start = names.index(first) if first else 0
    stop = names.index(last) if last else len(names) - 1
    if start > stop:
        raise ConfigError(f"--from {first} --to {last}: {first} comes after {last}. The order is {', '.join(names)}.")
    return names[start : stop + 1]


def _start(config: Config, paths: RunPaths) -> Manifest:
    """Save the configuration and its sum, log differences from the paper, and read the manifest."""
    manifest = Manifest.read(paths.manifest)
    logger.info("%s: specdis %s in %s", config.run.name, __version__, paths.directory)
    differences = config.differences()
    if differences:
        logger.info("%d choices differ from the paper's; %s names them", len(differences), paths.log)
    for key, (value, papers) in differences.items():
        logger.debug("differs from the paper: %s = %s (paper: %s)", key, value, papers)
    resolved = config.to_toml()
    write_text(paths.config_input, config.source)
    write_text(paths.config_resolved, resolved)
    made_by = {"software": f"specdis {__version__}", "versions": software_versions()}
    started = manifest.model_copy(update={**made_by, "configuration": digest(resolved)})
    if started != manifest:
        started.write(paths.manifest)
    return started


def _require_fresh(stage: Stage, stale: dict[str, list[str]]) -> None:
    for need in stage.needs:
        if need in stale:
            raise ProductError(
                f"{stage.name} needs {need}, which is stale: {'; '.join(stale[need])}. "
                f"Run without --from, or with --from {need}."
            )


def _require_whole(stage: Stage, manifest: Manifest, paths: RunPaths, whole: set[str]) -> None:
    """Check the products that a stage needs against their sums, once per run; record them in `whole`."""
    for need in stage.needs:
        if need not in whole:
            for path in damaged(manifest.stages[need], paths):
                raise ProductError(
                    f"{path} is damaged: its content does not fit its sum in {paths.manifest.name}. Check the "
                    f"disk, delete {path} and run again: dependent stages are recomputed."
                )
            whole.add(need)


def damaged(record: StageRecord, paths: RunPaths) -> Iterator[Path]:
    """Yield the existing products of a stage whose content has changed since they were written."""
    for name, expected in record.sums.items():
        path = getattr(paths, name)
        if path.exists() and content_digest(path) != expected:
            yield path


def _make(stage: Stage, plan: Plan, context: Context, *, force: bool) -> Manifest:
    """Run one stage and write the manifest."""
    plan.discard(stage, keep=None if force else context.scratch)
    # The record is removed before the products change: a kill between two products must not leave the old record.
    manifest = context.manifest.replace(stage.name, None)
    manifest.write(plan.paths.manifest)
    record = _measured(stage, plan, context)
    manifest = manifest.replace(stage.name, record)
    manifest.write(plan.paths.manifest)
    plan.discard(stage)
    _report(stage, record)
    return manifest


def _measured(stage: Stage, plan: Plan, context: Context) -> StageRecord:
    """Run one stage; record its products, rate and memory."""
    started, clock = _now(), time.perf_counter()
    _return_freed_memory()
    _reset_peak_memory()
    outcome = stage.run(context)
    seconds = time.perf_counter() - clock
    faulty = {place for fault in outcome.faults for place in (fault.place, fault.place.rpartition("[")[0])}
    return StageRecord(
        key=context.key,
        software=f"specdis {__version__}",
        settings=plan.settings[stage.name],
        inputs=plan.inputs[stage.name],
        read=by_content(outcome.read, but=faulty),
        upstream={need: context.manifest.stages[need].finished for need in stage.needs},
        started=started,
        finished=_now(),
        seconds=round(seconds, 3),
        stars=outcome.stars,
        stars_per_second=round((outcome.stars - outcome.resumed) / seconds, 3),
        peak_memory_gb=round(peak_memory_gb() + context.workers.memory_gb(), 3),
        fault_counts=count_faults(outcome.faults),
        faults=tuple(outcome.faults[:FAULTS_LISTED]),
        notes=dict(outcome.notes),
        products={name: _size(stage, getattr(plan.paths, name)) for name in stage.products},
        sums={name: content_digest(getattr(plan.paths, name)) for name in stage.products},
    )


@contextmanager
def _explained(stage: Stage, paths: RunPaths) -> Iterator[None]:
    """Keep the traceback in the log file, and explain failures of the machine."""
    again = "Then run the same command again: finished stages are kept, and so is the finished work of this one."
    try:
        yield
    except SpecdisError:
        logger.debug("%s failed", stage.name, exc_info=True)
        raise
    except OSError as error:
        logger.debug("%s failed", stage.name, exc_info=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SpecdisError(
                f"{paths.directory}: no space left while running {stage.name}. Free some space. {again}"
            ) from error
        place = error.filename or paths.directory
        raise SpecdisError(
            f"{place}: {error.strerror or error} while running {stage.name}. Check disk and permissions. {again}"
        ) from error
    except Exception as error:
        logger.debug("%s failed", stage.name, exc_info=True)
        if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
            raise SpecdisError(
                f"not enough memory while running {stage.name} ({error}). Lower run.threads. {again}"
            ) from error
        raise


def _size(stage: Stage, path: Path) -> ProductSize:
    size = ProductSize.of(path)
    if size is None:
        raise ProductError(f"stage {stage.name} ended without writing {path}")
    return size


def _report(stage: Stage, record: StageRecord) -> None:
    stars, rate = f"{record.stars:,}", f"{record.stars_per_second:,.0f}"
    logger.info(
        "%s: %s stars in %s, %s per s, peak memory %.2f GB",
        *(stage.name, stars, log.duration(record.seconds), rate, record.peak_memory_gb),
    )
    for name, count in record.fault_counts.items():
        logger.warning("%s: %d stars lost to %d faults of kind %s", stage.name, count["stars"], count["faults"], name)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Lock the directory against a second run; the system frees the lock when a run ends or is killed."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        require_plain(directory)
        if (said := RunPaths(directory).log).exists():
            require_file(said)
        file = (directory / ".lock").open("a+")
    except OSError as error:
        raise InputError(
            directory,
            expected="a writable folder",
            found=str(error.strerror),
            remedy="Choose another run.directory or change its permissions.",
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise SpecdisError(
                f"{directory} is in use by another run ({file.read().strip()}). Wait for it to end, or choose another "
                "run.directory."
            ) from None
        except OSError as error:
            logger.warning("%s cannot be locked (%s): make sure that no other run uses it", directory, error.strerror)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {os.uname().nodename}\n")
        file.flush()
        yield


def _now() -> str:
    return datetime.now(UTC).isoformat()


_M_MMAP_THRESHOLD, _LARGE = -3, 128 << 10  # glibc's malloc.h; bytes


def _keep_large_arrays_apart() -> None:
    """Make the C library (glibc) return every large array to the system when it is freed.

    By default it raises the threshold as arrays are freed, places larger ones between small ones and keeps the gaps:
    memory would grow with the number of blocks.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)


def _return_freed_memory() -> None:
    """Return memory freed by earlier stages to the system, which the C library (glibc) would keep."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _reset_peak_memory() -> None:
    """Restart the measurement of peak memory, if the system allows it (Linux)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
