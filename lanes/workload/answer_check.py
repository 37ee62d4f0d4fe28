"""Whether an answer satisfies an output schema (draft 2020-12), within a limit of what that may cost."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend
from referencing.exceptions import Unresolvable

from lanes.workload.output_schema import Path, SchemaFault
from lanes.workload.patterns import pattern, schema_validator
from lanes.workload.schema_cost import Costs

MOST_STEPS = 3_000_000  # some 0.2 s
MOST_WORDED = (
    30_000  # steps of which `jsonschema` says what is wrong; it takes some hundred times as long
)
UNREAD = (
    "patternProperties"  # `jsonschema` matches these with an engine that may take exponential time
)


@dataclass(frozen=True)
class Fault:
    """A rule of the schema that an answer breaks, or, without a `keyword`, why the answer cannot be checked.

    `path` leads to the part at fault. `message` may quote the answer where there is a keyword.
    """

    path: tuple[str | int, ...]
    keyword: str
    value: Any
    message: str


class AnswerCheck:
    """Checks answers against one schema.

    `jsonschema_rs` lets right answers through, some hundred times as fast as `jsonschema`. `jsonschema` decides about the
    others, because people read its words; it is not asked where that takes more than `MOST_WORDED` steps. An answer that may
    take more than `MOST_STEPS` is not checked, and no answer is by a schema that `jsonschema_rs` cannot compile.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema, self._unfit = schema, ""
        try:
            self._costs, self._first = Costs(schema), schema_validator(schema)
        except Exception as error:  # a stored schema may hold what none is published with any more
            self._unfit = (
                f"the schema cannot be checked in bounded time ({error}); publish it without that"
            )
        self._second = None if _mentions(schema, UNREAD) else _SECOND(schema)

    def first_fault(self, answer: Any) -> Fault | None:
        """Return the first rule that the answer breaks; None when it satisfies the schema."""
        if self._unfit:
            return Fault((), "", None, self._unfit)
        steps = self._costs.of(answer)
        if steps > MOST_STEPS:
            said = f"the answer is too large or too deep to be checked ({steps:,} steps of {MOST_STEPS:,}); simplify the schema"
            return Fault((), "", None, said)
        if self._first.is_valid(answer):
            return None
        if self._second is not None and steps <= MOST_WORDED:
            worded = next(iter(self._second.iter_errors(answer)), None)
            return worded and Fault(
                tuple(worded.absolute_path),
                str(worded.validator),
                worded.validator_value,
                worded.message,
            )
        return self._unworded(next(iter(self._first.iter_errors(answer))))

    def _unworded(self, error: Any) -> Fault:
        """Return the fault as `jsonschema_rs` tells it, with what its rule says where no reference leads there."""
        value: Any = self._schema
        for step in error.schema_path:
            inside = (
                value
                if isinstance(value, dict)
                else dict(enumerate(value))
                if isinstance(value, list)
                else {}
            )
            value = inside.get(step)
        return Fault(tuple(error.instance_path), error.kind.name, value, error.message)


def check_affordable(schema: dict[str, Any]) -> None:
    """Check that answers can be checked against the schema in bounded time.

    Raises:
        SchemaFault: they cannot; the sentence says why, where, and what to write instead.
    """
    waiting: list[tuple[Path, Any]] = [((), schema)]
    while waiting:
        path, part = waiting.pop()
        if isinstance(part, list):
            waiting += (((*path, number), each) for number, each in enumerate(part))
        if not isinstance(part, dict):
            continue
        waiting += (((*path, name), each) for name, each in part.items())
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
        Costs(schema)
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


def _mentions(schema: Any, keyword: str) -> bool:
    inner = (
        schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    )
    return (isinstance(schema, dict) and keyword in schema) or any(
        _mentions(each, keyword) for each in inner
    )
