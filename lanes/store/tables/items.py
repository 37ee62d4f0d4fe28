"""What came in: items, their revisions, amendments and labels, refused inputs; and where items go: splits and routes."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Computed,
    ForeignKey,
    Named,
    Sequence,
    TypedColumns,
    UniqueConstraint,
    text,
)

from lanes.doors.item import AmendmentOutcome
from lanes.ids import ItemId, ResultId, RouteId, VersionId
from lanes.routing.lane_rules import FREE
from lanes.store.tables.base import column, identity, index, metadata, table, unenforced
from lanes.store.tables.workloads import version, workload
from lanes.words import Lane, Reason


@table(
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
    index("ix_item_failed", "workload, failed_at", where="failed_at is not null"),
    index("ix_item_entity", "workload, entity, occurred_at", where="entity is not null"),
    postgresql_with={"fillfactor": 50},
    checked_moments=("as_of", "due_at", "occurred_at", "received_at"),
)
class item(TypedColumns):
    """One input of a workload."""

    id: Named[ItemId] = identity()
    workload: Named[str] = Column(unenforced(workload.c.name))
    key: Named[str] = column("Names the item within its workload")
    payload: Named[Any] = column("The revision of the input that is in force")
    content_hash: Named[bytes] = column(
        "SHA-256 of the first payload; tells duplicates from conflicts"
    )
    revision: Named[int] = column("The revision in force", default="0")
    as_of: Named[datetime | None] = column(
        "When the amendment in force occurred; older ones are outdated"
    )
    consumer: Named[str | None] = column("Who reads the result")
    entity: Named[str | None] = column("What the item is about; keeps its bucket of the split")
    urgent: Named[bool] = column(default="false")
    ack: Named[bool] = column(
        "Its sender wants events when it is accepted and answered", default="false"
    )
    pin: Named[Lane | None] = column("The lane its sender asked for")
    due_at: Named[datetime | None]
    occurred_at: Named[datetime] = column("Event time; default received_at")
    received_at: Named[datetime] = column("When its admission was committed")
    source: Named[str] = column("The door: event, sql, client or a file's name")
    position: Named[int | None] = column(
        "Order of the stream, given by the router", type_=BigInteger
    )
    result_id: Named[ResultId | None] = column("Its current result")
    answered_at: Named[datetime | None] = column("When it got its first answer")
    settled_at: Named[datetime | None] = column("When it got its authoritative answer")
    failed_at: Named[datetime | None] = column("When its last work was given up")
    canceled_at: Named[datetime | None]
    forgotten_at: Named[datetime | None] = column("When a person erased its content")
    emptied_at: Named[datetime | None] = column(
        "When its content was deleted by age; keys and costs stay"
    )
    failure: Named[str | None] = column("Why it, or its authoritative pass, failed")


item_position = Sequence("item_position", metadata=metadata)


@table(index("uq_revision_event", "place", unique=True, where="source = 'event'"))
class revision(TypedColumns):
    """Every payload of an amended item, the first included."""

    item_id: Named[ItemId] = Column(ForeignKey(item.c.id), primary_key=True)
    number: Named[int] = column("0 = as admitted, then one more per amendment", primary_key=True)
    payload: Named[Any]
    source: Named[str] = column("The door: event, sql, client or a file's name")
    place: Named[str | None] = column("Event id, or another name within its door")
    received_at: Named[datetime]
    occurred_at: Named[datetime | None] = column("Event time; null: not known")
    outdated: Named[bool] = column(
        "It was older than the one in force: never in force", default="false"
    )


@table(
    UniqueConstraint("source", "place"),
    index("ix_amendment_waiting", "workload, key", where="outcome is null"),
)
class amendment(TypedColumns):
    """Every amendment that a door took, with its outcome."""

    id: Named[int] = identity()
    workload: Named[str] = Column(ForeignKey(workload.c.name))
    key: Named[str]
    payload: Named[Any | None] = column("Kept until it becomes a revision")
    source: Named[str] = column("The door: event, sql or client")
    place: Named[str | None] = column("Event id: an event is taken once")
    received_at: Named[datetime]
    occurred_at: Named[datetime | None] = column("Event time; null: received_at")
    outcome: Named[AmendmentOutcome | None] = column(
        "Null: it waits for its item, then the router applies it"
    )
    decided_at: Named[datetime | None]


@table(index(None, "source, place"), index(None, "key"), index(None, "source, rejected_at"))
class rejected(TypedColumns):
    """Refused inputs."""

    id: Named[int] = identity()
    workload: Named[str | None]
    key: Named[str | None] = column("The key it came with, if any was read")
    source: Named[str] = column("The door: event, sql, client or a file's name")
    place: Named[str] = column("Event id, line number or key")
    reason: Named[str] = column("One word")
    detail: Named[str] = column("What is wrong and what to do")
    content: Named[str] = column("The input, cut at 64 KiB")
    rejected_at: Named[datetime]
    times: Named[int] = column(
        "Refusals that this row stands for; over 1: a day's rest", default="1"
    )


@table(UniqueConstraint("item_id", "source"))
class label(TypedColumns):
    """The right answers according to a person or a source, for accuracy."""

    id: Named[int] = identity()
    item_id: Named[ItemId] = Column(ForeignKey(item.c.id))
    expected: Named[Any] = column("The right values by output field")
    source: Named[str] = column("Who says so")
    labeled_at: Named[datetime]


@table(
    CheckConstraint("basis_points between 0 and 10000", name="basis_points_range"),
    CheckConstraint(
        "consumer is not null or basis_points is not null", name="only_a_consumer_inherits"
    ),
    index(None, "workload, consumer, id"),
)
class split(TypedColumns):
    """Append-only; the newest row of a (workload, consumer) is in force."""

    id: Named[int] = identity()
    workload: Named[str] = Column(ForeignKey(workload.c.name))
    consumer: Named[str | None] = column("Null: all consumers")
    basis_points: Named[int | None] = column("Share to real-time in 1/10000; null: inherits")
    who: Named[str]
    why: Named[str]
    set_at: Named[datetime]


# As Postgres tells it again: `alembic check` compares the two.
BINDS = (
    f"case when reason <> all (array[{', '.join(f'{each.value!r}::text' for each in Reason if each in FREE)}]) "
    "then lane else null::text end"
)


@table(
    index(None, "item_id, id"),
    index("ix_route_split", "lane, id", where="reason = 'split'"),
    index("ix_route_stated", "decided_at", where="probability is not null and lane = 'batch'"),
    index("ix_route_fallback", "decided_at", where="reason = 'fallback'"),
    index("ix_route_shed", "decided_at", where="reason = 'shed'"),
    index("ix_route_rescue", "decided_at", where="reason = 'rescue'"),
)
class route(TypedColumns):
    """Append-only decisions; the newest of an item is in force."""

    id: Named[RouteId] = identity()
    item_id: Named[ItemId] = Column(unenforced(item.c.id))
    version_id: Named[VersionId] = Column(unenforced(version.c.id))
    lane: Named[Lane]
    reason: Named[Reason] = column("Which rule decided")
    explanation: Named[str] = column("The decision as a sentence")
    realtime_usd: Named[Decimal] = column("What real-time would cost, estimated")
    batch_usd: Named[Decimal] = column("What batch would cost, estimated")
    decided_at: Named[datetime]
    probability: Named[float | None] = column("Stated probability that a batch is back in time")
    binds: Named[Lane | None] = column(
        "The lane that it must stay on; null: it is free", Computed(BINDS, persisted=False)
    )
