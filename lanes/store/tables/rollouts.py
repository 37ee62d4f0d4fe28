"""Tables of rollouts: their events and measurements, shadow pairs, and proposals."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import CheckConstraint, Column, ForeignKey, Named, TypedColumns, Uuid

from lanes.ids import ItemId, ProposalId, RolloutId, RouteId, WorkId
from lanes.rollouts.gates import Measure
from lanes.rollouts.rollout import Happened, HoldReason
from lanes.store.tables.base import column, identity, index, reference_unenforced, table
from lanes.store.tables.items import item
from lanes.store.tables.work import work
from lanes.store.tables.workloads import workload
from lanes.words import Lane, ProposalState, RolloutState, Verdict


@table(
    CheckConstraint("share_before between 0 and 10000", name="share_before_range"),
    index(
        "uq_rollout_open", "workload", unique=True, where="state in ('running', 'waiting_approval')"
    ),
    index("ix_rollout_flow_run_id", "flow_run_id"),
)
class rollout(TypedColumns):
    """A playbook in progress; at most one per workload is open."""

    id: Named[RolloutId] = identity()
    playbook: Named[str] = column("Name of the playbook")
    content: Named[Any] = column("The playbook as it was when the rollout started")
    workload: Named[str] = Column(ForeignKey(workload.c.name))
    consumer: Named[str | None] = column("The consumer whose split it moves; null: all")
    state: Named[RolloutState] = column(
        "running: `migrate`; waiting_approval: a person; others are final"
    )
    step: Named[int] = column("The step in force, from 0")
    step_started_at: Named[datetime] = column("When its share came into force")
    routes_before: Named[RouteId] = column("The newest route at that time")
    share_before: Named[int] = column("Basis points before the rollout, restored by a failure")
    version: Named[int | None] = column(
        "Number of the candidate version that gets the share; null: it goes to real-time"
    )
    version_before: Named[int | None] = column("Number of the version that is in force meanwhile")
    inherited_before: Named[bool] = column(
        "The consumer had no split of its own before; a failure restores that", default="false"
    )
    holds: Named[HoldReason | None] = column("Why the step holds")
    asked: Named[int] = column("How often a person was asked", default="0")
    approved_by: Named[str | None] = column("Who approved leaving the step in force")
    approved_why: Named[str | None]
    approved_at: Named[datetime | None] = column("Restarts the longest time of the step")
    started_by: Named[str]
    why: Named[str]
    started_at: Named[datetime]
    ended_at: Named[datetime | None]
    flow_run_id: Named[Any] = column(
        "The newest run of `migrate` that led it", type_=Uuid, nullable=True
    )
    entered: Named[bool] = column(
        "False: its share waits for an approval that was missed", default="true"
    )
    asked_at: Named[datetime | None] = column("Since when an approval has been asked for")
    extended_minutes: Named[int] = column(
        "What people added to the longest time of the step", default="0"
    )
    passes: Named[int] = column("Looks in a row at which every gate passed", default="0")
    routes_at_start: Named[RouteId] = column(
        "The newest route when its first share came into force", default="0"
    )


@table(index(None, "rollout_id, id"))
class rollout_event(TypedColumns):
    """Append-only events of a rollout, with the person and the reason."""

    id: Named[int] = identity()
    rollout_id: Named[RolloutId] = Column(ForeignKey(rollout.c.id))
    event: Named[Happened] = column("What happened")
    step: Named[int] = column("The step in force afterwards, from 0")
    basis_points: Named[int] = column("The share to real-time, or to the version, afterwards")
    who: Named[str]
    why: Named[str]
    at: Named[datetime]


@table(index(None, "rollout_id, id"))
class rollout_measurement(TypedColumns):
    """Append-only measurements of a rollout, taken at each change of a verdict or step."""

    id: Named[int] = identity()
    rollout_id: Named[RolloutId] = Column(ForeignKey(rollout.c.id))
    step: Named[int] = column("From 0")
    measure: Named[Measure]
    value: Named[float | None] = column("A share from 0 to 1, seconds or US dollars")
    samples: Named[int]
    wrong: Named[int] = column("Samples on the wrong side of the limit")
    verdict: Named[Verdict] = column("passed, failed, inconclusive or error")
    explanation: Named[str]
    at: Named[datetime]


@table(
    index("ix_shadow_pair_item", "item_id"), index("uq_shadow_pair_work", "work_id", unique=True)
)
class shadow_pair(TypedColumns):
    """Items of a rollout that both lanes answer, so that the lanes can be compared on the same items."""

    rollout_id: Named[RolloutId] = Column(ForeignKey(rollout.c.id), primary_key=True)
    item_id: Named[ItemId] = Column(reference_unenforced(item.c.id), primary_key=True)
    revision: Named[int] = column("Which revision of the item is compared")
    lane: Named[Lane] = column("The lane that the item did not take by the split")
    work_id: Named[WorkId | None] = column(
        "The shadow; null: the authoritative pass is the other answer",
        reference_unenforced(work.c.id),
    )
    estimated_usd: Named[Decimal] = column("What the shadow was estimated to cost")
    asked_at: Named[datetime]
    output: Named[Any | None] = column("The answer of the shadow, which is never shown")
    answered_at: Named[datetime | None]


@table(
    index("uq_proposal_open", "workload, consumer", unique=True, where="state = 'open'"),
    index(None, "workload, consumer, id"),
)
class proposal(TypedColumns):
    """A rollout that `advise` proposes for a consumer; at most one per consumer is open."""

    id: Named[ProposalId] = identity()
    workload: Named[str] = Column(ForeignKey(workload.c.name))
    consumer: Named[str] = column("Whose split it would move")
    playbook: Named[str] = column("Name of the playbook")
    content: Named[Any] = column("The playbook, as it was edited")
    figures: Named[Any] = column("What it saves and risks, when it was last refreshed")
    state: Named[ProposalState] = column(
        "open: a person or `advise`; the others are final", default="'open'"
    )
    who: Named[str | None] = column("Who edited or decided it last; null: no person has")
    why: Named[str | None] = column("The reason")
    proposed_at: Named[datetime]
    at: Named[datetime] = column("When it was last refreshed, edited or decided")
    rollout_id: Named[RolloutId | None] = Column(
        ForeignKey(rollout.c.id), comment="The rollout that its approval started"
    )
