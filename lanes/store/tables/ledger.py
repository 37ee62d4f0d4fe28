"""What calls brought: responses and attempts, results, corrections and reads; replays and their promotions."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Named,
    TypedColumns,
    UniqueConstraint,
    Uuid,
    text,
)

from lanes.ids import BatchId, GenerationId, ItemId, ResultId, VersionId, WorkId
from lanes.store.tables.base import column, identity, index, table, unenforced
from lanes.store.tables.items import item
from lanes.store.tables.work import batch, work
from lanes.store.tables.workloads import version, workload
from lanes.words import FlushReason, Lane, Outcome, Purpose, ReplayState, Standing


@table(index("ix_response_billed_at", "billed_at", postgresql_using="brin"))
class response(TypedColumns):
    """The ledger: each billed response that reached us, once."""

    id: Named[int] = identity()
    message_id: Named[str] = column("The provider's id: billed once, booked once", unique=True)
    workload: Named[str]
    lane: Named[Lane]
    purpose: Named[Purpose]
    model: Named[str]
    batch_id: Named[BatchId | None] = Column(ForeignKey(batch.c.id))
    items: Named[int] = column("How many items shared the call")  # pyright: ignore[reportIncompatibleMethodOverride]
    input_tokens: Named[int]
    output_tokens: Named[int]
    cache_read_tokens: Named[int]
    cache_write_tokens: Named[int]
    cost_usd: Named[Decimal]
    price_version: Named[str]
    billed_at: Named[datetime]
    digest: Named[str | None] = column("Tells apart two responses with one id")


@table(
    index(None, "item_id"),
    index(None, "workload, lane, ended_at"),
    index("uq_attempt_once", "work_id", "claim_no", text("coalesce(message_id, '')"), unique=True),
)
class attempt(TypedColumns):
    """A try at some work; a claim has one attempt per response, or one without."""

    id: Named[int] = identity()
    work_id: Named[WorkId] = Column(unenforced(work.c.id))
    item_id: Named[ItemId] = Column(unenforced(item.c.id))
    version_id: Named[VersionId] = column("The version that was tried", unenforced(version.c.id))
    claim_no: Named[int]
    workload: Named[str]
    lane: Named[Lane]
    purpose: Named[Purpose]
    outcome: Named[Outcome]
    error: Named[str | None]
    request_id: Named[str | None]
    message_id: Named[str | None]
    batch_id: Named[BatchId | None] = Column(ForeignKey(batch.c.id))
    model: Named[str]
    input_tokens: Named[int]
    output_tokens: Named[int]
    cache_read_tokens: Named[int]
    cache_write_tokens: Named[int]
    cost_usd: Named[Decimal] = column("Its part of the response's cost")
    bound_usd: Named[Decimal] = column("Of an unknown attempt: its upper bound, not in spend")
    shown: Named[bool] = column("Its answer became a result")
    latency_ms: Named[int] = column("Duration of the call, or of the batch")
    started_at: Named[datetime]
    ended_at: Named[datetime]
    gathered_ms: Named[int | None] = column("Time in the window; null: none")
    left_because: Named[FlushReason | None] = column("Why it left the window")
    flow_run_id: Named[Any | None] = column("The run that saved it", type_=Uuid)


@table(
    UniqueConstraint("item_id", "generation", "revision", "standing"),
    index("ix_result_overlay", "generation, item_id", where="generation > 0"),
)
class result(TypedColumns):
    """Answers; the first valid one of a standing wins."""

    id: Named[ResultId] = identity()
    item_id: Named[ItemId] = Column(unenforced(item.c.id))
    work_id: Named[WorkId] = Column(unenforced(work.c.id))
    version_id: Named[VersionId] = Column(unenforced(version.c.id))
    lane: Named[Lane]
    standing: Named[Standing]
    generation: Named[int]
    revision: Named[int]
    output: Named[Any | None] = column("The answer; null: deleted by age")
    message_id: Named[str | None]
    created_at: Named[datetime]


@table(UniqueConstraint("item_id", "authoritative_id"))
class correction(TypedColumns):
    """An authoritative result replaced a different provisional one."""

    id: Named[int] = identity()
    item_id: Named[ItemId] = Column(ForeignKey(item.c.id))
    generation: Named[int]
    provisional_id: Named[ResultId] = Column(ForeignKey(result.c.id))
    authoritative_id: Named[ResultId] = Column(ForeignKey(result.c.id))
    changed_fields: Named[list[str]]
    distance: Named[float] = column("Share of the compared fields that changed, 0 to 1")
    corrected_at: Named[datetime]


@table(index(None, "item_id"), index(None, "reader, read_at"))
class read(TypedColumns):
    """The consumption ledger: who read a result, and when."""

    id: Named[int] = identity()
    item_id: Named[ItemId] = Column(ForeignKey(item.c.id))
    reader: Named[str] = column("Who asked")
    result_id: Named[ResultId | None] = column("Null: none yet", ForeignKey(result.c.id))
    read_at: Named[datetime]


@table(
    UniqueConstraint("workload", "number"),
    CheckConstraint("number > 0", name="number_positive"),
    index("uq_generation_open", "workload", unique=True, where="state in ('running', 'complete')"),
)
class generation(TypedColumns):
    """A numbered replay of a workload's stream by one version; its results lie over the live ones."""

    id: Named[GenerationId] = identity()
    workload: Named[str] = Column(ForeignKey(workload.c.name))
    number: Named[int] = column("1, 2, 3 ... within the workload")
    version_id: Named[VersionId] = Column(ForeignKey(version.c.id))
    state: Named[ReplayState] = column(
        "Moved on by: running, its work; others, a person who promotes, demotes or drops; dropped is final"
    )
    from_position: Named[int] = column("First position that it reads", type_=BigInteger)
    to_position: Named[int] = column("Last position that it reads", type_=BigInteger)
    cursor_position: Named[int] = column("Work exists up to here", type_=BigInteger)
    items: Named[int] = column("Items with work", default="0")  # pyright: ignore[reportIncompatibleMethodOverride]
    who: Named[str]
    why: Named[str]
    created_at: Named[datetime]
    completed_at: Named[datetime | None] = column("When the last of its work ended")
    promoted_at: Named[datetime | None]
    demoted_at: Named[datetime | None]
    dropped_at: Named[datetime | None]


@table(index(None, "item_id"))
class promoted(TypedColumns):
    """What a promotion replaced, for its demotion."""

    generation_id: Named[GenerationId] = Column(ForeignKey(generation.c.id), primary_key=True)
    item_id: Named[ItemId] = Column(ForeignKey(item.c.id), primary_key=True)
    before_id: Named[ResultId] = column("The result that demote restores", ForeignKey(result.c.id))
    after_id: Named[ResultId] = column("The replay's result", ForeignKey(result.c.id))
