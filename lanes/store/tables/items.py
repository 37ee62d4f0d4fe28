"""What came in: items, their revisions and amendments, labels, and what was refused."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Named,
    Sequence,
    Table,
    Text,
    TypedColumns,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from lanes.doors.item import AmendmentOutcome
from lanes.ids import ItemId, ResultId
from lanes.store.tables.base import Moment, Word, id_of, identity, metadata, one_of
from lanes.store.tables.workloads import workload
from lanes.words import Lane


class ItemColumns(TypedColumns):
    id = identity(ItemId)
    workload: Named[str] = Column(
        Text, ForeignKey(workload.c.name)
    )  # not enforced: whoever writes has read it
    key: Named[str] = Column(Text, comment="Names the item within its workload")
    payload: Named[Any] = Column(JSONB, comment="The revision of the input that is in force")
    content_hash: Named[bytes] = Column(
        LargeBinary, comment="SHA-256 of the first payload: same key, same content?"
    )
    revision: Named[int] = Column(
        Integer, server_default=text("0"), comment="Which is in force: 0, or an amendment's"
    )
    as_of: Named[datetime | None] = Column(
        Moment,
        comment="When the amendment in force occurred: an older one is outdated. Null: there is none",
    )
    consumer: Named[str | None] = Column(Text, comment="Who reads the result")
    entity: Named[str | None] = Column(
        Text, comment="Whom the item is about; keeps the split sticky"
    )
    urgent: Named[bool] = Column(server_default=text("false"))
    ack: Named[bool] = Column(
        server_default=text("false"),
        comment="Its sender asked to be told of it: accepted, and answered",
    )
    pin: Named[Lane | None] = Column(Word(Lane), comment="The lane its sender asked for")
    due_at: Named[datetime | None] = Column(Moment)
    occurred_at: Named[datetime] = Column(Moment, comment="Event time; default received_at")
    received_at: Named[datetime] = Column(Moment, comment="When its admission was committed")
    source: Named[str] = Column(Text, comment="The door: event, sql, client or a file's name")
    position: Named[int | None] = Column(
        BigInteger, comment="Order of the stream, given by the router"
    )
    result_id: Named[ResultId | None] = Column(id_of(ResultId), comment="Its current result")
    answered_at: Named[datetime | None] = Column(Moment, comment="When a first answer stood")
    settled_at: Named[datetime | None] = Column(
        Moment, comment="When an authoritative answer stood"
    )
    failed_at: Named[datetime | None] = Column(Moment, comment="When its work was given up")
    canceled_at: Named[datetime | None] = Column(Moment)
    forgotten_at: Named[datetime | None] = Column(
        Moment, comment="When what it said was erased; null: never. Nothing of it is written again"
    )
    emptied_at: Named[datetime | None] = Column(
        Moment,
        comment="When what it said was emptied by its age; null: it is still kept. Keys, hashes and costs stay",
    )
    failure: Named[str | None] = Column(
        Text, comment="Why it failed, or why its authoritative pass did"
    )


item_position = Sequence("item_position", metadata=metadata)
item = Table(
    "item",
    metadata,
    ItemColumns,
    UniqueConstraint("workload", "key"),
    one_of("pin", Lane),
    # Partial, so that giving a position changes no key: it never waits for those who only name the item.
    Index(
        "uq_item_position", "position", unique=True, postgresql_where=text("position is not null")
    ),
    Index(
        "ix_item_received",
        "workload",
        text("urgent desc"),
        "due_at",
        "id",
        postgresql_where=text("position is null and canceled_at is null"),
    ),
    Index("ix_item_failure", "id", postgresql_where=text("failure is not null")),
    Index(
        "ix_item_failed", "workload", "failed_at", postgresql_where=text("failed_at is not null")
    ),
    Index(
        "ix_item_entity",
        "workload",
        "entity",
        "occurred_at",
        postgresql_where=text("entity is not null"),
    ),
    # An item is written twice more, by the router and by whoever saves its answer: with room in its page for one more of each
    # row, what the router replaced makes room for the answer, which then changes no index (HOT).
    postgresql_with={"fillfactor": 50},
    comment="One input of a workload",
)


class RevisionColumns(TypedColumns):
    item_id: Named[ItemId] = Column(id_of(ItemId), ForeignKey(item.c.id), primary_key=True)
    number: Named[int] = Column(
        Integer, primary_key=True, comment="0 = as admitted, then one more per amendment"
    )
    payload: Named[Any] = Column(JSONB)
    source: Named[str] = Column(Text, comment="The door: event, sql, client or a file's name")
    place: Named[str | None] = Column(
        Text, comment="Event id, or what else names the amendment within its door"
    )
    received_at: Named[datetime] = Column(Moment)
    occurred_at: Named[datetime | None] = Column(Moment, comment="Event time; null: not known")
    outdated: Named[bool] = Column(
        server_default=text("false"),
        comment="Older than what was in force when it was read: never in force",
    )


revision = Table(
    "revision",
    metadata,
    RevisionColumns,
    Index("uq_revision_event", "place", unique=True, postgresql_where=text("source = 'event'")),
    comment="Every payload of an amended item; its first is written at the first amendment",
)


class AmendmentColumns(TypedColumns):
    id = identity(int)
    workload: Named[str] = Column(Text, ForeignKey(workload.c.name))
    key: Named[str] = Column(Text)
    payload: Named[Any | None] = Column(
        JSONB, comment="Kept while it waits; afterwards it is a revision"
    )
    source: Named[str] = Column(Text, comment="The door: event, sql or client")
    place: Named[str | None] = Column(Text, comment="Event id: an event is taken once")
    received_at: Named[datetime] = Column(Moment)
    occurred_at: Named[datetime | None] = Column(Moment, comment="Event time; null: received_at")
    outcome: Named[AmendmentOutcome | None] = Column(
        Word(AmendmentOutcome),
        comment="amended, duplicate, outdated or canceled; null: waits for its item, the router applies it",
    )
    decided_at: Named[datetime | None] = Column(Moment)


amendment = Table(
    "amendment",
    metadata,
    AmendmentColumns,
    one_of("outcome", AmendmentOutcome),
    UniqueConstraint("source", "place"),
    Index("ix_amendment_waiting", "workload", "key", postgresql_where=text("outcome is null")),
    comment="Every amendment that a door took, and what became of it",
)


class RejectedColumns(TypedColumns):
    id = identity(int)
    workload: Named[str | None] = Column(Text)
    key: Named[str | None] = Column(Text, comment="The key it came with, if any was read")
    source: Named[str] = Column(Text, comment="The door: event, sql, client or a file's name")
    place: Named[str] = Column(Text, comment="Event id, line number or key")
    reason: Named[str] = Column(Text, comment="One word")
    detail: Named[str] = Column(Text, comment="What is wrong and what to do")
    content: Named[str] = Column(Text, comment="The input as it came, cut at 64 KiB")
    rejected_at: Named[datetime] = Column(Moment)
    times: Named[int] = Column(
        Integer,
        server_default=text("1"),
        comment="How many refusals it stands for: 1, or those of its source and day that were only counted",
    )


rejected = Table(
    "rejected",
    metadata,
    RejectedColumns,
    Index(None, "source", "place"),
    Index(None, "key"),
    Index(None, "source", "rejected_at"),
    comment="Inputs that no door admitted",
)


class LabelColumns(TypedColumns):
    id = identity(int)
    item_id: Named[ItemId] = Column(id_of(ItemId), ForeignKey(item.c.id))
    expected: Named[Any] = Column(JSONB, comment="Output fields and what was right")
    source: Named[str] = Column(Text, comment="Who says so")
    labeled_at: Named[datetime] = Column(Moment)


label = Table(
    "label",
    metadata,
    LabelColumns,
    UniqueConstraint("item_id", "source"),
    comment="What somebody says was right, for accuracy",
)
