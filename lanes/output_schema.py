"""What a workload's output schema must be, so that checking an answer can always be done."""

from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012


class SchemaFault(ValueError):
    """What is wrong with a schema; `path` leads to the part at fault."""

    def __init__(self, said: str, path: tuple[str | int, ...] = ()) -> None:
        self.path = path
        super().__init__(said)


def check_output_schema(schema: dict[str, Any]) -> None:
    """Nothing happens for a JSON Schema (draft 2020-12) of an object that refers to nothing beyond itself.

    Raises:
        SchemaFault: it is none; the sentence names the place.
    """
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        where = "/".join(map(str, error.absolute_path)) or "the root"
        raise SchemaFault(f"not a JSON Schema: {error.message} (at {where})", tuple(error.absolute_path)) from None
    if schema.get("type") != "object" or not schema.get("properties"):
        raise SchemaFault('the root must have "type": "object" and "properties"')
    _check_references(schema)


def _check_references(schema: dict[str, Any]) -> None:
    """A reference that leads elsewhere would break every check, or ask the network for it."""
    resolver = Registry().with_resource("", DRAFT202012.create_resource(schema)).resolver()
    waiting: list[tuple[tuple[str | int, ...], Any]] = [((), schema)]
    while waiting:
        path, part = waiting.pop()
        inner = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
        waiting += (((*path, name), each) for name, each in inner)
        reference = part.get("$ref") if isinstance(part, dict) else None
        if isinstance(reference, str):
            try:
                resolver.lookup(reference)
            except Unresolvable:
                raise SchemaFault(f'"$ref": "{reference}" leads to no place in the schema', (*path, "$ref")) from None
