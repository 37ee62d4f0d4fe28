"""What a snapshot means: savings, latency in a few words, and how far batches are. Pure, read by both renderings."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from lanes.promises.incident import IncidentState
from lanes.report.figures import BatchFigures, CallFigures, CostFigures
from lanes.report.snapshot import Snapshot
from lanes.units import clock, count, counted, seconds, share, usd
from lanes.words import BatchState, ItemState, Lane

STILL_TO_PAY = {ItemState.RECEIVED, ItemState.ROUTED, ItemState.WORKING, ItemState.ANSWERED}
NEARLY_ALL = 0.02  # share of items still to pay below which a saving is called final


@dataclass(frozen=True)
class Saving:
    """What was saved against all-real-time: negative when more was spent, None without a cost to compare."""

    share: float | None
    open_items: int  # whose cost is not complete yet
    items: int

    @property
    def final(self) -> bool:
        """Whether nearly every item was paid for, so that the share means something."""
        return self.open_items <= NEARLY_ALL * self.items

    def __str__(self) -> str:
        if self.share is None:
            return "no cost yet"
        if not self.final:
            return f"saving open: {count(self.open_items)} of {counted(self.items, 'item')} still to pay"
        if self.share < 0:
            return f"{share(-self.share)} dearer than all real-time"
        return f"{share(self.share)} saved"


def saving_of(costs: CostFigures, snapshot: Snapshot) -> Saving:
    """The saving of one workload."""
    return _saving([costs], snapshot, {costs.workload})


def saving(snapshot: Snapshot) -> Saving:
    """The saving of all workloads together."""
    return _saving(snapshot.costs, snapshot, {each.workload for each in snapshot.costs})


def total_costs(snapshot: Snapshot) -> CostFigures:
    """The costs of all workloads, added up under the name "all workloads"."""
    return CostFigures(
        "all workloads",
        snapshot.actual_usd,
        sum((each.all_realtime_usd for each in snapshot.costs), Decimal(0)),
        sum((each.all_batch_usd for each in snapshot.costs), Decimal(0)),
        sum((each.unknown_usd for each in snapshot.costs), Decimal(0)),
        sum((each.aside_usd for each in snapshot.costs), Decimal(0)),
    )


def items(snapshot: Snapshot, states: Iterable[str] | None = None) -> int:
    """How many items the period has, or how many of them stand in `states`."""
    wanted = None if states is None else set(states)
    return sum(each.items for each in snapshot.states if wanted is None or each.state in wanted)


def period(snapshot: Snapshot) -> str:
    """The span of the figures in words: "since 16:05 UTC (60 min)"."""
    length = seconds((snapshot.taken_at - snapshot.since).total_seconds())
    return f"since {clock(snapshot.since, beside=snapshot.taken_at)} ({length})"


def aside(snapshot: Snapshot) -> str:
    """What replays and shadows cost beside the lanes; empty where they cost nothing."""
    cost = total_costs(snapshot).aside_usd
    return (
        f"Shadows and replays of these items cost {usd(cost)} more; no saving counts them."
        if cost
        else ""
    )


def lane_name(lane: str) -> str:
    """The lane as it is read: "real-time" or "batch"."""
    return "real-time" if lane == Lane.REALTIME else str(lane)


def reason_name(reason: str) -> str:
    """A route's reason as words."""
    return str(reason).replace("_", " ")


class OfLane(Protocol):
    """Whatever is told of a workload's lane."""

    @property
    def workload(self) -> str: ...
    @property
    def lane(self) -> Lane: ...


def title_of(figures: OfLane) -> str:
    """A workload's lane in one name."""
    return f"{figures.workload} / {lane_name(figures.lane)}"


def realtime_p95(snapshot: Snapshot) -> str | None:
    """The real-time lane's p95 in words, the worst when several workloads have one; None without answers."""
    known = [
        each.p95_s
        for each in snapshot.lanes
        if each.lane == Lane.REALTIME and each.p95_s is not None
    ]
    if not known:
        return None
    return f"real-time p95 {'up to ' if len(known) > 1 else ''}{seconds(max(known))}"


def open_incidents(snapshot: Snapshot) -> str | None:
    """How many promises are broken now, None when none is."""
    number = sum(each.state is IncidentState.OPEN for each in snapshot.incidents)
    return counted(number, "open incident") if number else None


def cached(calls: CallFigures) -> float | None:
    """The share of the input tokens that came from the provider's cache, 0 to 1; None without any."""
    return calls.cache_read_tokens / calls.prompt_tokens if calls.prompt_tokens else None


def done_share(batch: BatchFigures) -> float:
    """How far a batch is, 0 to 1: by the provider's own count until it ended."""
    if batch.state in (BatchState.ENDED, BatchState.COLLECTED):
        return 1.0
    return min(batch.processed / batch.requests, 1.0) if batch.requests else 0.0


def batch_time(batch: BatchFigures, now: datetime) -> str:
    """How long a batch took, or how long it has been under way and when it is expected back."""
    start = batch.submitted_at or batch.intended_at
    end = batch.ended_at or batch.collected_at
    if end is not None:
        return f"took {seconds((end - start).total_seconds())}"
    age = f"{seconds(max((now - start).total_seconds(), 0))} so far"
    if batch.expected_end_at is None or batch.state not in (
        BatchState.SUBMITTED,
        BatchState.INTENDED,
    ):
        return age
    return f"{age}, expected {clock(batch.expected_end_at, beside=now)}"


def _saving(costs: list[CostFigures], snapshot: Snapshot, workloads: set[str]) -> Saving:
    actual = sum((each.actual_usd for each in costs), Decimal(0))
    alone = sum((each.all_realtime_usd for each in costs), Decimal(0))
    states = [each for each in snapshot.states if each.workload in workloads]
    return Saving(
        share=float(1 - actual / alone) if actual and alone else None,
        open_items=sum(each.items for each in states if each.state in STILL_TO_PAY),
        items=sum(each.items for each in states),
    )
