"""Strict reading of a TOML file into models: expands paths, overrides keys, and reports all errors at once."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, Self, get_args, get_origin

import tomli_w
from pydantic import BaseModel, PrivateAttr, ValidationError

from specdis.errors import ConfigError
from specdis.pipeline.toml import merge, parse, parse_overrides, read_text
from specdis.settings import Settings, departs_from, papers_choice

Keys = tuple[str, ...]

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^{}]*))?\}")


class _Problem(NamedTuple):
    """One error of a document, and the key or section that it concerns."""

    keys: Keys
    message: str
    of_section: bool = False

    def __str__(self) -> str:
        *section, key = self.keys
        if self.of_section:
            return f"[{'.'.join(self.keys)}]: {self.message}"
        return f"[{'.'.join(section)}] {key}: {self.message}" if section else f"{key}: {self.message}"


class Document(Settings):
    """A TOML file as a model; its tables are sections, each a model."""

    _source: str = PrivateAttr(default="")

    @classmethod
    def load(cls, path: Path, overrides: Sequence[str] = ()) -> Self:
        """Read a TOML file and apply overrides.

        Parameters
        ----------
        path
            The TOML file; relative paths in it are relative to its folder.
        overrides
            `section.key=value`, the value in TOML or a bare string; paths are relative to the working directory.

        Raises
        ------
        ConfigError
            When the file cannot be read or is not TOML, an override is malformed, or a key is unknown, missing, of the
            wrong type or out of range; one message lists all errors.
        """
        text = read_text(path)
        problems: list[_Problem] = []
        given = _expand(parse(text, path), cls, path.resolve().parent, problems)
        overriding = _expand(parse_overrides(overrides), cls, Path.cwd(), problems)
        given = _over(given, overriding, cls)
        preset = cls.preset_of(given)
        values = _over(preset, given, cls)
        try:
            # The strict mode for JSON suits TOML: arrays may be tuples and strings paths, but "3" is not a number.
            document = cls.model_validate_json(json.dumps(values, default=str), strict=True)
        except ValidationError as error:
            problems += [_with_preset(problem, preset, given) for problem in _explain(error, cls, values)]
        else:
            found = (_Problem(keys, message, False) for keys, message in document.conflicts().items())
            problems += [_with_preset(problem, preset, given) for problem in found]
        if problems:
            raise ConfigError(_message(problems, path, overriding))
        document._source = text + "".join(f"# --set {override}\n" for override in overrides)
        return document

    @classmethod
    def preset_of(cls, given: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG003
        """Return default values below those given: none, unless a document has presets."""
        return {}

    def conflicts(self) -> Mapping[tuple[str, ...], str]:
        """Return what is wrong between sections, by section and key: nothing, unless a document has such rules."""
        return {}

    @property
    def source(self) -> str:
        """The user's TOML, with overrides as comments."""
        return self._source or self.to_toml()

    def to_toml(self) -> str:
        """Return TOML with all values, including defaults, and absolute paths."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))

    def flat(self, *names: str) -> dict[str, Any]:
        """Return the values of sections (`sample`) and keys (`run.seed`), by dotted name.

        Raises
        ------
        KeyError
            When a name is neither a section nor a key.
        """
        values = _flatten(self.model_dump())
        chosen = {name: {key: values[key] for key in values if f"{key}.".startswith(f"{name}.")} for name in names}
        if empty := [name for name in names if not chosen[name]]:
            raise KeyError(f"{type(self).__name__} has no section or key {', '.join(empty)}")
        return {key: value for part in chosen.values() for key, value in part.items()}

    def differences(self) -> dict[str, tuple[Any, Any]]:
        """Return value and paper's choice for each key in which they differ, in sections with defaults.

        The paper's choice is the default, unless `settings.departs` says otherwise.
        """
        defaults = _flatten(_papers_choices(type(self)))
        sections = {key.split(".")[0] for key in defaults}
        return {
            key: (value, defaults.get(key))
            for key, value in _flatten(self.model_dump()).items()
            if key.split(".")[0] in sections and value != defaults.get(key)
        }


def _over(below: Mapping[str, Any], above: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """Merge two trees of tables; of keys that exclude each other, those of the upper one stay."""
    return merge(_without_rivals(below, above, model), above)


def _without_rivals(below: Mapping[str, Any], above: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    rivals = set(getattr(model, "alternatives", ()))
    kept = {key: value for key, value in below.items() if key not in rivals or not rivals & above.keys()}
    for key in kept.keys() & above.keys():
        for section in filter(_is_model, _types(model, key)):
            if isinstance(kept[key], dict) and isinstance(above[key], dict):
                kept[key] = _without_rivals(kept[key], above[key], section)
    return kept


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        nested = isinstance(value, Mapping) and value
        flat |= _flatten(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat


def _papers_choices(model: type[BaseModel]) -> dict[str, Any]:
    fields = {name: field for name, field in model.model_fields.items() if not field.is_required()}
    return {name: _with_the_papers(papers_choice(field)) for name, field in fields.items()}


def _with_the_papers(default: Any) -> Any:
    """Return the paper's choice of a key, or of all keys in a section."""
    if not isinstance(default, BaseModel):
        return default
    otherwise = {
        name: papers_choice(field) for name, field in type(default).model_fields.items() if departs_from(field)
    }
    return {name: _with_the_papers(otherwise.get(name, value)) for name, value in default}


# Paths


def _expand(
    values: dict[str, Any], model: type[BaseModel], base: Path, problems: list[_Problem], above: Keys = ()
) -> dict[str, Any]:
    """Expand the values of fields of type Path; failures are added to the problems."""
    expanded = dict(values)
    for key, value in values.items():
        types = _types(model, key)
        if Path in types and isinstance(value, str):
            try:
                expanded[key] = _path(value, base)
            except ValueError as error:
                problems.append(_Problem((*above, key), str(error)))
        for section in filter(_is_model, types):
            if isinstance(value, dict):
                expanded[key] = _expand(value, section, base, problems, (*above, key))
        if (tables := _tables(model, key)) and isinstance(value, dict):
            expanded[key] = {
                name: _expand(table, tables, base, problems, (*above, key, name)) if isinstance(table, dict) else table
                for name, table in value.items()
            }
    return expanded


def _types(model: type[BaseModel], key: str) -> tuple[Any, ...]:
    """Return the types that a field accepts, with unions split."""
    if key not in model.model_fields:
        return ()
    annotation = model.model_fields[key].annotation
    return (annotation,) if get_origin(annotation) is dict else (annotation, *get_args(annotation))


def _tables(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    """Return the model of the tables in a field that maps the user's names to tables, else None."""
    if key not in model.model_fields:
        return None
    annotation = model.model_fields[key].annotation
    held = get_args(annotation)[1] if get_origin(annotation) is dict else None
    return held if _is_model(held) else None


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _path(text: str, base: Path) -> str:
    """Expand `~`, `${NAME}` and `${NAME:-default}` and make the path absolute.

    Raises
    ------
    ValueError
        When a variable or a home directory is unknown.
    """

    def variable(match: re.Match[str]) -> str:
        name, default = match.groups()
        if value := os.environ.get(name, "") or default:
            return value
        raise ValueError(
            f"variable {name} is not set, found {text!r}; set it (export {name}=...) or write ${{{name}:-default}}"
        )

    expanded = _VARIABLE.sub(variable, text)
    if "${" in expanded:
        raise ValueError(f"expected ${{NAME}} or ${{NAME:-default}}, found {text!r}")
    try:
        return os.path.normpath(base / Path(expanded).expanduser())
    except RuntimeError as error:
        raise ValueError(f"expected a known user after ~, found {text!r}") from error


# Errors


def _explain(error: ValidationError, model: type[BaseModel], values: Mapping[str, Any]) -> list[_Problem]:
    """Return one problem per key, although each member of a union has an error."""
    errors: dict[Keys, list[Any]] = {}
    for detail in error.errors(include_url=False):
        errors.setdefault(_field(model, detail["loc"]), []).append(detail)
    return [
        _Problem(keys, _describe(keys, details, model, values), _is_section(model, keys))
        for keys, details in errors.items()
    ]


def _is_section(model: type[BaseModel], keys: Keys) -> bool:
    """Tell whether this is a section, or an unknown name outside all sections."""
    within = _section(model, keys)
    unknown = len(keys) == 1 and keys[0] not in model.model_fields
    return unknown or any(map(_is_model, _types(within, keys[-1])))


def _with_preset(problem: _Problem, preset: Mapping[str, Any], given: Mapping[str, Any]) -> _Problem:
    """Add the values of a preset to a problem, if they conflict with the user's in one section."""
    written = _at(given, problem.keys)
    unwritten = {
        key: value
        for key, value in _flatten(_at(preset, problem.keys) or {}).items()
        if not isinstance(written, Mapping) or key not in _flatten(written)
    }
    if not unwritten:
        return problem
    said = ", ".join(f"{key} = {_short(value)}" for key, value in unwritten.items())
    return problem._replace(message=f"{problem.message} (the preset gives {said})")


def _field(model: type[BaseModel], place: tuple[int | str, ...]) -> Keys:
    """Return the sections and keys of an error's location, without members of unions and lists."""
    key = str(place[0])
    sections = list(filter(_is_model, _types(model, key)))
    if sections and len(place) > 1:
        return (key, *_field(sections[0], place[1:]))
    if (tables := _tables(model, key)) and len(place) > 1:
        return (key, str(place[1]), *(_field(tables, place[2:]) if len(place) > 2 else ()))
    return (key,)


def _describe(keys: Keys, details: Sequence[Any], model: type[BaseModel], values: Mapping[str, Any]) -> str:
    kind, message = details[0]["type"], details[0]["msg"]
    if kind == "extra_forbidden":
        return _unknown(keys, model)
    found = _at(values, keys)
    if kind == "value_error":
        message = message.removeprefix("Value error, ")
        return message if "found" in message or isinstance(found, Mapping) else f"{message}, found {_short(found)}"
    if kind == "missing":
        what = _section(model, keys).model_fields[keys[-1]].description or "a value"
        return f"expected a value ({what.rstrip('.')}), found none"
    messages = [detail["msg"].removeprefix("Input should be ").replace("an object", "a table") for detail in details]
    expected = " or ".join(dict.fromkeys(messages))
    options = re.findall(r"'([^']*)'", expected)
    return f"expected {expected}, found {_short(found)}{_nearest(str(found), options)}"


def _unknown(keys: Keys, model: type[BaseModel]) -> str:
    """Report an unknown key, with the nearest valid one."""
    valid = list(_section(model, keys).model_fields)
    kind = "key" if len(keys) > 1 else "section"
    homes = [section for section, name in _all_keys(model) if name == keys[-1]]
    hint = _nearest(keys[-1], valid) or (f"; it belongs to [{homes[0]}]" if homes else "")
    return f"unknown {kind}, expected one of {', '.join(valid)}{hint}"


def _all_keys(model: type[BaseModel], place: str = "") -> Iterator[tuple[str, str]]:
    """Yield the section and the name of every key."""
    for name in model.model_fields:
        for section in filter(_is_model, _types(model, name)):
            inner = f"{place}.{name}" if place else name
            yield from ((inner, key) for key in section.model_fields if not any(map(_is_model, _types(section, key))))
            yield from _all_keys(section, inner)


def _section(model: type[BaseModel], keys: Keys) -> type[BaseModel]:
    """Return the model that holds, or should hold, the last of the keys."""
    rest = list(keys[:-1])
    while rest:
        key = rest.pop(0)
        if tables := _tables(model, key):
            model = tables
            rest = rest[1:]  # the user's name
        else:
            model = next(filter(_is_model, _types(model, key)))
    return model


def _at(values: Any, keys: Keys) -> Any:
    """Return the value at a key, or None."""
    for key in keys:
        values = values.get(key) if isinstance(values, Mapping) else None
    return values


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _nearest(name: str, valid: Sequence[str]) -> str:
    close = get_close_matches(name, valid, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _message(problems: Sequence[_Problem], path: Path, overriding: Mapping[str, Any]) -> str:
    """Prefix each problem with the file or --set."""
    places = [path if _at(overriding, problem.keys) is None else "--set" for problem in problems]
    lines = [f"{place}: {problem}" for place, problem in zip(places, problems, strict=True)]
    return lines[0] if len(lines) == 1 else "\n  ".join([f"{len(lines)} errors in the configuration:", *lines])
