"""The figures of a report, one file because each is only the row of a table or chart and its units."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from lanes.ids import BatchId
from lanes.money.caching import STATES, CacheSavings, CachingDecision
from lanes.realtime.circuit import CircuitState
from lanes.routing.capacity import Limit
from lanes.statistics.shares import SampleShare
from lanes.words import FlushReason, Lane


@dataclass(frozen=True)
class LaneFigures:
    """One lane of one workload: the items received in the period, without shadows and replays.

    `answers` counts all answers of the lane, authoritative passes included. The latency percentiles (seconds from received
    to answered; None without answers) and the throughput cover these answers.
    """

    workload: str
    lane: Lane
    items: int  # items whose newest route chose this lane
    answered: int  # of these items
    answers: int
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    busy_s: float  # from the start of the lane's first attempt to the end of its last
    attempts: int
    failed_attempts: int
    cost_usd: Decimal

    @property
    def per_minute(self) -> float | None:
        """Answers per minute while the lane was busy, over one minute at least; None without answers."""
        return self.answers / max(self.busy_s / 60, 1) if self.answers else None

    @property
    def failure_share(self) -> float:
        """The failed share of the attempts, 0 to 1."""
        return self.failed_attempts / self.attempts if self.attempts else 0.0

    @property
    def usd_per_1000(self) -> Decimal | None:
        """The cost of a thousand answers in US dollars; None without answers."""
        return self.cost_usd / self.answers * 1000 if self.answers else None


@dataclass(frozen=True)
class CostFigures:
    """The cost of a workload's items that were received in the period, and their cost on one lane alone.

    The cost on one lane is each item's estimate at routing, scaled by the ratio of the bill to the estimates of the lanes in
    use. Shadows and replays answer no request: their cost is reported separately (`aside_usd`).
    """

    workload: str
    actual_usd: Decimal
    all_realtime_usd: Decimal
    all_batch_usd: Decimal
    unknown_usd: Decimal  # upper bound for calls without an answer, not in actual_usd
    aside_usd: Decimal = Decimal(0)  # shadows and replays, not in actual_usd


@dataclass(frozen=True)
class StateFigures:
    """The items of a workload, counted by state."""

    workload: str
    state: str
    items: int


@dataclass(frozen=True)
class RouteFigures:
    """The number of routing decisions of a workload for one lane and reason."""

    workload: str
    lane: Lane
    reason: str
    items: int


@dataclass(frozen=True)
class BatchFigures:
    """One batch. Counts are items, except the provider's `processed` of `requests`; throughput is as in `batch_status`."""

    batch_id: BatchId
    workload: str
    model: str
    state: str
    requests: int
    processed: int
    items: int
    succeeded: int
    invalid: int
    errored: int
    canceled: int
    expired: int
    missing: int
    intended_at: datetime
    submitted_at: datetime | None
    expected_end_at: datetime | None
    ended_at: datetime | None
    collected_at: datetime | None
    note: str | None
    items_per_minute_until_ended: float | None = None
    items_per_minute_until_collected: float | None = None


@dataclass(frozen=True)
class BatchTotals:
    """The batches of a workload that were intended in the period.

    `carried` counts the items of the ended batches, and `took_s` is the sum of these batches' times from submission to end,
    in seconds. The percentiles are None if no batch ended. `returned` counts the items whose result is known, and `failed`
    those of them without a valid answer, except cancelled ones.
    """

    workload: str
    batches: int
    ended: int
    items: int
    carried: int
    returned: int
    failed: int
    took_s: float
    p50_s: float | None
    p95_s: float | None

    @property
    def per_minute(self) -> float | None:
        """Items per minute of batch time; None if no batch ended."""
        return self.carried / self.took_s * 60 if self.took_s else None

    @property
    def failure_share(self) -> float | None:
        """The failed share of the returned items, 0 to 1; None if no item returned."""
        return self.failed / self.returned if self.returned else None


@dataclass(frozen=True)
class AgreementFigures:
    """The agreement of authoritative results with the provisional ones they replaced."""

    workload: str
    compared: int
    corrected: int

    @property
    def agreement(self) -> float | None:
        """The share that agreed, 0 to 1; None without a comparison."""
        return 1 - self.corrected / self.compared if self.compared else None


@dataclass(frozen=True)
class AccuracyFigures:
    """The accuracy of labelled fields of items received in the period, with the 95 % Wilson interval, 0 to 1."""

    workload: str
    lane: Lane
    version: int
    field: str
    labels: int
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class QualityFigures:
    """The classes of one figure of the answers, each with its share in the reference and now; the largest change first."""

    workload: str
    lane: Lane
    version: int
    figure: str
    classes: list[tuple[str, float, float]]
    state: str


@dataclass(frozen=True)
class Failure:
    """An item that got no answer, or whose authoritative pass failed."""

    workload: str
    key: str
    reason: str


@dataclass(frozen=True)
class RefusalFigures:
    """The inputs that the doors refused for one reason."""

    workload: str
    reason: str
    inputs: int


@dataclass(frozen=True)
class MinuteFigures:
    """One minute of one lane, for the charts; in a report on a long period, one hour or day."""

    lane: Lane
    minute: datetime
    items: int
    p95_s: float


@dataclass(frozen=True)
class AmendmentFigures:
    """Late data: the amendments applied in the period, and those of any age that wait for their item."""

    workload: str
    applied: int
    waiting: int


@dataclass(frozen=True)
class SplitFigures:
    """A split in force: its consumer, its share to real-time in basis points, who set it and why."""

    workload: str
    consumer: str | None
    basis_points: int
    who: str
    why: str
    set_at: datetime


@dataclass(frozen=True)
class ReplayFigures:
    """A replay with its progress and cost. Counts are items."""

    workload: str
    generation: int
    version: int
    state: str
    items: int
    answered: int
    failed: int
    cost_usd: Decimal


@dataclass(frozen=True)
class CallFigures:
    """The billed calls of one lane in the period. Tokens are sums; `input_tokens` excludes what a cache served or stored."""

    workload: str
    lane: Lane
    calls: int
    items: int
    input_tokens: int
    cache_read_tokens: int
    output_tokens: int
    cache_write_tokens: int = 0

    @property
    def prompt_tokens(self) -> int:
        """Every input token, cached or not."""
        return self.input_tokens + self.cache_read_tokens + self.cache_write_tokens

    @property
    def items_per_call(self) -> float:
        """The average number of items that shared a call."""
        return self.items / self.calls


@dataclass(frozen=True)
class CachingFigures:
    """The caching of a workload's lane with the version in force, and the US dollars that caching by all versions saved.

    `hit_rate` is the latest measurement, made over about `calls` calls; `pays_from` is None if caching never pays.
    """

    workload: str
    lane: Lane
    state: str
    why: str
    hit_rate: float | None
    pays_from: float | None
    calls: int
    looked_at: datetime
    saved_usd: Decimal


def caching_figures(
    stands: Iterable[tuple[str, Lane, CachingDecision]], saved: Iterable[CacheSavings]
) -> list[CachingFigures]:
    """Return a row for each lane with a caching decision."""
    usd = {(each.workload, each.lane): each.usd for each in saved}
    return [
        CachingFigures(
            workload,
            lane,
            STATES[of.marks],
            of.why,
            of.hit_rate,
            of.pays_from if math.isfinite(of.pays_from) else None,
            of.calls,
            of.decided_at,
            usd.get((workload, lane), Decimal(0)),
        )
        for workload, lane, of in stands
    ]


@dataclass(frozen=True)
class CapacityFigures:
    """A model's limits as last reported, and the number of real-time items that wait for the model.

    `drain_s` is the time in seconds to answer these at the present rate and within the limits; None if neither is known.
    """

    account: str
    model: str
    limits: list[Limit]
    waiting: int
    drain_s: float | None


@dataclass(frozen=True)
class CircuitFigures:
    """A model of an account whose circuit is not closed: `faults` calls in a row failed, the last one because of `why`."""

    account: str
    model: str
    state: CircuitState
    since: datetime
    faults: int
    why: str


@dataclass(frozen=True)
class OpenProposal:
    """A rollout to batch that the advice proposes; a person has to decide."""

    id: int
    workload: str
    consumer: str
    saving_usd: float
    proposed_at: datetime


@dataclass(frozen=True)
class WaitFigures:
    """The wait of items for their real-time call: seconds from received to the call, including the buffering window."""

    workload: str
    items: int
    p50_s: float
    p95_s: float


@dataclass(frozen=True)
class DeadlineFigures:
    """The due items of a workload whose newest route chose this lane for this reason.

    `met` and `missed` items were answered or failed in the period; `overdue` items of any age are neither yet, and are counted
    up to a bound. The reason `overdue` means that the item was due before it arrived, whatever its route says. An item that
    became due before it was routed has the reason `deadline`.
    """

    workload: str
    lane: Lane
    reason: str
    met: int
    missed: int
    overdue: int

    @property
    def met_share(self) -> float | None:
        """The share of due items answered in time, 0 to 1; None without due items."""
        due = self.met + self.missed + self.overdue
        return self.met / due if due else None


@dataclass(frozen=True)
class PackFigures:
    """The pack size of a workload on a lane, and the evidence for it.

    `packed` is the share of packed items whose single answer was the same; `alone` is the share of items answered singly twice
    whose two answers were the same. `size` and `allowed` are None before the first decision: then the workload's own limit
    applies. `checks_usd` is the cost of the checks for the items of the period.
    """

    workload: str
    lane: Lane
    size: int | None
    allowed: int | None
    packed: SampleShare
    alone: SampleShare
    since: datetime | None
    why: str
    checks_usd: Decimal


@dataclass(frozen=True)
class WindowFigures:
    """The buffering windows of a workload's real-time items.

    `mean_wait_s` is the average time of an item in its window. `left` counts items by the reason why their window closed.
    """

    workload: str
    items: int
    mean_wait_s: float
    items_per_call: float
    left: Mapping[FlushReason, int]


@dataclass(frozen=True)
class RescueFigures:
    """The items of a workload that were rescued in the period, except canceled ones.

    `met` items were first answered by their due time; `waiting` items are neither answered nor due yet. `usd` is their bill
    in real time, and `twice_usd` is the part of it that bought only time, because the batch billed the same items too.
    """

    workload: str
    items: int
    met: int
    waiting: int
    usd: Decimal
    twice_usd: Decimal


@dataclass(frozen=True)
class ShedFigures:
    """The items of a workload that were shed in the period. `saved_usd` is the estimated saving by their batches.

    The other figures cover the newest `looked_at` items: how many are `answered`, the percentiles of the seconds from shed to
    answered (None without answers), and the reason why the last one was shed.
    """

    workload: str
    items: int
    saved_usd: Decimal
    looked_at: int
    answered: int
    p50_s: float | None
    p95_s: float | None
    why: str


@dataclass(frozen=True)
class SecondPassFigures:
    """The second passes of a class of early answers of the version in force, and the risk of the passes left out.

    `since` is the start of the current mode (`sampled` or all); `most_missed` bounds the wrong answers without a second pass.
    """

    workload: str
    name: str
    sampled: bool
    since: datetime | None
    answers: int
    saved: int
    saved_usd: Decimal | None
    agreement: SampleShare
    most_missed: int
