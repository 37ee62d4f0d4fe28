"""What is broken, and what Slack was told of it."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
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
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from lanes.ids import IncidentId
from lanes.promises.incident import IncidentState, Promise, Severity
from lanes.realtime.circuit import CircuitState
from lanes.store.tables.base import Moment, Word, id_of, identity, metadata, one_of


class IncidentColumns(TypedColumns):
    id = identity(IncidentId)
    uid: Named[Any] = Column(
        Uuid, unique=True, server_default=func.uuidv7(), comment="Its name in Slack's metadata"
    )
    promise: Named[Promise] = Column(Word(Promise), comment="Which promise is broken")
    workload: Named[str] = Column(Text, comment="Whose; it may have no published version")
    subject: Named[str] = Column(
        Text, server_default=text("''"), comment="Such as batch 41; empty = all of it"
    )
    severity: Named[Severity] = Column(
        Word(Severity), comment="warning or critical; the worst so far"
    )
    state: Named[IncidentState] = Column(
        Word(IncidentState), comment="open: watch resolves it when it is over; resolved: nobody"
    )
    value: Named[float] = Column(Double, comment="The newest measurement, in the promise's unit")
    limit_value: Named[float] = Column(Double, comment="What was promised, in the same unit")
    samples: Named[int] = Column(
        BigInteger,
        server_default=text("0"),
        comment="What the value was measured over: items, attempts or calls",
    )
    unit: Named[str] = Column(
        Text, comment="minutes, percent, seconds, items, calls, fields or sessions"
    )
    sentence: Named[str] = Column(
        Text, comment="What is wrong, for a person; after the end: how it ended"
    )
    opened_at: Named[datetime] = Column(Moment)
    updated_at: Named[datetime] = Column(
        Moment, comment="When value, severity, state or sentence last changed"
    )
    resolved_at: Named[datetime | None] = Column(Moment)
    why: Named[str | None] = Column(
        Text, comment="What its opener met, in words; null: its briefing says why"
    )
    opened_value: Named[float | None] = Column(  # pyright: ignore[reportAssignmentType]
        Double, comment="The first measurement; null: older than this column"
    )
    flow_run_id: Named[Any | None] = Column(
        Uuid, comment="The run that met it, the newest of several; null: it was measured"
    )
    block_id: Named[Any | None] = Column(
        Uuid, comment="The block in Prefect that it is about; null: none"
    )
    parent_id: Named[IncidentId | None] = Column(
        id_of(IncidentId),
        ForeignKey("lanes.incident.id"),
        comment="The incident that explains it, as far as is known; it is told once that is over and it is not. null: none",
    )
    briefing: Named[Any | None] = Column(
        JSONB(none_as_null=True),
        comment="What Slack was told last of its cause, its stakes and its trend; null: nothing yet",
    )


incident = Table(
    "incident",
    metadata,
    IncidentColumns,
    one_of("promise", Promise),
    one_of("severity", Severity),
    one_of("state", IncidentState),
    Index(
        "uq_incident_open",
        "promise",
        "workload",
        "subject",
        unique=True,
        postgresql_where=text("state = 'open'"),
    ),
    Index(None, "opened_at"),
    comment="A breach of a promise; at most one is open per promise, workload and subject",
)


class OutageColumns(TypedColumns):
    id = identity(int)
    account: Named[str] = Column(Text, comment="The provider account that is not answered")
    model: Named[str] = Column(Text)
    began_at: Named[datetime] = Column(Moment)
    faulted_at: Named[datetime] = Column(Moment, comment="When the last call that counts faulted")
    faults: Named[int] = Column(
        Integer, comment="Calls in a row without an answer, as far as they count"
    )
    why: Named[str] = Column(Text, comment="What the last of them met")
    state: Named[CircuitState] = Column(
        Word(CircuitState),
        comment="Of its circuit. closed: calls are answered, a drain opens it again; resting: a drain probes it; "
        "probing: the prober, or the next one",
    )
    next_probe_at: Named[datetime | None] = Column(
        Moment, comment="No drain probes it before; null: its circuit is closed"
    )
    rests: Named[int] = Column(Integer, comment="In a row, each longer than the one before")
    turn: Named[int] = Column(
        Integer, comment="Rises with each change of its circuit; fences what was decided before"
    )
    over_at: Named[datetime | None] = Column(
        Moment,
        comment="When it was answered again and all that waited was asked; null: watch ends it",
    )


outage = Table(
    "outage",
    metadata,
    OutageColumns,
    one_of("state", CircuitState),
    CheckConstraint("(state = 'closed') = (next_probe_at is null)", name="probed_while_open"),
    Index(
        "uq_outage_open", "account", "model", unique=True, postgresql_where=text("over_at is null")
    ),
    Index("ix_outage_over", "model", "over_at"),
    comment="A model of an account that answered nobody for a while, with its circuit; without an open one, that is closed",
)


class SlackPostColumns(TypedColumns):
    incident_id: Named[IncidentId] = Column(
        id_of(IncidentId), ForeignKey(incident.c.id), primary_key=True
    )
    channel: Named[str | None] = Column(Text, comment="Where its message stands, as Slack's id")
    ts: Named[str | None] = Column(
        Text, comment="Slack's name for the message; null with a webhook"
    )
    posted_state: Named[IncidentState | None] = Column(
        Word(IncidentState), comment="What its message says: open or resolved; null = none"
    )
    posted_severity: Named[Severity | None] = Column(Word(Severity))
    posted_at: Named[datetime | None] = Column(Moment)
    unsure: Named[bool] = Column(
        server_default=text("false"), comment="A post began, its end is unknown: look first"
    )
    attempts: Named[int] = Column(
        Integer, server_default=text("0"), comment="Tries since the last that went well"
    )
    next_try_at: Named[datetime] = Column(Moment, comment="Not before")
    last_error: Named[str | None] = Column(Text, comment="Why the last try failed, and what to do")
    reminded_at: Named[datetime | None] = Column(
        Moment, comment="When people were last reminded in its thread"
    )


slack_post = Table(
    "slack_post",
    metadata,
    SlackPostColumns,
    one_of("posted_state", IncidentState),
    one_of("posted_severity", Severity),
    Index(
        "ix_slack_post_due",
        "next_try_at",
        postgresql_where=text("posted_state is distinct from 'resolved'"),
    ),
    comment="The Slack outbox: one row an incident, kept until its end was told",
)
