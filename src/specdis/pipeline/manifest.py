"""manifest.json: inputs, products, rates and faults of each stage."""

from __future__ import annotations

import os
import platform
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError

from specdis import __version__
from specdis.errors import ProductError
from specdis.settings import Settings
from specdis.storage import FORMAT_VERSION, digest, read_json, write_json

FAULTS_LISTED = 1000
"""Largest number of faults that the manifest lists one by one; all are counted."""


class StageFault(Settings):
    """Stars that a stage lost, with the reason."""

    name: str
    """Short name of the kind of fault."""
    place: str
    """File, HDU or column."""
    message: str
    """What is wrong and what to do."""
    stars: int
    """Stars lost by it."""


States = dict[str, str]
"""State of files by path: size in bytes, date of the content and date of the last change, in ns; or the error."""

MISSING, CLOSED = "missing", "closed"


def look(paths: Iterable[Path]) -> States:
    """Return the current state of files, in parallel, since a survey has many on remote disks."""
    with ThreadPoolExecutor(16) as threads:
        files = list(paths)
        return dict(zip(map(str, files), threads.map(_state, files), strict=True))


def _state(path: Path) -> str:
    try:
        found = path.stat()
    except PermissionError:
        return CLOSED
    except OSError:
        return MISSING
    if not os.access(path, os.R_OK):
        return CLOSED
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


def by_content(states: States, but: Collection[str] = ()) -> States:
    """Ignore the date of the last change, which copying and moving set, except for some of the files."""
    return {path: state if path in but else state.rpartition(" ")[0] or state for path, state in states.items()}


def changes(before: States, now: States) -> str:
    """Describe the changed files, by one name and their number; empty if none changed."""
    paths = [path for path in sorted(before.keys() | now.keys()) if not _alike(before.get(path), now.get(path))]
    if not paths:
        return ""
    more = f" and {len(paths) - 1:,} more" if len(paths) > 1 else ""
    return f"{paths[0]}{more} changed"


def _alike(before: str | None, now: str | None) -> bool:
    return before == now or (before is not None and now is not None and now.startswith(f"{before} "))


class Inputs(Settings):
    """Input files of a stage and their state."""

    identity: str
    """Hash of names and sizes, part of the key of products."""
    states: States
    """Sizes and dates, which show a change."""

    @classmethod
    def of(cls, paths: Iterable[Path]) -> Self:
        """Record files that exist."""
        states = {path: state for path, state in by_content(look(paths)).items() if state != MISSING}
        return cls(
            identity=digest([(Path(path).name, state.split()[0]) for path, state in states.items()]), states=states
        )


class ProductSize(Settings):
    """Size of a product, a file or a folder, to check that it is complete."""

    files: int
    size: int
    """Bytes of all files."""

    @classmethod
    def of(cls, path: Path) -> Self | None:
        """Measure a product; None if it is missing."""
        if path.is_file():
            return cls(files=1, size=path.stat().st_size)
        sizes = [file.stat().st_size for file in path.rglob("*") if file.is_file()]
        return cls(files=len(sizes), size=sum(sizes)) if sizes else None


class StageRecord(Settings):
    """One finished stage."""

    key: str
    """Hash of settings, inputs and software, stated in its products."""
    software: str
    settings: dict[str, Any]
    """Every key of the configuration on which the products depend, and its value."""
    inputs: Inputs | None
    """The survey's catalogue and other files that it reads, known before it runs."""
    read: States
    """Files that it read, failed to read or missed, and their state; for those with faults also the date of the last
    change, because a corrected file may have the old size and date."""
    upstream: dict[str, str]
    """Times at which the stages that it needs finished."""
    started: str
    finished: str
    seconds: float
    stars: int
    stars_per_second: float
    """Rate of the last attempt, without stars that an interrupted run had finished."""
    peak_memory_gb: float
    """Peak resident memory of all its processes and workers, GB: of the stage if the system measures it, else of the
    run so far."""
    fault_counts: dict[str, dict[str, int]]
    """Faults and stars lost by name of the fault."""
    faults: tuple[StageFault, ...]
    """The first faults, one by one."""
    notes: dict[str, Any]
    products: dict[str, ProductSize]
    sums: dict[str, str]
    """SHA-256 of the products, without the chunks of array stores, which have their own checksums."""


class Manifest(Settings):
    """All finished stages of a run directory."""

    format_version: int = FORMAT_VERSION
    software: str = f"specdis {__version__}"
    versions: dict[str, str] = Field(default_factory=dict)
    """Versions of Python and of the libraries."""
    configuration: str = ""
    """Hash of config.resolved.toml."""
    stages: dict[str, StageRecord] = Field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a manifest; a run directory without one has finished no stage.

        Raises
        ------
        ProductError
            When the file is damaged or made by another version.
        """
        if not path.exists():
            return cls()
        content = read_json(path)
        found = content.get("format_version") if isinstance(content, dict) else None
        if found != FORMAT_VERSION:
            raise _unusable(path, f"is of format {found}, expected {FORMAT_VERSION}")
        said = content.pop("sum", None)
        if said != digest(content):
            raise _unusable(path, "is damaged: its content does not fit its sum")
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise _unusable(path, f"is made by another version ({error.errors()[0]['loc']})") from error

    def write(self, path: Path) -> None:
        """Write the manifest atomically, with a checksum of its content."""
        content = self.model_dump()
        write_json(path, {**content, "sum": digest(content)})

    def replace(self, stage: str, record: StageRecord | None) -> Manifest:
        """Return the manifest with the record of a stage replaced or, for None, removed."""
        stages = {name: kept for name, kept in self.stages.items() if name != stage}
        return self.model_copy(update={"stages": stages if record is None else {**stages, stage: record}})


def _unusable(path: Path, why: str) -> ProductError:
    return ProductError(f"{path} {why}. Use the version that made it, or delete it: then every stage runs again.")


def count_faults(faults: Sequence[StageFault]) -> dict[str, dict[str, int]]:
    """Return the number of faults and of stars lost by name of the fault."""
    counts = Counter(fault.name for fault in faults)
    return {
        name: {"faults": count, "stars": sum(fault.stars for fault in faults if fault.name == name)}
        for name, count in sorted(counts.items())
    }


@cache
def software_versions() -> Mapping[str, str]:
    """Return the versions of Python, of the system and of the libraries that specdis needs."""
    needed = [line for line in requires("specdis") or () if "extra ==" not in line]
    names = sorted({match[0] for line in needed if (match := re.match(r"[\w.-]+", line))} | {"jaxlib"})
    return {"python": platform.python_version(), "system": platform.platform(), **dict(_versions(names))}


def _versions(names: Sequence[str]) -> list[tuple[str, str]]:
    found = []
    for name in names:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            found.append((name, "not installed"))
    return found
