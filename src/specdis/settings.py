"""The strict, frozen model from which every section of the configuration is made."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

_PAPER = "paper"


class Settings(BaseModel):
    """One section of the configuration: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    alternatives: ClassVar[tuple[str, ...]] = ()
    """Keys that exclude each other: the user's key replaces the other one of a preset."""


def departs(default: Any, *, paper: Any, ge: float | None = None) -> Any:
    """Return the field of a key whose default differs from the choice of the paper, not below `ge`."""
    return Field(default, json_schema_extra={_PAPER: paper}, ge=ge)


def departs_from(field: FieldInfo) -> bool:
    """Tell whether the default of a key differs from the choice of the paper."""
    return isinstance(field.json_schema_extra, dict) and _PAPER in field.json_schema_extra


def papers_choice(field: FieldInfo) -> Any:
    """Return the paper's choice of a key that has a default: the default, unless the field says otherwise."""
    if isinstance(field.json_schema_extra, dict) and departs_from(field):
        return field.json_schema_extra[_PAPER]
    return field.get_default(call_default_factory=True)
