"""Published tables in any format, read column by column."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from specdis.arrays import Array
from specdis.errors import InputError
from specdis.log import logger
from specdis.references.contents import Content
from specdis.references.formats import SUFFIXES, tables
from specdis.references.names import NAMES
from specdis.storage import require_bounded, require_file

ListColumns = dict[str, Array]


def is_table(path: Path) -> bool:
    """Tell whether the name of a file has the ending of a table."""
    is_named = Path(path.name.removesuffix(".gz")).suffix.lower() in SUFFIXES
    return is_named and not os.path.isdir(path)  # a file in a folder without permission is still listed


class ReferenceTable:
    """A table on disk, whose columns are found by name, without regard to case where no name is the same.

    Parameters
    ----------
    path
        The file.
    content
        What is in it.
    """

    def __init__(self, path: Path, content: Content) -> None:
        self.path = path
        self._units = dict(content.units)
        self._load = content.load
        self._names = {name.lower(): name for name in reversed(list(content.units))}

    @classmethod
    def open(cls, path: Path, named: Collection[str] = ()) -> ReferenceTable:
        """Open a table, its format told by its content.

        Of several tables in a file, the one with most of the columns in `named` is opened; among equals, the one with
        most of the quantities in `NAMES`.

        Parameters
        ----------
        path
            The file.
        named
            ListColumns that the user has named.

        Raises
        ------
        InputError
            When the file does not exist, or is not a table.
        """
        try:
            require_file(path)
            found = [cls(path, content) for content in tables(path)]
        except InputError:
            raise
        except FileNotFoundError:
            raise InputError(path, expected="a table", found="no file", remedy="Correct the path.") from None
        except PermissionError as error:
            raise InputError(
                path,
                expected="a readable table",
                found="permission denied for it or its folder",
                remedy="Change its permissions, or those of the folders above it.",
            ) from error
        except Exception as error:  # each library raises its own error for a damaged file
            raise _unreadable(path, error) from error
        best = max(found, key=lambda table: (sum(map(table.has, named)), table._quantities()))
        if len(found) > 1:
            logger.info("%s: of %d tables, reading the one with the column %s", path, len(found), best.names[0])
        return best

    def _quantities(self) -> int:
        """Return the number of quantities that the table seems to have."""
        return sum(any(self.has(name) for name in names) for names in NAMES.values())

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, as in the file."""
        return tuple(self._units)

    def has(self, name: str) -> bool:
        """Tell whether the table has a column of this name, in any case."""
        return name in self._units or name.lower() in self._names

    def unit(self, name: str) -> str:
        """Return the unit of a column, as in the file."""
        return self._units[self._name(name)]

    def read(self, names: Iterable[str], required: Iterable[str] = ()) -> ListColumns:
        """Read columns by name; missing floats are NaN, other missing values masked.

        Raises
        ------
        InputError
            When a required column is missing or the file is damaged.
        """
        for name in required:
            if not self.has(name):
                raise InputError(
                    self.path,
                    expected=f"a column {name}",
                    found=", ".join(self.names[:12]) + (", ..." if len(self.names) > 12 else ""),
                    remedy="Name the column in the section's `columns`, or check that this is the right file.",
                )
        asked = {name: self._name(name) for name in names}
        try:
            loaded = self._load(list(dict.fromkeys(asked.values())))
            return {name: self._filled(loaded[theirs]) for name, theirs in asked.items()}
        except InputError:
            raise
        except Exception as error:
            raise _unreadable(self.path, error) from error

    def _filled(self, values: Any) -> Array:
        masked = np.ma.asarray(values)
        if masked.dtype.kind == "O":
            # In an array every string is as long as the longest.
            longest = max(map(len, map(str, masked.data.flat)), default=0)
            require_bounded(self.path, np.dtype("U1").itemsize * masked.size * longest)
            masked = np.ma.asarray(masked.astype(str))
        if not np.ma.getmaskarray(masked).any():
            return np.asarray(masked)
        return np.asarray(np.ma.filled(masked, np.nan)) if masked.dtype.kind == "f" else masked

    def _name(self, name: str) -> str:
        """Return a name as in the file: VizieR's b_rgeo and B_rgeo differ by case only."""
        return name if name in self._units else self._names[name.lower()]


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return InputError(
        path, expected="a table", found=f"an unreadable file ({reason})", remedy="Copy or download it again."
    )
