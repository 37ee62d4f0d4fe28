"""What calls brought: responses and attempts, results, corrections and reads; replays and their promotions."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Integer,
    Named,
    Text,
    TypedColumns,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from lanes.ids import BatchId, GenerationId, ItemId, ResultId, VersionId, WorkId
from lanes.store.tables.base import (
    Moment,
    Usd,
    Word,
    column,
    id_of,
    identity,
    index,
    list_of,
    table,
    unenforced,
)
from lanes.store.tables.items import item
from lanes.store.tables.work import batch, work
from lanes.store.tables.workloads import version, workload
from lanes.words import FlushReason, Lane, Outcome, Purpose, ReplayState, Standing


class ResponseColumns(TypedColumns):
    id = identity(int)
    message_id: Named[str] = column(
        Text, "The provider's id: billed once, booked once", unique=True
    )
    workload: Named[str] = Column(Text)
    lane: Named[Lane] = Column(Word(Lane))
    purpose: Named[Purpose] = Column(Word(Purpose))
    model: Named[str] = Column(Text)
    batch_id: Named[BatchId | None] = Column(id_of(BatchId), ForeignKey(batch.c.id))
    items: Named[int] = column(Integer, "How many items shared the call")  # pyright: ignore[reportIncompatibleMethodOverride]
    input_tokens: Named[int] = Column(Integer)
    output_tokens: Named[int] = Column(Integer)
    cache_read_tokens: Named[int] = Column(Integer)
    cache_write_tokens: Named[int] = Column(Integer)
    cost_usd: Named[Decimal] = Column(Usd)
    price_version: Named[str] = Column(Text)
    billed_at: Named[datetime] = Column(Moment)
    digest: Named[str | None] = column(Text, "Tells apart two responses with one id")


response = table(
    "response",
    ResponseColumns,
    "The ledger: each billed response that reached us, once",
    index("ix_response_billed_at", "billed_at", postgresql_using="brin"),
)


class AttemptColumns(TypedColumns):
    id = identity(int)
    work_id: Named[WorkId] = Column(id_of(WorkId), unenforced(work.c.id))
    item_id: Named[ItemId] = Column(id_of(ItemId), unenforced(item.c.id))
    version_id: Named[VersionId] = column(
        id_of(VersionId), "The version that was tried", unenforced(version.c.id)
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
    cost_usd: Named[Decimal] = column(Usd, "Its part of the response's cost")
    bound_usd: Named[Decimal] = column(Usd, "Of an unknown attempt: its upper bound, not in spend")
    shown: Named[bool] = column(Boolean, "Its answer became a result")
    latency_ms: Named[int] = column(Integer, "Duration of the call, or of the batch")
    started_at: Named[datetime] = Column(Moment)
    ended_at: Named[datetime] = Column(Moment)
    gathered_ms: Named[int | None] = column(Integer, "Time in the window; null: none")
    left_because: Named[FlushReason | None] = column(Word(FlushReason), "Why it left the window")
    flow_run_id: Named[Any | None] = column(Uuid, "The run that saved it")


attempt = table(
    "attempt",
    AttemptColumns,
    "A try at some work; a claim has one attempt per response, or one without",
    index(None, "item_id"),
    index(None, "workload", "lane", "ended_at"),
    index("uq_attempt_once", "work_id", "claim_no", text("coalesce(message_id, '')"), unique=True),
)


class ResultColumns(TypedColumns):
    id = identity(ResultId)
    item_id: Named[ItemId] = Column(id_of(ItemId), unenforced(item.c.id))
    work_id: Named[WorkId] = Column(id_of(WorkId), unenforced(work.c.id))
    version_id: Named[VersionId] = Column(id_of(VersionId), unenforced(version.c.id))
    lane: Named[Lane] = Column(Word(Lane))
    standing: Named[Standing] = Column(Word(Standing))
    generation: Named[int] = Column(Integer)
    revision: Named[int] = Column(Integer)
    output: Named[Any | None] = column(JSONB, "The answer; null: deleted by age")
    message_id: Named[str | None] = Column(Text)
    created_at: Named[datetime] = Column(Moment)


result = table(
    "result",
    ResultColumns,
    "Answers; the first valid one of a standing wins",
    UniqueConstraint("item_id", "generation", "revision", "standing"),
    index("ix_result_overlay", "generation", "item_id", where="generation > 0"),
)


class CorrectionColumns(TypedColumns):
    id = identity(int)
    item_id: Named[ItemId] = Column(id_of(ItemId), ForeignKey(item.c.id))
    generation: Named[int] = Column(Integer)
    provisional_id: Named[ResultId] = Column(id_of(ResultId), ForeignKey(result.c.id))
    authoritative_id: Named[ResultId] = Column(id_of(ResultId), ForeignKey(result.c.id))
    changed_fields: Named[list[str]] = Column(list_of(Text))
    distance: Named[float] = column(Double, "Share of the compared fields that changed, 0 to 1")
    corrected_at: Named[datetime] = Column(Moment)


correction = table(
    "correction",
    CorrectionColumns,
    "An authoritative result replaced a different provisional one",
    UniqueConstraint("item_id", "authoritative_id"),
)


class ReadColumns(TypedColumns):
    id = identity(int)
    item_id: Named[ItemId] = Column(id_of(ItemId), ForeignKey(item.c.id))
    reader: Named[str] = column(Text, "Who asked")
    result_id: Named[ResultId | None] = column(
        id_of(ResultId), "Null: none yet", ForeignKey(result.c.id)
    )
    read_at: Named[datetime] = Column(Moment)


read = table(
    "read",
    ReadColumns,
    "The consumption ledger: who read a result, and when",
    index(None, "item_id"),
    index(None, "reader", "read_at"),
)


class GenerationColumns(TypedColumns):
    id = identity(GenerationId)
    workload: Named[str] = Column(Text, ForeignKey(workload.c.name))
    number: Named[int] = column(Integer, "1, 2, 3 ... within the workload")
    version_id: Named[VersionId] = Column(id_of(VersionId), ForeignKey(version.c.id))
    state: Named[ReplayState] = column(
        Word(ReplayState),
        "Moved on by: running, its work; others, a person who promotes, demotes or drops; dropped is final",
    )
    from_position: Named[int] = column(BigInteger, "First position that it reads")
    to_position: Named[int] = column(BigInteger, "Last position that it reads")
    cursor_position: Named[int] = column(BigInteger, "Work exists up to here")
    items: Named[int] = column(Integer, "Items with work", default="0")  # pyright: ignore[reportIncompatibleMethodOverride]
    who: Named[str] = Column(Text)
    why: Named[str] = Column(Text)
    created_at: Named[datetime] = Column(Moment)
    completed_at: Named[datetime | None] = column(Moment, "When the last of its work ended")
    promoted_at: Named[datetime | None] = Column(Moment)
    demoted_at: Named[datetime | None] = Column(Moment)
    dropped_at: Named[datetime | None] = Column(Moment)


generation = table(
    "generation",
    GenerationColumns,
    "A numbered replay of a workload's stream by one version; its results lie over the live ones",
    UniqueConstraint("workload", "number"),
    CheckConstraint("number > 0", name="number_positive"),
    index("uq_generation_open", "workload", unique=True, where="state in ('running', 'complete')"),
)


class PromotedColumns(TypedColumns):
    generation_id: Named[GenerationId] = Column(
        id_of(GenerationId), ForeignKey(generation.c.id), primary_key=True
    )
    item_id: Named[ItemId] = Column(id_of(ItemId), ForeignKey(item.c.id), primary_key=True)
    before_id: Named[ResultId] = column(
        id_of(ResultId), "The result that demote restores", ForeignKey(result.c.id)
    )
    after_id: Named[ResultId] = column(
        id_of(ResultId), "The replay's result", ForeignKey(result.c.id)
    )


promoted = table(
    "promoted",
    PromotedColumns,
    "What a promotion replaced, for its demotion",
    index(None, "item_id"),
)
