"""Somebody waits for an item's result: what for, and why there is none."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class Sought:
    """Somebody waits for an item's result; `settled`: for an authoritative one."""

    workload: str
    key: str
    reader: str
    settled: bool = False


class Unanswered(StrEnum):
    """Why there is no such result. Of these only NOT_YET passes by itself."""

    NOT_YET = "not yet"
    FAILED = "failed"
    CANCELED = "canceled"
    EMPTIED = "emptied"
    NO_ITEM = "no item"
    NO_WORKLOAD = "no workload"


def emptied(workload: str, key: str) -> str:
    """What is said to somebody who asks for an answer that was emptied."""
    return (
        f'the answer of item "{key}" of workload "{workload}" is no longer kept: keep_payload_days of the workload have passed '
        "since it was received, amended and settled; submit its input under another key to have it answered again"
    )
