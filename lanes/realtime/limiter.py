"""The protocol of all limiters, and the reasons to wait in words for people.

The scheduler calls the limiters in order; the first that returns `Wait` gives the reason. A limiter has the state of one
concern. The scheduler reports the start and end of each call to it, so it needs no other counter.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from lanes.ids import WorkId
from lanes.json_data import characters
from lanes.packing import Claim, ClaimedWork
from lanes.routing.capacity import WINDOW, Need
from lanes.words import Purpose

if TYPE_CHECKING:  # `lanes status` imports the reasons and must not load rules and schemas
    from lanes.workload.version import Entitlement, Version


class WaitReason(StrEnum):
    """The reason why a pack waits; `explanation` gives the cause and the end of the wait."""

    FROZEN = "frozen"
    SLOWED = "slowed"
    CIRCUIT = "circuit"
    RECOVERING = "recovering"
    BUDGET = "budget"
    SHADOW = "shadow"
    PLACES = "places"
    SHARE = "share"
    TURN = "turn"
    RATE_LIMIT = "rate_limit"

    @property
    def explanation(self) -> str:
        """The cause in words, and the event that ends the wait."""
        return SAID[self]


SAID = {
    WaitReason.FROZEN: "the provider refuses the account or the version; it ends with the first call that is accepted",
    WaitReason.SLOWED: "the provider limited its model; it ends at the time that the provider named",
    WaitReason.CIRCUIT: "its model is in an outage; it ends with the first call that is answered",
    WaitReason.RECOVERING: "its model failed lately and gets one more call for each answer; this ends automatically",
    WaitReason.BUDGET: "its hard budget is used up; it ends when the budget is raised or a new period begins",
    WaitReason.SHADOW: "it is work of a shadow or a replay, and items that need an answer go first; this ends automatically",
    WaitReason.PLACES: "every place for calls is taken; it ends when a call ends",
    WaitReason.SHARE: "the free places belong to other workloads; it ends when a call of its own workload ends",
    WaitReason.TURN: "its workload's consumers take turns by weight while items of several wait; this ends automatically",
    WaitReason.RATE_LIMIT: "the provider's rate limit leaves too little for it; this ends automatically within a minute",
}


@dataclass(frozen=True)
class CallWait:
    """The number of calls of a workload that wait in a drain for the same reason."""

    workload: str
    reason: WaitReason
    calls: int


@dataclass(frozen=True, eq=False)
class Pack:
    """The items of one call, all of one version. `since` is the time when the pack began to wait for a place."""

    version: "Version"
    items: Sequence[ClaimedWork]
    since: datetime

    @property
    def id(self) -> Claim:
        """The claim of its first item, which identifies the pack."""
        return self.items[0].claim

    @property
    def workload(self) -> str:
        """The workload of all its items."""
        return self.version.workload

    @property
    def model(self) -> str:
        """The model that its call uses."""
        return self.version.spec.realtime_model

    @property
    def measures(self) -> bool:
        """Whether the pack is shadow or replay work: no sender waits for its answer."""
        return self.items[0].measures

    @property
    def replays(self) -> bool:
        """Whether the pack belongs to a replay."""
        return self.items[0].purpose is Purpose.REPLAY

    @property
    def work(self) -> list[WorkId]:
        """The work ids of its items."""
        return [each.claim.work_id for each in self.items]

    @cached_property
    def rank(self) -> tuple[bool, datetime]:
        """The sort key of packs: the most urgent first, shadows and replays last."""
        return self.measures, min(each.rank_at for each in self.items)

    @cached_property
    def characters(self) -> int:
        """The number of characters of all payloads."""
        return sum(characters(each.payload) for each in self.items)

    def presses(self, now: datetime) -> bool:
        """Return whether the pack may use the reserve: an item is urgent, has a due time, or is a `WINDOW` past its rank."""
        return any(
            each.urgent or each.due_at is not None or now - each.rank_at >= WINDOW
            for each in self.items
        )


@dataclass(frozen=True)
class MayStart:
    """A limiter's decision that the call may start now."""


@dataclass(frozen=True)
class Wait:
    """A limiter's decision that the call must wait; `until`: the next change by time alone, None if only events change it."""

    until: datetime | None
    reason: WaitReason


MAY_START = MayStart()


class Limiter:
    """One reason to wait. By default it admits every pack and records nothing."""

    def admits(self, pack: Pack, now: datetime) -> MayStart | Wait:
        """Return whether the pack may start now."""
        return MAY_START

    def room(self, version: "Version", now: datetime) -> int | None:
        """Return the number of further calls of the version that may start soon; None without a bound."""
        return None

    def started(self, pack: Pack, now: datetime) -> None:
        """Record the start of a call."""

    def ended(self, pack: Pack, used: Need | None, now: datetime) -> None:
        """Record the end of a call; `used`: its use of the provider's rate limits, None if unknown."""

    def next_change(self, now: datetime) -> datetime | None:
        """Return the next time at which more calls may start without any event; None if there is none."""
        return None


class BudgetLimit(Limiter):
    """A hard budget. While it is used up, no work of its workload is claimed; claimed work has its money and may start."""

    def __init__(self) -> None:
        self._used_up: dict[str, datetime] = {}

    def mark_used_up(self, workloads: Iterable[str], until: datetime) -> None:
        """Record workloads whose budgets, after reservations, cannot pay for any call before `until`."""
        self._used_up |= dict.fromkeys(workloads, until)

    def room(self, version: "Version", now: datetime) -> int | None:
        """Return 0 while the budget is used up."""
        return 0 if now < self._used_up.get(version.workload, now) else None


class FairShare(Limiter):
    """The division of the free places among the waiting workloads; the scheduler plans each round from scratch."""

    def __init__(self) -> None:
        self._left: dict[str, int] = {}

    def plan(self, left: dict[str, int]) -> None:
        """Set each workload's places for this round, as returned by `divide`."""
        self._left = left

    def admits(self, pack: Pack, now: datetime) -> MayStart | Wait:
        """Admit a pack whose workload has a place left in this round."""
        return MAY_START if self._left.get(pack.workload, 0) > 0 else Wait(None, WaitReason.SHARE)

    def started(self, pack: Pack, now: datetime) -> None:
        """Use one of the workload's places."""
        self._left[pack.workload] = self._left.get(pack.workload, 0) - 1


def divide(
    free: int,
    waiting: Mapping[str, "Entitlement"],
    *,
    in_flight: Mapping[str, int],
    places: int,
    rooms: Mapping[str, int],
) -> dict[str, int]:
    """Return the number of `free` places for each workload; workloads without a place are left out.

    Each place goes to the workload with the fewest places for its weight. Calls `in_flight` count, so that slow calls do not
    accumulate places. While several workloads wait or are served, none gets more than its maximum share of all `places`, but
    always at least one; a workload that is alone gets all. `rooms` bounds some workloads further. When the places are divided
    among owed work, `in_flight` excludes shadows: they occupy places but use up no share.
    """
    alone = len(waiting.keys() | {name for name, calls in in_flight.items() if calls}) == 1

    def most(name: str) -> int:
        share = places if alone else max(1, places * waiting[name].max_share_percent // 100)
        return min(share, rooms.get(name, 0) + in_flight.get(name, 0)) if name in rooms else share

    totals = {name: in_flight.get(name, 0) for name in waiting}
    for _ in range(max(0, free)):
        open_to = [name for name in waiting if totals[name] < most(name)]
        if not open_to:
            break
        totals[
            min(
                open_to,
                key=lambda name: (totals[name] / waiting[name].weight, -waiting[name].weight, name),
            )
        ] += 1
    given = {name: held - in_flight.get(name, 0) for name, held in totals.items()}
    return {name: number for name, number in given.items() if number > 0}
