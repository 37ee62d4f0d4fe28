"""What is told to others: incidents and outages, Slack posts, events out; and how far the event stream was read."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Double,
    ForeignKey,
    Integer,
    Named,
    SmallInteger,
    Text,
    TypedColumns,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

from lanes.ids import IncidentId
from lanes.promises.incident import IncidentState, Promise, Severity
from lanes.realtime.circuit import CircuitState
from lanes.store.tables.base import Moment, Word, column, id_of, identity, index, table


class IncidentColumns(TypedColumns):
    id = identity(IncidentId)
    uid: Named[Any] = column(Uuid, "Its name in Slack's metadata", default="uuidv7()", unique=True)
    promise: Named[Promise] = column(Word(Promise), "Which promise is broken")
    workload: Named[str] = column(Text, "It may have no published version")
    subject: Named[str] = column(Text, "Such as batch 41; empty: the whole workload", default="''")
    severity: Named[Severity] = column(Word(Severity), "warning or critical; the worst so far")
    state: Named[IncidentState] = column(
        Word(IncidentState), "open: `watch` resolves it; resolved is final"
    )
    value: Named[float] = column(Double, "The newest measurement, in the promise's unit")
    limit_value: Named[float] = column(Double, "What was promised, in the same unit")
    samples: Named[int] = column(
        BigInteger, "Items, attempts or calls behind the value", default="0"
    )
    unit: Named[str] = column(Text, "minutes, percent, seconds, items, calls, fields or sessions")
    sentence: Named[str] = column(Text, "What is wrong; after the end, how it ended")
    opened_at: Named[datetime] = Column(Moment)
    updated_at: Named[datetime] = column(Moment, "When anything of it last changed")
    resolved_at: Named[datetime | None] = Column(Moment)
    why: Named[str | None] = column(Text, "The cause; null: the briefing says it")
    opened_value: Named[float | None] = column(Double, "The first measurement")
    flow_run_id: Named[Any | None] = column(
        Uuid, "The newest run that met it; null: it was measured"
    )
    block_id: Named[Any | None] = column(Uuid, "The block in Prefect that it is about")
    parent_id: Named[IncidentId | None] = column(
        id_of(IncidentId),
        "The incident that explains it; it is posted if it outlasts that",
        ForeignKey("lanes.incident.id"),
    )
    briefing: Named[Any | None] = column(
        JSONB(none_as_null=True), "Cause, stakes and trend as last posted"
    )


incident = table(
    "incident",
    IncidentColumns,
    "A breach of a promise; at most one is open per promise, workload and subject",
    index(
        "uq_incident_open", "promise", "workload", "subject", unique=True, where="state = 'open'"
    ),
    index(None, "opened_at"),
)


class OutageColumns(TypedColumns):
    id = identity(int)
    account: Named[str] = column(Text, "The account that got no answers")
    model: Named[str] = Column(Text)
    began_at: Named[datetime] = Column(Moment)
    faulted_at: Named[datetime] = column(Moment, "When the last call failed")
    faults: Named[int] = column(Integer, "Failed calls in a row")
    why: Named[str] = column(Text, "The last failure")
    state: Named[CircuitState] = column(
        Word(CircuitState), "The circuit: closed (calls pass), resting (until a probe) or probing"
    )
    next_probe_at: Named[datetime | None] = column(
        Moment, "When a drain may probe; null: the circuit is closed"
    )
    rests: Named[int] = column(Integer, "Rests in a row, each longer than the last")
    turn: Named[int] = column(
        Integer, "Rises with each change of the circuit; fences older decisions"
    )
    over_at: Named[datetime | None] = column(Moment, "When it ended; null: `watch` ends it")


outage = table(
    "outage",
    OutageColumns,
    "A time in which a model of an account did not answer, with its circuit",
    CheckConstraint("(state = 'closed') = (next_probe_at is null)", name="probed_while_open"),
    index("uq_outage_open", "account", "model", unique=True, where="over_at is null"),
    index("ix_outage_over", "model", "over_at"),
)


class SlackPostColumns(TypedColumns):
    incident_id: Named[IncidentId] = Column(
        id_of(IncidentId), ForeignKey(incident.c.id), primary_key=True
    )
    channel: Named[str | None] = column(Text, "Slack's id of the channel")
    ts: Named[str | None] = column(Text, "Slack's id of the message; null: by webhook")
    posted_state: Named[IncidentState | None] = column(
        Word(IncidentState), "The state in its message; null: none"
    )
    posted_severity: Named[Severity | None] = Column(Word(Severity))
    posted_at: Named[datetime | None] = Column(Moment)
    unsure: Named[bool] = column(
        Boolean, "A post may have gone through: look first", default="false"
    )
    attempts: Named[int] = column(Integer, "Failed tries in a row", default="0")
    next_try_at: Named[datetime] = column(Moment, "Not before")
    last_error: Named[str | None] = column(Text, "Why the last try failed, and what to do")
    reminded_at: Named[datetime | None] = column(Moment, "When its thread was last reminded")


slack_post = table(
    "slack_post",
    SlackPostColumns,
    "The Slack outbox: one row per incident, until its end was posted",
    index("ix_slack_post_due", "next_try_at", where="posted_state is distinct from 'resolved'"),
)


# An answer that was asked for by `ack` says so.
PRECEDENCE = """
case when not starts_with(event, 'lanes.item.') then 0
     when event = 'lanes.item.answered' and not payload ? 'ack' then 2
     else 1 end
"""


class OutboxColumns(TypedColumns):
    id: Named[Any] = column(Uuid, "The event's id in Prefect", default="uuidv7()", primary_key=True)
    event: Named[str] = Column(Text)
    resource: Named[str] = Column(Text)
    payload: Named[Any] = Column(JSONB)
    occurred_at: Named[datetime] = Column(Moment)
    precedence: Named[int] = column(
        SmallInteger,
        "0: about a lane; 1: about an item; 2: answers without ack",
        Computed(PRECEDENCE, persisted=True),
        nullable=False,
    )


event_outbox = table(
    "event_outbox",
    OutboxColumns,
    "Events out, written with the fact and deleted once Prefect has them",
    index("ix_event_outbox_first", "precedence", "id", where="precedence < 2"),
)


class PublisherColumns(TypedColumns):
    name: Named[str] = column(Text, "The outbox: events", primary_key=True)
    holder: Named[str | None] = column(Text, "Who publishes, or did last")
    lease_until: Named[datetime | None] = column(Moment, "When another may publish")
    paced_until: Named[datetime | None] = column(
        Moment, "The pace allows the next events from then on"
    )


publisher = table(
    "publisher", PublisherColumns, "Who may publish from an outbox now: a lease instead of a lock"
)


class WatermarkColumns(TypedColumns):
    name: Named[str] = Column(Text, primary_key=True)
    seen_until: Named[datetime] = column(Moment, "Events before it were read")


watermark = table("watermark", WatermarkColumns, "How far the event stream was read")


class StoredSpanColumns(TypedColumns):
    start_at: Named[datetime] = column(Moment, "Of five minutes", primary_key=True)
    events: Named[int] = column(Integer, "Events in it when it was read")


stored_span = table(
    "stored_span",
    StoredSpanColumns,
    "Spans of the event stream that were read; one that grew is read again",
)
