"""The parameter forms of the deployments, as Prefect computes them from the flows, and the workloads they offer."""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from prefect import Flow
from prefect.utilities.callables import parameter_schema

from lanes.workload.form import BESIDE


@cache
def entrypoints() -> dict[str, str]:
    """Return the entrypoint of each deployment of prefect.yaml."""
    declared = yaml.safe_load((Path(__file__).parents[2] / "prefect.yaml").read_text())
    return {each["name"]: each["entrypoint"] for each in declared["deployments"]}


def flow_of(deployment: str) -> Flow[..., Any]:
    """Return the flow of a deployment."""
    module, _, name = entrypoints()[deployment].rpartition(".")
    return getattr(import_module(module), name)


def schema_of(deployment: str) -> dict[str, Any]:
    """Return the schema of a deployment's parameters, as Prefect computes and stores it."""
    return parameter_schema(flow_of(deployment)).model_dump()


def fields(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every field of the form, including those of nested models."""
    for model in (schema, *schema.get("definitions", {}).values()):
        yield from model.get("properties", {}).items()


def offered(schema: Mapping[str, Any]) -> list[str] | None:
    """Return the workloads and the other choices that the form offers; None if it accepts free text.

    Raises:
        ValueError: The form does not ask for a workload.
    """
    (choice,) = [field for _, field in fields(schema) if BESIDE in field]
    return choice.get("enum")
