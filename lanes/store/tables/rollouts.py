"""Playbooks under way."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    Named,
    Table,
    Text,
    TypedColumns,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from lanes.ids import RolloutId, RouteId
from lanes.rollouts.gates import Measure
from lanes.rollouts.rollout import Happened, HoldReason
from lanes.store.tables.base import Moment, Word, id_of, identity, metadata, one_of
from lanes.store.tables.workloads import workload
from lanes.words import RolloutState, Verdict


class RolloutColumns(TypedColumns):
    id = identity(RolloutId)
    playbook: Named[str] = Column(Text, comment="Name of the playbook")
    content: Named[Any] = Column(JSONB, comment="The playbook as it was when the rollout started")
    workload: Named[str] = Column(Text, ForeignKey(workload.c.name))
    consumer: Named[str | None] = Column(
        Text, comment="Whose split it moves; null = the one for all"
    )
    state: Named[RolloutState] = Column(
        Word(RolloutState),
        comment="running: `migrate` moves it; waiting_approval: a person resumes its run; "
        "finished, rolled_back, aborted: nobody",
    )
    step: Named[int] = Column(Integer, comment="The step in force, from 0")
    step_started_at: Named[datetime] = Column(
        Moment, comment="Since when that step's share is in force"
    )
    routes_before: Named[RouteId] = Column(
        id_of(RouteId), comment="Newest route when the step started"
    )
    share_before: Named[int] = Column(
        Integer,
        comment="Basis points in force before the rollout; a failure sets them, unless they were inherited",
    )
    inherited_before: Named[bool] = Column(
        server_default=text("false"),
        comment="Whether the consumer had no split of its own before: a failure makes it inherit the workload's again",
    )
    holds: Named[HoldReason | None] = Column(
        Word(HoldReason), comment="Why the step holds, as last told"
    )
    asked: Named[int] = Column(
        Integer, server_default=text("0"), comment="How often a person was asked"
    )
    approved_by: Named[str | None] = Column(Text, comment="Who approved leaving the step in force")
    approved_why: Named[str | None] = Column(Text)
    approved_at: Named[datetime | None] = Column(
        Moment,
        comment="When that was: the longest time of the step counts from here; null = from step_started_at",
    )
    started_by: Named[str] = Column(Text)
    why: Named[str] = Column(Text)
    started_at: Named[datetime] = Column(Moment)
    ended_at: Named[datetime | None] = Column(Moment)
    flow_run_id: Named[Any] = Column(
        Uuid, nullable=True, comment="The run of `migrate` that leads it, or led it last"
    )
    entered: Named[bool] = Column(
        server_default=text("true"),
        comment="Whether the step's share is in force; false while an approval that was passed over is owed",
    )
    asked_at: Named[datetime | None] = Column(
        Moment, comment="Since when a person is asked to approve; null = nobody is"
    )


rollout = Table(
    "rollout",
    metadata,
    RolloutColumns,
    one_of("state", RolloutState),
    one_of("holds", HoldReason),
    CheckConstraint("share_before between 0 and 10000", name="share_before_range"),
    Index(
        "uq_rollout_open",
        "workload",
        unique=True,
        postgresql_where=text("state in ('running', 'waiting_approval')"),
    ),
    Index("ix_rollout_flow_run_id", "flow_run_id"),
    comment="A playbook under way; this row is the truth, and at most one of a workload is open",
)


class RolloutEventColumns(TypedColumns):
    id = identity(int)
    rollout_id: Named[RolloutId] = Column(id_of(RolloutId), ForeignKey(rollout.c.id))
    event: Named[Happened] = Column(
        Word(Happened),
        comment="started, stepped, held, approval_asked, approved, declined, rolled_back, finished or aborted",
    )
    step: Named[int] = Column(Integer, comment="The step in force afterwards, from 0")
    basis_points: Named[int] = Column(Integer, comment="The share to real-time afterwards")
    who: Named[str] = Column(Text)
    why: Named[str] = Column(Text)
    at: Named[datetime] = Column(Moment)


rollout_event = Table(
    "rollout_event",
    metadata,
    RolloutEventColumns,
    one_of("event", Happened),
    Index(None, "rollout_id", "id"),
    comment="Append-only: what happened to a rollout, who wanted it and why",
)


class RolloutMeasurementColumns(TypedColumns):
    id = identity(int)
    rollout_id: Named[RolloutId] = Column(id_of(RolloutId), ForeignKey(rollout.c.id))
    step: Named[int] = Column(Integer, comment="From 0")
    measure: Named[Measure] = Column(Word(Measure))
    value: Named[float | None] = Column(
        Double(), comment="A share from 0 to 1, or seconds; null = no number"
    )
    samples: Named[int] = Column(Integer)
    wrong: Named[int] = Column(Integer, comment="Samples on the wrong side of the limit")
    verdict: Named[Verdict] = Column(Word(Verdict), comment="passed, failed, inconclusive or error")
    explanation: Named[str] = Column(Text)
    at: Named[datetime] = Column(Moment)


rollout_measurement = Table(
    "rollout_measurement",
    metadata,
    RolloutMeasurementColumns,
    one_of("measure", Measure),
    one_of("verdict", Verdict),
    Index(None, "rollout_id", "id"),
    comment="Append-only: what was measured when a verdict changed or the rollout moved",
)
