"""Rules that the first route, later changes of lane and the queues share: an item's bound lane, and its urgency.

They are separate from `route` so that reports and queues do not load the rules engine.
"""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from lanes.words import Lane, Reason

if TYPE_CHECKING:
    from lanes.routing.prospect import Chance
    from lanes.workload.version import Version

# usual duration of a real-time call; ranks subtract it from due times
EXPECTED_CALL = timedelta(seconds=2)
LONG_OVERDUE = datetime(1970, 1, 1, tzinfo=UTC)  # earlier due times rank alike

# Reasons of routes that do not bind.
FREE = frozenset(
    {Reason.VALUE, Reason.SPLIT, Reason.BUDGET, Reason.CAPACITY, Reason.FALLBACK, Reason.SHED}
)
MAY_WAIT = "; it may wait for a batch"  # ends the explanation of an item that left real time


class Ranked(Protocol):
    """The properties of an item that its rank depends on."""

    @property
    def received_at(self) -> datetime: ...
    @property
    def due_at(self) -> datetime | None: ...
    @property
    def urgent(self) -> bool: ...


def binds(reason: Reason, lane: Lane) -> Lane | None:
    """Return the lane that a route binds its item to, None where the item is free to change lanes.

    A pin, a rule, urgency and a due time bind; the split, the item's value and the guards do not.
    """
    return None if reason in FREE else lane


def asks_for(reason: Reason, lane: Lane) -> Lane | None:
    """Return the lane that items routed for this reason need, None where either lane would do."""
    return lane if reason is Reason.VALUE else binds(reason, lane)


def may_wait(bound_to: Lane | None, chance: "Chance | None") -> bool:
    """Return whether a batch is soon enough for an item of the real-time lane.

    `bound_to` is the lane that the item's newest route binds it to; `chance` is the chance of a batch that leaves now or later,
    None for an item without a due time.
    """
    return bound_to is not Lane.REALTIME and (chance is None or chance.enough)


def may_wait_for(item: Ranked, version: "Version", now: datetime) -> timedelta:
    """Return how long an item may wait behind others in real time before it is late.

    The call of an item with a due time must start early enough to end in time; any other item may wait as long as its
    workload's patience.
    """
    if item.due_at is not None:
        return item.due_at - now - EXPECTED_CALL
    return timedelta(seconds=version.spec.patience_s)


def is_too_late(due_at: datetime, drain_s: float, call: timedelta, now: datetime) -> bool:
    """Return whether real time would answer too late: after `drain_s` seconds behind other work, and after a call."""
    return now + timedelta(seconds=drain_s) + call > due_at


def rank_at(item: Ranked, version: "Version") -> datetime:
    """Return the latest time at which the item's call should start; a lane serves items in this order.

    The rank is the due time less a call, or without a due time, the workload's patience after the item was received. An urgent
    item ranks no later than its receipt. Older items overtake newer ones, so nothing starves.
    """
    if item.due_at is None:
        return item.received_at + timedelta(seconds=0 if item.urgent else version.spec.patience_s)
    by_due_time = max(item.due_at, LONG_OVERDUE) - EXPECTED_CALL
    return min(by_due_time, item.received_at) if item.urgent else by_due_time
