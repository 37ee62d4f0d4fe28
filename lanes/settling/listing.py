"""Items with their current answers, and jobs, as readers and programs receive them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from itertools import groupby
from math import sqrt
from statistics import NormalDist
from typing import Any

from lanes.ids import ItemId, JobId
from lanes.routing.prospect import BatchDeparture
from lanes.words import ItemState, Lane, Standing

# the states that followers receive
TOLD = (ItemState.ANSWERED, ItemState.SETTLED, ItemState.FAILED)


@dataclass(frozen=True)
class Listed:
    """An item with its current answer, whose fields are None while there is no answer.

    `lane` is the lane that answered, or on which the item waits. `changed_at` is when the current answer was created, settled
    or promoted, or when the item failed or was canceled; else when it was received. `label` is the right answer of the newest
    label.
    """

    item_id: ItemId
    key: str
    state: ItemState
    lane: str | None
    standing: str | None
    generation: int | None
    version: int | None
    revision: int | None
    output: dict[str, Any] | None
    received_at: datetime
    answered_at: datetime | None
    settled_at: datetime | None
    changed_at: datetime
    attempts: int
    cost_usd: Decimal
    failure: str | None
    consumer: str | None
    entity: str | None
    label: dict[str, Any] | None = None


@dataclass(frozen=True)
class ListingQuery:
    """A selection of a workload's items: those in one of `states` (empty: any) that have changed since `since`.

    With a `job_id`, only the items of that job.
    """

    workload: str
    states: Collection[ItemState] = ()
    since: datetime | None = None
    job_id: JobId | None = None

    def narrow_for_follower(self) -> "ListingQuery":
        """Return the selection of items that a follower receives; its states are empty if a follower would receive none."""
        states = [each for each in TOLD if not self.states or each in self.states]
        return ListingQuery(self.workload, states, job_id=self.job_id)


@dataclass(frozen=True, order=True)
class ListingPlace:
    """A position in the order of receipt: that of the last item already listed."""

    received_at: datetime
    item_id: ItemId

    def build_parameters(self) -> dict[str, object]:
        """Return the parameters of a query for the items beyond this place."""
        return {"at": self.received_at, "id": self.item_id}


BEGIN = ListingPlace(datetime.min.replace(tzinfo=UTC), ItemId(0))
END = ListingPlace(datetime.max.replace(tzinfo=UTC), ItemId(2**63 - 1))


@dataclass(frozen=True)
class ListingPage:
    """A page of items, and the place after which the next page starts; None for the last page."""

    items: list[Listed] = field(default_factory=list)
    onwards: ListingPlace | None = None


FIELDS = tuple(each.name for each in fields(Listed))
SHOWN = FIELDS[1:]  # the columns that readers see: the item's number is internal to the database


@dataclass(frozen=True)
class ResultRequest:
    """A reader's request for an item's result; `settled` requires an authoritative one."""

    workload: str
    key: str
    reader: str
    settled: bool = False


class NoResult(StrEnum):
    """The reason why there is no result. Only NOT_YET resolves by itself."""

    NOT_YET = "not yet"
    FAILED = "failed"
    CANCELED = "canceled"
    EMPTIED = "emptied"
    NO_ITEM = "no item"
    NO_WORKLOAD = "no workload"


def explain_emptied(workload: str, key: str) -> str:
    """Explain that the answer is no longer stored."""
    return (
        f'the answer of item "{key}" of workload "{workload}" is no longer kept: keep_payload_days of the workload have passed '
        "since it was received, amended and settled; submit its input under another key to have it answered again"
    )


def explain_archived(workload: str, key: str) -> str:
    """Explain that an archived item can no longer be changed."""
    return (
        f'item "{key}" of workload "{workload}" is archived (archive_after_days of the workload), and changes no more: submit '
        "its input under another key"
    )


MOST = 5


@dataclass(frozen=True)
class AnswerExample:
    """An item with its answer, duration and cost; times are seconds since the item was received.

    `first_lane` gave the first answer. `was` has the earlier values of the fields that a correction changed; `fields` has the
    output's fields in the order of its schema. `cost_usd` sums all attempts.
    """

    workload: str
    key: str
    payload: dict[str, Any]
    output: dict[str, Any]
    fields: Sequence[str]
    standing: Standing
    first_lane: Lane
    first_s: float
    lane: Lane
    current_s: float
    was: dict[str, Any]
    cost_usd: Decimal

    @property
    def kind(self) -> tuple[str, bool, bool]:
        """Return the workload, whether the batch lane answered first, and whether the first answer was not corrected."""
        return self.workload, self.first_lane is Lane.BATCH, not self.was


def choose(candidates: Iterable[AnswerExample], most: int = MOST) -> list[AnswerExample]:
    """Choose at most `most` examples: one of each kind, then a second of each and so on, sorted by kind."""
    ordered = sorted(candidates, key=lambda each: each.kind)
    turns = [
        (turn, each)
        for _, kind in groupby(ordered, lambda each: each.kind)
        for turn, each in enumerate(kind)
    ]
    first = sorted(turns, key=lambda each: each[0])[:most]
    return sorted((each for _, each in first), key=lambda each: each.kind)


class JobState(StrEnum):
    """The state of a job."""

    SENDING = "sending"  # sent as a whole, but not all of it has arrived
    OPEN = "open"  # some of its items are still owed an answer
    DONE = "done"  # every item is settled, failed or canceled


@dataclass(frozen=True)
class JobStatus:
    """The status of a job; counts are items, as in view `job_status`.

    `failures` maps the most frequent failure reasons to their number of items. `estimated_usd` is the final cost. With
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

    def build_payload(self) -> dict[str, Any]:
        """Return the payload of the event that reports the end of the job."""
        names = ("job", "received", "settled", "failed", "canceled")
        return {name: getattr(self, name) for name in names} | {"cost_usd": float(self.cost_usd)}

    @property
    def over(self) -> int:
        """Return the number of items that are settled, failed or canceled."""
        return self.settled + self.failed + self.canceled

    @property
    def is_done(self) -> bool:
        """Return whether no answer of the job is outstanding."""
        return self.state is JobState.DONE


@dataclass(frozen=True)
class RealtimeRest:
    """Items that wait for real time at `now`; real time answers `per_s` of them a second."""

    now: datetime
    items: float
    per_s: float

    def back_at(self, probability: float) -> datetime:
        """Return when all items are answered with this probability, if answers come independently at this rate."""
        more = NormalDist().inv_cdf(probability) * sqrt(self.items)
        return self.now + timedelta(seconds=max(self.items + more, 0) / self.per_s)


JobPart = BatchDeparture | RealtimeRest


def estimate_end(parts: Sequence[JobPart], probability: float) -> datetime | None:
    """Return when all parts have ended with this probability, if their durations are independent; None without parts."""
    each = probability ** (1 / max(len(parts), 1))
    return max((part.back_at(each) for part in parts), default=None)
