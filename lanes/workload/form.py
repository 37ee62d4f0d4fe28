"""Forms in the Prefect UI, made of models by their JSON schema, what people write into them, and a workload's promises."""

from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from lanes.json_data import why_unstorable

NULL = {"type": "null"}
LAST = ("who", "why")  # every form ends with them
LARGEST = 2_147_483_647  # of the numbers of batches and versions
FARTHEST = 1_000_000_000_000_000  # of positions in a stream
# the further choices of a field that offers the published workloads
BESIDE = "choices_beside_workloads"


def arrange(schema: dict[str, Any]) -> None:
    """Keep the order of a model's fields, and show a field that may be None as an input that may stay empty.

    Prefect's database forgets the order of keys, and the UI would offer a choice of types for such a field. Prefect still
    accepts None for it: it is not required and has no default.
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
    """A form for a person: each field has a title, a description with its bounds, and a place.

    Unknown fields are refused, because a misspelt optional field would silently keep its default.
    """

    model_config = ConfigDict(
        extra="forbid", json_schema_extra=arrange, use_attribute_docstrings=True
    )


def of_workloads(*beside: str) -> dict[str, Any]:
    """Return the schema extra that offers the published workloads, and `beside`, as choices; the type still decides."""
    return {BESIDE: list(beside)}


def offer_workloads(schema: Mapping[str, Any], workloads: Collection[str]) -> dict[str, Any]:
    """Return the schema of a deployment's parameters with these workloads as choices of the fields that ask for one.

    Without workloads, any text is accepted. Defaults omit None, which Prefect refuses for a choice. Unknown parameters are
    refused, because Prefect would otherwise create a run that ends before it can say why.
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
    """Yield the fields of the parameters and of their models."""
    for model in (schema, *schema.get("definitions", {}).values()):
        yield from model.get("properties", {}).values()


class Promises(Form):
    """The promises of a workload to its consumers; a breach opens an incident, and a limit of 0 is no promise."""

    batch_max_minutes: int = Field(default=120, ge=0, title="Batch: longest run (minutes)")
    """A batch that is open longer opens an incident; sooner once it is learned how long such batches take. 0 = no promise."""
    batch_max_failure_percent: float = Field(
        default=5, ge=0, le=100, title="Batch: largest share of failures (%)"
    )
    """The error budget: of the items of batches, those errored, expired, canceled or missing. 0 = no promise."""
    batch_max_invalid_percent: float = Field(
        default=5, ge=0, le=100, title="Batch: largest share of invalid outputs (%)"
    )
    """The error budget: of the answers of batches, those that break the output schema. 0 = no promise."""
    realtime_p95_s: float = Field(default=5, ge=0, title="Real-time: p95 latency (seconds)")
    """From received to answered; 5 % may take longer, which is the error budget. 0 = no promise."""
    realtime_max_error_percent: float = Field(
        default=5, ge=0, le=100, title="Real-time: largest share of errors (%)"
    )
    """The error budget: of the attempts, those that fail. 0 = no promise."""
    deadline_max_missed_percent: float = Field(
        default=5,
        ge=0,
        le=100,
        title="Due times: largest share missed (%)",
        description="Of the items that were due in the last hour, or are overdue: those answered later, or not at all. "
        "0 = no promise.",
    )
    quality_reference_answers: int = Field(
        default=500, ge=0, le=100_000, title="Answers: reference of their quality"
    )
    """Later answers are compared with this many first ones of a version and lane; a day's if hours differ. 0 = no promise."""


def _storable(said: str) -> str:
    if (problem := why_unstorable(said, "this text")) is not None:
        raise ValueError(problem)
    return said


_SHORT = StringConstraints(strip_whitespace=True, max_length=500)
UncheckedLine = Annotated[str, _SHORT]  # may hold what the database cannot store
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
