"""An item with its current answer, as people and programs get it out."""

from collections.abc import Collection
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from typing import Any

from lanes.ids import ItemId
from lanes.words import ItemState

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
class Wanted:
    """Which items: of a workload, in one of the states (none named: in any), which stand as they do since then."""

    workload: str
    states: Collection[ItemState] = ()
    since: datetime | None = None

    def told(self) -> "Wanted":
        """Those that one who follows is told of: of these states, whenever that came to be. `states` is empty where none is."""
        return Wanted(
            self.workload, [each for each in TOLD if not self.states or each in self.states]
        )


@dataclass(frozen=True)
class Page:
    """Some items, and from where to look on; None: there are no more."""

    items: list[Listed] = field(default_factory=list)
    onwards: int | None = None


FIELDS = tuple(each.name for each in fields(Listed))
SHOWN = FIELDS[1:]  # what readers see: the item's number is the database's own
