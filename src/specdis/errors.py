"""Errors that a user can correct: each names place, expected, found and remedy."""

from __future__ import annotations

import copyreg
from pathlib import Path
from typing import Any


def shown(text: object) -> str:
    """Return a text as one printable line: file names may contain any character."""
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
        A file, with HDU and column.
    expected
        The expected content.
    found
        The actual content.
    remedy
        An action for the user.
    """

    def __init__(self, place: str | Path, *, expected: str, found: str, remedy: str) -> None:
        self.place, self.expected, self.found, self.remedy = str(place), expected, found, remedy
        super().__init__(shown(f"{place}: expected {expected}, found {found}. {remedy}"))

    def __reduce__(self) -> tuple[Any, ...]:
        """Support pickling between processes, which by default keeps only the message."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class ProductError(SpecdisError):
    """A product of a run is missing, damaged or made by another version."""

    def __init__(self, message: str) -> None:
        super().__init__(shown(message))
