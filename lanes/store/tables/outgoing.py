"""What is told to others, by whom, and how far the event stream was read."""

from datetime import datetime
from typing import Any

from sqlalchemy import Column, Integer, Named, Table, Text, TypedColumns, Uuid, func
from sqlalchemy.dialects.postgresql import JSONB

from lanes.store.tables.base import Moment, metadata


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
