"""An item with its current answer, as people and programs get it out."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from itertools import groupby
from typing import Any

from lanes.ids import ItemId
from lanes.words import ItemState, Lane, Standing

TOLD = (
    ItemState.ANSWERED,
    ItemState.SETTLED,
    ItemState.FAILED,
)  # the states that one who follows is told of


@dataclass(frozen=True)
class Listed:
    """An item as it stands. What belongs to an answer is None while there is none.

    `lane` is the one that answered, or the one that it waits on. `changed_at`: since when it stands so, that is, when its
    current answer came, was settled or was promoted, or when it failed or was canceled; else when it was received.
    `label` is what the newest label says is right.
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
    """Which items: of a workload, in one of the states (none named: in any), which stand as they do since then."""

    workload: str
    states: Collection[ItemState] = ()
    since: datetime | None = None

    def told(self) -> "ListingQuery":
        """Those that one who follows is told of: of these states, whenever that came to be. `states` is empty where none is."""
        return ListingQuery(
            self.workload, [each for each in TOLD if not self.states or each in self.states]
        )


@dataclass(frozen=True)
class ListingPage:
    """Some items, and from where to look on; None: there are no more."""

    items: list[Listed] = field(default_factory=list)
    onwards: int | None = None


FIELDS = tuple(each.name for each in fields(Listed))
SHOWN = FIELDS[1:]  # what readers see: the item's number is the database's own


@dataclass(frozen=True)
class ResultRequest:
    """Somebody waits for an item's result; `settled`: for an authoritative one."""

    workload: str
    key: str
    reader: str
    settled: bool = False


class NoResult(StrEnum):
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


MOST = 5


@dataclass(frozen=True)
class AnswerExample:
    """An item with its answer, and what that took. Times are seconds since the item was received.

    `first_lane` gave the first answer; `was` holds the fields that a correction changed, as they were before, and
    `fields` names the output's in the order of its schema. `cost_usd` is that of every attempt.
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
        """What it is an example of: workload, whether the batch lane answered first, whether that stood."""
        return self.workload, self.first_lane is Lane.BATCH, not self.was


def choose(candidates: Iterable[AnswerExample], most: int = MOST) -> list[AnswerExample]:
    """At most so many: one of each kind, then a second of each and so on, shown kind by kind."""
    ordered = sorted(candidates, key=lambda each: each.kind)
    turns = [
        (turn, each)
        for _, kind in groupby(ordered, lambda each: each.kind)
        for turn, each in enumerate(kind)
    ]
    first = sorted(turns, key=lambda each: each[0])[:most]
    return sorted((each for _, each in first), key=lambda each: each.kind)
