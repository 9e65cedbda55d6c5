"""TOML in files and in `--set`, with messages for wrong syntax."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from specdis.errors import ConfigError


def parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """Return nested tables from `section.key=value`, or `key=value` of a key in no section; the last one wins.

    Raises
    ------
    ConfigError
        When an override has another form.
    """
    values: dict[str, Any] = {}
    for override in overrides:
        name, equals, text = override.partition("=")
        keys = [key.strip() for key in name.split(".")]
        if not equals or not all(keys):
            raise ConfigError(f"--set {override}: expected section.key=value, for example sample.ebv_max=0.3")
        value = _toml_value(text.strip())
        for key in reversed(keys):
            value = {key: value}
        values = merge(values, value)
    return values


def read_toml(path: Path) -> dict[str, Any]:
    """Read the tables of a TOML file unchanged.

    Raises
    ------
    ConfigError
        When the file cannot be read or is not TOML.
    """
    return parse(read_text(path), path)


def read_text(path: Path) -> str:
    """Return the text of a TOML file."""
    try:
        if path.exists() and not path.is_file():  # a pipe would block, and a device never end
            raise ConfigError(f"{path}: expected a TOML file, found a folder, a pipe or a device. Check the name.")
        return path.read_text(encoding="utf-8-sig")  # editors on Windows write a byte order mark first
    except OSError as error:
        raise ConfigError(f"{path}: expected a TOML file, found: {error.strerror}. Check the name.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: expected a TOML file in UTF-8, found other bytes ({error}).") from error


def parse(text: str, path: Path) -> dict[str, Any]:
    """Return the tables of a text; the path is for messages."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: this is not TOML: {error}") from error
    except RecursionError as error:
        raise ConfigError(
            f"{path}: expected keys and their values, found hundreds of nested levels. Correct it."
        ) from error


def _toml_value(text: str) -> Any:
    """Parse a value as TOML, or else return it as a string."""
    try:
        table = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    return table["value"] if len(table) == 1 else text


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two trees of tables; values of the second take precedence."""
    merged = {**below, **above}
    for key in below.keys() & above.keys():
        if isinstance(below[key], dict) and isinstance(above[key], dict):
            merged[key] = merge(below[key], above[key])
    return merged
