"""The errors that a user can mend: each says where, what was expected, what was found and what to do."""

from __future__ import annotations

import copyreg
from pathlib import Path
from typing import Any


def shown(text: object) -> str:
    """Return a text on one line: names of files may hold any sign, and a message is one line that can be printed."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in str(text))


class SpecdisError(Exception):
    """An expected failure: the command line prints its message and exits with status 1."""


class ConfigError(SpecdisError):
    """The configuration holds unknown keys, wrong types or values out of range."""


class InputError(SpecdisError):
    """A file, HDU, column or array is not what the software reads.

    Parameters
    ----------
    place
        Where: a file, or file and HDU and column.
    expected
        What should be there.
    found
        What is there.
    remedy
        What the user can do.
    """

    def __init__(self, place: str | Path, *, expected: str, found: str, remedy: str) -> None:
        self.place, self.expected, self.found, self.remedy = str(place), expected, found, remedy
        super().__init__(shown(f"{place}: expected {expected}, found {found}. {remedy}"))

    def __reduce__(self) -> tuple[Any, ...]:
        """Let it pass between processes: exceptions are made anew from their message alone otherwise."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class ProductError(SpecdisError):
    """A product of a run is missing, damaged or made by another version."""

    def __init__(self, message: str) -> None:
        super().__init__(shown(message))
