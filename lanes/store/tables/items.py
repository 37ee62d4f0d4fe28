"""What came in: items, their revisions, amendments and labels, refused inputs; and where items go: splits and routes."""

from datetime import datetime
from decimal import Decimal
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
    LargeBinary,
    Named,
    Sequence,
    Text,
    TypedColumns,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from lanes.doors.item import AmendmentOutcome
from lanes.ids import ItemId, ResultId, RouteId, VersionId
from lanes.routing.lane_rules import FREE
from lanes.store.tables.base import (
    Moment,
    Usd,
    Word,
    column,
    id_of,
    identity,
    index,
    metadata,
    table,
    unenforced,
)
from lanes.store.tables.workloads import version, workload
from lanes.words import Lane, Reason


class ItemColumns(TypedColumns):
    id = identity(ItemId)
    workload: Named[str] = Column(Text, unenforced(workload.c.name))
    key: Named[str] = column(Text, "Names the item within its workload")
    payload: Named[Any] = column(JSONB, "The revision of the input that is in force")
    content_hash: Named[bytes] = column(
        LargeBinary, "SHA-256 of the first payload; tells duplicates from conflicts"
    )
    revision: Named[int] = column(Integer, "The revision in force", default="0")
    as_of: Named[datetime | None] = column(
        Moment, "When the amendment in force occurred; older ones are outdated"
    )
    consumer: Named[str | None] = column(Text, "Who reads the result")
    entity: Named[str | None] = column(
        Text, "What the item is about; keeps its bucket of the split"
    )
    urgent: Named[bool] = column(Boolean, default="false")
    ack: Named[bool] = column(
        Boolean, "Its sender wants events when it is accepted and answered", default="false"
    )
    pin: Named[Lane | None] = column(Word(Lane), "The lane its sender asked for")
    due_at: Named[datetime | None] = Column(Moment)
    occurred_at: Named[datetime] = column(Moment, "Event time; default received_at")
    received_at: Named[datetime] = column(Moment, "When its admission was committed")
    source: Named[str] = column(Text, "The door: event, sql, client or a file's name")
    position: Named[int | None] = column(BigInteger, "Order of the stream, given by the router")
    result_id: Named[ResultId | None] = column(id_of(ResultId), "Its current result")
    answered_at: Named[datetime | None] = column(Moment, "When it got its first answer")
    settled_at: Named[datetime | None] = column(Moment, "When it got its authoritative answer")
    failed_at: Named[datetime | None] = column(Moment, "When its last work was given up")
    canceled_at: Named[datetime | None] = Column(Moment)
    forgotten_at: Named[datetime | None] = column(Moment, "When a person erased its content")
    emptied_at: Named[datetime | None] = column(
        Moment, "When its content was deleted by age; keys and costs stay"
    )
    failure: Named[str | None] = column(Text, "Why it, or its authoritative pass, failed")


item_position = Sequence("item_position", metadata=metadata)
item = table(
    "item",
    ItemColumns,
    "One input of a workload",
    UniqueConstraint("workload", "key"),
    index("uq_item_position", "position", unique=True, where="position is not null"),
    index(
        "ix_item_received",
        "workload",
        text("urgent desc"),
        "due_at",
        "id",
        where="position is null and canceled_at is null",
    ),
    index("ix_item_failure", "id", where="failure is not null"),
    index("ix_item_failed", "workload", "failed_at", where="failed_at is not null"),
    index("ix_item_entity", "workload", "entity", "occurred_at", where="entity is not null"),
    postgresql_with={"fillfactor": 50},
    checked_moments=("as_of", "due_at", "occurred_at", "received_at"),
)


class RevisionColumns(TypedColumns):
    item_id: Named[ItemId] = Column(id_of(ItemId), ForeignKey(item.c.id), primary_key=True)
    number: Named[int] = column(
        Integer, "0 = as admitted, then one more per amendment", primary_key=True
    )
    payload: Named[Any] = Column(JSONB)
    source: Named[str] = column(Text, "The door: event, sql, client or a file's name")
    place: Named[str | None] = column(Text, "Event id, or another name within its door")
    received_at: Named[datetime] = Column(Moment)
    occurred_at: Named[datetime | None] = column(Moment, "Event time; null: not known")
    outdated: Named[bool] = column(
        Boolean, "It was older than the one in force: never in force", default="false"
    )


revision = table(
    "revision",
    RevisionColumns,
    "Every payload of an amended item, the first included",
    index("uq_revision_event", "place", unique=True, where="source = 'event'"),
)


class AmendmentColumns(TypedColumns):
    id = identity(int)
    workload: Named[str] = Column(Text, ForeignKey(workload.c.name))
    key: Named[str] = Column(Text)
    payload: Named[Any | None] = column(JSONB, "Kept until it becomes a revision")
    source: Named[str] = column(Text, "The door: event, sql or client")
    place: Named[str | None] = column(Text, "Event id: an event is taken once")
    received_at: Named[datetime] = Column(Moment)
    occurred_at: Named[datetime | None] = column(Moment, "Event time; null: received_at")
    outcome: Named[AmendmentOutcome | None] = column(
        Word(AmendmentOutcome), "Null: it waits for its item, then the router applies it"
    )
    decided_at: Named[datetime | None] = Column(Moment)


amendment = table(
    "amendment",
    AmendmentColumns,
    "Every amendment that a door took, with its outcome",
    UniqueConstraint("source", "place"),
    index("ix_amendment_waiting", "workload", "key", where="outcome is null"),
)


class RejectedColumns(TypedColumns):
    id = identity(int)
    workload: Named[str | None] = Column(Text)
    key: Named[str | None] = column(Text, "The key it came with, if any was read")
    source: Named[str] = column(Text, "The door: event, sql, client or a file's name")
    place: Named[str] = column(Text, "Event id, line number or key")
    reason: Named[str] = column(Text, "One word")
    detail: Named[str] = column(Text, "What is wrong and what to do")
    content: Named[str] = column(Text, "The input, cut at 64 KiB")
    rejected_at: Named[datetime] = Column(Moment)
    times: Named[int] = column(
        Integer, "Refusals that this row stands for; over 1: a day's rest", default="1"
    )


rejected = table(
    "rejected",
    RejectedColumns,
    "Refused inputs",
    index(None, "source", "place"),
    index(None, "key"),
    index(None, "source", "rejected_at"),
)


class LabelColumns(TypedColumns):
    id = identity(int)
    item_id: Named[ItemId] = Column(id_of(ItemId), ForeignKey(item.c.id))
    expected: Named[Any] = column(JSONB, "The right values by output field")
    source: Named[str] = column(Text, "Who says so")
    labeled_at: Named[datetime] = Column(Moment)


label = table(
    "label",
    LabelColumns,
    "The right answers according to a person or a source, for accuracy",
    UniqueConstraint("item_id", "source"),
)


class SplitColumns(TypedColumns):
    id = identity(int)
    workload: Named[str] = Column(Text, ForeignKey(workload.c.name))
    consumer: Named[str | None] = column(Text, "Null: all consumers")
    basis_points: Named[int | None] = column(
        Integer, "Share to real-time in 1/10000; null: inherits"
    )
    who: Named[str] = Column(Text)
    why: Named[str] = Column(Text)
    set_at: Named[datetime] = Column(Moment)


split = table(
    "split",
    SplitColumns,
    "Append-only; the newest row of a (workload, consumer) is in force",
    CheckConstraint("basis_points between 0 and 10000", name="basis_points_range"),
    CheckConstraint(
        "consumer is not null or basis_points is not null", name="only_a_consumer_inherits"
    ),
    index(None, "workload", "consumer", "id"),
)


# As Postgres tells it again: `alembic check` compares the two.
BINDS = (
    f"case when reason <> all (array[{', '.join(f'{each.value!r}::text' for each in Reason if each in FREE)}]) "
    "then lane else null::text end"
)


class RouteColumns(TypedColumns):
    id = identity(RouteId)
    item_id: Named[ItemId] = Column(id_of(ItemId), unenforced(item.c.id))
    version_id: Named[VersionId] = Column(id_of(VersionId), unenforced(version.c.id))
    lane: Named[Lane] = Column(Word(Lane))
    reason: Named[Reason] = column(Word(Reason), "Which rule decided")
    explanation: Named[str] = column(Text, "The decision as a sentence")
    realtime_usd: Named[Decimal] = column(Usd, "What real-time would cost, estimated")
    batch_usd: Named[Decimal] = column(Usd, "What batch would cost, estimated")
    decided_at: Named[datetime] = Column(Moment)
    probability: Named[float | None] = column(
        Double(), "Stated probability that a batch is back in time"
    )
    binds: Named[Lane | None] = column(
        Word(Lane),
        "The lane that it must stay on; null: it is free",
        Computed(BINDS, persisted=False),
    )


route = table(
    "route",
    RouteColumns,
    "Append-only decisions; the newest of an item is in force",
    index(None, "item_id", "id"),
    index("ix_route_split", "lane", "id", where="reason = 'split'"),
    index("ix_route_stated", "decided_at", where="probability is not null and lane = 'batch'"),
    index("ix_route_fallback", "decided_at", where="reason = 'fallback'"),
    index("ix_route_shed", "decided_at", where="reason = 'shed'"),
    index("ix_route_rescue", "decided_at", where="reason = 'rescue'"),
)
