"""Rollouts to batch that are proposed for consumers who read late: what each saves, how sure that is, and what it risks.

Who reads late is decided where the advice decides it (`Advice.movable`), and what moves is what the rollout's plan says.
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

PLAYBOOK = "realtime-to-batch"  # that is proposed
DECLINED_FOR = timedelta(days=30)  # in which a declined proposal is not made again
MOST_PROPOSED = 20  # of a workload at once: those of its largest consumers


@dataclass(frozen=True)
class ProposalFigures:
    """The savings and risks of a proposed rollout.

    `saving_usd` is the provider's monthly bill less that after the last step, and `items` are the items a month that leave real
    time. `confidence`, 0 to 1, is a lower bound of the confidence that fewer than `LATE_SHARE` of the answers are read at once;
    unknown reads count as such. `delays` are seconds from answer to read with the number of reads that took them.
    """

    saving_usd: float
    items: float
    reads: int
    at_once: int
    unknown: int
    confidence: float
    batch_s: float  # after which a batch is likely enough back
    delays: Sequence[tuple[float, int]] = ()

    @classmethod
    def load(cls, kept: dict[str, Any]) -> Self:
        """Return figures as they were kept as JSON."""
        return cls(**{**kept, "delays": [(took_s, n) for took_s, n in kept["delays"]]})

    @property
    def too_early(self) -> RealtimeNeed:
        """The share of the answers read before a batch is back: `low` by recorded reads, `high` with all unknown ones."""
        answers, early = self.reads + self.unknown, sum(n for _, n in self._early)
        return RealtimeNeed(early / answers, (early + self.unknown) / answers)

    @property
    def waits_s(self) -> float | None:
        """The average additional wait of such a reader; None if no recorded read came that early."""
        early = sum(n for _, n in self._early)
        return (
            sum((self.batch_s - took_s) * n for took_s, n in self._early) / early if early else None
        )

    @property
    def _early(self) -> list[tuple[float, int]]:
        return [(took_s, n) for took_s, n in self.delays if took_s < self.batch_s]


@dataclass(frozen=True)
class ProposedRollout:
    """A rollout that waits for a person, or what became of it. `who` edited or decided it last; None: no person has."""

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
        ActionRefused: it would save nothing, or too little is known of its traffic to say.
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
    """Return the same figures with what this plan moves and saves.

    Raises:
        ActionRefused: it would save nothing, or too little is known of its traffic to say.
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
    """Return the playbook without gates on due times if none of the recent items had one: such a gate would never pass."""
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
    """Return the playbook with other shares to real-time, one for each step, and another longest time of each step.

    Raises:
        ActionRefused: the numbers do not fit the playbook, or its rules.
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
    """Return from when on a proposal that was declined then may be made again."""
    return declined_at + DECLINED_FOR
