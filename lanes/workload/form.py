"""How Prefect's interface makes a form of a model: from its JSON schema, which its database keeps without the order of keys."""

from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy
from typing import Any

from pydantic import BaseModel, ConfigDict

NULL = {"type": "null"}
BESIDE = "choices_beside_workloads"  # what a field offers that is a choice among the published workloads, beside these


def arrange(schema: dict[str, Any]) -> None:
    """The fields of a model's schema come in the order in which the model lists them, and one that may be None is an input
    that may stay empty, where the interface would offer a choice of a type and show `Property is type "None"`.

    Prefect takes None for such a field all the same: it is not required and names no default.
    """
    for position, field in enumerate(schema.get("properties", {}).values()):
        field["position"] = position
        kinds = [each for each in field.get("anyOf", ()) if each != NULL]
        if NULL in field.get("anyOf", ()) and len(kinds) == 1:
            del field["anyOf"]
            field.update(kinds[0])
            if field.get("default", ...) is None:
                del field["default"]


class Form(BaseModel):
    """What a person fills in: of each field its title, its description with the bounds, and its place.

    A field of another name is refused: who misspells one that may stay empty would get what nobody asked for.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra=arrange)


def of_workloads(*beside: str) -> dict[str, Any]:
    """Makes a field a choice among the published workloads, and `beside` them these. What it takes stays its type's to say."""
    return {BESIDE: list(beside)}


def offering(schema: Mapping[str, Any], workloads: Collection[str]) -> dict[str, Any]:
    """The schema of a deployment's parameters in which each field that is a choice among workloads offers these, by name.

    Without any, it takes what is typed. Defaults leave out what they do not choose: Prefect refuses None for a choice. A
    parameter of another name is no longer taken: Prefect would make a run that ends before it can say why.
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
    """Of the parameters, and of the models that they hold."""
    for model in (schema, *schema.get("definitions", {}).values()):
        yield from model.get("properties", {}).values()
