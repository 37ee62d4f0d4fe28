"""Tables of what calls returned: responses and attempts, results, corrections and reads; replays and their promotions."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from lanes.ids import BatchId, GenerationId, ItemId, ResultId, VersionId, WorkId
from lanes.store.tables.base import column, identity, index, table, unenforced
from lanes.store.tables.items import item
from lanes.store.tables.work import batch, work
from lanes.store.tables.workloads import version, workload
from lanes.words import FlushReason, Lane, Outcome, Purpose, ReplayState, Standing


@table(index("ix_response_moments", "billed_at, id", postgresql_using="brin"))
class response(sa.TypedColumns):
    """The ledger: each billed response that reached us, once."""

    id: sa.Named[int] = column("Their order", sa.Identity(always=True), type_=sa.BigInteger)
    message_id: sa.Named[str] = column("The provider's id: billed once, booked once", unique=True)
    workload: sa.Named[str]
    lane: sa.Named[Lane]
    purpose: sa.Named[Purpose]
    model: sa.Named[str]
    batch_id: sa.Named[BatchId | None] = sa.Column(unenforced(batch.c.id))
    items: sa.Named[int] = column("How many items shared the call")  # pyright: ignore[reportIncompatibleMethodOverride]
    input_tokens: sa.Named[int]
    output_tokens: sa.Named[int]
    cache_read_tokens: sa.Named[int]
    cache_write_tokens: sa.Named[int]
    cost_usd: sa.Named[Decimal]
    price_version: sa.Named[str]
    billed_at: sa.Named[datetime]
    digest: sa.Named[str | None] = column("Tells apart two responses with one id")
    service_tier: sa.Named[str | None] = column("Null: as asked, standard or batch")
    inference_geo: sa.Named[str | None] = column("Where it was answered; null: not told")
    speed: sa.Named[str | None] = column("Null: standard")


@table(
    index(None, "item_id"),
    index(None, "workload, lane, ended_at"),
    index("ix_attempt_moments", "ended_at, started_at, batch_id", postgresql_using="brin"),
    index(
        "uq_attempt_once", "work_id", "claim_no", sa.text("coalesce(message_id, '')"), unique=True
    ),
)
class attempt(sa.TypedColumns):
    """A try at some work; a claim has one attempt per response, or one without."""

    id: sa.Named[int] = identity()
    work_id: sa.Named[WorkId] = sa.Column(unenforced(work.c.id))
    item_id: sa.Named[ItemId] = sa.Column(unenforced(item.c.id))
    version_id: sa.Named[VersionId] = column("The version that was tried", unenforced(version.c.id))
    claim_no: sa.Named[int]
    workload: sa.Named[str]
    lane: sa.Named[Lane]
    purpose: sa.Named[Purpose]
    outcome: sa.Named[Outcome]
    error: sa.Named[str | None]
    request_id: sa.Named[str | None]
    message_id: sa.Named[str | None]
    batch_id: sa.Named[BatchId | None] = sa.Column(unenforced(batch.c.id))
    model: sa.Named[str]
    input_tokens: sa.Named[int]
    output_tokens: sa.Named[int]
    cache_read_tokens: sa.Named[int]
    cache_write_tokens: sa.Named[int]
    cost_usd: sa.Named[Decimal] = column("Its part of the response's cost")
    bound_usd: sa.Named[Decimal] = column("Of an unknown attempt: its upper bound, not in spend")
    shown: sa.Named[bool] = column("Its answer became a result")
    latency_ms: sa.Named[int] = column("Duration of the call, or of the batch")
    started_at: sa.Named[datetime]
    ended_at: sa.Named[datetime]
    gathered_ms: sa.Named[int | None] = column("Time in the window; null: none")
    left_because: sa.Named[FlushReason | None] = column("Why it left the window")
    flow_run_id: sa.Named[Any | None] = column("The run that saved it", type_=sa.Uuid)


@table(
    sa.UniqueConstraint("item_id", "generation", "revision", "standing"),
    index("ix_result_overlay", "generation, item_id", where="generation > 0"),
    index("ix_result_moments", "created_at, item_id", postgresql_using="brin"),
)
class result(sa.TypedColumns):
    """Answers; the first valid one of a standing wins."""

    id: sa.Named[ResultId] = identity()
    item_id: sa.Named[ItemId] = sa.Column(unenforced(item.c.id))
    work_id: sa.Named[WorkId] = sa.Column(unenforced(work.c.id))
    version_id: sa.Named[VersionId] = sa.Column(unenforced(version.c.id))
    lane: sa.Named[Lane]
    standing: sa.Named[Standing]
    generation: sa.Named[int]
    revision: sa.Named[int]
    output: sa.Named[Any | None] = column("The answer; null: deleted by age")
    message_id: sa.Named[str | None]
    created_at: sa.Named[datetime]


@table(sa.UniqueConstraint("item_id", "authoritative_id"))
class correction(sa.TypedColumns):
    """An authoritative result replaced a different provisional one."""

    id: sa.Named[int] = identity()
    item_id: sa.Named[ItemId] = sa.Column(unenforced(item.c.id))
    generation: sa.Named[int]
    provisional_id: sa.Named[ResultId] = sa.Column(unenforced(result.c.id))
    authoritative_id: sa.Named[ResultId] = sa.Column(unenforced(result.c.id))
    changed_fields: sa.Named[list[str]]
    distance: sa.Named[float] = column("Share of the compared fields that changed, 0 to 1")
    corrected_at: sa.Named[datetime]


@table(index(None, "item_id"), index(None, "reader, read_at"))
class read(sa.TypedColumns):
    """The consumption ledger: who read a result, and when."""

    id: sa.Named[int] = identity()
    item_id: sa.Named[ItemId] = sa.Column(sa.ForeignKey(item.c.id))
    reader: sa.Named[str] = column("Who asked")
    result_id: sa.Named[ResultId | None] = column("Null: none yet", unenforced(result.c.id))
    read_at: sa.Named[datetime]


@table(
    sa.UniqueConstraint("workload", "number"),
    sa.CheckConstraint("number > 0", name="number_positive"),
    index("uq_generation_open", "workload", unique=True, where="state in ('running', 'complete')"),
)
class generation(sa.TypedColumns):
    """A numbered replay of a workload's stream by one version; its results lie over the live ones."""

    id: sa.Named[GenerationId] = identity()
    workload: sa.Named[str] = sa.Column(sa.ForeignKey(workload.c.name))
    number: sa.Named[int] = column("1, 2, 3 ... within the workload")
    version_id: sa.Named[VersionId] = sa.Column(sa.ForeignKey(version.c.id))
    state: sa.Named[ReplayState] = column(
        "Moved on by: running, its work; others, a person who promotes, demotes or drops; dropped is final"
    )
    from_position: sa.Named[int] = column("First position that it reads", type_=sa.BigInteger)
    to_position: sa.Named[int] = column("Last position that it reads", type_=sa.BigInteger)
    cursor_position: sa.Named[int] = column("Work exists up to here", type_=sa.BigInteger)
    items: sa.Named[int] = column("Items with work", default="0")  # pyright: ignore[reportIncompatibleMethodOverride]
    selection: sa.Named[Any] = column(
        "Its conditions on items, and its lane; {}: none, batch", default="'{}'"
    )
    skipped: sa.Named[int] = column("Items that would be asked as they were", default="0")
    erased: sa.Named[int] = column("Selected items without a payload any more", default="0")
    who: sa.Named[str]
    why: sa.Named[str]
    created_at: sa.Named[datetime]
    paused_at: sa.Named[datetime | None] = column("Since when a person pauses it")
    completed_at: sa.Named[datetime | None] = column("When the last of its work ended")
    promoted_at: sa.Named[datetime | None]
    demoted_at: sa.Named[datetime | None]
    dropped_at: sa.Named[datetime | None]


@table()
class promoted(sa.TypedColumns):
    """What a promotion replaced, for its demotion."""

    generation_id: sa.Named[GenerationId] = sa.Column(unenforced(generation.c.id), primary_key=True)
    item_id: sa.Named[ItemId] = sa.Column(unenforced(item.c.id), primary_key=True)
    before_id: sa.Named[ResultId] = column(
        "The result that demote restores", unenforced(result.c.id)
    )
    after_id: sa.Named[ResultId] = column("The replay's result", unenforced(result.c.id))
