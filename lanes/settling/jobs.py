"""Jobs: items that were submitted together, followed as one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from math import sqrt
from statistics import NormalDist
from typing import Any

from lanes.ids import JobId
from lanes.routing.prospect import BatchDeparture


class JobState(StrEnum):
    """The state of a job."""

    SENDING = "sending"  # as a whole, and not all of it has arrived
    OPEN = "open"  # some of its items are still owed something
    DONE = "done"  # every item is settled, failed or canceled


@dataclass(frozen=True)
class JobStatus:
    """A job as it stands; counts are items, as view `job_status` says.

    `failures` holds the most frequent reasons of failures, each with its items. `estimated_usd` is the cost in the end. With
    `probability`, 0 to 1, the job is done by `expected_end_at`. None: not known.
    """

    job_id: JobId
    job: str
    workload: str
    state: JobState
    sent: int | None
    received: int
    waiting: int
    answered: int
    settled: int
    failed: int
    canceled: int
    duplicates: int | None
    refused: int | None
    cost_usd: Decimal
    budget_usd: Decimal | None
    due_at: datetime | None
    created_at: datetime
    closed_at: datetime | None
    done_at: datetime | None
    failures: Mapping[str, int] = field(default_factory=dict)
    estimated_usd: Decimal | None = None
    expected_end_at: datetime | None = None
    probability: float | None = None

    def told(self) -> dict[str, Any]:
        """Return what the event says that tells of its end."""
        names = ("job", "received", "settled", "failed", "canceled")
        return {name: getattr(self, name) for name in names} | {"cost_usd": float(self.cost_usd)}

    @property
    def over(self) -> int:
        """The number of items that are settled, failed or canceled."""
        return self.settled + self.failed + self.canceled

    @property
    def is_done(self) -> bool:
        """Whether nothing of it is owed any more."""
        return self.state is JobState.DONE


@dataclass(frozen=True)
class RealtimeRest:
    """Items that wait for real time at `now`, of which `per_s` are answered in a second."""

    now: datetime
    items: float
    per_s: float

    def back_at(self, probability: float) -> datetime:
        """Return when all are answered with this probability, if answers come independently at this pace."""
        more = NormalDist().inv_cdf(probability) * sqrt(self.items)
        return self.now + timedelta(seconds=max(self.items + more, 0) / self.per_s)


JobPart = BatchDeparture | RealtimeRest


def expected_end(parts: Sequence[JobPart], probability: float) -> datetime | None:
    """Return when all parts are over with this probability, as if each took its own time; None without one."""
    each = probability ** (1 / max(len(parts), 1))
    return max((part.back_at(each) for part in parts), default=None)
