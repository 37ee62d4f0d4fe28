"""Tables of outgoing messages: incidents, outages, Slack posts, events out and webhooks; and positions in event streams."""

from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from lanes.ids import IncidentId, JobId, RolloutId
from lanes.promises.incident import Handling, IncidentState, Promise, Severity
from lanes.realtime.circuit import CircuitState
from lanes.store.tables.base import column, identity, index, table
from lanes.store.tables.items import job
from lanes.store.tables.rollouts import rollout


@table(
    index("uq_incident_open", "promise, workload, subject", unique=True, where="state = 'open'"),
    index(None, "opened_at"),
)
class incident(sa.TypedColumns):
    """A breach of a promise; at most one is open per promise, workload and subject."""

    id: sa.Named[IncidentId] = identity()
    uid: sa.Named[Any] = column(
        "Its name in Slack's metadata", type_=sa.Uuid, default="uuidv7()", unique=True
    )
    promise: sa.Named[Promise] = column("Which promise is broken")
    workload: sa.Named[str] = column("It may have no published version")
    subject: sa.Named[str] = column("Such as batch 41; empty: the whole workload", default="''")
    severity: sa.Named[Severity] = column("digest, warning or critical; the worst so far")
    state: sa.Named[IncidentState] = column("open: `watch` resolves it; resolved is final")
    value: sa.Named[float] = column("The newest measurement, in the promise's unit")
    limit_value: sa.Named[float] = column("What was promised, in the same unit")
    samples: sa.Named[int] = column(
        "Items, attempts or calls behind the value", type_=sa.BigInteger, default="0"
    )
    unit: sa.Named[str] = column("minutes, percent, seconds, items, calls, fields or sessions")
    sentence: sa.Named[str] = column("What is wrong; after the end, how it ended")
    opened_at: sa.Named[datetime]
    updated_at: sa.Named[datetime] = column("When anything of it last changed")
    resolved_at: sa.Named[datetime | None]
    why: sa.Named[str | None] = column("The cause; null: the briefing says it")
    opened_value: sa.Named[float | None] = column("The first measurement")
    flow_run_id: sa.Named[Any | None] = column(
        "The newest run that met it; null: it was measured", type_=sa.Uuid
    )
    block_id: sa.Named[Any | None] = column("The block in Prefect that it is about", type_=sa.Uuid)
    parent_id: sa.Named[IncidentId | None] = column(
        "The incident that explains it; it is posted if it outlasts that",
        sa.ForeignKey("lanes.incident.id"),
    )
    briefing: sa.Named[Any | None] = column(
        "Cause, stakes and trend as last posted", type_=JSONB(none_as_null=True)
    )
    handling: sa.Named[Handling | None] = column("What a person said about it last; null: nothing")
    handled_by: sa.Named[str | None] = column("Who said it")
    handled_why: sa.Named[str | None]
    handled_at: sa.Named[datetime | None]
    handled_until: sa.Named[datetime | None] = column("From then on it is told again if still open")


@table(
    sa.CheckConstraint("(state = 'closed') = (next_probe_at is null)", name="probed_while_open"),
    index("uq_outage_open", "account, model", unique=True, where="over_at is null"),
    index("ix_outage_over", "model, over_at"),
)
class outage(sa.TypedColumns):
    """A period in which an account's model did not answer, with its circuit."""

    id: sa.Named[int] = identity()
    account: sa.Named[str] = column("The account that got no answers")
    model: sa.Named[str]
    began_at: sa.Named[datetime]
    faulted_at: sa.Named[datetime] = column("When the last call failed")
    faults: sa.Named[int] = column("Failed calls in a row")
    why: sa.Named[str] = column("The last failure")
    state: sa.Named[CircuitState] = column(
        "The circuit: closed (calls pass), resting (until a probe) or probing"
    )
    next_probe_at: sa.Named[datetime | None] = column(
        "When a drain may probe; null: the circuit is closed"
    )
    rests: sa.Named[int] = column("Rests in a row, each longer than the last")
    turn: sa.Named[int] = column("Rises with each change of the circuit; fences older decisions")
    host: sa.Named[str | None] = column("The host whose calls alone failed; null: several")
    over_at: sa.Named[datetime | None] = column("When it ended; null: `watch` ends it")


@table(index("ix_slack_post_due", "next_try_at", where="posted_state is distinct from 'resolved'"))
class slack_post(sa.TypedColumns):
    """The Slack outbox of incidents: one row per incident, until its resolution is posted."""

    incident_id: sa.Named[IncidentId] = sa.Column(sa.ForeignKey(incident.c.id), primary_key=True)
    channel: sa.Named[str | None] = column("Slack's id of the channel")
    ts: sa.Named[str | None] = column("Slack's id of the message; null: by webhook")
    posted_state: sa.Named[IncidentState | None] = column("The state in its message; null: none")
    posted_severity: sa.Named[Severity | None]
    posted_at: sa.Named[datetime | None]
    unsure: sa.Named[bool] = column("A post may have gone through: look first", default="false")
    attempts: sa.Named[int] = column("Failed tries in a row", default="0")
    next_try_at: sa.Named[datetime] = column("Not before")
    last_error: sa.Named[str | None] = column("Why the last try failed, or why details are missing")
    reminded_at: sa.Named[datetime | None] = column("When its thread was last reminded")


@table(index("ix_slack_note_due", "next_try_at, id", where="next_try_at is not null"))
class slack_note(sa.TypedColumns):
    """Slack messages that are not about an incident. Replies are deleted once they are sent."""

    id: sa.Named[int] = identity()
    uid: sa.Named[Any] = column(
        "Its name in Slack's metadata", type_=sa.Uuid, default="uuidv7()", unique=True
    )
    rollout_id: sa.Named[RolloutId | None] = column(
        "The rollout whose message it is", sa.ForeignKey(rollout.c.id), unique=True
    )
    job_id: sa.Named[JobId | None] = column(
        "The job whose message it is", sa.ForeignKey(job.c.id), unique=True
    )
    day: sa.Named[date | None] = column("The day of a daily digest", unique=True)
    content: sa.Named[Any | None] = column(
        "What it says; null: its rollout or job says it", type_=JSONB(none_as_null=True)
    )
    channel: sa.Named[str | None] = column("Where it goes, or digest; null: the channel of all")
    thread_ts: sa.Named[str | None] = column("The message to which it replies")
    ts: sa.Named[str | None] = column(
        "Slack's id of the message of a rollout or job; null: not posted"
    )
    events: sa.Named[int] = column(
        "The newest event of its rollout that was told", type_=sa.BigInteger, default="0"
    )
    shown_at: sa.Named[datetime | None] = column("When it showed its job or rollout last")
    ended_at: sa.Named[datetime | None] = column("The end of its job that was told last")
    created_at: sa.Named[datetime]
    unsure: sa.Named[bool] = column("A try may have gone through: look first", default="false")
    attempts: sa.Named[int] = column("Failed tries in a row", default="0")
    next_try_at: sa.Named[datetime | None] = column("Not before; null: there is nothing to send")
    last_error: sa.Named[str | None] = column("Why the last try failed, and what to do")


# Precedence of an event. The payload of an answer has the key `ack` if the sender set `ack`.
PRECEDENCE = """
case when not starts_with(event, 'lanes.item.') then 0
     when event = 'lanes.item.answered' and not payload ? 'ack' then 2
     else 1 end
"""


@table(index("ix_event_outbox_first", "precedence, id", where="precedence < 2"))
class event_outbox(sa.TypedColumns):
    """Outgoing events, written in their fact's transaction and deleted once Prefect has received them."""

    id: sa.Named[Any] = column(
        "The event's id in Prefect", type_=sa.Uuid, default="uuidv7()", primary_key=True
    )
    event: sa.Named[str]
    resource: sa.Named[str]
    payload: sa.Named[Any]
    occurred_at: sa.Named[datetime]
    precedence: sa.Named[int] = column(
        "0: about a lane; 1: about an item; 2: answers without ack",
        sa.Computed(PRECEDENCE, persisted=True),
        type_=sa.SmallInteger,
        nullable=False,
    )


@table()
class webhook(sa.TypedColumns):
    """A subscriber that gets events as signed requests. Its address and secrets are in Prefect's block `lanes-webhook-NAME`."""

    id: sa.Named[int] = identity()
    name: sa.Named[str] = column(unique=True)
    host: sa.Named[str] = column("Scheme, host and port of its address; the rest may be secret")
    types: sa.Named[list[str]] = column("The names of the events that it gets")
    workload: sa.Named[str | None] = column("Only events about this workload; null: about any")
    consumer: sa.Named[str | None] = column("Only events about its items; null: of any")
    allows_private: sa.Named[bool] = column("It may be in a private network, and without TLS")
    sends_outputs: sa.Named[bool] = column("Events of answers hold the answer")
    secrets_no: sa.Named[int] = column("Rises when its block changes", default="1")
    position: sa.Named[int] = column(
        "Events up to it were delivered, given up, or are in webhook_try", type_=sa.BigInteger
    )
    failures: sa.Named[int] = column("Failed requests in a row", default="0")
    rests: sa.Named[int] = column("Rests of its circuit in a row; 0: it is closed", default="0")
    rest_until: sa.Named[datetime | None] = column("Nothing is sent before")
    gone_at: sa.Named[datetime | None] = column("When it said that it is gone: nothing is sent")
    last_error: sa.Named[str | None] = column("Why the last request failed")
    delivered_at: sa.Named[datetime | None] = column("When it took an event last")
    holder: sa.Named[str | None] = column("Who delivers to it, or did last")
    lease_until: sa.Named[datetime | None] = column("When another may deliver to it")
    created_at: sa.Named[datetime]


@table(index("ix_webhook_event_new", "id", where="position is null"))
class webhook_event(sa.TypedColumns):
    """Events for webhooks, written in their fact's transaction and kept for replays; `tidy` deletes them by age."""

    id: sa.Named[Any] = column("The event's id, and webhook-id", type_=sa.Uuid, primary_key=True)
    position: sa.Named[int | None] = column(
        "Its place in the order of all, given once it was committed",
        type_=sa.BigInteger,
        unique=True,
    )
    event: sa.Named[str]
    resource: sa.Named[str]
    payload: sa.Named[Any]
    consumer: sa.Named[str | None] = column("The consumer of its item; null: it has none")
    occurred_at: sa.Named[datetime]


@table(index(None, "webhook_id, subject"))
class webhook_try(sa.TypedColumns):
    """Events that a webhook did not accept, or that wait behind another waiting event of the same subject."""

    position: sa.Named[int] = column(
        None,
        sa.ForeignKey(webhook_event.c.position, ondelete="cascade"),
        type_=sa.BigInteger,
        primary_key=True,
    )
    webhook_id: sa.Named[int] = column(
        None, sa.ForeignKey(webhook.c.id, ondelete="cascade"), type_=sa.BigInteger, primary_key=True
    )
    subject: sa.Named[str] = column("The item, job or incident whose events keep their order")
    attempts: sa.Named[int]
    next_try_at: sa.Named[datetime | None] = column("Not before; null: it was given up")
    last_error: sa.Named[str | None]


@table()
class publisher(sa.TypedColumns):
    """The lease of the process that may publish from an outbox now; it replaces a lock."""

    name: sa.Named[str] = column("The outbox: events", primary_key=True)
    holder: sa.Named[str | None] = column("Who publishes, or did last")
    lease_until: sa.Named[datetime | None] = column("When another may publish")
    paced_until: sa.Named[datetime | None] = column("The pace allows the next events from then on")


@table()
class watermark(sa.TypedColumns):
    """Positions up to which the event stream or a table was read, and the last ticks of standing runs."""

    name: sa.Named[str] = sa.Column(primary_key=True)
    seen_until: sa.Named[datetime] = column(
        "Events before it were read; of `collect` and `watch`: the last look"
    )
    position: sa.Named[int | None] = column(
        "Of a table: the last id that was read; of `watch`: when it began to look, in seconds since 1970",
        type_=sa.BigInteger,
    )


@table()
class stored_span(sa.TypedColumns):
    """Time spans of the event stream that were read; a span that has grown is read again."""

    start_at: sa.Named[datetime] = column("Of five minutes", primary_key=True)
    events: sa.Named[int] = column("Events in it when it was read")
