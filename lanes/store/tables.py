"""The tables of schema `lanes`. Every comment here is also in the database (`\\d+`)."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Named,
    Numeric,
    Sequence,
    Table,
    Text,
    TypedColumns,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

SCHEMA = "lanes"
metadata = MetaData(
    schema=SCHEMA,
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    },
)

Moment = DateTime(timezone=True)
Usd = Numeric(20, 10)


def _id() -> Column[int]:
    return Column(BigInteger, Identity(always=True), primary_key=True)


def _one_of(column: str, *values: str) -> CheckConstraint:
    return CheckConstraint(f"{column} in ({', '.join(repr(v) for v in values)})", name=f"{column}_known")


class WorkloadColumns(TypedColumns):
    name: Named[str] = Column(Text, primary_key=True, comment="What events, files and SQL call it")
    version_id: Named[int | None] = Column(BigInteger, comment="The version in force")
    paused_at: Named[datetime | None] = Column(Moment, comment="Since when nothing of it is claimed")
    submit_at: Named[datetime | None] = Column(
        Moment, comment="Some of its work could not be submitted: collect asks for a run of submit from then on"
    )
    created_at: Named[datetime] = Column(Moment)


workload = Table("workload", metadata, WorkloadColumns, comment="One kind of AI work")


class VersionColumns(TypedColumns):
    id = _id()
    workload: Named[str] = Column(Text, ForeignKey(workload.c.name))
    number: Named[int] = Column(Integer, comment="1, 2, 3 ... within the workload")
    hash: Named[str] = Column(Text, comment="SHA-256 of the canonical definition")
    spec: Named[Any] = Column(JSONB, comment="Instructions, schema, models, rules, promises")
    published_at: Named[datetime] = Column(Moment)


version = Table(
    "version", metadata, VersionColumns,
    UniqueConstraint("workload", "number"), UniqueConstraint("workload", "hash"),
    comment="An immutable snapshot of a workload; routes, work and results name theirs",
)  # fmt: skip


class SplitColumns(TypedColumns):
    id = _id()
    workload: Named[str] = Column(Text, ForeignKey(workload.c.name))
    consumer: Named[str | None] = Column(Text, comment="Whose items; null = every consumer's")
    basis_points: Named[int] = Column(Integer, comment="Share of undecided items to real-time, 0 to 10000")
    who: Named[str] = Column(Text)
    why: Named[str] = Column(Text)
    set_at: Named[datetime] = Column(Moment)


split = Table(
    "split", metadata, SplitColumns,
    CheckConstraint("basis_points between 0 and 10000", name="basis_points_range"),
    Index(None, "workload", "consumer", "id"),
    comment="Append-only; the newest row of a (workload, consumer) is in force",
)  # fmt: skip


class ItemColumns(TypedColumns):
    id = _id()
    workload: Named[str] = Column(Text, ForeignKey(workload.c.name))
    key: Named[str] = Column(Text, comment="Names the item within its workload")
    payload: Named[Any] = Column(JSONB, comment="The revision of the input that is in force")
    content_hash: Named[bytes] = Column(LargeBinary, comment="SHA-256 of the first payload: same key, same content?")
    revision: Named[int] = Column(Integer, server_default=text("0"), comment="Which is in force: 0, or an amendment's")
    as_of: Named[datetime | None] = Column(
        Moment, comment="When the amendment in force occurred: an older one is outdated. Null: there is none"
    )
    consumer: Named[str | None] = Column(Text, comment="Who reads the result")
    entity: Named[str | None] = Column(Text, comment="Whom the item is about; keeps the split sticky")
    urgent: Named[bool] = Column(server_default=text("false"))
    pin: Named[str | None] = Column(Text, comment="The lane its sender asked for")
    due_at: Named[datetime | None] = Column(Moment)
    occurred_at: Named[datetime] = Column(Moment, comment="Event time; default received_at")
    received_at: Named[datetime] = Column(Moment, comment="When its admission was committed")
    source: Named[str] = Column(Text, comment="The door: event, sql, client or a file's name")
    position: Named[int | None] = Column(BigInteger, comment="Order of the stream, given by the router")
    result_id: Named[int | None] = Column(BigInteger, comment="Its current result")
    answered_at: Named[datetime | None] = Column(Moment, comment="When a first answer stood")
    settled_at: Named[datetime | None] = Column(Moment, comment="When an authoritative answer stood")
    failed_at: Named[datetime | None] = Column(Moment, comment="When its work was given up")
    canceled_at: Named[datetime | None] = Column(Moment)
    forgotten_at: Named[datetime | None] = Column(
        Moment, comment="When what it said was erased; null: never. Nothing of it is written again"
    )
    failure: Named[str | None] = Column(Text, comment="Why it failed, or why its authoritative pass did")


item_position = Sequence("item_position", metadata=metadata)
item = Table(
    "item", metadata, ItemColumns,
    UniqueConstraint("workload", "key"),
    _one_of("pin", "realtime", "batch"),
    # Partial, so that giving a position changes no key: it never waits for those who only name the item.
    Index("uq_item_position", "position", unique=True, postgresql_where=text("position is not null")),
    Index("ix_item_received", "workload", text("urgent desc"), "due_at", "id",
          postgresql_where=text("position is null and canceled_at is null")),
    Index("ix_item_failed", "workload", "failed_at", postgresql_where=text("failed_at is not null")),
    Index("ix_item_entity", "workload", "entity", "occurred_at", postgresql_where=text("entity is not null")),
    comment="One input of a workload",
)  # fmt: skip


class RouteColumns(TypedColumns):
    id = _id()
    item_id: Named[int] = Column(BigInteger, ForeignKey(item.c.id))
    version_id: Named[int] = Column(BigInteger, ForeignKey(version.c.id))
    lane: Named[str] = Column(Text)
    reason: Named[str] = Column(Text, comment="Which rule decided")
    explanation: Named[str] = Column(Text, comment="The decision as a sentence")
    realtime_usd: Named[Decimal] = Column(Usd, comment="What real-time would cost, estimated")
    batch_usd: Named[Decimal] = Column(Usd, comment="What batch would cost, estimated")
    decided_at: Named[datetime] = Column(Moment)


route = Table(
    "route", metadata, RouteColumns,
    _one_of("lane", "realtime", "batch"),
    Index(None, "item_id", "id"),
    Index("ix_route_fallback", "decided_at", postgresql_where=text("reason = 'fallback'")),
    comment="Append-only decisions; the newest of an item is in force",
)  # fmt: skip


class BatchColumns(TypedColumns):
    id = _id()
    nonce: Named[str] = Column(Text, unique=True, comment="First part of every custom_id: proves the batch is ours")
    account: Named[str] = Column(Text, comment="Name of the provider account that pays; key:... = not named yet")
    workload: Named[str] = Column(Text, ForeignKey(workload.c.name))
    version_id: Named[int] = Column(BigInteger, ForeignKey(version.c.id))
    model: Named[str] = Column(Text)
    state: Named[str] = Column(
        Text,
        comment="intended: submit or collect moves it; submitted, ended: collect; held: a "
        "person; superseded: collect, without its work; collected, released: nobody",
    )
    requests: Named[int] = Column(Integer)
    items: Named[int] = Column(Integer)  # pyright: ignore[reportIncompatibleMethodOverride]
    bytes: Named[int] = Column(BigInteger, comment="Size of the request bodies, as JSON")
    body_hash: Named[str] = Column(Text, comment="SHA-256 of the request bodies")
    pack_ids: Named[str] = Column(
        Text,
        server_default=text("'counted'"),
        comment="How its packs name their items: counted (1, 2, 3 ...) or derived (from its nonce, the request and the slot)",
    )
    provider_batch_id: Named[str | None] = Column(Text, unique=True)
    processed: Named[int] = Column(Integer, server_default=text("0"), comment="Requests no longer processing")
    succeeded: Named[int] = Column(Integer, server_default=text("0"), comment="Items with a valid answer")
    invalid: Named[int] = Column(Integer, server_default=text("0"), comment="Items whose answer was unusable")
    errored: Named[int] = Column(Integer, server_default=text("0"))
    canceled: Named[int] = Column(Integer, server_default=text("0"))
    expired: Named[int] = Column(Integer, server_default=text("0"))
    missing: Named[int] = Column(Integer, server_default=text("0"), comment="Items without any result")
    short_reads: Named[int] = Column(
        Integer, server_default=text("0"), comment="How often in a row its results ended without the same requests"
    )
    short_read_lacking: Named[str | None] = Column(Text, comment="SHA-256 of the numbers of those requests")
    short_read_at: Named[datetime | None] = Column(Moment, comment="When that was last counted")
    intended_at: Named[datetime] = Column(Moment)
    create_ended_at: Named[datetime | None] = Column(Moment, comment="When its create ended without an answer")
    searched_at: Named[datetime | None] = Column(Moment, comment="When the provider's list was last searched for it")
    adopted_at: Named[datetime | None] = Column(Moment, comment="When it was taken for a batch of the provider's list")
    proved_at: Named[datetime | None] = Column(Moment, comment="When its nonce, or its create's answer, proved that right")
    unknown_since: Named[datetime | None] = Column(Moment, comment="Since when the provider says that it has no such batch")
    cancel_at: Named[datetime | None] = Column(Moment, comment="From when on collect cancels it at the provider")
    submitted_at: Named[datetime | None] = Column(Moment)
    expected_end_at: Named[datetime | None] = Column(Moment)
    ended_at: Named[datetime | None] = Column(Moment)
    collected_at: Named[datetime | None] = Column(Moment)
    note: Named[str | None] = Column(Text, comment="What a person should know of it")
    flow_run_id: Named[Any | None] = Column(Uuid, comment="The run of submit that intended it; null: older than this column")


batch = Table(
    "batch", metadata, BatchColumns,
    _one_of("state", "intended", "submitted", "ended", "collected", "held", "superseded", "released"),
    Index("uq_batch_unresolved", "account", unique=True, postgresql_where=text("state = 'intended'")),
    Index("uq_batch_unresolved_requests", "account", "requests", unique=True,
          postgresql_where=text("state in ('intended', 'held') or "
                                "(state in ('submitted', 'ended') and adopted_at is not null and proved_at is null)")),
    Index("ix_batch_open", "state", postgresql_where=text("state <> 'collected'")),
    comment="One Message Batch: its intent is committed before the paid call",
)  # fmt: skip


class DisownedColumns(TypedColumns):
    account: Named[str] = Column(Text, primary_key=True)
    provider_batch_id: Named[str] = Column(Text, primary_key=True)
    batch_id: Named[int] = Column(BigInteger, ForeignKey(batch.c.id), comment="Which batch of ours was taken for it")
    disowned_at: Named[datetime] = Column(Moment)


disowned = Table(
    "disowned", metadata, DisownedColumns,
    comment="Batches at the provider that are somebody else's: none of ours is taken for them again",
)  # fmt: skip


class WorkColumns(TypedColumns):
    id = _id()
    item_id: Named[int] = Column(BigInteger, ForeignKey(item.c.id))
    workload: Named[str] = Column(Text, ForeignKey(workload.c.name))
    version_id: Named[int] = Column(BigInteger, ForeignKey(version.c.id))
    lane: Named[str] = Column(Text)
    purpose: Named[str] = Column(Text, comment="answer, authoritative, shadow or replay")
    revision: Named[int] = Column(Integer, comment="Which revision of the item it processes")
    generation: Named[int] = Column(Integer, server_default=text("0"), comment="0 = live, else a replay's number")
    state: Named[str] = Column(
        Text,
        comment="ready: drain or submit claims it; claimed: until lease_until; "
        "submitted: collect moves it; done, failed, canceled: nobody",
    )
    ready_at: Named[datetime] = Column(Moment, comment="Not before")
    rank_at: Named[datetime] = Column(Moment, comment="Order of service, computed once at routing")
    claimed_by: Named[str | None] = Column(Text)
    session: Named[int | None] = Column(Integer, comment="Database session of its claimer: once gone, the claim is lost")
    lease_until: Named[datetime | None] = Column(Moment)
    claim_no: Named[int] = Column(Integer, server_default=text("0"), comment="Rises with every claim; fences writes")
    failures: Named[int] = Column(Integer, server_default=text("0"), comment="Spent of the retry budget")
    alone: Named[bool] = Column(server_default=text("false"), comment="It may have spoiled its pack: it is asked alone")
    batch_id: Named[int | None] = Column(BigInteger, ForeignKey(batch.c.id), comment="The batch that owns it")
    created_at: Named[datetime] = Column(Moment)
    finished_at: Named[datetime | None] = Column(Moment)


work = Table(
    "work", metadata, WorkColumns,
    _one_of("lane", "realtime", "batch"),
    _one_of("purpose", "answer", "authoritative", "shadow", "replay"),
    _one_of("state", "ready", "claimed", "submitted", "done", "failed", "canceled"),
    Index("ix_work_claimable", "lane", "workload", "rank_at", "id",
          postgresql_where=text("state in ('ready', 'claimed')")),
    Index("uq_work_open", "item_id", "lane", "purpose", "generation", "revision", unique=True,
          postgresql_where=text("state in ('ready', 'claimed', 'submitted')")),
    Index("ix_work_submitted", "batch_id", postgresql_where=text("state = 'submitted'")),
    Index("ix_work_claimed", "id", postgresql_where=text("state = 'claimed'")),
    Index("ix_work_replay", "workload", "generation", "state", postgresql_where=text("generation > 0")),
    Index(None, "item_id"),
    comment="One obligation to process an item on a lane",
)  # fmt: skip


class BatchMemberColumns(TypedColumns):
    batch_id: Named[int] = Column(BigInteger, ForeignKey(batch.c.id), primary_key=True)
    request_no: Named[int] = Column(Integer, primary_key=True, comment="Last part of the custom_id, from 0")
    slot: Named[int] = Column(Integer, primary_key=True, comment="Place within the pack, from 0")
    work_id: Named[int] = Column(BigInteger, ForeignKey(work.c.id))
    claim_no: Named[int] = Column(Integer, comment="The claim under which the batch owns it")


batch_member = Table(
    "batch_member", metadata, BatchMemberColumns,
    comment="Which work each request of a batch carries; kept so that late results find their items",
)  # fmt: skip


class ResponseColumns(TypedColumns):
    id = _id()
    message_id: Named[str] = Column(Text, unique=True, comment="The provider's name for it: billed once, booked once")
    workload: Named[str] = Column(Text)
    lane: Named[str] = Column(Text)
    purpose: Named[str] = Column(Text)
    model: Named[str] = Column(Text)
    batch_id: Named[int | None] = Column(BigInteger, ForeignKey(batch.c.id))
    items: Named[int] = Column(  # pyright: ignore[reportIncompatibleMethodOverride]
        Integer, comment="How many items shared the call"
    )
    input_tokens: Named[int] = Column(Integer)
    output_tokens: Named[int] = Column(Integer)
    cache_read_tokens: Named[int] = Column(Integer)
    cache_write_tokens: Named[int] = Column(Integer)
    cost_usd: Named[Decimal] = Column(Usd)
    price_version: Named[str] = Column(Text)
    billed_at: Named[datetime] = Column(Moment)


response = Table(
    "response", metadata, ResponseColumns,
    Index(None, "workload", "billed_at"),
    comment="The ledger: every billed response that reached us, once",
)  # fmt: skip


class AttemptColumns(TypedColumns):
    id = _id()
    work_id: Named[int] = Column(BigInteger, ForeignKey(work.c.id))
    item_id: Named[int] = Column(BigInteger, ForeignKey(item.c.id))
    claim_no: Named[int] = Column(Integer)
    workload: Named[str] = Column(Text)
    lane: Named[str] = Column(Text)
    purpose: Named[str] = Column(Text)
    outcome: Named[str] = Column(Text)
    error: Named[str | None] = Column(Text)
    request_id: Named[str | None] = Column(Text)
    message_id: Named[str | None] = Column(Text)
    batch_id: Named[int | None] = Column(BigInteger, ForeignKey(batch.c.id))
    model: Named[str] = Column(Text)
    input_tokens: Named[int] = Column(Integer)
    output_tokens: Named[int] = Column(Integer)
    cache_read_tokens: Named[int] = Column(Integer)
    cache_write_tokens: Named[int] = Column(Integer)
    cost_usd: Named[Decimal] = Column(Usd, comment="Its part of the response's cost")
    bound_usd: Named[Decimal] = Column(Usd, comment="Unknown attempts: the most it can have cost, not in spend")
    shown: Named[bool] = Column(comment="Whether its answer became a result")
    latency_ms: Named[int] = Column(Integer, comment="The provider call; batch: submitted to ended")
    started_at: Named[datetime] = Column(Moment)
    ended_at: Named[datetime] = Column(Moment)
    flow_run_id: Named[Any | None] = Column(
        Uuid, comment="The run that saved it; null: none did, or it is older than this column"
    )


attempt = Table(
    "attempt", metadata, AttemptColumns,
    Index(None, "item_id"), Index(None, "workload", "lane", "ended_at"),
    Index("uq_attempt_once", "work_id", "claim_no", text("coalesce(message_id, '')"), unique=True),
    comment="One try at some work; a claim has one attempt for each response, and one at most without any",
)  # fmt: skip


class ResultColumns(TypedColumns):
    id = _id()
    item_id: Named[int] = Column(BigInteger, ForeignKey(item.c.id))
    work_id: Named[int] = Column(BigInteger, ForeignKey(work.c.id))
    version_id: Named[int] = Column(BigInteger, ForeignKey(version.c.id))
    lane: Named[str] = Column(Text)
    standing: Named[str] = Column(Text)
    generation: Named[int] = Column(Integer)
    revision: Named[int] = Column(Integer)
    output: Named[Any] = Column(JSONB)
    message_id: Named[str | None] = Column(Text)
    created_at: Named[datetime] = Column(Moment)


result = Table(
    "result", metadata, ResultColumns,
    UniqueConstraint("item_id", "generation", "revision", "standing"),
    _one_of("standing", "provisional", "authoritative"),
    Index("ix_result_overlay", "generation", "item_id", postgresql_where=text("generation > 0")),
    comment="Answers that stood; the first valid one of a standing wins",
)  # fmt: skip


class CorrectionColumns(TypedColumns):
    id = _id()
    item_id: Named[int] = Column(BigInteger, ForeignKey(item.c.id))
    generation: Named[int] = Column(Integer)
    provisional_id: Named[int] = Column(BigInteger, ForeignKey(result.c.id))
    authoritative_id: Named[int] = Column(BigInteger, ForeignKey(result.c.id))
    changed_fields: Named[list[str]] = Column(ARRAY(Text))
    distance: Named[float] = Column(Double, comment="Share of the compared fields that changed, 0 to 1")
    corrected_at: Named[datetime] = Column(Moment)


correction = Table(
    "correction", metadata, CorrectionColumns,
    UniqueConstraint("item_id", "authoritative_id"),
    comment="An authoritative result replaced a different provisional one",
)  # fmt: skip


class RejectedColumns(TypedColumns):
    id = _id()
    workload: Named[str | None] = Column(Text)
    key: Named[str | None] = Column(Text, comment="The key it came with, if any was read")
    source: Named[str] = Column(Text, comment="The door: event, sql, client or a file's name")
    place: Named[str] = Column(Text, comment="Event id, line number or key")
    reason: Named[str] = Column(Text, comment="One word")
    detail: Named[str] = Column(Text, comment="What is wrong and what to do")
    content: Named[str] = Column(Text, comment="The input as it came, cut at 64 KiB")
    rejected_at: Named[datetime] = Column(Moment)


rejected = Table(
    "rejected", metadata, RejectedColumns,
    Index(None, "source", "place"), Index(None, "key"),
    comment="Inputs that no door admitted",
)  # fmt: skip


class LabelColumns(TypedColumns):
    id = _id()
    item_id: Named[int] = Column(BigInteger, ForeignKey(item.c.id))
    expected: Named[Any] = Column(JSONB, comment="Output fields and what was right")
    source: Named[str] = Column(Text, comment="Who says so")
    labeled_at: Named[datetime] = Column(Moment)


label = Table(
    "label", metadata, LabelColumns,
    UniqueConstraint("item_id", "source"),
    comment="What somebody says was right, for accuracy",
)  # fmt: skip


class ReadColumns(TypedColumns):
    id = _id()
    item_id: Named[int] = Column(BigInteger, ForeignKey(item.c.id))
    reader: Named[str] = Column(Text, comment="Who asked")
    result_id: Named[int | None] = Column(BigInteger, ForeignKey(result.c.id), comment="Null: there was none yet")
    read_at: Named[datetime] = Column(Moment)


read = Table(
    "read", metadata, ReadColumns,
    Index(None, "item_id"), Index(None, "reader", "read_at"),
    comment="The consumption ledger: a reader took a result",
)  # fmt: skip


class OutboxColumns(TypedColumns):
    id: Named[Any] = Column(Uuid, primary_key=True, server_default=func.uuidv7(), comment="The event's id in Prefect")
    event: Named[str] = Column(Text)
    resource: Named[str] = Column(Text)
    payload: Named[Any] = Column(JSONB)
    occurred_at: Named[datetime] = Column(Moment)


event_outbox = Table(
    "event_outbox", metadata, OutboxColumns,
    comment="Events out, written with the fact and deleted once Prefect took them",
)  # fmt: skip


class PublisherColumns(TypedColumns):
    name: Named[str] = Column(Text, primary_key=True, comment="What is published: events")
    holder: Named[str | None] = Column(Text, comment="Who publishes it, or did last; null: nobody yet")
    lease_until: Named[datetime | None] = Column(Moment, comment="Until when nobody else does; null or past: the next who asks")


publisher = Table(
    "publisher", metadata, PublisherColumns,
    comment="Whose turn it is to publish what waits in an outbox: no lock is held while it is told to others",
)  # fmt: skip


class WatermarkColumns(TypedColumns):
    name: Named[str] = Column(Text, primary_key=True)
    seen_until: Named[datetime] = Column(Moment, comment="Events that occurred before were read")


watermark = Table("watermark", metadata, WatermarkColumns, comment="How far the event stream was read")


class StoredSpanColumns(TypedColumns):
    start_at: Named[datetime] = Column(Moment, primary_key=True, comment="The span is five minutes long")
    events: Named[int] = Column(Integer, comment="How many events Prefect's store held when it was read")


stored_span = Table(
    "stored_span", metadata, StoredSpanColumns,
    comment="Spans of the event stream that were read whole; one that grew since is read again. Kept for a day",
)  # fmt: skip


class IncidentColumns(TypedColumns):
    id = _id()
    uid: Named[Any] = Column(Uuid, unique=True, server_default=func.uuidv7(), comment="Its name in Slack's metadata")
    promise: Named[str] = Column(Text, comment="Which promise is broken")
    workload: Named[str] = Column(Text, comment="Whose; it may have no published version")
    subject: Named[str] = Column(Text, server_default=text("''"), comment="Such as batch 41; empty = all of it")
    severity: Named[str] = Column(Text, comment="warning or critical; the worst so far")
    state: Named[str] = Column(Text, comment="open: watch resolves it when it is over; resolved: nobody")
    value: Named[float] = Column(Double, comment="The newest measurement, in the promise's unit")
    limit_value: Named[float] = Column(Double, comment="What was promised, in the same unit")
    samples: Named[int] = Column(
        BigInteger, server_default=text("0"), comment="What the value was measured over: items, attempts or calls"
    )
    unit: Named[str] = Column(Text, comment="minutes, percent, seconds, items, calls or fields")
    sentence: Named[str] = Column(Text, comment="What is wrong, for a person; after the end: how it ended")
    opened_at: Named[datetime] = Column(Moment)
    updated_at: Named[datetime] = Column(Moment, comment="When value, severity, state or sentence last changed")
    resolved_at: Named[datetime | None] = Column(Moment)
    why: Named[str | None] = Column(Text, comment="What its opener met, in words; null: its briefing says why")
    opened_value: Named[float | None] = Column(  # pyright: ignore[reportAssignmentType]
        Double, comment="The first measurement; null: older than this column"
    )
    flow_run_id: Named[Any | None] = Column(Uuid, comment="The run that met it, the newest of several; null: it was measured")
    block_id: Named[Any | None] = Column(Uuid, comment="The block in Prefect that it is about; null: none")
    briefing: Named[Any | None] = Column(
        JSONB(none_as_null=True),
        comment="What Slack was told last of its cause, its stakes and its trend; null: nothing yet",
    )


incident = Table(
    "incident", metadata, IncidentColumns,
    _one_of("severity", "warning", "critical"),
    _one_of("state", "open", "resolved"),
    Index("uq_incident_open", "promise", "workload", "subject", unique=True, postgresql_where=text("state = 'open'")),
    Index(None, "opened_at"),
    comment="A breach of a promise; at most one is open per promise, workload and subject",
)  # fmt: skip


class OutageColumns(TypedColumns):
    id = _id()
    account: Named[str] = Column(Text, comment="The provider account that is not answered")
    model: Named[str] = Column(Text)
    began_at: Named[datetime] = Column(Moment)
    faulted_at: Named[datetime] = Column(Moment, comment="When the last call faulted")
    faults: Named[int] = Column(Integer, comment="Calls in a row without an answer, as one drain saw it last")
    why: Named[str] = Column(Text, comment="What the last of them met")
    over_at: Named[datetime | None] = Column(
        Moment, comment="When it was answered again and all that waited was asked; null: watch ends it"
    )


outage = Table(
    "outage", metadata, OutageColumns,
    Index("uq_outage_open", "account", "model", unique=True, postgresql_where=text("over_at is null")),
    Index("ix_outage_over", "model", "over_at"),
    comment="A model of an account that answered nobody for a while",
)  # fmt: skip


class SlackPostColumns(TypedColumns):
    incident_id: Named[int] = Column(BigInteger, ForeignKey(incident.c.id), primary_key=True)
    channel: Named[str | None] = Column(Text, comment="Where its message stands, as Slack's id")
    ts: Named[str | None] = Column(Text, comment="Slack's name for the message; null with a webhook")
    posted_state: Named[str | None] = Column(Text, comment="What its message says: open or resolved; null = none")
    posted_severity: Named[str | None] = Column(Text)
    posted_value: Named[float | None] = Column(Double)  # pyright: ignore[reportAssignmentType]
    posted_samples: Named[int | None] = Column(BigInteger)
    posted_at: Named[datetime | None] = Column(Moment)
    unsure: Named[bool] = Column(server_default=text("false"), comment="A post began, its end is unknown: look first")
    attempts: Named[int] = Column(Integer, server_default=text("0"), comment="Tries since the last that went well")
    next_try_at: Named[datetime] = Column(Moment, comment="Not before")
    last_error: Named[str | None] = Column(Text, comment="Why the last try failed, and what to do")
    reminded_at: Named[datetime | None] = Column(Moment, comment="When people were last reminded in its thread")


slack_post = Table(
    "slack_post", metadata, SlackPostColumns,
    Index("ix_slack_post_due", "next_try_at", postgresql_where=text("posted_state is distinct from 'resolved'")),
    comment="The Slack outbox: one row an incident, kept until its end was told",
)  # fmt: skip


class RevisionColumns(TypedColumns):
    item_id: Named[int] = Column(BigInteger, ForeignKey(item.c.id), primary_key=True)
    number: Named[int] = Column(Integer, primary_key=True, comment="0 = as admitted, then one more per amendment")
    payload: Named[Any] = Column(JSONB)
    source: Named[str] = Column(Text, comment="The door: event, sql, client or a file's name")
    place: Named[str | None] = Column(Text, comment="Event id, or what else names the amendment within its door")
    received_at: Named[datetime] = Column(Moment)
    occurred_at: Named[datetime | None] = Column(Moment, comment="Event time; null: not known")
    outdated: Named[bool] = Column(
        server_default=text("false"), comment="Older than what was in force when it was read: never in force"
    )


revision = Table(
    "revision", metadata, RevisionColumns,
    Index("uq_revision_event", "place", unique=True, postgresql_where=text("source = 'event'")),
    comment="Every payload of an amended item; its first is written at the first amendment",
)  # fmt: skip


class AmendmentColumns(TypedColumns):
    id = _id()
    workload: Named[str] = Column(Text, ForeignKey(workload.c.name))
    key: Named[str] = Column(Text)
    payload: Named[Any | None] = Column(JSONB, comment="Kept while it waits; afterwards it is a revision")
    source: Named[str] = Column(Text, comment="The door: event, sql or client")
    place: Named[str | None] = Column(Text, comment="Event id: an event is taken once")
    received_at: Named[datetime] = Column(Moment)
    occurred_at: Named[datetime | None] = Column(Moment, comment="Event time; null: received_at")
    outcome: Named[str | None] = Column(
        Text, comment="amended, duplicate, outdated or canceled; null: waits for its item, the router applies it"
    )
    decided_at: Named[datetime | None] = Column(Moment)


amendment = Table(
    "amendment", metadata, AmendmentColumns,
    _one_of("outcome", "amended", "duplicate", "outdated", "canceled"),
    UniqueConstraint("source", "place"),
    Index("ix_amendment_waiting", "workload", "key", postgresql_where=text("outcome is null")),
    comment="Every amendment that a door took, and what became of it",
)  # fmt: skip


class GenerationColumns(TypedColumns):
    id = _id()
    workload: Named[str] = Column(Text, ForeignKey(workload.c.name))
    number: Named[int] = Column(Integer, comment="1, 2, 3 ... within the workload; 0 is the live generation")
    version_id: Named[int] = Column(BigInteger, ForeignKey(version.c.id))
    state: Named[str] = Column(
        Text,
        comment="running: reading, or its work is open; complete: promote or drop "
        "decides; promoted: demote; demoted: promote or drop; dropped: nobody",
    )
    from_position: Named[int] = Column(BigInteger, comment="First position of the stream that it reads")
    to_position: Named[int] = Column(BigInteger, comment="Last position that it reads")
    cursor_position: Named[int] = Column(BigInteger, comment="Everything up to here has its work")
    items: Named[int] = Column(  # pyright: ignore[reportIncompatibleMethodOverride]
        Integer, server_default=text("0"), comment="How many items got work"
    )
    who: Named[str] = Column(Text)
    why: Named[str] = Column(Text)
    created_at: Named[datetime] = Column(Moment)
    completed_at: Named[datetime | None] = Column(Moment, comment="When the last of its work ended")
    promoted_at: Named[datetime | None] = Column(Moment)
    demoted_at: Named[datetime | None] = Column(Moment)
    dropped_at: Named[datetime | None] = Column(Moment)


generation = Table(
    "generation", metadata, GenerationColumns,
    UniqueConstraint("workload", "number"),
    CheckConstraint("number > 0", name="number_positive"),
    _one_of("state", "running", "complete", "promoted", "demoted", "dropped"),
    Index("uq_generation_open", "workload", unique=True, postgresql_where=text("state in ('running', 'complete')")),
    comment="A numbered re-reading of a workload's stream by one version; its results lie over the live ones",
)  # fmt: skip


class PromotedColumns(TypedColumns):
    generation_id: Named[int] = Column(BigInteger, ForeignKey(generation.c.id), primary_key=True)
    item_id: Named[int] = Column(BigInteger, ForeignKey(item.c.id), primary_key=True)
    before_id: Named[int] = Column(BigInteger, ForeignKey(result.c.id), comment="Current before: demote restores it")
    after_id: Named[int] = Column(BigInteger, ForeignKey(result.c.id), comment="The replay's, current instead")


promoted = Table(
    "promoted", metadata, PromotedColumns,
    Index(None, "item_id"),
    comment="What a promotion replaced; kept until it is taken back",
)  # fmt: skip


class RolloutColumns(TypedColumns):
    id = _id()
    playbook: Named[str] = Column(Text, comment="Name of the playbook")
    content: Named[Any] = Column(JSONB, comment="The playbook as it was when the rollout started")
    workload: Named[str] = Column(Text, ForeignKey(workload.c.name))
    consumer: Named[str | None] = Column(Text, comment="Whose split it moves; null = the one for all")
    state: Named[str] = Column(
        Text,
        comment="running: `migrate` moves it; waiting_approval: a person resumes its run; "
        "finished, rolled_back, aborted: nobody",
    )
    step: Named[int] = Column(Integer, comment="The step in force, from 0")
    step_started_at: Named[datetime] = Column(Moment, comment="Since when that step's share is in force")
    routes_before: Named[int] = Column(BigInteger, comment="Newest route when the step started")
    share_before: Named[int] = Column(Integer, comment="Basis points in force before the rollout; a failure sets them")
    holds: Named[str | None] = Column(Text, comment="Why the step holds, as last told")
    asked: Named[int] = Column(Integer, server_default=text("0"), comment="How often a person was asked")
    approved_by: Named[str | None] = Column(Text, comment="Who approved leaving the step in force")
    approved_why: Named[str | None] = Column(Text)
    started_by: Named[str] = Column(Text)
    why: Named[str] = Column(Text)
    started_at: Named[datetime] = Column(Moment)
    ended_at: Named[datetime | None] = Column(Moment)
    flow_run_id: Named[Any] = Column(Uuid, nullable=True, comment="The run of `migrate` that leads it, or led it last")
    entered: Named[bool] = Column(
        server_default=text("true"),
        comment="Whether the step's share is in force; false while an approval that was passed over is owed",
    )
    asked_at: Named[datetime | None] = Column(Moment, comment="Since when a person is asked to approve; null = nobody is")


rollout = Table(
    "rollout", metadata, RolloutColumns,
    _one_of("state", "running", "waiting_approval", "finished", "rolled_back", "aborted"),
    CheckConstraint("share_before between 0 and 10000", name="share_before_range"),
    Index("uq_rollout_open", "workload", unique=True,
          postgresql_where=text("state in ('running', 'waiting_approval')")),
    Index("ix_rollout_flow_run_id", "flow_run_id"),
    comment="A playbook under way; this row is the truth, and at most one of a workload is open",
)  # fmt: skip


class RolloutEventColumns(TypedColumns):
    id = _id()
    rollout_id: Named[int] = Column(BigInteger, ForeignKey(rollout.c.id))
    event: Named[str] = Column(
        Text, comment="started, stepped, held, approval_asked, approved, declined, rolled_back, finished or aborted"
    )
    step: Named[int] = Column(Integer, comment="The step in force afterwards, from 0")
    basis_points: Named[int] = Column(Integer, comment="The share to real-time afterwards")
    who: Named[str] = Column(Text)
    why: Named[str] = Column(Text)
    at: Named[datetime] = Column(Moment)


rollout_event = Table(
    "rollout_event", metadata, RolloutEventColumns,
    Index(None, "rollout_id", "id"),
    comment="Append-only: what happened to a rollout, who wanted it and why",
)  # fmt: skip


class RolloutMeasurementColumns(TypedColumns):
    id = _id()
    rollout_id: Named[int] = Column(BigInteger, ForeignKey(rollout.c.id))
    step: Named[int] = Column(Integer, comment="From 0")
    measure: Named[str] = Column(Text)
    value: Named[float | None] = Column(Double(), comment="A share from 0 to 1, or seconds; null = no number")
    samples: Named[int] = Column(Integer)
    wrong: Named[int] = Column(Integer, comment="Samples on the wrong side of the limit")
    verdict: Named[str] = Column(Text, comment="passed, failed, inconclusive or error")
    explanation: Named[str] = Column(Text)
    at: Named[datetime] = Column(Moment)


rollout_measurement = Table(
    "rollout_measurement", metadata, RolloutMeasurementColumns,
    _one_of("verdict", "passed", "failed", "inconclusive", "error"),
    Index(None, "rollout_id", "id"),
    comment="Append-only: what was measured when a verdict changed or the rollout moved",
)  # fmt: skip
