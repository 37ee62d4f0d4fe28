"""Whether an answer satisfies an output schema: `jsonschema` says so, and what it would surely take is let through at once.

Nearly every answer is right, and a plain schema is looked through some ten times as fast by the functions made of it here. They
know `type`, `properties`, `required`, `additionalProperties`, `items`, an `enum` of texts, and bounds of length and size: a yes
of theirs is `jsonschema`'s own. Any other schema, and any answer that they do not let through, is left to it.
"""

from collections.abc import Callable, Mapping
from operator import ge, gt, le, lt
from typing import Any

from jsonschema import Draft202012Validator, ValidationError

Check = Callable[[Any], bool]

SILENT = frozenset(("title", "description", "default", "examples", "$schema", "$comment", "deprecated", "format"))
OF_KIND = frozenset(("properties", "required", "additionalProperties", "items"))
READ = OF_KIND | {"type", "enum"}


class AnswerCheck:
    """Checks answers against one schema."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._validator = Draft202012Validator(schema)
        self._surely_takes = sure_check(schema)

    def first_fault(self, answer: Any) -> ValidationError | None:
        """The first rule that the answer breaks; None when it satisfies the schema."""
        if self._surely_takes is not None and self._surely_takes(answer):
            return None
        return next(iter(self._validator.iter_errors(answer)), None)


def sure_check(schema: Any) -> Check | None:
    """A check that says yes to nothing that breaks the schema; None where the schema has rules that are not known here."""
    if not isinstance(schema, Mapping) or not schema.keys() <= READ | BOUNDS.keys() | SILENT:
        return None
    checks: list[Check] = []
    if "enum" in schema:
        if not _texts(schema["enum"]):
            return None
        checks.append(_one_of(frozenset(schema["enum"])))
    for name in sorted(BOUNDS.keys() & schema.keys()):
        if type(schema[name]) not in (int, float):
            return None
        checks.append(BOUNDS[name](schema[name]))
    kind = schema.get("type")
    if kind is None:
        return _all(checks) if "enum" in schema and not OF_KIND & schema.keys() else None
    if not isinstance(kind, str) or kind not in KINDS:
        return None
    inner = INNER[kind](schema) if kind in INNER else []
    return None if inner is None else _all([KINDS[kind], *inner, *checks])


def _object(schema: Mapping[str, Any]) -> list[Check] | None:
    properties, required, others = (
        schema.get("properties", {}),
        schema.get("required", []),
        schema.get("additionalProperties", True),
    )
    if not isinstance(properties, Mapping) or not _texts(required) or not isinstance(others, bool):
        return None
    known = {name: sure_check(part) for name, part in properties.items()}
    if None in known.values():
        return None
    wanted = frozenset(required)

    def holds(answer: dict[str, Any]) -> bool:
        if not wanted <= answer.keys():
            return False
        for name, value in answer.items():
            check = known.get(name)
            if check is None:
                if not others:
                    return False
            elif not check(value):
                return False
        return True

    return [holds]


def _array(schema: Mapping[str, Any]) -> list[Check] | None:
    if "items" not in schema:
        return []
    each = sure_check(schema["items"])
    return None if each is None else [lambda answer: all(map(each, answer))]


def _texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _all(checks: list[Check]) -> Check:
    match checks:
        case [one]:
            return one
        case [one, other]:
            return lambda answer: one(answer) and other(answer)
        case _:
            return lambda answer: all(check(answer) for check in checks)


def _one_of(values: frozenset[str]) -> Check:
    return lambda answer: type(answer) is str and answer in values


def _length(kind: type, holds: Callable[[int, Any], bool]) -> Callable[[Any], Check]:
    return lambda bound: lambda answer: type(answer) is not kind or holds(len(answer), bound)


def _size(holds: Callable[[Any, Any], bool]) -> Callable[[Any], Check]:
    return lambda bound: lambda answer: type(answer) not in (int, float) or holds(answer, bound)


KINDS: dict[str, Check] = {
    "object": lambda answer: type(answer) is dict,
    "array": lambda answer: type(answer) is list,
    "string": lambda answer: type(answer) is str,
    "boolean": lambda answer: type(answer) is bool,
    "null": lambda answer: answer is None,
    "integer": lambda answer: type(answer) is int,  # 1.0 is one too: that is left to jsonschema
    "number": lambda answer: type(answer) in (int, float),
}
INNER: dict[str, Callable[[Mapping[str, Any]], list[Check] | None]] = {"object": _object, "array": _array}
BOUNDS: dict[str, Callable[[Any], Check]] = {
    "minLength": _length(str, ge), "maxLength": _length(str, le), "minItems": _length(list, ge), "maxItems": _length(list, le),
    "minimum": _size(ge), "maximum": _size(le), "exclusiveMinimum": _size(gt), "exclusiveMaximum": _size(lt),
}  # fmt: skip
