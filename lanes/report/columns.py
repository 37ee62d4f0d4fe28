"""The fields of an output as columns, after the schemas that it may have been checked against."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from referencing import Registry
from referencing.jsonschema import DRAFT202012

Path = tuple[str, ...]


class OutputColumns:
    """A column for every field that one of the schemas names: those of the first schema first.

    An object with named fields gives its fields' columns; a list, and whatever else has no fixed fields, is one value.
    """

    def __init__(self, schemas: Iterable[Mapping[str, Any]]) -> None:
        self.paths = list(dict.fromkeys(path for schema in schemas for path in _leaves(schema)))
        self._known = set(self.paths)
        self._inner = {path[:length] for path in self.paths for length in range(1, len(path))}

    @property
    def names(self) -> list[str]:
        """`address.city` for the field `city` of the object `address`."""
        return [".".join(map(_quoted, path)) for path in self.paths]

    def cells(self, output: Mapping[str, Any]) -> list[Any]:
        """The value of each column, None where the output has none."""
        return [self._cell(output, path) for path in self.paths]

    def rest(self, output: Mapping[str, Any]) -> dict[str, Any]:
        """What of the output has no column; with `cells` it is the whole output but for nulls."""
        return self._rest(output, ())

    def _cell(self, output: Mapping[str, Any], path: Path) -> Any:
        value: Any = output
        for name in path:
            if not isinstance(value, dict):
                return None
            value = value.get(name)
        return None if path in self._inner and isinstance(value, dict) else value

    def _rest(self, output: Mapping[str, Any], above: Path) -> dict[str, Any]:
        left: dict[str, Any] = {}
        for name, value in output.items():
            path = (*above, name)
            if path in self._inner and isinstance(value, dict):
                value = self._rest(value, path)
                if not value:
                    continue
            elif path in self._known or (path in self._inner and value is None):
                continue
            left[name] = value
        return left


def _leaves(schema: Mapping[str, Any]) -> Iterator[Path]:
    resolver = Registry().with_resource("", DRAFT202012.create_resource(dict(schema))).resolver()

    def walk(part: Any, path: Path, met: frozenset[str]) -> Iterator[Path]:
        while isinstance(part, dict):
            if (reference := part.get("$ref")) is not None:
                if reference in met:  # a schema that holds itself has no end
                    break
                met, part = met | {reference}, resolver.lookup(reference).contents
            elif (only := _only_choice(part)) is not None:
                part = only
            else:
                break
        fields = part.get("properties") if isinstance(part, dict) and "$ref" not in part else None
        if not fields:
            yield path
            return
        for name, field in fields.items():
            yield from walk(field, (*path, name), met)

    return walk(schema, (), frozenset())


def _only_choice(part: Mapping[str, Any]) -> Any:
    """What a field is that may also be null; None where it is not made so."""
    choices = [
        each for each in part.get("anyOf") or part.get("oneOf") or () if each != {"type": "null"}
    ]
    return choices[0] if len(choices) == 1 and "properties" not in part else None


def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False) if "." in name or '"' in name else name
