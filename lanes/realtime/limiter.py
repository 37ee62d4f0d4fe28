"""One protocol for every reason to wait, and the reasons in words for people.

The scheduler asks each limiter in order; the first that says `Wait` gives the reason.
A limiter holds the state of one concern. It learns which calls start and end, so it needs no other counter of them.
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

if TYPE_CHECKING:  # `lanes status` names the reasons, and needs no rules or schemas
    from lanes.workload.version import Entitlement, Version


class WaitReason(StrEnum):
    """Why a pack waits; `explanation` names the cause and what ends the wait."""

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
        """The cause in words, and what ends it."""
        return SAID[self]


SAID = {
    WaitReason.FROZEN: "the provider refuses the account or the version; it ends with the first call that is accepted",
    WaitReason.SLOWED: "the provider limited its model; it ends at the time that the provider named",
    WaitReason.CIRCUIT: "its model is in an outage; it ends with the first call that is answered",
    WaitReason.RECOVERING: "its model failed lately and gets one more call for each answer; it ends by itself",
    WaitReason.BUDGET: "its hard budget is used up; it ends when the budget is raised or a new period begins",
    WaitReason.SHADOW: "it is work of a shadow or a replay, and items that are owed an answer go first; it ends by itself",
    WaitReason.PLACES: "every place for calls is taken; it ends when a call ends",
    WaitReason.SHARE: "the free places belong to other workloads; it ends when a call of its own workload ends",
    WaitReason.TURN: "its workload's consumers take turns by their weights while items of several wait; it ends by itself",
    WaitReason.RATE_LIMIT: "the provider's rate limit leaves too little for it; it ends by itself within a minute",
}


@dataclass(frozen=True)
class CallWait:
    """Calls of a workload that wait in a drain for the same reason."""

    workload: str
    reason: WaitReason
    calls: int


@dataclass(frozen=True, eq=False)
class Pack:
    """The items of one call, all of one version. `since` is when it began to wait for a place."""

    version: "Version"
    items: Sequence[ClaimedWork]
    since: datetime

    @property
    def id(self) -> Claim:
        """The claim of its first item names the pack."""
        return self.items[0].claim

    @property
    def workload(self) -> str:
        """The workload of all items."""
        return self.version.workload

    @property
    def model(self) -> str:
        """The model that is asked."""
        return self.version.spec.realtime_model

    @property
    def measures(self) -> bool:
        """Whether it is a shadow or of a replay: no sender waits for its answer."""
        return self.items[0].measures

    @property
    def replays(self) -> bool:
        """Whether it is of a replay."""
        return self.items[0].purpose is Purpose.REPLAY

    @property
    def work(self) -> list[WorkId]:
        """The work of its items."""
        return [each.claim.work_id for each in self.items]

    @cached_property
    def rank(self) -> tuple[bool, datetime]:
        """The key that sorts packs: the most urgent first, shadows last."""
        return self.measures, min(each.rank_at for each in self.items)

    @cached_property
    def characters(self) -> int:
        """The characters of all payloads."""
        return sum(characters(each.payload) for each in self.items)

    def presses(self, now: datetime) -> bool:
        """Return whether the pack may use the reserve: an item is urgent, has a due time, or has waited for a window."""
        return any(
            each.urgent or each.due_at is not None or now - each.rank_at >= WINDOW
            for each in self.items
        )


@dataclass(frozen=True)
class MayStart:
    """The call may start now."""


@dataclass(frozen=True)
class Wait:
    """The call may not start now; `until`: the earliest change that time brings, None when only an event brings one."""

    until: datetime | None
    reason: WaitReason


MAY_START = MayStart()


class Limiter:
    """One reason to wait. By default every pack is admitted, and nothing is learned."""

    def admits(self, pack: Pack, now: datetime) -> MayStart | Wait:
        """Return whether the pack may start now."""
        return MAY_START

    def room(self, version: "Version", now: datetime) -> int | None:
        """Return how many more calls of the version may start soon; None without a bound."""
        return None

    def started(self, pack: Pack, now: datetime) -> None:
        """Count a call that starts."""

    def ended(self, pack: Pack, used: Need | None, now: datetime) -> None:
        """Count a call that has ended; `used`: what it took of the provider's limits, None when that is unknown."""

    def next_change(self, now: datetime) -> datetime | None:
        """Return when time alone next lets more calls start; None when it does not."""
        return None


class BudgetLimit(Limiter):
    """A hard budget. While it is used up, no work of its workload is claimed; claimed work has its money and may start."""

    def __init__(self) -> None:
        self._used_up: dict[str, datetime] = {}

    def mark_used_up(self, workloads: Iterable[str], until: datetime) -> None:
        """Note workloads whose reservations leave too little for any call."""
        self._used_up |= dict.fromkeys(workloads, until)

    def room(self, version: "Version", now: datetime) -> int | None:
        """Return 0 while the budget is used up."""
        return 0 if now < self._used_up.get(version.workload, now) else None


class FairShare(Limiter):
    """Divide the free places among the workloads that wait; the scheduler plans each round from scratch."""

    def __init__(self) -> None:
        self._left: dict[str, int] = {}

    def plan(self, left: dict[str, int]) -> None:
        """Give each workload its places for this round, as `divide` returned them."""
        self._left = left

    def admits(self, pack: Pack, now: datetime) -> MayStart | Wait:
        """Admit a pack whose workload has a place left in this round."""
        return MAY_START if self._left.get(pack.workload, 0) > 0 else Wait(None, WaitReason.SHARE)

    def started(self, pack: Pack, now: datetime) -> None:
        """Take a place of the workload's part."""
        self._left[pack.workload] = self._left.get(pack.workload, 0) - 1


def divide(
    free: int,
    waiting: Mapping[str, "Entitlement"],
    *,
    in_flight: Mapping[str, int],
    places: int,
    rooms: Mapping[str, int],
) -> dict[str, int]:
    """Return how many of the `free` places each workload gets; workloads that get none are left out.

    Each place goes to the workload that holds the least by its weight, `in_flight` included, so slow calls gather no places.
    While another workload waits or is served, none holds more than its largest share of all `places`, but always one; a
    workload that is alone takes everything. `rooms` bounds some workloads further. When the places are divided among owed
    work, `in_flight` leaves shadows out: they hold places but use up no share.
    """
    alone = len(waiting.keys() | {name for name, calls in in_flight.items() if calls}) == 1

    def most(name: str) -> int:
        share = places if alone else max(1, places * waiting[name].max_share_percent // 100)
        return min(share, rooms.get(name, 0) + in_flight.get(name, 0)) if name in rooms else share

    holds = {name: in_flight.get(name, 0) for name in waiting}
    for _ in range(max(0, free)):
        open_to = [name for name in waiting if holds[name] < most(name)]
        if not open_to:
            break
        holds[
            min(
                open_to,
                key=lambda name: (holds[name] / waiting[name].weight, -waiting[name].weight, name),
            )
        ] += 1
    given = {name: held - in_flight.get(name, 0) for name, held in holds.items()}
    return {name: number for name, number in given.items() if number > 0}
