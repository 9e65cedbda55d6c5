"""Writes the pages of the docs that are made from the code: `python tools/reference_pages.py FOLDER`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import numpy as np
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from specdis.catalogue import COLUMNS, Column
from specdis.flags import DESCRIPTIONS
from specdis.pipeline.config import Config

_CONFIGURATION = """\
# The configuration

<!-- Made from the code by `make docs`. -->

One TOML file says everything about a run. `[run]` and `[survey]` are needed; any other section or key that is left out
has the default below, which is the paper's choice where the paper makes one.

- A key that does not exist, a wrong type, or a value out of range is an error. One message names them all, with the
  nearest key that exists.
- `--set section.key=value` goes over the file: `specdis run my.toml --set distances.n_draws=50`.
- In paths `~`, `${NAME}` and `${NAME:-default}` are expanded; a variable that is not set is an error. Paths are
  relative to the file, and in `--set` to the working directory.
- `specdis check my.toml` reads the file, looks at the inputs and estimates disk and memory; it starts nothing.
- The run keeps the file as it was given and with every default filled in: `config.input.toml`, `config.resolved.toml`.

The folder `configs/` has examples: `paper.toml` spells out the paper's choices, `desi-dr1.toml` is for
[DESI DR1](desi-dr1.md), `miles.toml` for a table of spectra.
"""
_COLUMNS = """\
# Columns of the catalogue

<!-- Made from the code by `make docs`. -->

How to read and use them says [the catalogue](catalogue.md). The first 25 are Table 1 of the paper in its order, with
`M_G_NN` and `M_G_GEO` for M_G,NN and M_G,geo. A number in brackets is the integer that stands for a missing value in
FITS.

| name | type | unit | UCD | description | missing where | allowed |
|---|---|---|---|---|---|---|
"""
_FLAGS = """
## Flags

`FLAGS` is the sum of these bits; 0 is a star with nothing to say about it.

| bit | value | name | meaning |
|---|---|---|---|
"""

_LIMITS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
_TYPES = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}


def columns() -> str:
    """Return the page of the catalogue's columns and flags."""
    rows = "\n".join(_column(column) for column in COLUMNS.values())
    bits = [f"| {f.bit_length() - 1} | {f.value} | {f.name} | {text} |" for f, text in DESCRIPTIONS.items()]
    return _COLUMNS + rows + "\n" + _FLAGS + "\n".join(bits) + "\n"


def _column(column: Column) -> str:
    kind = f"char({column.dtype[1:]})" if column.dtype[0] == "S" else np.dtype(column.dtype).name
    missing = column.missing if column.null is None else f"{column.missing} ({column.null})"
    words = column.name, kind, column.unit, column.ucd, column.description, missing if column.missing else ""
    return "| " + " | ".join((*words, column.range)) + " |"


def configuration() -> str:
    """Return the page of the configuration: one table per section, in its order."""
    schemas = Config.model_json_schema()["$defs"]
    parts = [_CONFIGURATION]
    for name, field in Config.model_fields.items():
        assert isinstance(field.annotation, type)
        parts += _section(name, field.annotation, field.default, field.description or "", schemas)
    return "\n".join(parts)


def _section(
    name: str, model: type[BaseModel], defaults: Any, description: str, schemas: Mapping[str, Any]
) -> Iterator[str]:
    """Yield the table of a section, and those of the sections inside it."""
    yield f"## [{name}]\n\n{description}\n\n| key | value | default | meaning |\n|---|---|---|---|"
    inner = []
    for key, schema in schemas[model.__name__]["properties"].items():
        field = model.model_fields[key]
        if "$ref" in schema:
            inner.append((f"{name}.{key}", field.annotation, getattr(defaults, key), field.description))
            continue
        if section := _tables(field.annotation):
            inner.append((f"{name}.{key}.NAME", section, None, field.description))
            continue
        if section := _optional(field.annotation):
            inner.append((f"{name}.{key}", section, None, field.description))
            continue
        default = "needed" if field.is_required() else _default(getattr(defaults, key, field.default))
        yield f"| `{key}` | {_value(schema)} | {default} | {_sentence(field.description or '')} |"
    yield ""
    for section in inner:
        yield from _section(*section, schemas)


def _tables(annotation: Any) -> type[BaseModel] | None:
    """Return the model of tables that have names of the user's own."""
    held = get_args(annotation)[1] if get_origin(annotation) is dict else None
    return held if isinstance(held, type) and issubclass(held, BaseModel) else None


def _optional(annotation: Any) -> type[BaseModel] | None:
    """Return the model of a section that may be absent."""
    return next((kind for kind in get_args(annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _default(value: Any) -> str:
    return "" if value is None else f"`{json.dumps(to_jsonable_python(value))}`"


def _value(schema: Mapping[str, Any]) -> str:
    """Say in words what a JSON schema allows; null, a key left out, goes without saying."""
    if "anyOf" in schema:
        return " or ".join(_value(option) for option in schema["anyOf"] if option.get("type") != "null")
    if "const" in schema or "enum" in schema:
        return " or ".join(f'`"{value}"`' for value in schema.get("enum", [schema.get("const")]))
    if "prefixItems" in schema:
        return f"pair of {_value(schema['prefixItems'][0])}s"
    if schema["type"] == "array":
        return "list of " + re.sub("^(whole number|number|pair|text)", r"\1s", _value(schema["items"]))
    if schema["type"] == "object":
        return "table of text"
    if schema.get("format") == "path":
        return "path"
    limits = [f"{sign} {schema[name]:g}" for name, sign in _LIMITS.items() if name in schema]
    return " ".join([_TYPES[schema["type"]], " and ".join(limits)]).strip()


def _sentence(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    for name, text in (("configuration.md", configuration()), ("columns.md", columns())):
        (Path(sys.argv[1]) / name).write_text(text, encoding="utf-8")
