"""Lanes in the simulated days: the product makes the decisions, from the measurements that it would have."""

import heapq
from collections.abc import Iterable
from datetime import timedelta

from lanes.ids import BatchId, WorkId
from lanes.money.estimates import Estimates
from lanes.realtime.pace import items_per_s
from lanes.routing.lane_rules import EXPECTED_CALL
from lanes.routing.load import Load, RankedQueue
from lanes.routing.prospect import Prospects
from lanes.routing.route import ArrivedItem, decide
from lanes.routing.second_look import DepartedBatch, LateItem, compute_horizon, rescue, weigh
from lanes.routing.split import Splits
from lanes.routing.turnaround import ObservedBatches, Turnarounds
from lanes.store.routing.turnarounds import MOST
from lanes.words import Lane
from lanes.workload.version import Version
from tests.benchmarks.deadlines.days import NEVER, DayState, SimulatedBatch
from tests.benchmarks.deadlines.world import HOUR, MINUTE, moment

# Seconds between two readings of how long batches took; the product reads every minute.
LEARNS_S = 15 * MINUTE
LOOKED_AT = 50  # items, in due order, of one look
OF_LATE_S = HOUR  # calls since then are timed
NEARLY_ALL = 0.95


class Ours:
    """A policy that sends undecided items to batch. `stated` holds the on-time probability of each weighed item sent there."""

    def __init__(self, version: Version) -> None:
        self._version = version
        self._splits = Splits([])
        self._turnarounds = Turnarounds({}, moment(0))
        self._prospects = Prospects(self._turnarounds, moment(0))
        self._learned_at = self._prospects_at = 0.0
        self._estimates = Estimates(moment(0))
        self._sees_s, self._sees_at = 0.0, -NEVER  # how far a look sees, as of the last minute
        self._due: list[tuple[float, int]] = []  # a heap of the items sent to batch
        self.stated: dict[int, float] = {}
        # The seconds within which the return of each batch was stated with 95 %.
        self._said_back: dict[float, float] = {}

    def takes_realtime(self, stand: DayState, item: int, now: float) -> bool:
        """Return whether the product's route is real time."""
        due, arrives = stand.due(item), moment(float(stand.world.arrives[item]))
        of = ArrivedItem(
            self._version.workload,
            str(item),
            {},
            received_at=arrives,
            occurred_at=arrives,
            due_at=None if due == NEVER else moment(due),
            length=400,
        )
        route = decide(
            of,
            self._version,
            self._splits,
            now=moment(now),
            estimates=self._estimates,
            prospects=self._seen_at(stand, now),
        )
        if route.lane is Lane.REALTIME:
            return True
        if route.probability is not None:
            self.stated[item] = route.probability
            heapq.heappush(self._due, (due, item))
        return False

    def presses(self, stand: DayState, now: float) -> bool:
        """Return whether the product would request an early departure."""
        until = self._seen_at(stand, now).of(self._version).presses_until
        return any(
            now < due and moment(due) < until for due in stand.waiting.values() if due < NEVER
        )

    def rescued(self, stand: DayState, now: float) -> Iterable[int]:
        """Return the items that the second look rescues: it checks the items due first, and only if one can be urgent."""
        while self._due and (self._due[0][0] <= now or not _is_open(stand, self._due[0][1])):
            heapq.heappop(self._due)
        if not self._due or (
            now - self._sees_at < MINUTE and self._due[0][0] >= now + self._sees_s + MINUTE
        ):
            return ()
        load = _load(stand, self._version, now)
        until = (
            compute_horizon(load, [self._version], {self._version.workload: LOOKED_AT}) - moment(0)
        ).total_seconds()
        self._sees_s, self._sees_at = until - now, now
        if self._due[0][0] >= until:
            return ()
        late = [
            self._late(stand, item, due)
            for due, item in heapq.nsmallest(LOOKED_AT, self._due)
            if due < until and _is_open(stand, item)
        ]
        doubtful = weigh(late, self._seen_at(stand, now), now=moment(now))
        return [int(each.of.work_id) for each in rescue(doubtful, load, now=moment(now)).taken]

    def _late(self, stand: DayState, item: int, due: float) -> LateItem:
        batch = stand.out.get(item)
        out = (
            None
            if batch is None
            else DepartedBatch(
                BatchId(int(batch.left_at)), moment(batch.left_at), len(batch.members)
            )
        )
        return LateItem(WorkId(item), self._version, moment(due), out)

    def _seen_at(self, stand: DayState, now: float) -> Prospects:
        if stand.left and stand.left[-1].left_at not in self._said_back:
            said = self._prospects.of(self._version).stated_back_at - moment(self._prospects_at)
            self._said_back[stand.left[-1].left_at] = said.total_seconds()
        if now - self._learned_at >= LEARNS_S:
            newest = [self._seen(each, now) for each in stand.left[-MOST:] if each.left_at <= now]
            self._turnarounds = Turnarounds(
                {self._version.spec.batch_model: ObservedBatches.of(newest)}, moment(now)
            )
            self._learned_at, self._prospects_at = now, -1.0
        if now != self._prospects_at:
            self._prospects, self._prospects_at = Prospects(self._turnarounds, moment(now)), now
        return self._prospects

    def _seen(self, batch: SimulatedBatch, now: float) -> tuple[float, ...]:
        took, items = min(batch.back_at, now) - batch.left_at, len(batch.members)
        return (
            now - batch.left_at,
            took,
            batch.back_at <= now,
            items,
            items,
            self._said_back[batch.left_at],
        )


def _is_open(stand: DayState, item: int) -> bool:
    return item in stand.out or item in stand.waiting


def _load(stand: DayState, version: Version, now: float) -> Load:
    """Return the load as the product reads it, from the queue and from the calls of the last hour."""
    took = sorted(took for at, took in stand.lane.asked if now - OF_LATE_S <= at <= now)
    mean_s = sum(took) / len(took) if took else EXPECTED_CALL.total_seconds()
    nearly_all = (
        timedelta(seconds=took[int(NEARLY_ALL * (len(took) - 1))]) if took else EXPECTED_CALL
    )
    model = version.spec.realtime_model
    queues = [
        RankedQueue(version.workload, model, moment(due) - EXPECTED_CALL, 1)
        for due, _ in stand.lane.waiting
    ]
    per_s = items_per_s(mean_s, items_a_call=1, most_calls=1, told=False)
    return Load(moment(now), per_s, calls={model: max(EXPECTED_CALL, nearly_all)}, queues=queues)
