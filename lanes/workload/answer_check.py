"""The check of answers against an output schema (draft 2020-12), and a bound on its cost.

With references a schema can apply its parts repeatedly: an `anyOf` with two branches that both lead back doubles the work with
each level of an answer. So the steps of a check along one path of an answer are computed for each depth.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend
from referencing.exceptions import Unresolvable

from lanes.json_data import members, walk
from lanes.workload.schemas import SchemaFault, make_resolver, pattern, schema_validator

MOST_STEPS = 3_000_000  # about 0.2 s
# Longest check that `jsonschema` may repeat for its message; it takes about a hundred times as long.
MOST_WORDED = 30_000
# `jsonschema` matches these patterns with an engine that may take exponential time.
UNREAD = "patternProperties"
DEEPEST = 100  # levels of an answer; deeper answers cannot be stored
MOST_PARTS = 3_000  # values of a schema
MODEST = 10  # levels of a schema up to which the depth of an answer is not measured
MOST_COUNTED = 1 << 40  # cap of the computed steps
CHARACTERS = 16  # characters of a text that a step compares with a pattern of one KiB
REFERENCES = ("$ref", "$dynamicRef")
IN_PLACE = ("allOf", "anyOf", "oneOf")
ALSO_IN_PLACE = ("not", "if", "then", "else")
OF_ANY_MEMBER = (
    "additionalProperties",
    "items",
    "contains",
    "unevaluatedProperties",
    "unevaluatedItems",
    "propertyNames",
)
# These keywords evaluate the rest of the schema again, to find the members that it covers.
SECOND_VISIT = ("unevaluatedProperties", "unevaluatedItems")


@dataclass(frozen=True)
class AnswerFault:
    """A rule of the schema that an answer breaks; without a `keyword`, the reason why the answer cannot be checked.

    `path` leads to the faulty part of the answer. With a keyword, `message` may quote the answer.
    """

    path: tuple[str | int, ...]
    keyword: str
    value: Any
    message: str

    @property
    def rule(self) -> str:
        """The place and the broken rule, without a quotation of the answer, which may contain the item's data."""
        where = "/".join(map(str, self.path))[:200] or "the root"
        # The message of "required" names only a property of the schema, so it is safe to show.
        lacks = self.message if self.keyword == "required" else None
        rule = lacks or f"its rule is {self.keyword} {json.dumps(self.value, ensure_ascii=False)}"
        return f"{where}: {rule:.300}"


class AnswerCheck:
    """The check of answers against one schema.

    `jsonschema_rs` checks answers about a hundred times as fast as `jsonschema`. For an invalid answer `jsonschema` then writes
    the message, unless the check takes more than `MOST_WORDED` steps. An answer that may take more than `MOST_STEPS` steps, or
    a schema that `jsonschema_rs` cannot compile, gives a fault without a keyword.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema, self._unfit = schema, ""
        try:
            self._costs, self._first = SchemaCosts(schema), schema_validator(schema)
        except Exception as error:  # a stored schema may break the rules of today
            self._unfit = (
                f"the schema cannot be checked in bounded time ({error}); publish it without that"
            )
        self._second = None if _mentions(schema, UNREAD) else _SECOND(schema)

    def first_fault(self, answer: Any) -> AnswerFault | None:
        """Return the first rule that the answer breaks, None if the answer is valid."""
        if self._unfit:
            return AnswerFault((), "", None, self._unfit)
        steps = self._costs.of(answer)
        if steps > MOST_STEPS:
            text = f"the answer is too large or too deep to be checked ({steps:,} steps of {MOST_STEPS:,}); simplify the schema"
            return AnswerFault((), "", None, text)
        if self._first.is_valid(answer):
            return None
        if self._second is not None and steps <= MOST_WORDED:
            error = next(iter(self._second.iter_errors(answer)), None)
            return error and AnswerFault(
                tuple(error.absolute_path),
                str(error.validator),
                error.validator_value,
                error.message,
            )
        return self._build_fault(next(iter(self._first.iter_errors(answer))))

    def _build_fault(self, error: Any) -> AnswerFault:
        """Return the fault with the message of `jsonschema_rs`, and with the rule's value unless a reference leads to it."""
        value: Any = self._schema
        for step in error.schema_path:
            value = dict(members(value)).get(step)
        return AnswerFault(tuple(error.instance_path), error.kind.name, value, error.message)


def check_affordable(schema: dict[str, Any]) -> None:
    """Check that answers can be checked against the schema in bounded time.

    Raises:
        SchemaFault: they cannot; the message gives the reason, the place and the remedy.
    """
    for path, part in walk(schema):
        if not isinstance(part, dict):
            continue
        of_members = part.get(UNREAD)
        for wanted in (part.get("pattern"), *(of_members if isinstance(of_members, dict) else ())):
            try:
                if isinstance(wanted, str):
                    pattern(wanted)
            except ValueError as error:
                raise SchemaFault(
                    f"{error} (at {'/'.join(map(str, path)) or 'the root'})", schema, path
                ) from None
    try:
        SchemaCosts(schema)
        schema_validator(schema)
    except (ValueError, RecursionError, Unresolvable) as error:
        raise SchemaFault(f"answers cannot be checked in bounded time: {error}", schema) from None


def _matches(validator: Any, wanted: str, answer: Any, schema: Any) -> Iterator[ValidationError]:
    if validator.is_type(answer, "string") and not pattern(wanted).is_in(answer):
        yield ValidationError(f"{answer!r} does not match {wanted!r}")


def _is_unique(validator: Any, wanted: bool, answer: Any, schema: Any) -> Iterator[ValidationError]:
    if wanted and validator.is_type(answer, "array") and not _unique().is_valid(answer):
        yield ValidationError(f"{answer!r} has non-unique elements")


@lru_cache(maxsize=1)
def _unique() -> Any:
    return schema_validator({"uniqueItems": True})


_SECOND = extend(Draft202012Validator, {"pattern": _matches, "uniqueItems": _is_unique})


def _mentions(schema: Any, *keywords: str) -> bool:
    return any(
        isinstance(part, dict) and not part.keys().isdisjoint(keywords) for _, part in walk(schema)
    )


class SchemaCosts:
    """The cost of checks against one schema, in steps.

    Raises:
        ValueError: a check would never end, or the schema is too large; the message gives the reason.
    """

    def __init__(self, schema: Any) -> None:
        check_size(schema)
        self._resolver, self._referred = make_resolver(schema), dict[str, Any]()
        self._by_depth: list[dict[int, int]] = []  # steps by a part's id, for each depth
        self.steps = list[int]()  # steps of the whole schema, by the depth of an answer
        for depth in range(
            1 + (DEEPEST if _mentions(schema, *REFERENCES) else min(_measure(schema)[1], DEEPEST))
        ):
            self._by_depth.append({})
            self.steps.append(self._steps(schema, depth, ()))

    def of(self, answer: Any) -> int:
        """Return the largest number of steps that a check of the answer can take."""
        depth = len(self.steps) - 1
        if depth > MODEST:  # a reference may lead back
            values, depth = _measure(answer)
            return values * self.steps[min(depth, len(self.steps) - 1)]
        return _values(answer) * self.steps[depth]

    def _steps(self, part: Any, depth: int, above: tuple[int, ...]) -> int:
        """Return the steps of a part of the schema for the values along one path of `depth` levels."""
        if not isinstance(part, dict):
            return 1
        steps_by_part = self._by_depth[depth]
        if id(part) in steps_by_part:
            return steps_by_part[id(part)]
        if id(part) in above:
            raise ValueError(
                'a "$ref" leads back to itself without going into the answer; remove the loop'
            )
        above = (*above, id(part))
        steps = 1 + len(part) + sum(_weight(name, value) for name, value in part.items())
        steps += sum(self._steps(each, depth, above) for each in self._iter_in_place(part))
        if any(name in part for name in SECOND_VISIT):
            steps *= 2
        if depth:
            steps += sum(
                self._steps(part[name], depth - 1, ()) for name in OF_ANY_MEMBER if name in part
            )
            steps += sum(
                self._steps(each, depth - 1, ())
                for each in part.get("patternProperties", {}).values()
            )
            steps += max(
                (self._steps(each, depth - 1, ()) for each in part.get("properties", {}).values()),
                default=0,
            )
            steps += max(
                (self._steps(each, depth - 1, ()) for each in part.get("prefixItems", [])),
                default=0,
            )
        steps_by_part[id(part)] = min(steps, MOST_COUNTED)
        return steps_by_part[id(part)]

    def _iter_in_place(self, part: dict[str, Any]) -> Iterator[Any]:
        """Yield the subschemas of a part that apply to the same value as the part."""
        for name in REFERENCES:
            reference = part.get(name)
            if isinstance(reference, str):
                if reference not in self._referred:
                    self._referred[reference] = self._resolver.lookup(reference).contents
                yield self._referred[reference]
        for name in IN_PLACE:
            yield from part.get(name, [])
        for name in ALSO_IN_PLACE:
            if name in part:
                yield part[name]
        yield from part.get("dependentSchemas", {}).values()


def _weight(name: str, value: Any) -> int:
    """Return the additional steps of a keyword for each value or `CHARACTERS` of an answer."""
    if name == "pattern" and isinstance(value, str):
        return pattern(value).kib
    if name == "patternProperties" and isinstance(value, dict):
        return sum(pattern(each).kib for each in value)
    if name in ("enum", "const", "required"):
        return values_in(value)
    return 0


def check_size(schema: Any) -> None:
    """Check that a schema has at most `MOST_PARTS` values.

    Raises:
        ValueError: it has more.
    """
    if values_in(schema) > MOST_PARTS:
        raise ValueError(f"it has more than {MOST_PARTS:,} values; write a smaller schema")


def values_in(value: Any) -> int:
    """Return the number of values in a schema or an answer; a long text counts more than once."""
    return _measure(value)[0]


def _values(value: Any) -> int:
    """Return the count of `_measure`, several times as fast for an answer with few levels."""
    if isinstance(value, str):
        return 1 + len(value) // CHARACTERS
    if isinstance(value, dict):
        found = 1
        for name, each in value.items():
            found += 1 + len(name) // CHARACTERS + _values(each)
        return found
    if isinstance(value, list):
        return 1 + sum(map(_values, value))
    return 1


def _measure(value: Any) -> tuple[int, int]:
    """Return the number of values, with one more for each `CHARACTERS` of a text, and the number of levels."""
    found, depth, level = 0, 0, [value]
    while level:
        below: list[Any] = []
        for each in level:
            found += 1
            if isinstance(each, str):
                found += len(each) // CHARACTERS
            elif isinstance(each, dict):
                found += sum(1 + len(str(name)) // CHARACTERS for name in each)
                below += each.values()
            elif isinstance(each, list | tuple):
                below += each
        if below:
            depth += 1
        level = below
    return found, depth
