"""The fields of pydantic models in readers' terms: kinds, bounds and defaults in words."""

import types
import typing
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from tests.docs.references.markdown import code, listed, of_each, table

KINDS: Mapping[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Path: "path",
    SecretStr: "text, a secret",
}
REQUIRED = "required"


def kind(annotation: Any) -> str:
    """Return the type of a value in words."""
    origin, within = get_origin(annotation), get_args(annotation)
    if origin is typing.Annotated:
        return kind(within[0])
    if origin in (Union, types.UnionType):
        return " or ".join(kind(each) for each in within if each is not types.NoneType)
    if origin is Literal:
        return listed(within)
    if origin in (list, tuple):
        return f"list: {kind(within[0])}"
    if origin is dict:
        models = isinstance(within[1], type) and issubclass(within[1], BaseModel)
        return "mapping of names to mappings" if models else "JSON object"
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return listed(each.value for each in annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "mapping"
    return KINDS[annotation]


def bounds(field: FieldInfo) -> str:
    """Return the bounds of a value and their unit; empty for a value without bounds."""
    found = _constraints(field)
    if get_origin(field.annotation) is dict:
        return f"up to {found['max_length']} entries" if "max_length" in found else ""
    least, most = found.get("ge"), found.get("le")
    if least is not None and most is not None:
        return f"{least} to {most}"
    if least is not None:
        return f"at least {least}"
    shortest, longest, entries = (
        found.get("min_length"),
        found.get("max_length"),
        "list" in kind(field.annotation),
    )
    unit = "entries" if entries else "characters"
    if shortest is not None and longest is not None:
        return f"{shortest} to {longest} {unit}"
    if longest is not None:
        return f"up to {longest} {unit}"
    return "not empty" if shortest else ""


def default(field: FieldInfo) -> str:
    """Return the default of a field in words."""
    if field.is_required():
        return REQUIRED
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "each its own"
    if value is None or value == "" or value == []:
        return "none"
    return code(
        str(value).lower()
        if isinstance(value, bool)
        else f"{value:g}"
        if isinstance(value, float)
        else value
    )


def model_table(model: type[BaseModel], said: Mapping[str, str] | None = None) -> str:
    """Return the table of a model's fields, with the descriptions in `said` or, without it, the model's own."""
    told = (
        of_each(model.model_fields, said, what=model.__name__)
        if said
        else {name: field.description or "" for name, field in model.model_fields.items()}
    )
    rows = [
        (code(name), described(field), default(field), told[name])
        for name, field in model.model_fields.items()
    ]
    return table(("field", "kind", "default", "description"), rows)


def described(field: FieldInfo) -> str:
    """Return the type of a value in words, with its bounds."""
    pattern = _constraints(field).get("pattern", "")
    if pattern.startswith("^(") and "|" in pattern:
        return listed(pattern.strip("^$()").split("|"))
    return ", ".join(filter(None, (kind(field.annotation), bounds(field))))


def _constraints(field: FieldInfo) -> dict[str, Any]:
    """Return the constraints of the field and of the types in its annotation, such as the other type in a union with None."""
    found: dict[str, Any] = {}
    for each in (*_within(field.annotation), *field.metadata):
        for name in ("ge", "le", "min_length", "max_length", "pattern"):
            if getattr(each, name, None) is not None:
                found[name] = getattr(each, name)
    return found


def _within(annotation: Any) -> Iterable[Any]:
    for part in get_args(annotation):
        for each in getattr(part, "__metadata__", ()):
            yield from getattr(each, "metadata", (each,))
