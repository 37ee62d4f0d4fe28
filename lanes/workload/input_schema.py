"""The part of JSON Schema that an input schema may use: the database checks it at every door (`lanes.schema_fault`)."""

from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from lanes.workload.output_schema import Path, SchemaFault

CHECKED = frozenset(
    {
        "type",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "minItems",
        "maxItems",
        "enum",
        "const",
        "minLength",
        "maxLength",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
    }
)
REMARKS = frozenset({"$schema", "$comment", "title", "description", "default", "examples"})
DEEPEST = 30  # schemas within one another
LONGEST_ENUM = 500  # the database compares a value with each


def check_input_schema(schema: dict[str, Any]) -> None:
    """Check that the database can check payloads by this schema.

    Raises:
        SchemaFault: it is no JSON Schema of an object, or uses a keyword that is not checked; the sentence names the place.
    """
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        where = "/".join(map(str, error.absolute_path)) or "the root"
        said = f"{error.message} (at {where})"
        raise SchemaFault(
            said, schema, tuple(error.absolute_path), what="not a JSON Schema"
        ) from None
    if schema.get("type") != "object":
        raise SchemaFault('the root must have "type": "object": a payload is a JSON object', schema)
    for path, part in _parts((), schema):
        where = "/".join(map(str, path)) or "the root"
        if len(path) > 2 * DEEPEST:
            raise SchemaFault(f"more than {DEEPEST} schemas stand within one another", schema, path)
        if not isinstance(part, dict):
            raise SchemaFault(
                f"write a schema instead of {str(part).lower()} (at {where})", schema, path
            )
        for name in sorted(part.keys() - CHECKED - REMARKS):
            allowed = ", ".join(sorted(CHECKED))
            raise SchemaFault(
                f'"{name}" is not checked at the doors; use {allowed} (at {where})',
                schema,
                (*path, name),
            )
        if not isinstance(part.get("additionalProperties", True), bool):
            said = f'"additionalProperties" is true or false (at {where})'
            raise SchemaFault(said, schema, (*path, "additionalProperties"))


def check_input_price(schema: dict[str, Any]) -> None:
    """Check that the database checks a payload by this schema in bounded time, given that `check_input_schema` takes it.

    Raises:
        SchemaFault: it has too many values, or too many in one enum; the sentence names the place.
    """
    for path, part in _parts((), schema):
        if len(part.get("enum", ())) > LONGEST_ENUM:
            where = "/".join(map(str, path)) or "the root"
            said = f'"enum" has more than {LONGEST_ENUM} values; say them in the instructions instead (at {where})'
            raise SchemaFault(said, schema, (*path, "enum"))


def _parts(path: Path, part: Any) -> Iterator[tuple[Path, Any]]:
    """Yield the schema and those within it, outermost first."""
    yield path, part
    if isinstance(part, dict):
        for name, each in part.get("properties", {}).items():
            yield from _parts((*path, "properties", name), each)
        if "items" in part:
            yield from _parts((*path, "items"), part["items"])
