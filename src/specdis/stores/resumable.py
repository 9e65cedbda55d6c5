"""A store that is filled block by block, and resumed after a kill."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from specdis.storage import atomic, read_json, remove, write_json


class Unfinished:
    """A store in a stage's scratch folder, and a mark for each block that is in it.

    Parameters
    ----------
    scratch
        The folder.
    name
        Name of the store.
    create
        Makes an empty store at a path, in place of any remains.
    """

    def __init__(self, scratch: Path, name: str, create: Callable[[Path], object]) -> None:
        self.path, self._done = scratch / name, scratch / "done"
        if not (self._done.exists() and self.path.exists()):  # a kill at the very end leaves marks without the store
            remove(self._done)
            create(self.path)
            self._done.mkdir()

    def left(self, blocks: Iterable[slice]) -> list[slice]:
        """Return the unfinished blocks."""
        return [rows for rows in blocks if not self._mark(rows).exists()]

    def mark(self, rows: slice, said: Any = None) -> None:
        """Mark a block as finished, with its report in plain values."""
        write_json(self._mark(rows), said)

    def said(self) -> Iterator[Any]:
        """Yield the reports of the blocks, in their order."""
        return map(read_json, sorted(self._done.iterdir()))

    def publish(self, path: Path) -> None:
        """Make the store a product, without the half-written files of processes that were killed.

        A chunk is written under another name (zarr's `*.partial`) and renamed, so that half-written files are separate.
        """
        for half in self.path.rglob("*.partial"):
            half.unlink(missing_ok=True)
        with atomic(path) as temporary:
            os.replace(self.path, temporary)

    def _mark(self, rows: slice) -> Path:
        return self._done / f"{rows.start:010d}.json"
