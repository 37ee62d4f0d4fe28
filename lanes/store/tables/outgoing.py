"""What is told to others, by whom, and how far the event stream was read."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    Computed,
    Index,
    Integer,
    Named,
    SmallInteger,
    Table,
    Text,
    TypedColumns,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from lanes.store.tables.base import Moment, metadata

# An answer that was asked for by `ack` says so.
PRECEDENCE = """
case when not starts_with(event, 'lanes.item.') then 0
     when event = 'lanes.item.answered' and not payload ? 'ack' then 2
     else 1 end
"""


class OutboxColumns(TypedColumns):
    id: Named[Any] = Column(
        Uuid, primary_key=True, server_default=func.uuidv7(), comment="The event's id in Prefect"
    )
    event: Named[str] = Column(Text)
    resource: Named[str] = Column(Text)
    payload: Named[Any] = Column(JSONB)
    occurred_at: Named[datetime] = Column(Moment)
    precedence: Named[int] = Column(
        SmallInteger,
        Computed(PRECEDENCE, persisted=True),
        nullable=False,
        comment="Who goes first: 0 what is told of a lane, 1 of an item, 2 answers that nobody asked to be told of",
    )


event_outbox = Table(
    "event_outbox",
    metadata,
    OutboxColumns,
    Index("ix_event_outbox_first", "precedence", "id", postgresql_where=text("precedence < 2")),
    comment="Events out, written with the fact and deleted once Prefect took them",
)


class PublisherColumns(TypedColumns):
    name: Named[str] = Column(Text, primary_key=True, comment="What is published: events")
    holder: Named[str | None] = Column(
        Text, comment="Who publishes it, or did last; null: nobody yet"
    )
    lease_until: Named[datetime | None] = Column(
        Moment, comment="Until when nobody else does; null or past: the next who asks"
    )
    paced_until: Named[datetime | None] = Column(
        Moment, comment="Those taken last fill the time until then; null: none were"
    )


publisher = Table(
    "publisher",
    metadata,
    PublisherColumns,
    comment="Whose turn it is to publish what waits in an outbox: no lock is held while it is told to others",
)


class WatermarkColumns(TypedColumns):
    name: Named[str] = Column(Text, primary_key=True)
    seen_until: Named[datetime] = Column(Moment, comment="Events that occurred before were read")


watermark = Table(
    "watermark", metadata, WatermarkColumns, comment="How far the event stream was read"
)


class StoredSpanColumns(TypedColumns):
    start_at: Named[datetime] = Column(
        Moment, primary_key=True, comment="The span is five minutes long"
    )
    events: Named[int] = Column(
        Integer, comment="How many events Prefect's store held when it was read"
    )


stored_span = Table(
    "stored_span",
    metadata,
    StoredSpanColumns,
    comment="Spans of the event stream that were read whole; one that grew since is read again. Kept for a day",
)
