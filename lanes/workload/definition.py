"""A definition as its author wrote it, examined: the spec that it makes, or everything that keeps it from being published."""

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from lanes.errors import SpecInvalid
from lanes.json_data import why_unstorable
from lanes.workload.output_schema import SchemaFault
from lanes.workload.rules import RuleSyntaxError
from lanes.workload.version import NAME, Spec


@dataclass(frozen=True)
class Problem:
    """What is wrong with a field of a definition. `kind` is pydantic's word for it, `cause` what its check raised."""

    path: tuple[str | int, ...]
    said: str
    kind: str = ""
    cause: Exception | None = None

    @property
    def field(self) -> str:
        """The field's name, as an author looks for it."""
        return ".".join(map(str, self.path)) or "definition"

    @property
    def place(self) -> tuple[str | int, ...]:
        """What leads to the fault: the field, and on to the part of the output schema."""
        return (*self.path, *self.cause.path) if isinstance(self.cause, SchemaFault) else self.path

    def __str__(self) -> str:
        """The field, where in it, and why."""
        if isinstance(self.cause, RuleSyntaxError | SchemaFault):
            return self.cause.of_field(self.field)
        if self.path == ("output_schema",) and self.kind == "missing":
            hint = "Prefect's editor saves no JSON that it cannot read: look for a comma or a quote"
            return f"{self.field}: it is missing. {hint}"
        return f"{self.field}: {self.said}"


def parse(name: str, data: dict[str, Any]) -> Spec:
    """The spec of a workload's edited data.

    Raises:
        SpecInvalid: naming each field at fault and why.
    """
    spec, problems = examine(name, data)
    if spec is None or problems:
        raise SpecInvalid(name, list(map(str, problems)))
    return spec


def examine(name: str, data: dict[str, Any]) -> tuple[Spec | None, list[Problem]]:
    """The spec of a workload's edited data, None where it cannot be read; and everything that keeps it from being published."""
    said = f'"{name}" may hold a-z, 0-9 and "-", and starts with a letter'
    problems = [] if NAME.fullmatch(name) else [Problem(("name",), said)]
    try:
        spec = Spec.model_validate(data)
    except ValidationError as error:
        return None, problems + problems_of(error)
    for field, value in spec.model_dump().items():
        problem = why_unstorable(value, "it")
        if problem is not None:
            problems.append(Problem((field,), problem))
    unknown = [f for f in spec.compare_fields if f not in spec.output_schema["properties"]]
    if unknown:
        problems.append(
            Problem(("compare_fields",), f"{', '.join(unknown)} is no property of output_schema")
        )
    return spec, problems


def problems_of(error: ValidationError) -> list[Problem]:
    """Each field at fault, and why."""
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
    """Each field at fault, where in it, and why."""
    return list(map(str, problems_of(error)))
