"""Cores and memory that this process may use, which can be less than those of the machine.

A batch system, a container or `taskset` restricts the cores of a process, and a control group (cgroup) its memory.
Linux has this in files; elsewhere the whole machine counts.
"""

from __future__ import annotations

import math
import os
import resource
from collections.abc import Iterator
from pathlib import Path


def cores(root: Path = Path("/")) -> int:
    """Return the number of cores that this process may use, at least one.

    Parameters
    ----------
    root
        Where the file systems `proc` and `sys` are.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for group in _groups(root, "cpu"):
        # Two files in version 1 of control groups, one in version 2.
        quota, period = (_number(group / f"cpu.cfs_{what}_us") for what in ("quota", "period"))
        text = _text(group / "cpu.max").split()
        if len(text) == 2:
            quota, period = (float(word) if word.isdigit() else math.inf for word in text)
        if 0 < quota < math.inf and 0 < period < math.inf:
            allowed = min(allowed, math.ceil(quota / period))
    return max(allowed, 1)


def memory_gb(root: Path = Path("/")) -> float:
    """Return the memory for this process and its children, GB; argument as in `cores`."""
    limits = [float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")]
    limits += [_number(group / name) for group in _groups(root, "memory") for name in _MEMORY]
    address_space, _ = resource.getrlimit(resource.RLIMIT_AS)
    if address_space != resource.RLIM_INFINITY:
        limits.append(float(address_space))
    return min(limits) / 1e9


_MEMORY = ("memory.max", "memory.limit_in_bytes")
"""In version 2 of control groups, and in version 1."""


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of the control groups that this process is in, of either version, up to the outermost."""
    top = root / "sys" / "fs" / "cgroup"
    for line in _text(root / "proc" / "self" / "cgroup").splitlines():
        _, names, place = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        base = top / controller if names else top
        inner = base / place.lstrip("/")
        yield from (group for group in (inner, *inner.parents) if group == base or base in group.parents)


def _text(path: Path) -> str:
    """Return the content of a small file, empty if it cannot be read."""
    try:
        return path.read_text()
    except OSError:
        return ""


def _number(path: Path) -> float:
    """Return the number in a file, infinity if there is none."""
    text = _text(path).strip()
    return float(text) if text.isdigit() else math.inf
