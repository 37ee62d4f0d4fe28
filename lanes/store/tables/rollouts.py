"""Playbooks under way."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Integer,
    Named,
    Text,
    TypedColumns,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

from lanes.ids import RolloutId, RouteId
from lanes.rollouts.gates import Measure
from lanes.rollouts.rollout import Happened, HoldReason
from lanes.store.tables.base import Moment, Word, column, id_of, identity, index, table
from lanes.store.tables.workloads import workload
from lanes.words import RolloutState, Verdict


class RolloutColumns(TypedColumns):
    id = identity(RolloutId)
    playbook: Named[str] = column(Text, "Name of the playbook")
    content: Named[Any] = column(JSONB, "The playbook as it was when the rollout started")
    workload: Named[str] = Column(Text, ForeignKey(workload.c.name))
    consumer: Named[str | None] = column(Text, "The consumer whose split it moves; null: all")
    state: Named[RolloutState] = column(
        Word(RolloutState), "running: `migrate`; waiting_approval: a person; others are final"
    )
    step: Named[int] = column(Integer, "The step in force, from 0")
    step_started_at: Named[datetime] = column(Moment, "When its share came into force")
    routes_before: Named[RouteId] = column(id_of(RouteId), "The newest route at that time")
    share_before: Named[int] = column(
        Integer, "Basis points before the rollout, restored by a failure"
    )
    inherited_before: Named[bool] = column(
        Boolean,
        "The consumer had no split of its own before; a failure restores that",
        default="false",
    )
    holds: Named[HoldReason | None] = column(Word(HoldReason), "Why the step holds")
    asked: Named[int] = column(Integer, "How often a person was asked", default="0")
    approved_by: Named[str | None] = column(Text, "Who approved leaving the step in force")
    approved_why: Named[str | None] = Column(Text)
    approved_at: Named[datetime | None] = column(Moment, "Restarts the longest time of the step")
    started_by: Named[str] = Column(Text)
    why: Named[str] = Column(Text)
    started_at: Named[datetime] = Column(Moment)
    ended_at: Named[datetime | None] = Column(Moment)
    flow_run_id: Named[Any] = column(Uuid, "The newest run of `migrate` that led it", nullable=True)
    entered: Named[bool] = column(
        Boolean, "False: its share waits for an approval that was missed", default="true"
    )
    asked_at: Named[datetime | None] = column(Moment, "Since when an approval has been asked for")


rollout = table(
    "rollout",
    RolloutColumns,
    "A playbook in progress; at most one of a workload is open",
    CheckConstraint("share_before between 0 and 10000", name="share_before_range"),
    index(
        "uq_rollout_open", "workload", unique=True, where="state in ('running', 'waiting_approval')"
    ),
    index("ix_rollout_flow_run_id", "flow_run_id"),
)


class RolloutEventColumns(TypedColumns):
    id = identity(int)
    rollout_id: Named[RolloutId] = Column(id_of(RolloutId), ForeignKey(rollout.c.id))
    event: Named[Happened] = column(Word(Happened), "What happened")
    step: Named[int] = column(Integer, "The step in force afterwards, from 0")
    basis_points: Named[int] = column(Integer, "The share to real-time afterwards")
    who: Named[str] = Column(Text)
    why: Named[str] = Column(Text)
    at: Named[datetime] = Column(Moment)


rollout_event = table(
    "rollout_event",
    RolloutEventColumns,
    "Append-only: what happened to a rollout, by whom and why",
    index(None, "rollout_id", "id"),
)


class RolloutMeasurementColumns(TypedColumns):
    id = identity(int)
    rollout_id: Named[RolloutId] = Column(id_of(RolloutId), ForeignKey(rollout.c.id))
    step: Named[int] = column(Integer, "From 0")
    measure: Named[Measure] = Column(Word(Measure))
    value: Named[float | None] = column(Double(), "A share from 0 to 1, or seconds")
    samples: Named[int] = Column(Integer)
    wrong: Named[int] = column(Integer, "Samples on the wrong side of the limit")
    verdict: Named[Verdict] = column(Word(Verdict), "passed, failed, inconclusive or error")
    explanation: Named[str] = Column(Text)
    at: Named[datetime] = Column(Moment)


rollout_measurement = table(
    "rollout_measurement",
    RolloutMeasurementColumns,
    "Append-only: measurements at each change of a verdict or step",
    index(None, "rollout_id", "id"),
)
