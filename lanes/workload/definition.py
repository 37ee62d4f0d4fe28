"""A definition as its author wrote it: its validation, its comparison with the version in force, and edits to publish it."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

from pydantic import ValidationError

from lanes.errors import SpecInvalid
from lanes.json_data import is_same_json, why_unstorable
from lanes.words import BLOCK, Mode
from lanes.workload.context import Context
from lanes.workload.rules import OF_ANSWERS, Rule, RuleSyntaxError
from lanes.workload.schemas import SchemaFault
from lanes.workload.version import NAME, SecondPass, Spec, Version

ABSENT = object()
# Fields of later releases. `content_hash` leaves them out at these values, so that older versions keep their hashes.
LATER: Mapping[str, Any] = {
    "keep_payload_days": 0,
    "archive_after_days": 0,
    "confidence": 0.95,
    "value_usd": 0,
    "half_life_s": 3600,
    "pack_check_share": 0.005,
    "input_schema": {},
    "review_share": 0.01,
    "pack_scope": "workload",
    "context": Context().model_dump(mode="json"),
    "second_pass": SecondPass().model_dump(mode="json"),
    "consumers": {},
    "provider": BLOCK,
}
LATER_PROMISES = {"deadline_max_missed_percent": 5, "quality_reference_answers": 500}


@dataclass(frozen=True)
class Problem:
    """A fault of a field; `kind` is pydantic's error type, `cause` the exception of the field's check."""

    path: tuple[str | int, ...]
    message: str
    kind: str = ""
    cause: Exception | None = None

    @property
    def field(self) -> str:
        """The path of the field with dots, "definition" for the root."""
        return ".".join(map(str, self.path)) or "definition"

    @property
    def place(self) -> tuple[str | int, ...]:
        """The path to the fault: the field and, in a schema, the faulty part."""
        return (*self.path, *self.cause.path) if isinstance(self.cause, SchemaFault) else self.path

    def __str__(self) -> str:
        """Return the field, the place in the field, and the fault."""
        if isinstance(self.cause, RuleSyntaxError | SchemaFault):
            return self.cause.name_field(self.field)
        if self.path == ("output_schema",) and self.kind == "missing":
            hint = "Prefect's editor does not save invalid JSON: look for a comma or a quote"
            return f"{self.field}: it is missing. {hint}"
        return f"{self.field}: {self.message}"


def parse(name: str, data: dict[str, Any]) -> Spec:
    """Return the spec of a workload's edited data.

    Raises:
        SpecInvalid: the error lists every faulty field with the reason.
    """
    spec, problems = examine(name, data)
    if spec is None or problems:
        raise SpecInvalid(name, list(map(str, problems)))
    return spec


def examine(name: str, data: dict[str, Any]) -> tuple[Spec | None, list[Problem]]:
    """Return the spec of edited data, None if it cannot be read, and all problems that prevent its publication."""
    message = f'"{name}" may hold a-z, 0-9 and "-", and starts with a letter'
    problems = [] if NAME.fullmatch(name) else [Problem(("name",), message)]
    try:
        spec = Spec.model_validate(data)
    except ValidationError as error:
        return None, problems + list_problems(error)
    for field, value in spec.model_dump().items():
        problem = why_unstorable(value, "it")
        if problem is not None:
            problems.append(Problem((field,), problem))
    unknown = [f for f in spec.compare_fields if f not in spec.output_schema["properties"]]
    if unknown:
        problems.append(
            Problem(("compare_fields",), f"{', '.join(unknown)} is not a property of output_schema")
        )
    return spec, [*problems, *_check_second_pass(spec)]


def _check_second_pass(spec: Spec) -> Iterator[Problem]:
    """Yield the contradictions between the second pass and the rest of the definition."""
    config, fields, place = spec.second_pass, spec.output_schema["properties"], "second_pass"
    if spec.mode is Mode.PLAIN and config != SecondPass():
        message = "an answer in plain mode has no second pass; set mode to lambda, or remove this"
        yield Problem((place,), message)
    rules = fields.get(config.confidence_field)
    kind = rules.get("type") if isinstance(rules, dict) else None
    if config.confidence_below and kind not in ("number", "integer"):
        message = f'"{config.confidence_field}" is not a number in output_schema; name a property of type number'
        yield Problem((place, "confidence_field"), message)
    read = Rule(config.when, OF_ANSWERS).fields if config.when else None
    unknown = [each for each in read or () if each not in fields]
    if unknown:
        message = f"{', '.join(unknown)} is not a property of output_schema"
        yield Problem((place, "when"), message)


def list_problems(error: ValidationError) -> list[Problem]:
    """Return the problems of a validation error, one for each faulty field."""
    return [
        Problem(
            each["loc"],
            each["msg"].removeprefix("Value error, "),
            each["type"],
            each.get("ctx", {}).get("error"),
        )
        for each in error.errors()
    ]


def faults(error: ValidationError) -> list[str]:
    """Return a sentence for each problem of a validation error: field, place and reason."""
    return list(map(str, list_problems(error)))


def content_hash(spec: Spec) -> str:
    """Return the SHA-256 of a definition as 64 hexadecimal digits, independent of the order of its keys."""
    content = spec.model_dump(mode="json")
    content["promises"] = _without(LATER_PROMISES, content["promises"])
    # Keep the form of older versions, which had `history_items` instead of a context.
    content["history_items"] = content["context"]["entity"]["items"]
    content["context"]["entity"]["items"] = 0
    sorted_content = json.dumps(_without(LATER, content), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(sorted_content.encode()).hexdigest()


def _without(later: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if later.get(name, ...) != value}


@dataclass(frozen=True)
class FieldDifference:
    """A difference in a field, or in a part of one such as `promises`; a side without the field has `ABSENT`."""

    field: str
    before: Any
    after: Any

    def as_data(self) -> dict[str, Any]:
        """Return the difference as JSON data, without a side that is `ABSENT`."""
        sides = {"before": self.before, "after": self.after}
        return {"field": self.field} | {
            side: value for side, value in sides.items() if value is not ABSENT
        }


def differences(before: Spec, after: Spec) -> list[FieldDifference]:
    """Return the differences in the order of the form. The order of keys in an object is ignored."""
    return [*_between("", before.model_dump(mode="json"), after.model_dump(mode="json"))]


def beyond_defaults(spec: Spec) -> list[FieldDifference]:
    """Return the required fields, and the differences of the other fields from their defaults."""
    own = {
        field: getattr(spec, field)
        for field, about in Spec.model_fields.items()
        if about.is_required()
    }
    changed = differences(Spec.model_construct(**own), spec)
    return [
        FieldDifference(field, ABSENT, value)
        for field, value in [*own.items(), *((d.field, d.after) for d in changed)]
    ]


def _between(path: str, before: Any, after: Any) -> Iterator[FieldDifference]:
    if not (isinstance(before, Mapping) and isinstance(after, Mapping)):
        if not is_same_json(before, after):
            yield FieldDifference(path, before, after)
        return
    for key in [*before, *(key for key in after if key not in before)]:
        yield from _between(
            f"{path}.{key}" if path else key, before.get(key, ABSENT), after.get(key, ABSENT)
        )


class BlockState(StrEnum):
    """The content of a workload's block compared with a definition."""

    SAME = "same"
    MISSING = "missing"
    INVALID = "invalid"  # the block cannot be published
    BEHIND = "behind"  # equal to the version in force
    EDITED = "edited"  # equal to neither: the block's edit has not been published yet


@dataclass(frozen=True)
class Comparison:
    """A definition compared with the version in force (`changed`) and with an edited block (`overwritten`).

    `problems` are the problems of an invalid block.
    """

    in_force: Version | None
    block: BlockState
    changed: Sequence[FieldDifference] = ()
    overwritten: Sequence[FieldDifference] = ()
    problems: Sequence[str] = ()

    @property
    def nothing_differs(self) -> bool:
        """Whether publishing the definition would change nothing."""
        return self.in_force is not None and not self.changed and self.block is BlockState.SAME


def compare(
    name: str, spec: Spec, in_force: Version | None, block: Mapping[str, Any] | None
) -> Comparison:
    """Return the comparison of a definition with the version in force and the block's data; either may be missing."""
    changed = differences(in_force.spec, spec) if in_force else []
    if block is None:
        return Comparison(in_force, BlockState.MISSING, changed)
    block_spec, problems = examine(name, dict(block))
    if block_spec is None or problems:
        return Comparison(in_force, BlockState.INVALID, changed, problems=list(map(str, problems)))
    overwritten = differences(block_spec, spec)
    if not overwritten:
        return Comparison(in_force, BlockState.SAME, changed)
    if in_force and not differences(block_spec, in_force.spec):
        return Comparison(in_force, BlockState.BEHIND, changed)
    return Comparison(in_force, BlockState.EDITED, changed, overwritten)


class EditOutcome(StrEnum):
    """The outcome of an edit."""

    PUBLISHED = "published"  # saved in the block, and the version is in force
    # saved in the block, and the version answers the golden set before it comes into force
    CANDIDATE = "candidate"
    # saved in the block, but the version does not come into force, because of the golden set
    REFUSED = "refused"
    # the block has changed since the author read it: nothing was done
    EDITED_MEANWHILE = "edited_meanwhile"
    NOT_SAVED = "not_saved"  # Prefect refused to save it: nothing was published
    ONLY_SAVED = "only_saved"  # saved in the block; the router publishes it as soon as possible
    OVERTAKEN = "overtaken"  # the block was saved again right afterwards, or is another definition
    BLOCKED = "blocked"  # a canary is open, or there is nothing to compare: nothing was done


@dataclass(frozen=True)
class Edit:
    """A request to save `definition` in the block `name`, if the block still contains `seen` (None: no block).

    `golden` is the lane that answers the golden set; with `force` the version needs no golden run. With `candidate` the version
    is stored, but comes into force only when its canary ends.
    """

    name: str
    definition: dict[str, Any]
    seen: dict[str, Any] | None
    golden: str = "batch"
    force: bool = False
    candidate: bool = False

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Self:
        return cls(**json.loads(text))


@dataclass(frozen=True)
class EditReply:
    """The outcome of an edit; `detail` gives the reason."""

    outcome: EditOutcome
    detail: str | None = None

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Self:
        parsed = json.loads(text)
        return cls(EditOutcome(parsed["outcome"]), parsed["detail"])
