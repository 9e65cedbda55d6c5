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

from specdis.catalogue import COLUMNS, OPTIONAL, Column
from specdis.flags import DESCRIPTIONS
from specdis.pipeline.config import Config
from specdis.pipeline.templates import Preset, templates
from specdis.references import quantities
from specdis.references.names import NO_NUMBER
from specdis.surveys.base import FLUX_LIMIT, STAR_COLUMNS
from specdis.surveys.values import LIMITS, NULL_OF_OTHERS, WAVELENGTHS, WITH_ERROR

_CONFIGURATION = """\
# The configuration

<!-- Made from the code by `make docs`. -->

One TOML file says everything about a run. `specdis init NAME` writes one to start from:

| name | what it is for |
|---|---|
{configurations}

`[run]` and `[survey]` are needed. A section or key that is left out has the preset's value, else the default below.

- An unknown key, a wrong type, or a value out of range is an error. One message names them all, with the nearest key.
- `--set section.key=value` overrides the file: `specdis run my.toml --set distances.n_draws=50`.
- In paths `~`, `${{NAME}}` and `${{NAME:-default}}` are expanded; a variable that is not set is an error. Paths are
  relative to the file, in `--set` to the working directory.
- `specdis check my.toml` checks file and inputs and estimates disk and memory; it starts nothing.
- The run keeps the file as given and with every value filled in: `config.input.toml`, `config.resolved.toml`.
- `specdis check my.toml --json` and `RUN/log.txt` name the choices that differ from the paper's.

## preset

`preset = "recommended"` stands before the first section. {preset} Your own keys and `--set` override it.

| key | {presets} | default |
|---|{rules}---|
{values}
"""
_COLUMNS = """\
# Columns of the catalogue

<!-- Made from the code by `make docs`. -->

See [the catalogue](catalogue.md) for how to read and use them. The first 25 are Table 1 of the paper in its order, with
`M_G_NN` and `M_G_GEO` for M_G,NN and M_G,geo. In brackets: the integer for a missing value in FITS. The last column is
there [on request](catalogue.md#posterior-draws), and each row has several numbers.

| name | type | unit | UCD | description | missing where | allowed |
|---|---|---|---|---|---|---|
"""
_FLAGS = """
## Flags

`FLAGS` is the sum of these bits; 0 means no warning.

| bit | value | name | meaning |
|---|---|---|---|
"""

_VALUES = """\
# What counts as missing

<!-- Made from the code by `make docs`. -->

One rule for every file, for lists of members and other catalogues, and for arrays in Python. A missing float is NaN.
Other numbers in its place, and impossible ones, become missing too. The log counts them by column and reason, and the
star is flagged. No row is dropped for it.

In every column of floats -999, -9999 and infinities are missing, and these:

| column | missing where it is | what follows |
|---|---|---|
"""
_VALUES_END = """
- Masked values, and integers that the header calls null (TNULL), are missing. A null integer of an unknown column is
  {null}: a star without a fold trains no network.
- A right ascension below 0 is one above 180: -10 is 350. A position beyond any sky is refused: RA and DEC were confused
  or are not in degrees.
- A pixel is bad if the survey says so, if flux or inverse variance is not finite, if the inverse variance is 0 or less,
  or if flux or error is more than {limit:,.0f} times the median of the spectrum's absolute flux.
- In lists of members and rival catalogues, distances are larger than 0, distance moduli from {modulus[0]:g} to
  {modulus[1]:g} but not 0, absolute magnitudes from {magnitude[0]:g} to {magnitude[1]:g}. A star whose SOURCE_ID is
  missing is matched on the sky. Empty fields and the words {words} are missing numbers.

## Units

Units are those of [the columns of stars](formats.md#columns-of-stars). Others are converted, if a table (TUNIT), the
header of WAVELENGTH (BUNIT, or CUNIT1) or a Quantity in Python names them: arcsec to mas, m/s to km/s, nm or micron to
Angstrom, pc or Mpc to kpc. A unit that cannot be converted, such as Hz for a wavelength, is refused by name.

Wavelengths are refused in any unit unless the middle one is between {low:,.0f} and {high:,.0f} Angstrom. The message
says what they look like: nm, micron, or the logarithm of Angstrom.
"""

_LIMITS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
_TYPES = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}


def columns() -> str:
    """Return the page of the catalogue's columns and flags."""
    rows = "\n".join(_column(column) for column in (*COLUMNS.values(), *OPTIONAL.values()))
    bits = [f"| {f.bit_length() - 1} | {f.value} | {f.name} | {text} |" for f, text in DESCRIPTIONS.items()]
    return _COLUMNS + rows + "\n" + _FLAGS + "\n".join(bits) + "\n"


def _column(column: Column) -> str:
    kind = f"char({column.dtype[1:]})" if column.dtype[0] == "S" else np.dtype(column.dtype).name
    missing = column.missing if column.null is None else f"{column.missing} ({column.null})"
    words = column.name, kind, column.unit, column.ucd, column.description, missing if column.missing else ""
    return "| " + " | ".join((*words, column.range)) + " |"


_FOLLOWS = {
    **dict.fromkeys(("RA", "DEC"), "no match on the sky"),
    **dict.fromkeys(("PARALLAX", "PARALLAX_ERROR"), "no label: the star does not train"),
    "PHOT_G_MEAN_MAG": "NO_MAGNITUDE: no distance",
    "RUWE": "cut by `ruwe-missing`",
    **dict.fromkeys(("NU_EFF_USED_IN_ASTROMETRY", "PSEUDOCOLOUR", "ECL_LAT"), "NO_ZERO_POINT"),
    "EBV": "NO_EBV: A_G is 0; cut by `ebv-missing`",
    "VRAD": "no rest frame: the fault `no-velocity`",
    "TEFF": "A_G_FALLBACK",
    "FEH": "cut by `feh-missing`",
    "SN": "no errors without IVAR",
}


def values() -> str:
    """Return the page of what counts as missing."""
    rows = ["| SOURCE_ID | not positive, or 999999 | no Gaia match: cut by `no-gaia-match` |"]
    for name, limits in LIMITS.items():
        unit = f" {STAR_COLUMNS[name].unit}".rstrip()
        reasons = [*([] if limits.zero else ["0"]), f"outside {limits.low:,g} to {limits.high:,g}{unit}"]
        if name in WITH_ERROR:
            reasons.append(f"0 where {name}_ERROR is missing")
        if name == "EBV":
            reasons.append(f"(from {limits.low:g} to 0, by the noise of a map, it is 0)")
        rows.append(f"| {name} | {', '.join(reasons)} | {_FOLLOWS.get(name, '')} |")
    modulus, magnitude = (tuple(quantities.QUANTITY_LIMITS[name][:2]) for name in ("DISTMOD", "M_G"))
    low, high = WAVELENGTHS
    words = ", ".join(f"`{word}`" for word in NO_NUMBER if word)
    return (
        _VALUES
        + "\n".join(rows)
        + "\n"
        + _VALUES_END.format(
            null=NULL_OF_OTHERS, limit=FLUX_LIMIT, modulus=modulus, magnitude=magnitude, words=words, low=low, high=high
        )
    )


def configuration() -> str:
    """Return the page of the configuration: one table per section, in its order."""
    schemas = Config.model_json_schema()["$defs"]
    parts = [_introduction()]
    known: dict[type[BaseModel], str] = {}
    for name, field in Config.model_fields.items():
        if name == "preset":
            continue
        assert isinstance(field.annotation, type)
        parts += _section(name, field.annotation, field.default, field.description or "", schemas, known)
    return "\n".join(parts)


def _introduction() -> str:
    """Return what goes before the sections: the configurations that come along, and what the presets choose."""
    presets = {name: dict(_flat(Config.preset_of({"preset": name}))) for name in get_args(Preset)}
    rows = []
    for key, default in _flat(Config.model_construct().model_dump(mode="json")):
        chosen = [preset.get(key, default) for preset in presets.values()]
        if any(value != default for value in chosen):
            rows.append(f"| `{key}` | " + " | ".join(map(_default, (*chosen, default))) + " |")
    return _CONFIGURATION.format(
        configurations="\n".join(f"| `{name}` | {_sentence(text)} |" for name, text in templates().items()),
        preset=_sentence(Config.model_fields["preset"].description or ""),
        presets=" | ".join(f"`{name}`" for name in presets),
        rules="---|" * len(presets),
        values="\n".join(rows),
    )


def _flat(values: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted name and the value of every key."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{place}{name}.")
        else:
            yield f"{place}{name}", value


def _section(
    name: str,
    model: type[BaseModel],
    defaults: Any,
    description: str,
    schemas: Mapping[str, Any],
    known: dict[type[BaseModel], str],
) -> Iterator[str]:
    """Yield the table of a section, without the keys of a section that is `known`, and those of the sections inside."""
    base = next((kind for kind in model.__mro__ if kind in known), None)
    known.setdefault(model, name)
    rest = {key: schema for key, schema in schemas[model.__name__]["properties"].items() if not _inherited(base, key)}
    also = f" Each has the keys of [{known[base]}]{', and these:' if rest else '.'}" if base else ""
    yield f"## [{name}]\n\n{description}{also}\n"
    if rest:
        yield "| key | value | default | meaning |\n|---|---|---|---|"
    inner = []
    for key, schema in rest.items():
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
    if rest:
        yield ""
    for section in inner:
        yield from _section(*section, schemas, known)


def _inherited(base: type[BaseModel] | None, key: str) -> bool:
    return base is not None and key in base.model_fields


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
    for name, text in (("configuration.md", configuration()), ("columns.md", columns()), ("values.md", values())):
        (Path(sys.argv[1]) / name).write_text(text, encoding="utf-8")
