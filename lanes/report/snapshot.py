"""What is true of the lanes at one moment, one file because it is read as one: the report, `lanes status` and the artifact."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from lanes.advice.recommendation import Advice
from lanes.ids import BatchId
from lanes.money.budget import BudgetStatus
from lanes.promises.incident import Incident
from lanes.report.calls import CachingFigures, CallFigures
from lanes.report.capacity import CapacityFigures, CircuitFigures, WaitFigures
from lanes.report.deadlines import DeadlineFigures
from lanes.report.packs import PackFigures, WindowFigures
from lanes.report.rescued import RescueFigures
from lanes.report.sheds import ShedFigures
from lanes.routing.calibration import Calibration
from lanes.words import Lane

if TYPE_CHECKING:
    from lanes.rollouts.rollout import Rollout


@dataclass(frozen=True)
class LaneFigures:
    """One lane of one workload, of the items received in the period, without shadows and replays. `answers` are all that came
    from the lane, authoritative passes too: of them are latency (s from received to answered; None without) and throughput.
    """

    workload: str
    lane: Lane
    items: int  # whose newest route is here
    answered: int  # of these items
    answers: int
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    busy_s: float  # from the start of the lane's first try to the end of its last
    attempts: int
    failed_attempts: int
    cost_usd: Decimal

    @property
    def per_minute(self) -> float | None:
        """Answers per minute while the lane was busy, over one minute at least; None without answers."""
        return self.answers / max(self.busy_s / 60, 1) if self.answers else None

    @property
    def failure_share(self) -> float:
        """Failed attempts of all, 0 to 1."""
        return self.failed_attempts / self.attempts if self.attempts else 0.0

    @property
    def usd_per_1000(self) -> Decimal | None:
        """Cost of a thousand answers, None without answers."""
        return self.cost_usd / self.answers * 1000 if self.answers else None


@dataclass(frozen=True)
class CostFigures:
    """What the items of a workload cost that were received in the period, and what they would have cost on one lane alone:
    each item's estimate at routing, scaled by how the estimates of the lanes in use compared with what was billed.

    Shadows and replays are nobody's answer: what they cost for these items stands beside it.
    """

    workload: str
    actual_usd: Decimal
    all_realtime_usd: Decimal
    all_batch_usd: Decimal
    unknown_usd: Decimal  # the most that calls without an answer can have cost, not in actual_usd
    aside_usd: Decimal = Decimal(0)  # shadows and replays, not in actual_usd


@dataclass(frozen=True)
class StateFigures:
    """How many items of a workload stand where."""

    workload: str
    state: str
    items: int


@dataclass(frozen=True)
class RouteFigures:
    """How many decisions fell for one reason."""

    workload: str
    lane: Lane
    reason: str
    items: int


@dataclass(frozen=True)
class BatchFigures:
    """One batch: counts are items, `processed` of `requests` are the provider's; throughput is as `batch_status` tells it."""

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

    `carried` are the items of those that ended, `took_s` the time between submission and end of all of them together, in
    seconds; percentiles are None where none ended. `returned` are items whose result is known, `failed` those of them that
    brought no valid answer, cancelled ones apart.
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
        """Items for each minute that a batch was under way; None where none ended."""
        return self.carried / self.took_s * 60 if self.took_s else None

    @property
    def failure_share(self) -> float | None:
        """Failed items of those that returned, 0 to 1; None where none did."""
        return self.failed / self.returned if self.returned else None


@dataclass(frozen=True)
class AgreementFigures:
    """How often authoritative results agreed with the provisional ones they replaced."""

    workload: str
    compared: int
    corrected: int

    @property
    def agreement(self) -> float | None:
        """Share that agreed, 0 to 1; None without a comparison."""
        return 1 - self.corrected / self.compared if self.compared else None


@dataclass(frozen=True)
class AccuracyFigures:
    """How often labelled fields of items received in the period were right, with the 95 % Wilson interval, 0 to 1."""

    workload: str
    lane: Lane
    version: int
    field: str
    labels: int
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Failure:
    """An item that got no answer, or whose authoritative pass failed."""

    workload: str
    key: str
    reason: str


@dataclass(frozen=True)
class RefusalFigures:
    """How many inputs the doors refused for one reason."""

    workload: str
    reason: str
    inputs: int


@dataclass(frozen=True)
class MinuteFigures:
    """One minute of one lane, for the charts; of a long period, an hour or a day."""

    lane: Lane
    minute: datetime
    items: int
    p95_s: float


@dataclass(frozen=True)
class AmendmentFigures:
    """Late data of the period: amendments applied, and those that wait for their item, however old."""

    workload: str
    applied: int
    waiting: int


@dataclass(frozen=True)
class SplitFigures:
    """A split in force: whose, its share to real-time in basis points, who set it and why."""

    workload: str
    consumer: str | None
    basis_points: int
    who: str
    why: str
    set_at: datetime


@dataclass(frozen=True)
class ReplayFigures:
    """A replay: how far it is, and what it cost. Counts are items."""

    workload: str
    generation: int
    version: int
    state: str
    items: int
    answered: int
    failed: int
    cost_usd: Decimal


@dataclass(frozen=True)
class Snapshot:
    """All figures of the period from `since` to `taken_at`; of what is open, however old, incidents, rollouts and replays.

    `advice` looks back further, over the days that it needs, and leaves out workloads without items.
    """

    taken_at: datetime
    since: datetime
    lanes: list[LaneFigures] = field(default_factory=list)
    costs: list[CostFigures] = field(default_factory=list)
    states: list[StateFigures] = field(default_factory=list)
    routes: list[RouteFigures] = field(default_factory=list)
    sheds: list[ShedFigures] = field(default_factory=list)
    batches: list[BatchFigures] = field(default_factory=list)
    batch_totals: list[BatchTotals] = field(default_factory=list)
    packs: list[PackFigures] = field(default_factory=list)
    windows: list[WindowFigures] = field(default_factory=list)
    waits: list[WaitFigures] = field(default_factory=list)
    deadlines: list[DeadlineFigures] = field(default_factory=list)
    calibration: list[Calibration] = field(default_factory=list)
    agreement: list[AgreementFigures] = field(default_factory=list)
    accuracy: list[AccuracyFigures] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    refusals: list[RefusalFigures] = field(default_factory=list)
    minutes: list[MinuteFigures] = field(default_factory=list)
    point: timedelta = timedelta(minutes=1)  # how long each of `minutes` is
    incidents: list[Incident] = field(default_factory=list)
    rollouts: "list[Rollout]" = field(default_factory=list)
    splits: list[SplitFigures] = field(default_factory=list)
    replays: list[ReplayFigures] = field(default_factory=list)
    calls: list[CallFigures] = field(default_factory=list)
    amendments: list[AmendmentFigures] = field(default_factory=list)
    advice: list[Advice] = field(default_factory=list)
    budgets: list[BudgetStatus] = field(default_factory=list)  # in their current periods
    capacity: list[CapacityFigures] = field(default_factory=list)
    rescues: list[RescueFigures] = field(default_factory=list)
    circuits: list[CircuitFigures] = field(default_factory=list)  # those that are not closed
    caching: list[CachingFigures] = field(default_factory=list)

    @property
    def workloads(self) -> list[str]:
        """The workloads with items in the period, by name."""
        return sorted({each.workload for each in self.states})

    @property
    def actual_usd(self) -> Decimal:
        """What the period's items cost, without shadows and replays."""
        return sum((each.actual_usd for each in self.costs), Decimal(0))
