"""A snapshot as text: the headline, the summary of a run, savings, and the progress of batches."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from operator import attrgetter
from typing import Protocol

from lanes.promises import batches
from lanes.promises.incident import IncidentState
from lanes.report.figures import BatchFigures, CallFigures, CostFigures
from lanes.report.snapshot import Snapshot
from lanes.units import clock, count, pluralize, ratio, seconds, share, usd
from lanes.words import BatchState, ItemState, Lane

STILL_TO_PAY = {ItemState.RECEIVED, ItemState.ROUTED, ItemState.WORKING, ItemState.ANSWERED}
ALL_WORKLOADS = "all workloads"
MULTIPLE = 2.0  # the ratio from which a cost is written as a multiple
NEARLY_ALL = 0.02  # share of items still to pay below which a saving is called final


@dataclass(frozen=True)
class Saving:
    """The actual cost compared with the cost of all items in real time; `part` is their ratio, None without a cost."""

    part: float | None
    open_items: int  # items whose cost is not complete yet
    items: int

    @property
    def final(self) -> bool:
        """Whether nearly every item was paid for, so that the ratio is meaningful."""
        return self.open_items <= NEARLY_ALL * self.items

    def __str__(self) -> str:
        if self.part is None:
            return "no cost yet"
        if not self.final:
            return f"saving open: {count(self.open_items)} of {pluralize(self.items, 'item')} still to pay"
        if self.part >= MULTIPLE:
            return f"{times(self.part)} the cost of all real-time"
        if self.part > 1:
            return f"{share(self.part - 1)} more expensive than all real-time"
        return f"{share(1 - self.part)} saved"


def times(ratio: float) -> str:
    """Return a multiple as text: "11.8 times", "1,204 times"."""
    return f"{ratio:.1f} times" if ratio < 100 else f"{round(ratio):,} times"


def measure_saving(costs: CostFigures, snapshot: Snapshot) -> Saving:
    """Return the saving of one workload, or of all workloads for their total."""
    states = [each for each in snapshot.states if costs.workload in (each.workload, ALL_WORKLOADS)]
    actual, alone = costs.actual_usd, costs.all_realtime_usd
    return Saving(
        part=float(actual / alone) if actual and alone else None,
        open_items=sum(each.items for each in states if each.state in STILL_TO_PAY),
        items=sum(each.items for each in states),
    )


def measure_total_saving(snapshot: Snapshot) -> Saving:
    """Return the saving of all workloads together."""
    return measure_saving(total_costs(snapshot), snapshot)


def total_costs(snapshot: Snapshot) -> CostFigures:
    """Return the costs of all workloads, added up under the name "all workloads"."""

    def total(amount: str) -> Decimal:
        return sum(map(attrgetter(amount), snapshot.costs), Decimal(0))

    amounts = [each.name for each in fields(CostFigures) if each.name.endswith("_usd")]
    return CostFigures(ALL_WORKLOADS, *map(total, amounts))


def items(snapshot: Snapshot, states: Iterable[str] | None = None) -> int:
    """Return the number of items in the period, or of those in one of the `states`."""
    wanted = None if states is None else set(states)
    return sum(each.items for each in snapshot.states if wanted is None or each.state in wanted)


def period(snapshot: Snapshot) -> str:
    """Return the span of the figures in words: "since 16:05 UTC (60 min)"."""
    length = seconds((snapshot.taken_at - snapshot.since).total_seconds())
    return f"since {clock(snapshot.since, beside=snapshot.taken_at)} ({length})"


def aside(snapshot: Snapshot) -> str:
    """Return a sentence on the additional cost of shadows and replays; empty if they cost nothing."""
    cost = total_costs(snapshot).aside_usd
    if cost:
        return f"Shadows and replays of these items cost {usd(cost)} more; savings leave them out."
    return ""


def lane_name(lane: str) -> str:
    """Return the lane's name for people: "real-time" or "batch"."""
    return "real-time" if lane == Lane.REALTIME else str(lane)


def reason_name(reason: str) -> str:
    """Return a route's reason as words."""
    return str(reason).replace("_", " ")


def way_name(lane: str, reason: str) -> str:
    """Return the lane and the reason of a route as words."""
    return f"{lane_name(lane)}, {reason_name(reason)}"


class OfLane(Protocol):
    """Figures of a workload's lane."""

    @property
    def workload(self) -> str: ...
    @property
    def lane(self) -> Lane: ...


def name_lane(figures: OfLane) -> str:
    """Return a workload's lane as one name."""
    return f"{figures.workload} / {lane_name(figures.lane)}"


def realtime_p95(snapshot: Snapshot) -> str | None:
    """Return the real-time lane's p95, the worst of several workloads; None without answers."""
    lanes = [each for each in snapshot.lanes if each.lane == Lane.REALTIME]
    known = [each.p95_s for each in lanes if each.p95_s is not None]
    if not known:
        return None
    return f"real-time p95 {'up to ' if len(known) > 1 else ''}{seconds(max(known))}"


def open_incidents(snapshot: Snapshot) -> str | None:
    """Return the number of open incidents as text; None if there are none."""
    number = sum(each.state is IncidentState.OPEN for each in snapshot.incidents)
    return pluralize(number, "open incident") if number else None


def compute_cached_share(calls: CallFigures) -> float | None:
    """Return the share of the input tokens that came from the provider's cache, 0 to 1; None without any."""
    return calls.cache_read_tokens / calls.prompt_tokens if calls.prompt_tokens else None


def compute_done_share(batch: BatchFigures) -> float:
    """Return the completed share of a batch, 0 to 1; until the batch ends, by the provider's count."""
    if batch.state in (BatchState.ENDED, BatchState.COLLECTED):
        return 1.0
    return min(batch.processed / batch.requests, 1.0) if batch.requests else 0.0


def batch_time(batch: BatchFigures, now: datetime) -> str:
    """Return the duration of a batch, or its age and its expected end."""
    start = batch.submitted_at or batch.intended_at
    end = batch.ended_at or batch.collected_at
    if end is not None:
        return f"took {seconds((end - start).total_seconds())}"
    age = f"{seconds(max((now - start).total_seconds(), 0))} so far"
    is_expected = batch.state in (BatchState.SUBMITTED, BatchState.INTENDED)
    if batch.expected_end_at is None or not is_expected:
        return age
    return f"{age}, expected {clock(batch.expected_end_at, beside=now)}"


def headline(snapshot: Snapshot) -> str:
    """Return the report in one line, for the description of the artifact."""
    parts = [open_incidents(snapshot), f"Nothing arrived {period(snapshot)}"]
    if items(snapshot):
        failed = items(snapshot, [ItemState.FAILED])
        parts[1:] = [
            str(measure_total_saving(snapshot)),
            batches.health(snapshot.batches, snapshot.incidents),
            realtime_p95(snapshot),
            f"{pluralize(failed, 'item')} failed" if failed else None,
            period(snapshot),
        ]
    return " · ".join(filter(None, parts))


def sentences(snapshot: Snapshot) -> list[str]:
    """Return a run in brief: lanes, waits, sharing, corrections, second passes, due times, rescues and cost.

    A topic without data has no sentence.
    """
    parts = (
        _describe_lanes,
        _describe_waiting,
        _describe_sharing,
        _describe_corrections,
        _describe_skipped_passes,
        _describe_due,
        _describe_rescues,
        _describe_saving,
    )
    return [sentence for part in parts for sentence in part(snapshot)]


def _describe_lanes(snapshot: Snapshot) -> list[str]:
    def of(lane: Lane, how: str) -> str | None:
        there = [each for each in snapshot.lanes if each.lane == lane and each.answered]
        halves = [each.p50_s for each in there if each.p50_s is not None]
        if not halves:
            return None
        low, high = seconds(min(halves)), seconds(max(halves))
        span = low if low == high else f"{low} to {high}, by workload"
        return f"{pluralize(sum(each.answered for each in there), 'item')} {how}, half of them within {span}."

    found = of(Lane.REALTIME, "answered in real time"), of(Lane.BATCH, "answered in batches")
    return [each for each in found if each]


def _describe_waiting(snapshot: Snapshot) -> list[str]:
    return [
        f"{pluralize(each.calls, 'call')} of {each.workload} {'waits' if each.calls == 1 else 'wait'} now: "
        f"{each.reason.explanation}."
        for each in snapshot.call_waits
    ]


def _describe_sharing(snapshot: Snapshot) -> list[str]:
    return [
        f"{pluralize(each.items, 'item')} of {each.workload} shared calls, {ratio(each.items_per_call)} items a call."
        for each in snapshot.windows
        if each.items_per_call > 1
    ]


def _describe_corrections(snapshot: Snapshot) -> list[str]:
    return [
        f"{count(each.corrected)} of {count(each.compared)} early answers of {each.workload} were corrected by a batch."
        for each in snapshot.agreement
        if each.corrected
    ]


def _describe_skipped_passes(snapshot: Snapshot) -> Iterator[str]:
    for name, found in groupby(snapshot.second_passes, key=lambda each: each.workload):
        classes = [each for each in found if each.saved]
        saved = sum(each.saved for each in classes)
        usd_ = sum((each.saved_usd or Decimal(0) for each in classes), Decimal(0))
        wrong = sum(each.most_missed for each in classes)
        if saved:
            what = pluralize(saved, "early answer")
            yield f"{what} of {name} got no second pass so far, which saved {usd(usd_)}; at most {count(wrong)} are wrong."


def _describe_due(snapshot: Snapshot) -> list[str]:
    met = sum(each.met for each in snapshot.deadlines)
    all_due = met + sum(each.missed + each.overdue for each in snapshot.deadlines)
    return (
        [f"{count(met)} of {pluralize(all_due, 'due item')} answered in time."] if all_due else []
    )


def _describe_rescues(snapshot: Snapshot) -> list[str]:
    return [
        f"{pluralize(each.items, 'item')} of {each.workload} were rescued from a late batch; {count(each.met)} of them in time."
        for each in snapshot.rescues
        if each.items
    ]


def _describe_saving(snapshot: Snapshot) -> list[str]:
    costs, saving_ = total_costs(snapshot), measure_total_saving(snapshot)
    if saving_.part is None:
        return []
    return [
        f"Cost {usd(costs.actual_usd)}; all of it in real time would have cost {usd(costs.all_realtime_usd)}: {saving_}."
    ]
