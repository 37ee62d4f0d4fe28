"""What is owed, the batches that own it, and what packing does to answers."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Integer,
    Named,
    Text,
    TypedColumns,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

from lanes.ids import BatchId, ItemId, VersionId, WorkId
from lanes.store.tables.base import (
    Moment,
    Usd,
    Word,
    column,
    id_of,
    identity,
    index,
    table,
    unenforced,
)
from lanes.store.tables.items import item
from lanes.store.tables.workloads import version, workload
from lanes.words import BatchState, Lane, Purpose, WorkState


class BatchColumns(TypedColumns):
    id = identity(BatchId)
    nonce: Named[str] = column(
        Text, "First part of every custom_id; proves that it is ours", unique=True
    )
    account: Named[str] = column(Text, "Name of the provider account that pays")
    workload: Named[str] = Column(Text, ForeignKey(workload.c.name))
    version_id: Named[VersionId] = Column(id_of(VersionId), ForeignKey(version.c.id))
    model: Named[str] = Column(Text)
    state: Named[BatchState] = column(
        Word(BatchState),
        "Moved on by: intended, `depart` or `collect`; held, a person; others, `collect`; collected and released are final",
    )
    requests: Named[int] = Column(Integer)
    items: Named[int] = Column(Integer)  # pyright: ignore[reportIncompatibleMethodOverride]
    marked_requests: Named[int] = column(
        Integer, "Requests that mark their shared part for the cache", default="0"
    )
    bytes: Named[int] = column(BigInteger, "Size of the body of its create")
    body_hash: Named[str] = column(Text, "SHA-256 of the body of its create")
    provider_batch_id: Named[str | None] = Column(Text, unique=True)
    processed: Named[int] = column(Integer, "Requests no longer processing", default="0")
    succeeded: Named[int] = column(Integer, "Items with a valid answer", default="0")
    invalid: Named[int] = column(Integer, "Items whose answer was unusable", default="0")
    errored: Named[int] = column(Integer, default="0")
    canceled: Named[int] = column(Integer, default="0")
    expired: Named[int] = column(Integer, default="0")
    missing: Named[int] = column(Integer, "Items without any result", default="0")
    intended_at: Named[datetime] = Column(Moment)
    unproved: Named[bool] = column(
        Boolean, "It was adopted from the provider's list and is not proved ours", default="false"
    )
    cancel_at: Named[datetime | None] = column(Moment, "When `collect` may cancel it")
    submitted_at: Named[datetime | None] = Column(Moment)
    expected_end_at: Named[datetime | None] = Column(Moment)
    stated_back_at: Named[datetime | None] = column(
        Moment, "Predicted return with a probability of 95 %"
    )
    ended_at: Named[datetime | None] = Column(Moment)
    collected_at: Named[datetime | None] = Column(Moment)
    note: Named[str | None] = column(Text, "For people")
    flow_run_id: Named[Any | None] = column(Uuid, "The run of `depart` that intended it")


batch = table(
    "batch",
    BatchColumns,
    "A Message Batch; its intent is committed before the paid call",
    index("uq_batch_unresolved", "account", unique=True, where="state = 'intended'"),
    index(
        "uq_batch_unresolved_requests",
        "account",
        "requests",
        unique=True,
        where="state in ('intended', 'held') or (state in ('submitted', 'ended') and unproved)",
    ),
    index("ix_batch_open", "state", where="state <> 'collected'"),
    index(None, "submitted_at"),
)


class BatchDoubtColumns(TypedColumns):
    batch_id: Named[BatchId] = Column(id_of(BatchId), ForeignKey(batch.c.id), primary_key=True)
    create_ended_at: Named[datetime | None] = column(Moment, "When its create ended unanswered")
    searched_at: Named[datetime | None] = column(Moment, "When it was last searched for")
    unknown_since: Named[datetime | None] = column(
        Moment, "Since when the provider has not known it"
    )
    short_reads: Named[int] = column(
        Integer, "Consecutive reads without the same requests", default="0"
    )
    short_read_lacking: Named[str | None] = column(Text, "SHA-256 of their numbers")
    short_read_at: Named[datetime | None] = column(Moment, "When the last of them was")


batch_doubt = table(
    "batch_doubt",
    BatchDoubtColumns,
    "What is doubtful of a batch: its creation, its existence, its results",
)


class DisownedColumns(TypedColumns):
    account: Named[str] = Column(Text, primary_key=True)
    provider_batch_id: Named[str] = Column(Text, primary_key=True)
    batch_id: Named[BatchId] = column(
        id_of(BatchId), "Our batch that had adopted it", ForeignKey(batch.c.id)
    )
    disowned_at: Named[datetime] = Column(Moment)


disowned = table(
    "disowned", DisownedColumns, "Batches at the provider that are proved not to be ours"
)


class WorkColumns(TypedColumns):
    id = identity(WorkId)
    item_id: Named[ItemId] = Column(id_of(ItemId), unenforced(item.c.id))
    workload: Named[str] = Column(Text, unenforced(workload.c.name))
    version_id: Named[VersionId] = Column(id_of(VersionId), unenforced(version.c.id))
    lane: Named[Lane] = Column(Word(Lane))
    purpose: Named[Purpose] = column(Word(Purpose), "answer, authoritative, shadow or replay")
    revision: Named[int] = column(Integer, "Which revision of the item it processes")
    generation: Named[int] = column(Integer, "0: live; else the replay's number", default="0")
    state: Named[WorkState] = column(
        Word(WorkState),
        "ready: a drain or `depart` claims it; claimed: until lease_until; submitted: `collect`; others are final",
    )
    ready_at: Named[datetime] = column(Moment, "Not before")
    rank_at: Named[datetime] = column(Moment, "Order of service, computed once at routing")
    due_at: Named[datetime | None] = column(Moment, "When its item is due")
    binds: Named[Lane | None] = column(
        Word(Lane), "The lane that it must stay on; null: it is free"
    )
    claimed_by: Named[str | None] = Column(Text)
    lease_until: Named[datetime | None] = Column(Moment)
    claim_no: Named[int] = column(Integer, "Rises with every claim; fences writes", default="0")
    failures: Named[int] = column(Integer, "Failures that count for the retry budget", default="0")
    rescued: Named[bool] = column(
        Boolean, "The second look moved or copied it to real time", default="false"
    )
    alone: Named[bool] = column(
        Boolean, "It is asked alone: it may have spoiled its pack", default="false"
    )
    urgent: Named[bool] = column(Boolean, "Its item was urgent when it was routed", default="false")
    batch_id: Named[BatchId | None] = column(
        id_of(BatchId), "The batch that owns it", ForeignKey(batch.c.id)
    )
    bound_usd: Named[Decimal | None] = column(
        Usd, "US dollars reserved of hard budgets; while ready: more than is left, so it rests"
    )
    waits_since: Named[datetime] = column(Moment, "When it was routed, moved or retried last")
    finished_at: Named[datetime | None] = Column(Moment)


work = table(
    "work",
    WorkColumns,
    "One obligation to process an item on a lane",
    index("ix_work_claimable", "lane", "workload", "rank_at", "id", where="state = 'ready'"),
    index(
        "ix_work_urgent", "lane", "workload", "rank_at", "id", where="state = 'ready' and urgent"
    ),
    index(
        "uq_work_open",
        "item_id",
        "lane",
        "purpose",
        "generation",
        "revision",
        unique=True,
        where="state in ('ready', 'claimed', 'submitted')",
    ),
    index(
        "ix_work_due_of_workload",
        "workload",
        "binds",
        "due_at",
        "id",
        where="due_at is not null and lane = 'batch' and purpose = 'answer' "
        "and state in ('ready', 'submitted') and not rescued",
    ),
    index(
        "ix_work_unrescued",
        "due_at",
        "id",
        where="rescued and lane = 'realtime' and state = 'failed'",
    ),
    index("ix_work_submitted", "batch_id", where="state = 'submitted'"),
    index("ix_work_claimed", "id", where="state = 'claimed'"),
    index("ix_work_bound", "workload", where="bound_usd is not null"),
    index("ix_work_replay", "workload", "generation", "state", where="generation > 0"),
    index(None, "item_id"),
)


class BatchMemberColumns(TypedColumns):
    batch_id: Named[BatchId] = Column(id_of(BatchId), ForeignKey(batch.c.id), primary_key=True)
    request_no: Named[int] = column(Integer, "Last part of the custom_id, from 0", primary_key=True)
    slot: Named[int] = column(Integer, "Place within the pack, from 0", primary_key=True)
    work_id: Named[WorkId] = Column(id_of(WorkId), ForeignKey(work.c.id))
    claim_no: Named[int] = column(Integer, "The claim under which the batch owns it")


batch_member = table(
    "batch_member",
    BatchMemberColumns,
    "The work that each request of a batch carries; late results find their items by it",
)


class PackCheckColumns(TypedColumns):
    id = identity(int)
    item_id: Named[ItemId] = Column(id_of(ItemId), ForeignKey(item.c.id))
    work_id: Named[WorkId] = column(
        id_of(WorkId), "The work that was packed", ForeignKey(work.c.id)
    )
    version_id: Named[VersionId] = Column(id_of(VersionId), ForeignKey(version.c.id))
    lane: Named[Lane] = Column(Word(Lane))
    pack: Named[int] = column(Integer, "How many items shared that call")
    twice: Named[bool] = column(Boolean, "Whether it is asked alone a second time")
    asked_at: Named[datetime] = Column(Moment)
    alone: Named[Any | None] = column(JSONB, "The first answer alone, kept until the second")
    agrees: Named[bool | None] = column(Boolean, "Whether the answers packed and alone agree")
    compared_at: Named[datetime | None] = Column(Moment)
    repeats: Named[bool | None] = column(Boolean, "Whether both answers alone agree")
    repeated_at: Named[datetime | None] = Column(Moment)


pack_check = table(
    "pack_check",
    PackCheckColumns,
    "Packed items that a shadow also answers alone",
    index("uq_pack_check_work", "work_id", unique=True),
    index("ix_pack_check_item", "item_id"),
    index(
        "ix_pack_check_compared",
        "version_id",
        "lane",
        "compared_at",
        where="compared_at is not null",
    ),
    index(
        "ix_pack_check_repeated",
        "version_id",
        "lane",
        "repeated_at",
        where="repeated_at is not null",
    ),
)


class PackSizeColumns(TypedColumns):
    id = identity(int)
    workload: Named[str] = Column(Text)
    version_id: Named[VersionId] = column(
        id_of(VersionId), "The version that was measured", ForeignKey(version.c.id)
    )
    lane: Named[Lane] = Column(Word(Lane))
    model: Named[str] = column(Text, "The lane's model; another one starts anew")
    size: Named[int] = column(Integer, "The largest pack from then on")
    allowed: Named[int] = column(Integer, "The largest pack that the workload allows")
    hurt: Named[int | None] = column(Integer, "The size that hurt answers; null: it grew")
    packed_n: Named[int] = column(Integer, "Items compared packed and alone")
    packed_agreed: Named[int] = column(Integer, "Of those, equal answers")
    alone_n: Named[int] = column(Integer, "Items compared alone and alone")
    alone_agreed: Named[int] = column(Integer, "Of those, equal answers")
    why: Named[str] = column(Text, "The decision as a sentence")
    decided_at: Named[datetime] = Column(Moment)


pack_size = table(
    "pack_size",
    PackSizeColumns,
    "Append-only; the newest decision of a workload, lane and model is in force",
    index(None, "workload", "lane", "model", "id"),
)
