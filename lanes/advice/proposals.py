"""Proposed rollouts to batch for consumers that read late: what each saves, with which confidence, and what it risks.

The advice decides which consumers read late (`Advice.movable`), and the rollout's plan states what moves.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Self

from pydantic import ValidationError

from lanes.advice.evidence import LATE_SHARE, ConsumerUse, RealtimeNeed
from lanes.errors import ActionRefused
from lanes.ids import ProposalId, RolloutId
from lanes.money.budget import DAYS_PER_MONTH
from lanes.rollouts.gates import Measure
from lanes.rollouts.plan import LEAST_ITEMS, RolloutPlan, SplitTraffic
from lanes.rollouts.playbook import Direction, Playbook
from lanes.statistics.shares import SampleShare, confidence_below
from lanes.words import Lane, ProposalState

PLAYBOOK = "realtime-to-batch"  # the playbook of every proposal
DECLINED_FOR = timedelta(days=30)  # the time in which a declined proposal is not repeated
MOST_PROPOSED = 20  # proposals of a workload at a time, for its largest consumers


@dataclass(frozen=True)
class ProposalFigures:
    """The savings and risks of a proposed rollout.

    `saving_usd` is the provider's monthly bill before the rollout less that after its last step, and `items` are the items a
    month that leave real time. `confidence`, 0 to 1, is a lower bound of the confidence that fewer than `LATE_SHARE` of the
    answers are read at once; unknown reads count as read at once. `delays` are pairs of the seconds from answer to read and
    the number of reads that took them.
    """

    saving_usd: float
    items: float
    reads: int
    at_once: int
    unknown: int
    confidence: float
    batch_s: float  # the time within which a batch is back with sufficient probability
    delays: Sequence[tuple[float, int]] = ()

    @classmethod
    def load(cls, kept: dict[str, Any]) -> Self:
        """Return figures from their stored JSON."""
        return cls(**{**kept, "delays": [(took_s, n) for took_s, n in kept["delays"]]})

    @property
    def too_early(self) -> RealtimeNeed:
        """The share of answers read before a batch is back: `low` by recorded reads, `high` with all unknown reads."""
        answers, early = self.reads + self.unknown, sum(n for _, n in self._early)
        return RealtimeNeed(early / answers, (early + self.unknown) / answers)

    @property
    def waits_s(self) -> float | None:
        """The average additional wait of these readers, in seconds; None if no recorded read was that early."""
        early = sum(n for _, n in self._early)
        return (
            sum((self.batch_s - took_s) * n for took_s, n in self._early) / early if early else None
        )

    @property
    def _early(self) -> list[tuple[float, int]]:
        return [(took_s, n) for took_s, n in self.delays if took_s < self.batch_s]


@dataclass(frozen=True)
class ProposedRollout:
    """A rollout that waits for a person's decision, or its outcome. `who` last edited or decided it; None if no person did."""

    id: ProposalId
    workload: str
    consumer: str
    playbook: Playbook
    figures: ProposalFigures
    state: ProposalState
    who: str | None
    why: str | None
    proposed_at: datetime
    at: datetime
    rollout_id: RolloutId | None = None


def figures(use: ConsumerUse, plan: RolloutPlan, batch_s: float) -> ProposalFigures:
    """Return what moving the consumer's items by this plan saves and risks.

    Raises:
        ActionRefused: the plan would save nothing, or too little is known about its traffic.
    """
    seen = SampleShare(use.at_once + use.unknown, use.answers)
    return price_plan(
        ProposalFigures(
            0.0,
            0.0,
            use.reads,
            use.at_once,
            use.unknown,
            confidence_below(seen, LATE_SHARE),
            batch_s,
            tuple(use.delays),
        ),
        plan,
    )


def price_plan(of: ProposalFigures, plan: RolloutPlan) -> ProposalFigures:
    """Return the same figures with this plan's items and saving.

    Raises:
        ActionRefused: the plan would save nothing, or too little is known about its traffic.
    """
    before, after = plan.basis_points / 100, plan.playbook.steps[-1].percent
    months = [_month_usd(plan, percent) for percent in (before, after)]
    if plan.traffic.a_day is None or None in months:
        raise ActionRefused(
            f"too little is known of its traffic: a day, and {LEAST_ITEMS} items whose lane the split decided in the last week"
        )
    saving_usd = (months[0] or 0.0) - (months[1] or 0.0)
    if before <= after:
        raise ActionRefused(f"its split sends {before:g} % to real time already")
    if saving_usd <= 0:
        raise ActionRefused("its items cost no less in batch")
    items = plan.traffic.a_day * DAYS_PER_MONTH * (before - after) / 100
    return replace(of, saving_usd=saving_usd, items=items)


def _month_usd(plan: RolloutPlan, percent: float) -> float | None:
    lanes = [plan.usd_a_day(lane, percent) for lane in Lane]
    known = [each for each in lanes if each is not None]
    return DAYS_PER_MONTH * sum(known) if len(known) == len(lanes) else None


def fit_playbook(playbook: Playbook, traffic: SplitTraffic) -> Playbook:
    """Return the playbook without gates on due times if no recent item had one, because such a gate would never pass."""
    if traffic.estimate_sample_share(Measure.DEADLINES_MET):
        return playbook
    content = playbook.model_dump(mode="json")
    for step in content["steps"]:
        kept = [each for each in step["gates"] if each["measure"] != Measure.DEADLINES_MET]
        step["gates"] = kept or step["gates"]
    return Playbook.model_validate(content)


def edit_playbook(
    playbook: Playbook, percents: Sequence[float] = (), hold_hours: int | None = None
) -> Playbook:
    """Return the playbook with other shares to real-time, one for each step, and another time limit for all steps.

    Raises:
        ActionRefused: the numbers do not match the playbook or break its rules.
    """
    if playbook.direction is not Direction.REALTIME_TO_BATCH:
        raise ActionRefused(
            f'playbook "{playbook.name}" moves items to real time; a proposal moves them to batch'
        )
    if percents and len(percents) != len(playbook.steps):
        raise ActionRefused(
            f'percents: playbook "{playbook.name}" has {len(playbook.steps)} steps; give as many percents, or none'
        )
    content = playbook.model_dump(mode="json")
    for number, step in enumerate(content["steps"]):
        if percents:
            step["percent"] = float(percents[number])
        if hold_hours is not None:
            step["hold"]["at_most_minutes"] = 60 * hold_hours
    try:
        return Playbook.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise ActionRefused(first["msg"].removeprefix("Value error, ")) from None


def compute_bar_end(declined_at: datetime) -> datetime:
    """Return the time from which a proposal that was declined at `declined_at` may be made again."""
    return declined_at + DECLINED_FOR
