"""The forms of the deployments, as Prefect computes them from the flows, and what they offer."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from prefect.utilities.callables import parameter_schema

from lanes.workload.form import BESIDE


def schema_of(deployment: str) -> dict[str, Any]:
    """The schema of its parameters, as Prefect computes and stores it."""
    flow = getattr(import_module(f"flows.{deployment}"), deployment)
    return parameter_schema(flow).model_dump()


def fields(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every field of the form, those of nested models too."""
    for model in (schema, *schema.get("definitions", {}).values()):
        yield from model.get("properties", {}).items()


def offered(schema: Mapping[str, Any]) -> list[str] | None:
    """The workloads that the form offers, and what beside them; None where it takes what is typed.

    Raises:
        ValueError: it does not ask for a workload.
    """
    (choice,) = [field for _, field in fields(schema) if BESIDE in field]
    return choice.get("enum")
