"""What a workload's output schema must be, so that checking an answer can always be done."""

import json
from collections.abc import Sequence
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from lanes.misread import Misread

NO_SCHEMA = "not a JSON Schema"
MARK = "\x00here\x00"  # stands in for a value whose place is looked for; no schema that can be stored holds it


def check_output_schema(schema: dict[str, Any]) -> None:
    """Nothing happens for a JSON Schema (draft 2020-12) of an object that refers to nothing beyond itself.

    Raises:
        Misread: it is none; the place is that in the editor.
        ValueError: it is no object's, or refers to what it does not hold.
    """
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        path = list(error.absolute_path)
        line, column = place(schema, path)
        said = f"{error.message} (at {'/'.join(map(str, path)) or 'the root'})"
        raise Misread(NO_SCHEMA, said, line=line, column=column) from None
    if schema.get("type") != "object" or not schema.get("properties"):
        raise ValueError('the root must have "type": "object" and "properties"')
    _check_references(schema)


def _check_references(schema: dict[str, Any]) -> None:
    """A reference that leads elsewhere would break every check, or ask the network for it."""
    resolver = Registry().with_resource("", DRAFT202012.create_resource(schema)).resolver()
    waiting: list[Any] = [schema]
    while waiting:
        part = waiting.pop()
        waiting += part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        reference = part.get("$ref") if isinstance(part, dict) else None
        if isinstance(reference, str):
            try:
                resolver.lookup(reference)
            except Unresolvable:
                raise ValueError(f'"$ref": "{reference}" leads to no place in the schema') from None


def place(schema: dict[str, Any], path: Sequence[str | int]) -> tuple[int, int]:
    """The line and the column, from 1, at which the value at a path begins in the editor, which indents by two."""
    text = json.dumps(_marked(schema, list(path)), indent=2, ensure_ascii=False)
    before = text[: text.index(json.dumps(MARK))]
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def _marked(part: Any, path: list[str | int]) -> Any:
    if not path:
        return MARK
    step, *rest = path
    if isinstance(part, dict):
        return {name: _marked(each, rest) if name == step else each for name, each in part.items()}
    return [_marked(each, rest) if number == step else each for number, each in enumerate(part)]
