"""What became of a batch whose create ended without an answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

SKEW = timedelta(minutes=2)  # between our clock and the provider's


class Finding(StrEnum):
    """What the provider's list proves."""

    ADOPT = "adopt"  # exactly one unowned batch fits
    WAIT = "wait"  # none fits yet, and the grace period is not over
    RELEASE = "release"  # none fits after the grace period: it was never created
    HOLD = "hold"  # several fit: a person decides


@dataclass(frozen=True)
class Listed:
    """A batch the provider lists."""

    id: str
    requests: int
    created_at: datetime


@dataclass(frozen=True)
class Found:
    """The finding, with the batch to adopt."""

    finding: Finding
    batch_id: str | None = None


def since(intended_at: datetime) -> datetime:
    """From when on a batch of this intent can have been created."""
    return intended_at - SKEW


def find(
    requests: int, intended_at: datetime, listed: Sequence[Listed], owned: set[str], *, grace: timedelta, now: datetime
) -> Found:
    """Which listed batch an unresolved intent of `requests` requests became.

    Count and time of creation identify it, because an account has one unresolved create at a time. Within `grace`
    a created batch is listed; so absence afterwards is proof.
    """
    fitting = [
        batch.id
        for batch in listed
        if batch.requests == requests and batch.created_at >= since(intended_at) and batch.id not in owned
    ]
    match fitting:
        case [only]:
            return Found(Finding.ADOPT, only)
        case []:
            return Found(Finding.WAIT if now < intended_at + grace else Finding.RELEASE)
        case _:
            return Found(Finding.HOLD)
