"""manifest.json: what each stage made, from what, how fast, and what went wrong."""

from __future__ import annotations

import platform
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError

from specdis import __version__
from specdis.errors import ProductError
from specdis.settings import Settings
from specdis.storage import FORMAT_VERSION, digest, fingerprint, read_json, write_json

FAULTS_LISTED = 1000
"""Faults that the manifest lists one by one; all are counted."""


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


class Inputs(Settings):
    """The survey's files, or others, as a stage found them."""

    identity: str
    """Hash of names and sizes, which products carry."""
    fingerprint: str
    """Hash of names, sizes and dates, by which a change is seen."""

    @classmethod
    def of(cls, paths: Iterable[Path]) -> Self:
        """Look at files that exist; the size of a folder is the file system's affair."""
        files = list(paths)
        names_and_sizes = [(path.name, path.stat().st_size if path.is_file() else 0) for path in files]
        return cls(identity=digest(names_and_sizes), fingerprint=fingerprint(files))


class ProductSize(Settings):
    """Size of a product, a file or a folder: enough to see that it is whole."""

    files: int
    size: int
    """Bytes of all files."""

    @classmethod
    def of(cls, path: Path) -> Self | None:
        """Measure a product; None where it is missing."""
        if path.is_file():
            return cls(files=1, size=path.stat().st_size)
        sizes = [file.stat().st_size for file in path.rglob("*") if file.is_file()]
        return cls(files=len(sizes), size=sum(sizes)) if sizes else None


class StageRecord(Settings):
    """One finished stage."""

    key: str
    """Hash of settings, inputs and software, which its products carry."""
    software: str
    settings: dict[str, Any]
    """Every key of the configuration on which the products depend, and its value."""
    inputs: Inputs | None
    """The survey's files, for stages that read them."""
    upstream: dict[str, str]
    """When each stage that it needs had finished."""
    started: str
    finished: str
    seconds: float
    stars: int
    stars_per_second: float
    """Rate of the last attempt: stars that an interrupted run had done already do not count."""
    peak_memory_gb: float
    """Peak resident memory in GB, its own processes and workers added up: of the stage where the system can tell, else
    of the run so far."""
    fault_counts: dict[str, dict[str, int]]
    """Faults and stars lost by name of the fault."""
    faults: tuple[StageFault, ...]
    """The first faults, one by one."""
    notes: dict[str, Any]
    products: dict[str, ProductSize]


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
        try:
            manifest = cls.model_validate(content)
        except ValidationError as error:
            raise ProductError(
                f"{path} is damaged or made by another version ({error.error_count()} errors, the first in "
                f"{error.errors()[0]['loc']}): remove it, and every stage runs again."
            ) from error
        return manifest

    def write(self, path: Path) -> None:
        """Write the manifest atomically."""
        write_json(path, self.model_dump())

    def replace(self, stage: str, record: StageRecord | None) -> Manifest:
        """Return the manifest with a stage's record put in or, for None, taken out."""
        stages = {name: kept for name, kept in self.stages.items() if name != stage}
        return self.model_copy(update={"stages": stages if record is None else {**stages, stage: record}})


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
