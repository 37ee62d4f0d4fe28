"""The JSON Schemas that a workload may have, for the checks of answers and payloads.

The database checks payloads at every door (`lanes.schema_fault`) and supports a part of JSON Schema. The regular expressions
of schemas and rules run in one engine, which takes linear time and limits their compiled size.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from itertools import count
from typing import Any

import jsonschema_rs
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from lanes.json_data import walk

MOST_SOUND = 256  # number of remembered schemas
MARK = "\x00here\x00"  # marks a value to find its place; no schema that can be stored contains it
PLAIN = re.compile(r"[A-Za-z0-9_.-]+")  # a name that needs no escapes in a JSON pointer
COMBINED = ("anyOf", "oneOf", "allOf")  # the first one that is present counts
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
DEEPEST = 30  # nested schemas
LONGEST_ENUM = 500  # values; the database compares each of them
Path = tuple[str | int, ...]


class SchemaFault(ValueError):
    """A fault of a schema; `path` leads to the faulty part."""

    def __init__(
        self, words: str, schema: dict[str, Any], path: Path = (), *, what: str = ""
    ) -> None:
        self.words, self.path, self._schema = words, path, schema
        super().__init__(f"{what}: {words}" if what else words)

    def name_field(self, name: str) -> str:
        """Return the fault with the name of the field and the line and column in its editor."""
        if not self.path:
            return f"{name}: {self.words}"
        line, column = place(self._schema, self.path)
        return f"{name}, line {line}, column {column}: {self.words}"


# Digests of checked schemas: versions are read far more often than they change.
_sound: set[bytes] = set()


def check_output_schema(schema: dict[str, Any]) -> None:
    """Check that the schema is a JSON Schema (draft 2020-12) of an object, without references to other documents.

    Raises:
        SchemaFault: it is not; the message names the place.
    """
    digest = sha256(repr(schema).encode(errors="surrogatepass")).digest()
    if digest in _sound:
        return
    _check(schema)
    if len(_sound) >= MOST_SOUND:
        _sound.clear()
    _sound.add(digest)


def _check_is_schema(schema: dict[str, Any]) -> None:
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        path = tuple(error.absolute_path)
        message = f"{error.message} (at {_format_path(path)})"
        raise SchemaFault(message, schema, path, what="not a JSON Schema") from None


def _format_path(path: Path) -> str:
    return "/".join(map(str, path)) or "the root"


def _check(schema: dict[str, Any]) -> None:
    _check_is_schema(schema)
    if schema.get("type") != "object" or not schema.get("properties"):
        raise SchemaFault('the root must have "type": "object" and "properties"', schema)
    _check_references(schema)


def check_askable(schema: dict[str, Any]) -> None:
    """Check that the provider's SDK accepts the schema in a request: each part needs one type, or its values.

    Raises:
        SchemaFault: the SDK would refuse it; the message names the place.
    """
    _check_askable(schema, schema)
    for name, part in self_contained(schema).get("$defs", {}).items():
        if name not in schema.get("$defs", {}):
            _check_askable(schema, part, within='the part that a "$ref" leads to')


def _check_askable(schema: dict[str, Any], whole: Any, within: str = "") -> None:
    """Check `whole`: the schema itself, or a part of it that has no path and whose place `within` describes."""
    waiting: list[tuple[Path, Any]] = [((), whole)]
    while waiting:
        path, part = waiting.pop()
        where, path_to = within or _format_path(path), () if within else path
        if not isinstance(part, dict):
            message = f'the provider takes no {json.dumps(part)} for a schema; write its "type" (at {where})'
            raise SchemaFault(message, schema, path_to)
        waiting += (((*path, "$defs", name), each) for name, each in part.get("$defs", {}).items())
        if part.get("$ref") is not None:
            continue
        inner = next((name for name in COMBINED if isinstance(part.get(name), list)), None)
        if inner is not None:
            waiting += (((*path, inner, number), each) for number, each in enumerate(part[inner]))
        if _is_value(part.get("const", ...)) or (
            part.get("enum") and all(map(_is_value, part["enum"]))
        ):
            continue
        kind = part.get("type")
        if kind is None and inner is None:
            message = (
                f'the provider takes no schema without a "type"; add one, or an "enum" (at {where})'
            )
            raise SchemaFault(message, schema, path_to)
        if isinstance(kind, list):
            message = 'the provider takes one "type" each; write {"anyOf": [{"type": "string"}, {"type": "null"}]} for two'
            raise SchemaFault(f"{message} (at {where})", schema, () if within else (*path, "type"))
        if kind == "object":
            waiting += (
                ((*path, "properties", name), each)
                for name, each in part.get("properties", {}).items()
            )
        if kind == "array" and part.get("items") is not None:
            waiting.append(((*path, "items"), part["items"]))


def self_contained(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with all references pointing to its `$defs`, by names that need no escapes.

    A part that is referenced by its place ("#", "#/properties/a") becomes a definition. So the schema keeps its meaning within
    another schema that has the same `$defs`, and without keywords that the provider does not support.
    """
    resolver = make_resolver(schema)
    definitions: dict[str, Any] = dict(schema.get("$defs", {}))
    names = {id(part): name for name, part in definitions.items() if PLAIN.fullmatch(name)}

    def parse_name(reference: str) -> str | None:
        try:
            target = resolver.lookup(reference).contents
        except Unresolvable:
            return None
        if id(target) not in names:
            name = next(name for number in count(1) if (name := f"part{number}") not in definitions)
            definitions[name] = _drop_definitions(target) if target is schema else target
            names[id(target)] = name
        return names[id(target)]

    def qualify_references(part: Any) -> Any:
        if isinstance(part, list):
            return [qualify_references(each) for each in part]
        if not isinstance(part, dict):
            return part
        copy = {name: qualify_references(each) for name, each in part.items()}
        if (
            isinstance(reference := part.get("$ref"), str)
            and (name := parse_name(reference)) is not None
        ):
            copy["$ref"] = f"#/$defs/{name}"
        return copy

    whole, written = qualify_references(_drop_definitions(schema)), dict[str, Any]()
    while to_write := definitions.keys() - written.keys():
        written |= {name: qualify_references(definitions[name]) for name in to_write}
    return whole | ({"$defs": {name: written[name] for name in definitions}} if written else {})


def make_resolver(schema: Any) -> Any:
    """Return a resolver for the references within a schema; it does not load other documents."""
    return Registry().with_resource("", DRAFT202012.create_resource(schema)).resolver()


def _drop_definitions(schema: dict[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in schema.items() if name != "$defs"}


def _is_value(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _check_references(schema: dict[str, Any]) -> None:
    """Check that all references stay within the schema; others would break every check, or use the network.

    Raises:
        SchemaFault: a reference leads to no place in the schema.
    """
    resolver = make_resolver(schema)
    for path, part in walk(schema):
        reference = part.get("$ref") if isinstance(part, dict) else None
        if isinstance(reference, str):
            try:
                resolver.lookup(reference)
            except Unresolvable:
                message = f'"$ref": "{reference}" leads to no place in the schema'
                raise SchemaFault(message, schema, (*path, "$ref")) from None


def list_closed_fields(schema: Mapping[str, Any], of: Sequence[str] = ()) -> dict[str, list[Any]]:
    """Return the values of each top-level field with a closed set of values, limited to the fields in `of` if given."""
    closed: dict[str, list[Any]] = {}
    for name, part in schema["properties"].items():
        if isinstance(part, Mapping) and (not of or name in of):
            values = part.get("enum") or ([True, False] if part.get("type") == "boolean" else [])
            closed |= {name: [*values]} if values else {}
    return closed


def place(schema: dict[str, Any], path: Path) -> tuple[int, int]:
    """Return the line and column, from 1, of the value at a path in the editor, which indents by two."""
    text = json.dumps(_mark(schema, list(path)), indent=2, ensure_ascii=False)
    before = text[: text.index(json.dumps(MARK))]
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def _mark(part: Any, path: list[str | int]) -> Any:
    if not path:
        return MARK
    step, *rest = path
    if isinstance(part, dict):
        return {name: _mark(each, rest) if name == step else each for name, each in part.items()}
    return [_mark(each, rest) if number == step else each for number, each in enumerate(part)]


def check_input_schema(schema: dict[str, Any]) -> None:
    """Check that the database can check payloads by this schema.

    Raises:
        SchemaFault: it is not a JSON Schema of an object, or uses an unsupported keyword; the message names the place.
    """
    _check_is_schema(schema)
    if schema.get("type") != "object":
        raise SchemaFault('the root must have "type": "object": a payload is a JSON object', schema)
    for path, part in _parts((), schema):
        where = _format_path(path)
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
            message = f'"additionalProperties" is true or false (at {where})'
            raise SchemaFault(message, schema, (*path, "additionalProperties"))


def check_input_price(schema: dict[str, Any]) -> None:
    """Check that the database can check a payload in bounded time; `check_input_schema` must have accepted the schema.

    Raises:
        SchemaFault: an enum has too many values; the message names the place.
    """
    for path, part in _parts((), schema):
        if len(part.get("enum", ())) > LONGEST_ENUM:
            where = _format_path(path)
            message = f'"enum" has more than {LONGEST_ENUM} values; say them in the instructions instead (at {where})'
            raise SchemaFault(message, schema, (*path, "enum"))


def _parts(path: Path, part: Any) -> Iterator[tuple[Path, Any]]:
    """Yield the schema and its nested schemas with their paths, outermost first."""
    yield path, part
    if isinstance(part, dict):
        for name, each in part.get("properties", {}).items():
            yield from _parts((*path, "properties", name), each)
        if "items" in part:
            yield from _parts((*path, "items"), part["items"])


# Size limits of a compiled pattern; matching may compare each character of a text with the whole pattern.
KIBIBYTES = tuple(2**power for power in range(7))
MOST_KIB = KIBIBYTES[-1]


class CompiledPattern:
    """A regular expression to search texts with; `kib` bounds its compiled size.

    Raises:
        ValueError: the engine does not accept it; the message gives the reason and the remedy.
    """

    def __init__(self, text: str) -> None:
        for self.kib in KIBIBYTES:
            try:
                self._check = _validator(
                    text, jsonschema_rs.RegexOptions(size_limit=self.kib * 1024)
                )
            except ValueError:
                continue
            return
        raise ValueError(_why_not(text))

    def is_in(self, text: str) -> bool:
        """Return whether the pattern matches anywhere in the text."""
        return self._check.is_valid(text)


pattern = lru_cache(maxsize=1024)(CompiledPattern)


def schema_validator(schema: Any) -> "jsonschema_rs.Draft202012Validator":
    """Return a validator that does not use the network and matches patterns in linear time.

    Raises:
        ValueError: the schema refers to another document, or the engine does not accept one of its patterns.
    """
    options = jsonschema_rs.RegexOptions(size_limit=MOST_KIB * 1024)
    return jsonschema_rs.Draft202012Validator(schema, offline=True, pattern_options=options)


def _validator(text: str, options: Any) -> "jsonschema_rs.Draft202012Validator":
    return jsonschema_rs.Draft202012Validator(
        {"pattern": text}, offline=True, pattern_options=options
    )


def _why_not(text: str) -> str:
    """Return the reason why a text does not compile to a linear-time pattern of a permitted size."""
    shown = text if len(text) <= 80 else f"{text[:77]}..."
    if _compiles(text, jsonschema_rs.RegexOptions()):
        return f'the pattern "{shown}" compiles to more than {MOST_KIB} KiB; use smaller repetitions and fewer Unicode classes'
    if _compiles(text, jsonschema_rs.FancyRegexOptions()):
        return f'the pattern "{shown}" looks around or refers back, which takes exponential time; write it without'
    return f'the pattern "{shown}" is not a regular expression that the engine reads (syntax: Rust regex)'


def _compiles(text: str, options: Any) -> bool:
    try:
        _validator(text, options)
    except ValueError:
        return False
    return True
