"""The simulated days, look by look; a contender decides at the door, when a batch leaves, and which items are rescued."""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy

from lanes.routing.second_look import LOOKS_EVERY
from lanes.workload.version import Version
from tests.benchmarks.deadlines.realtime import RankedLane
from tests.benchmarks.deadlines.world import BEGIN, DAY, HOUR, MINUTE, Seconds, SeededDays, moment

# Seconds between two looks, also of the door: the next look routes an item.
LOOK_S = LOOKS_EVERY.total_seconds()
STARTS_S = MINUTE  # a requested run begins with the next minute
NEVER = float("inf")


@dataclass(eq=False, slots=True)
class SimulatedBatch:
    """A batch: when it left, which identifies it, when it is back, its items, and how many of them have no answer yet."""

    left_at: float
    back_at: float
    members: Sequence[int]
    wanted: int


@dataclass
class DayState:
    """The state for a decision: the waiting items, the items in open batches, all batches that left, and the real-time lane."""

    world: SeededDays
    lane: RankedLane
    waiting: dict[int, float] = field(default_factory=dict[int, float])
    out: dict[int, SimulatedBatch] = field(default_factory=dict[int, SimulatedBatch])
    left: list[SimulatedBatch] = field(default_factory=list[SimulatedBatch])

    def due(self, item: int) -> float:
        """Return when an item is due; infinite where it has no due time."""
        return float(self.world.due[item])


class Contender(Protocol):
    """A contender, which makes the decisions. All contenders are asked in the same order, in the same world."""

    def takes_realtime(self, stand: DayState, item: int, now: float) -> bool:
        """Return whether an item that arrived is answered in real time."""
        ...

    def presses(self, stand: DayState, now: float) -> bool:
        """Return whether the waiting items leave before the schedule says."""
        ...

    def rescued(self, stand: DayState, now: float) -> Iterable[int]:
        """Return the items, waiting for a batch or in an open one, to send in real time now."""
        ...


@dataclass(frozen=True)
class DayResult:
    """The results of the items: first answer, return of the batch (infinite: none), and the number of paid calls and batches.

    `rescued` counts the rescues, `batches` the batches.
    """

    answered: Seconds
    back: Seconds
    calls: Seconds
    passes: Seconds
    rescued: int = 0
    batches: int = 0


def live(world: SeededDays, version: Version, by: Contender, *, alone: bool = False) -> DayResult:
    """Run the days until every item that arrived is answered.

    A batch is canceled, and not paid, once none of its items is needed; with each item `alone` in a batch, as soon as it is
    rescued.
    """
    return _Days(world, version, by, alone=alone).passed()


class _Days:
    def __init__(self, world: SeededDays, version: Version, by: Contender, *, alone: bool) -> None:
        self._world, self._by, self._alone = world, by, alone
        self._stand = DayState(world, RankedLane(world))
        number = len(world.arrives)
        self._back, self._answered = numpy.full(number, NEVER), numpy.full(number, NEVER)
        self._calls, self._passes = numpy.zeros(number), numpy.zeros(number)
        self._returns: list[tuple[float, int, SimulatedBatch]] = []
        self._departs = departures(version, world)
        self._arrived = self._rescued = 0

    def passed(self) -> DayResult:
        """Run until everything is answered, and return the result."""
        stand, now = self._stand, 0.0
        while (
            self._arrived < len(self._world.arrives)
            or stand.waiting
            or self._returns
            or stand.lane.waiting
        ):
            before, now = now, now + LOOK_S
            if stand.lane.waiting:
                stand.lane.work(before, now)
            if self._returns and self._returns[0][0] <= now:
                self._come_back(now)
            self._arrive(now)
            self._rescue(now)
            if now % MINUTE == 0 and stand.waiting:
                self._leave(now)
        for item, at in stand.lane.answered_at.items():
            self._answered[item] = min(self._answered[item], at)
        return DayResult(
            self._answered, self._back, self._calls, self._passes, self._rescued, len(stand.left)
        )

    def _arrive(self, now: float) -> None:
        arrives = self._world.arrives
        while self._arrived < len(arrives) and arrives[self._arrived] <= now:
            item = self._arrived
            self._arrived += 1
            if self._by.takes_realtime(self._stand, item, now):
                self._ask(item)
            else:
                self._stand.waiting[item] = self._stand.due(item)

    def _ask(self, item: int) -> None:
        self._calls[item] += 1
        self._stand.lane.add(item, self._stand.due(item))

    def _rescue(self, now: float) -> None:
        stand = self._stand
        for item in [*self._by.rescued(stand, now)]:
            self._rescued += 1
            self._ask(item)
            if stand.waiting.pop(item, None) is None:
                batch = stand.out.pop(item)
                batch.wanted -= 1
                if self._alone or not batch.wanted:
                    self._passes[[item] if self._alone else list(batch.members)] -= 1

    def _leave(self, now: float) -> None:
        stand = self._stand
        if now not in self._departs and not self._by.presses(stand, now):
            return
        leaves = now + STARTS_S
        members = list(stand.waiting)
        batch = SimulatedBatch(leaves, self._world.back_at(leaves), members, len(members))
        stand.waiting.clear()
        stand.left.append(batch)
        stand.out.update(dict.fromkeys(members, batch))
        self._passes[members] += 1
        self._back[members] = batch.back_at
        heapq.heappush(self._returns, (batch.back_at, len(stand.left), batch))

    def _come_back(self, now: float) -> None:
        while self._returns and self._returns[0][0] <= now:
            at, _, batch = heapq.heappop(self._returns)
            for item in batch.members:
                self._stand.out.pop(item, None)
            if batch.wanted:
                self._answered[list(batch.members)] = at


def departures(version: Version, world: SeededDays) -> frozenset[float]:
    """Return when the schedule fires, until two days after the last arrival."""
    window, fires, at = version.spec.window, set[float](), moment(-HOUR)
    while at < moment((world.days + 2) * DAY):
        at = window.next_departure(at)
        fires.add((at - BEGIN).total_seconds())
    return frozenset(fires)
