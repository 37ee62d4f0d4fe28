"""Forms in the Prefect UI, which come from the JSON schemas of models; types of their inputs; and a workload's promises."""

from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from lanes.json_data import why_unstorable

NULL = {"type": "null"}
LAST = ("who", "why")  # the last fields of every form
LARGEST = 2_147_483_647  # largest number of a batch or a version
FARTHEST = 1_000_000_000_000_000  # largest position in a stream
# Key of the additional choices in a field that offers the published workloads.
BESIDE = "choices_beside_workloads"


def arrange(schema: dict[str, Any]) -> None:
    """Store the order of a model's fields in its schema, and turn a field that may be None into an input that may stay empty.

    Prefect's database does not keep the order of keys, and its UI would offer a choice of types for an optional field. Prefect
    still accepts None for the field, because it is not required and has no default.
    """
    properties = schema.get("properties", {})
    for position, name in enumerate(sorted(properties, key=lambda name: name in LAST)):
        field = properties[name]
        field["position"] = position
        kinds = [each for each in field.get("anyOf", ()) if each != NULL]
        if NULL in field.get("anyOf", ()) and len(kinds) == 1:
            del field["anyOf"]
            field.update(kinds[0])
            if field.get("default", ...) is None:
                del field["default"]


class Form(BaseModel):
    """A form for people: each field has a title, a description with its bounds, and a position.

    A form refuses unknown fields, because a misspelt optional field would silently keep its default.
    """

    model_config = ConfigDict(
        extra="forbid", json_schema_extra=arrange, use_attribute_docstrings=True
    )


def offer_published(*beside: str) -> dict[str, Any]:
    """Return the schema extra that offers the published workloads and `beside` as choices; it adds no validation."""
    return {BESIDE: list(beside)}


def offer_workloads(schema: Mapping[str, Any], workloads: Collection[str]) -> dict[str, Any]:
    """Return the schema of a deployment's parameters with these workloads as choices in the fields for a workload.

    Without workloads, these fields accept any text. Defaults omit None, which Prefect refuses for a choice. The schema refuses
    unknown parameters, because Prefect would otherwise create a run that fails before it can report the reason.
    """
    offered = deepcopy(dict(schema))
    for choice in (field for field in _fields(offered) if BESIDE in field):
        offered["additionalProperties"] = False
        choice.pop("enum", None)
        if workloads:
            choice["enum"] = [*choice[BESIDE], *sorted(workloads)]
    for parameter in offered.get("properties", {}).values():
        if isinstance(default := parameter.get("default"), dict):
            parameter["default"] = {
                name: value for name, value in default.items() if value is not None
            }
    return offered


def _fields(schema: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the schemas of the parameters and of the fields in their models."""
    for model in (schema, *schema.get("definitions", {}).values()):
        yield from model.get("properties", {}).values()


class Promises(Form):
    """The promises of a workload to its consumers; a breach opens an incident, and a limit of 0 is no promise."""

    batch_max_minutes: int = Field(default=120, ge=0, title="Batch: longest run (minutes)")
    """A batch that is open longer opens an incident, or earlier once its usual run time is learned. 0 = no promise."""
    batch_max_failure_percent: float = Field(
        default=5, ge=0, le=100, title="Batch: largest share of failures (%)"
    )
    """The error budget: the share of batch items that are errored, expired, canceled or missing. 0 = no promise."""
    batch_max_invalid_percent: float = Field(
        default=5, ge=0, le=100, title="Batch: largest share of invalid outputs (%)"
    )
    """The error budget: the share of batch answers that break the output schema. 0 = no promise."""
    realtime_p95_s: float = Field(default=5, ge=0, title="Real-time: p95 latency (seconds)")
    """Time from received to answered; 5 % of the items may take longer, which is the error budget. 0 = no promise."""
    realtime_max_error_percent: float = Field(
        default=5, ge=0, le=100, title="Real-time: largest share of errors (%)"
    )
    """The error budget: the share of attempts that fail. 0 = no promise."""
    deadline_max_missed_percent: float = Field(
        default=5,
        ge=0,
        le=100,
        title="Due times: largest share missed (%)",
        description="Share of the items that were due in the last hour, or are overdue, that are late or unanswered. "
        "0 = no promise.",
    )
    quality_reference_answers: int = Field(
        default=500, ge=0, le=100_000, title="Answers: reference of their quality"
    )
    """First answers of a version and lane to compare later ones with; a day's answers if hours differ. 0 = no promise."""


def _storable(value: str) -> str:
    if (problem := why_unstorable(value, "this text")) is not None:
        raise ValueError(problem)
    return value


_SHORT = StringConstraints(strip_whitespace=True, max_length=500)
UncheckedLine = Annotated[str, _SHORT]  # may contain characters that the database cannot store
Line = Annotated[UncheckedLine, AfterValidator(_storable)]
SignedLine = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=500),
    AfterValidator(_storable),
]
Who = Annotated[
    SignedLine, Field(title="Who", description="Your name, 1 to 500 characters; the log keeps it.")
]
Why = Annotated[
    SignedLine,
    Field(title="Why", description="Your reason, 1 to 500 characters; the log keeps it."),
]
