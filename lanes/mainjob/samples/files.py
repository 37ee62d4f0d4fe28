"""The ready-made workloads and their items, read from the package's own files."""

import json
from importlib.resources import files
from typing import Any

import yaml

WORKLOADS = ("tickets", "archive")


def sample_workloads() -> dict[str, dict[str, Any]]:
    """Every ready-made workload by its name, parsed but not validated."""
    return {name: yaml.safe_load(_read(f"{name}.yaml")) for name in WORKLOADS}


def sample_items(workload: str) -> list[dict[str, Any]]:
    """The items of a ready-made workload, in file order.

    Each has `key`, `payload`, `consumer` and `label` (what a person says is right, by output field).
    Tickets also carry `entity` (the customer), some `urgent` or `due_in_s` (seconds after arrival);
    documents carry `age_days` (days between their date and their arrival, 0 for today's).

    Raises ValueError when there is no ready-made workload of that name.
    """
    if workload not in WORKLOADS:
        known = ", ".join(WORKLOADS)
        raise ValueError(f'there are no sample items for workload "{workload}"; choose one of: {known}')
    return [json.loads(line) for line in _read(f"{workload}.jsonl").splitlines()]


def _read(name: str) -> str:
    return files("lanes.mainjob.samples").joinpath(name).read_text(encoding="utf-8")
