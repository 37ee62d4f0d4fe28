"""What was tried, and what was billed."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    Column,
    ForeignKey,
    Index,
    Integer,
    Named,
    Table,
    Text,
    TypedColumns,
    Uuid,
    text,
)

from lanes.ids import BatchId, ItemId, VersionId, WorkId
from lanes.store.tables.base import Moment, Usd, Word, id_of, identity, metadata, one_of
from lanes.store.tables.batches import batch
from lanes.store.tables.items import item
from lanes.store.tables.work import work
from lanes.store.tables.workloads import version
from lanes.words import FlushReason, Lane, Outcome, Purpose


class ResponseColumns(TypedColumns):
    id = identity(int)
    message_id: Named[str] = Column(
        Text, unique=True, comment="The provider's name for it: billed once, booked once"
    )
    workload: Named[str] = Column(Text)
    lane: Named[Lane] = Column(Word(Lane))
    purpose: Named[Purpose] = Column(Word(Purpose))
    model: Named[str] = Column(Text)
    batch_id: Named[BatchId | None] = Column(id_of(BatchId), ForeignKey(batch.c.id))
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
    digest: Named[str | None] = Column(
        Text,
        comment="Tells it from another response of the same name, which is booked apart; null: from before it was kept",
    )


response = Table(
    "response",
    metadata,
    ResponseColumns,
    one_of("lane", Lane),
    one_of("purpose", Purpose),
    # Who asks for a period reads its pages; a tree of its own would be written for every response.
    Index("ix_response_billed_at", "billed_at", postgresql_using="brin"),
    comment="The ledger: every billed response that reached us, once",
)


class AttemptColumns(TypedColumns):
    id = identity(int)
    work_id: Named[WorkId] = Column(
        id_of(WorkId), ForeignKey(work.c.id)
    )  # not enforced, nor the next: a save reads both
    item_id: Named[ItemId] = Column(
        id_of(ItemId), ForeignKey(item.c.id)
    )  # from the row of work that it has locked
    version_id: Named[VersionId] = Column(  # not enforced either
        id_of(VersionId),
        ForeignKey(version.c.id),
        comment="The version that was tried: a retry may give its work another",
    )
    claim_no: Named[int] = Column(Integer)
    workload: Named[str] = Column(Text)
    lane: Named[Lane] = Column(Word(Lane))
    purpose: Named[Purpose] = Column(Word(Purpose))
    outcome: Named[Outcome] = Column(Word(Outcome))
    error: Named[str | None] = Column(Text)
    request_id: Named[str | None] = Column(Text)
    message_id: Named[str | None] = Column(Text)
    batch_id: Named[BatchId | None] = Column(id_of(BatchId), ForeignKey(batch.c.id))
    model: Named[str] = Column(Text)
    input_tokens: Named[int] = Column(Integer)
    output_tokens: Named[int] = Column(Integer)
    cache_read_tokens: Named[int] = Column(Integer)
    cache_write_tokens: Named[int] = Column(Integer)
    cost_usd: Named[Decimal] = Column(Usd, comment="Its part of the response's cost")
    bound_usd: Named[Decimal] = Column(
        Usd, comment="Unknown attempts: the most it can have cost, not in spend"
    )
    shown: Named[bool] = Column(comment="Whether its answer became a result")
    latency_ms: Named[int] = Column(Integer, comment="The provider call; batch: submitted to ended")
    started_at: Named[datetime] = Column(Moment)
    ended_at: Named[datetime] = Column(Moment)
    gathered_ms: Named[int | None] = Column(
        Integer, comment="How long it was in a window before it was asked; null: in none"
    )
    left_because: Named[FlushReason | None] = Column(
        Word(FlushReason),
        comment="Why it left the window: full, pressed, over or hopeless (nobody else was expected)",
    )
    flow_run_id: Named[Any | None] = Column(
        Uuid, comment="The run that saved it; null: none did, or it is older than this column"
    )


attempt = Table(
    "attempt",
    metadata,
    AttemptColumns,
    one_of("lane", Lane),
    one_of("purpose", Purpose),
    one_of("outcome", Outcome),
    one_of("left_because", FlushReason),
    Index(None, "item_id"),
    Index(None, "workload", "lane", "ended_at"),
    Index("uq_attempt_once", "work_id", "claim_no", text("coalesce(message_id, '')"), unique=True),
    comment="One try at some work; a claim has one attempt for each response, and one at most without any",
)
