"""The ready-made workloads and their items, read from the package's own files."""

import json
from importlib.resources import files
from typing import Any

import yaml

WORKLOADS = ("tickets", "archive", "moderation")


def sample_workloads() -> dict[str, dict[str, Any]]:
    """Return every ready-made workload by its name, parsed but not validated."""
    return {name: yaml.safe_load(_read(f"{name}.yaml")) for name in WORKLOADS}


def sample_items(workload: str) -> list[dict[str, Any]]:
    """Return the items of a ready-made workload, in file order.

    Each has `key`, `payload`, `consumer` and `label` (the right values according to a person, by output field).
    Tickets also have `entity` (the customer), and some have `urgent` or `due_in_s` (seconds after arrival);
    documents have `age_days` (days between their date and their arrival, 0 for today's).

    Raises:
        ValueError: there is no ready-made workload of that name.
    """
    if workload not in WORKLOADS:
        known = ", ".join(WORKLOADS)
        raise ValueError(
            f'there are no sample items for workload "{workload}"; choose one of: {known}'
        )
    return _lines(f"{workload}.jsonl")


def sample_amendments() -> dict[str, list[dict[str, Any]]]:
    """Return the late data of customers by workload: `key`, the whole new `payload` and its `label`."""
    return {"tickets": _lines("tickets.amended.jsonl")}


def sample_appeals() -> dict[str, list[dict[str, Any]]]:
    """Return, by workload, the items that arrive minutes before the others and whose batch is late."""
    return {"moderation": _lines("moderation.appeals.jsonl")}


def _lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _read(name).splitlines()]


def _read(name: str) -> str:
    return files("lanes.mainjob.samples").joinpath(name).read_text(encoding="utf-8")
