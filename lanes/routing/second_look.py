"""The second look at due items of the batch lane: real time takes over some of them now, and others are at risk.

    weigh   compute the probability that each batch is back by its items' due times, given how long it has been out
    rescue  of the items below their confidence, in due order, take those that must start now and can still be in time

Waiting costs nothing until the latest start, because a batch may still come back. The latest start is the due time, less the
time that real time needs for the work before the item, less a call, less a margin. Before a look leaves an item waiting, it
counts the later items as well: a thousand items with one due time must start long before a single item would. All workloads
share the call places; each model has its own limits.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from lanes.ids import BatchId, VersionId, WorkId
from lanes.money.estimates import Estimate
from lanes.routing.lane_rules import is_too_late
from lanes.routing.load import AddedItems, Load, UnservedReason
from lanes.routing.prospect import BatchDeparture, Prospects, percent
from lanes.routing.route import Route
from lanes.units import seconds
from lanes.words import Lane, Reason
from lanes.workload.version import Version

LOOKS_EVERY = timedelta(seconds=5)
COMMITS = timedelta(seconds=1)  # until rescued work can be claimed
SLACK = timedelta(seconds=14)  # an attempt may fail, and a micro-batch gathers for some seconds
MARGIN = LOOKS_EVERY + COMMITS + SLACK
UNSURE = 1.25  # factor on the time that real time needs for the work ahead, because the rate is an estimate
# items bound to batch are reported as at risk this early, because only people can help
BOUND_AHEAD = timedelta(hours=12)
# a look gives real time this much work; the rest may wait for its batch until the next look
AHEAD = 3 * LOOKS_EVERY


@dataclass(frozen=True, slots=True)
class DepartedBatch:
    """A batch in flight, with its number of requests."""

    id: BatchId
    left_at: datetime
    requests: int

    @property
    def name(self) -> str:
        """Return the display name."""
        return f"batch {self.id}"


@dataclass(frozen=True, slots=True)
class LateItem:
    """A due item of the batch lane: its owed work, and its batch, None before the batch departs.

    One entry may stand for `items` items: an item bound to batch stands for all items of its batch with the same due time, and
    an item past the end of a look stands for the items after it. The look counts these now, and a later look evaluates them.
    """

    work_id: WorkId
    version: Version
    due_at: datetime
    batch: DepartedBatch | None = None
    binds: Lane | None = None
    items: int = 1
    consumer: str | None = None


@dataclass(frozen=True, slots=True)
class DoubtfulItem:
    """An item whose batch is less likely to be back by its due time than its version's confidence requires.

    `held` is the reason why real time, which would have to start now, does not answer the item; None if no reason is known.
    """

    of: LateItem
    probability: float
    explanation: str
    held: UnservedReason | None = None

    @property
    def model(self) -> str:
        """Return the model that would answer the item in real time."""
        return self.of.version.spec.realtime_model

    def route(self, costs: Estimate) -> Route:
        """Return the route by which real time takes over the item."""
        return Route(
            Lane.REALTIME,
            Reason.RESCUE,
            self.explanation,
            costs.realtime,
            costs.batch,
            self.probability,
        )


@dataclass(frozen=True, slots=True)
class LookResult:
    """The result of a look, in due order: items that real time takes over now, and items at risk.

    Items at risk are unlikely to be back in time, and real time may not take them, does not answer them, or is also too slow.
    """

    taken: Sequence[DoubtfulItem] = ()
    at_risk: Sequence[DoubtfulItem] = ()


def weigh(due: Iterable[LateItem], prospects: Prospects, *, now: datetime) -> list[DoubtfulItem]:
    """Return the items whose batch is too unlikely to be back in time; items that are already overdue are left out."""
    weighing = _Weighing(prospects, now)
    asked = ((each, weighing.of(each)) for each in due if each.due_at > now)
    return [DoubtfulItem(each, *doubt) for each, doubt in asked if doubt is not None]


class _Weighing:
    """The chances of one look's batches, each computed once for all items of a version with the same due time."""

    def __init__(self, prospects: Prospects, now: datetime) -> None:
        self._prospects, self._now = prospects, now
        self._underway: dict[BatchId, BatchDeparture] = {}
        self._known: dict[tuple[BatchId | None, VersionId, datetime], tuple[float, str] | None] = {}

    def of(self, late: LateItem) -> tuple[float, str] | None:
        """Return the probability and its explanation, None if the probability is high enough."""
        alike = None if late.batch is None else late.batch.id, late.version.id, late.due_at
        if alike not in self._known:
            self._known[alike] = (
                self._weigh_next(late)
                if late.batch is None
                else self._weigh_departed(late, late.batch)
            )
        return self._known[alike]

    def _weigh_next(self, late: LateItem) -> tuple[float, str] | None:
        chance = self._prospects.of(late.version).chance(late.due_at)
        return None if chance.enough else (chance.probability, chance.explanation)

    def _weigh_departed(self, late: LateItem, batch: DepartedBatch) -> tuple[float, str] | None:
        law = self._underway.get(batch.id)
        if law is None:
            law = self._prospects.underway(
                late.version, left_at=batch.left_at, requests=batch.requests
            )
            self._underway[batch.id] = law
        probability, confidence = law.back_by(late.due_at), late.version.spec.confidence
        if probability >= confidence:
            return None
        due = late.due_at.isoformat(timespec="seconds")
        out = seconds((self._now - batch.left_at).total_seconds())
        return probability, (
            f"{percent(probability)} chance that {batch.name}, out for {out}, is back by {due}, {law.told}; "
            f"{percent(confidence)} is required"
        )


def rescue(doubtful: Iterable[DoubtfulItem], load: Load, *, now: datetime) -> LookResult:
    """Choose the items that real time takes over now, and the items at risk; the rest wait for their batch until a later look.

    An item that must start now and that real time does not answer is at risk; it takes no place of other items. If nothing
    waits for a model that does not answer, one item is taken nevertheless: it probes the model, so that later items can be
    taken once the model answers.
    """
    served: list[DoubtfulItem] = []
    unserved: dict[tuple[str, UnservedReason], list[DoubtfulItem]] = {}
    at_risk: list[DoubtfulItem] = []
    for item in sorted(doubtful, key=_due_order):
        if item.of.binds is Lane.BATCH:
            at_risk.append(item)
        elif (
            reason := load.find_unserved_reason(
                item.of.version.workload, item.of.consumer, item.model
            )
        ) is None:
            served.append(item)
        else:
            unserved.setdefault((item.model, reason), []).append(item)
    results = [_choose(served, load, now)]
    for (model, reason), candidates in unserved.items():
        probes = reason.outage and not load.waiting(model)
        results.append(_hold_back(_choose(candidates, load, now), reason, probes=probes))
    taken = [item for looked in results for item in looked.taken]
    at_risk += [item for looked in results for item in looked.at_risk]
    return LookResult(sorted(taken, key=_due_order), sorted(at_risk, key=_due_order))


def compute_horizon(load: Load, versions: Iterable[Version], due: Mapping[str, int]) -> datetime:
    """Return the due time beyond which no item needs a look, if at most `due` items of each workload are due.

    Even behind all of these items, a later item would not have to start now.
    """
    by_workload = {each.workload: each for each in versions}
    added = {
        name: _build_added_items(version, due.get(name, 0), load)
        for name, version in by_workload.items()
    }
    ends = [load.at]
    for each in by_workload.values():
        model, workload = each.spec.realtime_model, each.workload
        drain_s = load.drain_s(workload, model, more=added.get(workload), beside=added)
        ends.append(load.at + timedelta(seconds=UNSURE * drain_s) + load.call_of(model) + MARGIN)
    return max(ends)


def latest(due_at: datetime, drain_s: float, call: timedelta) -> datetime:
    """Return the latest time to take an item that needs `drain_s` seconds of real time, including the work before it."""
    return due_at - timedelta(seconds=UNSURE * drain_s) - call - MARGIN


def _choose(candidates: Sequence[DoubtfulItem], load: Load, now: datetime) -> LookResult:
    """Choose among these items in due order; an item that cannot be in time takes no place of one that can.

    If the places are the bottleneck, all earlier items must start; if a model's limits are, all earlier items of that model.
    """
    added = dict[str, AddedItems]()
    chosen: list[tuple[DoubtfulItem, float]] = []
    at_risk: list[DoubtfulItem] = []
    # how many of the chosen items must start: of all models (None), and of each model
    presses = Counter[str | None]()
    for item in candidates:
        late_item, call = item.of, load.call_of(item.model)
        workload = late_item.version.workload
        more = _build_added_items(late_item.version, late_item.items, load).plus(
            added.get(workload)
        )
        drain_s = load.drain_s(
            workload, item.model, until=late_item.due_at, more=more, beside=added
        )
        if is_too_late(late_item.due_at, drain_s, call, now):
            if late_item.items == 1:
                at_risk.append(item)
            continue
        if now >= latest(late_item.due_at, drain_s, call):
            presses[item.model] = len(chosen) + 1
            line = load.line(workload, until=late_item.due_at, more=more, beside=added)
            if now >= latest(late_item.due_at, line.places / load.per_s, call):
                presses[None] = len(chosen) + 1
        added[workload] = more
        chosen.append((item, drain_s))
    firsts = {item.of.version.workload: item for item, _ in reversed(chosen)}
    begins_s = {
        name: load.drain_s(name, first.model, until=first.of.due_at)
        for name, first in firsts.items()
    }
    taken = [
        replace(
            item,
            explanation=f"{item.explanation}; real time needs {seconds(drain_s)} for the work before it and its own call",
        )
        for nth, (item, drain_s) in enumerate(chosen)
        if nth < max(presses[None], presses[item.model])
        and item.of.items == 1
        and (
            item is firsts[item.of.version.workload]
            or drain_s - begins_s[item.of.version.workload] <= AHEAD.total_seconds()
        )
    ]
    return LookResult(taken, at_risk)


def _build_added_items(version: Version, items: int, load: Load) -> AddedItems:
    """Build `items` items of a version as an addition to the waiting work."""
    return AddedItems(
        version.spec.realtime_model, items, load.need_of(version.workload).times(items)
    )


def _hold_back(looked: LookResult, held: UnservedReason, *, probes: bool) -> LookResult:
    """Return all items as at risk, except at most one that probes the model."""
    first = 1 if probes else 0
    taken = [
        replace(each, explanation=f"{each.explanation}; {held.sentence}, and this asks it again")
        for each in looked.taken[:first]
    ]
    return LookResult(
        taken, [replace(each, held=held) for each in (*looked.taken[first:], *looked.at_risk)]
    )


def _due_order(each: DoubtfulItem) -> tuple[datetime, WorkId]:
    return each.of.due_at, each.of.work_id
