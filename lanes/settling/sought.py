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
    NO_ITEM = "no item"
    NO_WORKLOAD = "no workload"
