"""The configurations and presets that come with the software: the files of configs/."""

from __future__ import annotations

from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args

from specdis.errors import ConfigError, InputError
from specdis.pipeline.toml import read_toml

Preset = Literal["paper", "recommended"]


def preset(name: Any) -> dict[str, Any]:
    """Return the values of a preset, empty for an unknown name."""
    return read_toml(_folder() / "presets" / f"{name}.toml") if name in get_args(Preset) else {}


def templates() -> dict[str, str]:
    """Return the purpose of each configuration by name: the first line of its file."""
    found = {}
    for path in sorted(_folder().glob("*.toml"), key=lambda path: path.stem):
        with path.open(encoding="utf-8") as file:
            found[path.stem] = file.readline().removeprefix("# ").strip()
    return found


def template(name: str) -> Path:
    """Return the file of a configuration, by its name: `paper`, `demo`, ...

    Raises
    ------
    ConfigError
        When the name is unknown.
    """
    known = templates()
    if name not in known:
        close = get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ConfigError(f"{name}: expected the name of a configuration, one of {', '.join(known)}{hint}")
    return _folder() / f"{name}.toml"


def write_template(name: str, path: Path) -> bool:
    """Copy a configuration of the package to a new file; return whether it runs unchanged.

    Raises
    ------
    ConfigError
        When there is none of this name.
    InputError
        When the file is there already.
    """
    source = template(name)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(source.read_text(encoding="utf-8"))
    except FileExistsError:
        raise InputError(
            path,
            expected="no file of this name",
            found="a file, which is not overwritten",
            remedy="Give another name with --out, or move the file away.",
        ) from None
    return bool(read_toml(source)["survey"]["kind"] == "mock")


def _folder() -> Path:
    """Return the folder of the configurations: in the package, where a wheel has it, or beside src/ in a clone."""
    installed = Path(str(files("specdis"))) / "configs"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "configs"
