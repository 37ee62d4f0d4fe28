"""The state of the lanes at one moment, which every rendering of the report reads."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from lanes.advice.recommendation import Advice
from lanes.money.budget import BudgetStatus
from lanes.promises.incident import Incident
from lanes.realtime.limiter import CallWait
from lanes.report import figures
from lanes.routing.prospect import Calibration

if TYPE_CHECKING:
    from lanes.rollouts.rollout import Rollout


@dataclass(frozen=True)
class Snapshot:
    """All figures of the period from `since` to `taken_at`, and everything that is open, whatever its age.

    Incidents, rollouts, proposals and replays can be open. `advice` covers a longer period, the days that it needs, and leaves
    out workloads without items.
    """

    taken_at: datetime
    since: datetime
    lanes: list[figures.LaneFigures] = field(default_factory=list)
    costs: list[figures.CostFigures] = field(default_factory=list)
    states: list[figures.StateFigures] = field(default_factory=list)
    routes: list[figures.RouteFigures] = field(default_factory=list)
    sheds: list[figures.ShedFigures] = field(default_factory=list)
    batches: list[figures.BatchFigures] = field(default_factory=list)
    batch_totals: list[figures.BatchTotals] = field(default_factory=list)
    packs: list[figures.PackFigures] = field(default_factory=list)
    windows: list[figures.WindowFigures] = field(default_factory=list)
    waits: list[figures.WaitFigures] = field(default_factory=list)
    deadlines: list[figures.DeadlineFigures] = field(default_factory=list)
    calibration: list[Calibration] = field(default_factory=list)
    agreement: list[figures.AgreementFigures] = field(default_factory=list)
    second_passes: list[figures.SecondPassFigures] = field(default_factory=list)
    accuracy: list[figures.AccuracyFigures] = field(default_factory=list)
    quality: list[figures.QualityFigures] = field(default_factory=list)  # the current state
    failures: list[figures.Failure] = field(default_factory=list)
    refusals: list[figures.RefusalFigures] = field(default_factory=list)
    minutes: list[figures.MinuteFigures] = field(default_factory=list)
    point: timedelta = timedelta(minutes=1)  # the length of each of `minutes`
    incidents: list[Incident] = field(default_factory=list)
    rollouts: "list[Rollout]" = field(default_factory=list)
    proposals: list[figures.OpenProposal] = field(default_factory=list)
    splits: list[figures.SplitFigures] = field(default_factory=list)
    replays: list[figures.ReplayFigures] = field(default_factory=list)
    calls: list[figures.CallFigures] = field(default_factory=list)
    amendments: list[figures.AmendmentFigures] = field(default_factory=list)
    advice: list[Advice] = field(default_factory=list)
    budgets: list[BudgetStatus] = field(default_factory=list)  # in their current periods
    capacity: list[figures.CapacityFigures] = field(default_factory=list)
    call_waits: list[CallWait] = field(default_factory=list)  # as drains report them now
    rescues: list[figures.RescueFigures] = field(default_factory=list)
    # the circuits that are not closed
    circuits: list[figures.CircuitFigures] = field(default_factory=list)
    caching: list[figures.CachingFigures] = field(default_factory=list)

    @property
    def workloads(self) -> list[str]:
        """The workloads with items in the period, by name."""
        return sorted({each.workload for each in self.states})

    @property
    def actual_usd(self) -> Decimal:
        """The cost of the period's items, without shadows and replays."""
        return sum((each.actual_usd for each in self.costs), Decimal(0))
