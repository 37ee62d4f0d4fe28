"""What is true of the lanes at one moment: what every rendering of the report reads."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from lanes.advice.recommendation import Advice
from lanes.money.budget import BudgetStatus
from lanes.promises.incident import Incident
from lanes.report.figures import (
    AccuracyFigures,
    AgreementFigures,
    AmendmentFigures,
    BatchFigures,
    BatchTotals,
    CachingFigures,
    CallFigures,
    CapacityFigures,
    CircuitFigures,
    CostFigures,
    DeadlineFigures,
    Failure,
    LaneFigures,
    MinuteFigures,
    PackFigures,
    RefusalFigures,
    ReplayFigures,
    RescueFigures,
    RouteFigures,
    ShedFigures,
    SplitFigures,
    StateFigures,
    WaitFigures,
    WindowFigures,
)
from lanes.routing.prospect import Calibration

if TYPE_CHECKING:
    from lanes.rollouts.rollout import Rollout


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
