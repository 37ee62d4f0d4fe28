"""Tables of work, the batches that own it, and the effect of packing on answers."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, Column, ForeignKey, Named, TypedColumns, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from lanes.ids import BatchId, ItemId, VersionId, WorkId
from lanes.store.tables.base import column, identity, index, reference_unenforced, table
from lanes.store.tables.items import item
from lanes.store.tables.workloads import version, workload
from lanes.words import BatchState, Lane, Purpose, WorkState


@table(
    index("uq_batch_unresolved", "account", unique=True, where="state = 'intended'"),
    index(
        "uq_batch_unresolved_requests",
        "account, requests",
        unique=True,
        where="state in ('intended', 'held') or (state in ('submitted', 'ended') and unproved)",
    ),
    index("ix_batch_open", "state", where="state <> 'collected'"),
    index(None, "submitted_at"),
)
class batch(TypedColumns):
    """A Message Batch; its intent is committed before the paid call."""

    id: Named[BatchId] = identity()
    nonce: Named[str] = column("First part of every custom_id; proves that it is ours", unique=True)
    account: Named[str] = column("Name of the provider account that pays")
    provider: Named[str] = column("The provider block of that account", default="'lanes'")
    workload: Named[str] = Column(ForeignKey(workload.c.name))
    version_id: Named[VersionId] = Column(ForeignKey(version.c.id))
    model: Named[str]
    state: Named[BatchState] = column(
        "Moved on by: intended, `depart` or `collect`; held, a person; others, `collect`; collected and released are final"
    )
    requests: Named[int]
    items: Named[int]  # pyright: ignore[reportIncompatibleMethodOverride]
    marked_requests: Named[int] = column(
        "Requests that mark their shared part for the cache", default="0"
    )
    bytes: Named[int] = column("Size of the body of its create", type_=BigInteger)
    body_hash: Named[str] = column("SHA-256 of the body of its create")
    provider_batch_id: Named[str | None] = Column(unique=True)
    processed: Named[int] = column("Requests no longer processing", default="0")
    succeeded: Named[int] = column("Items with a valid answer", default="0")
    invalid: Named[int] = column("Items whose answer was unusable", default="0")
    errored: Named[int] = column(default="0")
    canceled: Named[int] = column(default="0")
    expired: Named[int] = column(default="0")
    missing: Named[int] = column("Items without any result", default="0")
    intended_at: Named[datetime]
    unproved: Named[bool] = column(
        "It was adopted from the provider's list and is not proved ours", default="false"
    )
    cancel_at: Named[datetime | None] = column("When `collect` may cancel it")
    submitted_at: Named[datetime | None]
    expected_end_at: Named[datetime | None]
    stated_back_at: Named[datetime | None] = column("Predicted return with a probability of 95 %")
    ended_at: Named[datetime | None]
    collected_at: Named[datetime | None]
    note: Named[str | None] = column("For people")
    flow_run_id: Named[Any | None] = column("The run of `depart` that intended it", type_=Uuid)


@table()
class batch_doubt(TypedColumns):
    """Doubts about a batch: whether it was created, whether it still exists, and whether its results are complete."""

    batch_id: Named[BatchId] = Column(ForeignKey(batch.c.id), primary_key=True)
    create_ended_at: Named[datetime | None] = column("When its create ended unanswered")
    searched_at: Named[datetime | None] = column("When it was last searched for")
    unknown_since: Named[datetime | None] = column("Since when the provider has not known it")
    short_reads: Named[int] = column("Consecutive reads without the same requests", default="0")
    short_read_lacking: Named[str | None] = column("SHA-256 of their numbers")
    short_read_at: Named[datetime | None] = column("When the last of them was")


@table()
class disowned(TypedColumns):
    """Batches at the provider that are proved not to belong to Lanes."""

    account: Named[str] = Column(primary_key=True)
    provider_batch_id: Named[str] = Column(primary_key=True)
    batch_id: Named[BatchId] = column("Our batch that had adopted it", ForeignKey(batch.c.id))
    disowned_at: Named[datetime]


@table(
    index("ix_work_claimable", "lane, workload, rank_at, id", where="state = 'ready'"),
    index("ix_work_urgent", "lane, workload, rank_at, id", where="state = 'ready' and urgent"),
    # `consumer >= ''` is true for every row. Only claims in turns contain it, so no other statement uses these indexes.
    index(
        "ix_work_turn",
        "lane, workload, consumer, rank_at, id",
        where="state = 'ready' and consumer >= ''",
    ),
    index(
        "ix_work_pressing",
        "lane, workload, rank_at, id",
        where="state = 'ready' and (urgent or due_at is not null) and consumer >= ''",
    ),
    index(
        "uq_work_open",
        "item_id, lane, purpose, generation, revision",
        unique=True,
        where="state in ('ready', 'claimed', 'submitted')",
    ),
    index(
        "ix_work_due_of_workload",
        "workload, binds, due_at, id",
        where="due_at is not null and lane = 'batch' and purpose = 'answer' "
        "and state in ('ready', 'submitted') and not rescued",
    ),
    index(
        "ix_work_unrescued",
        "due_at, id",
        where="rescued and lane = 'realtime' and state = 'failed'",
    ),
    index("ix_work_submitted", "batch_id", where="state = 'submitted'"),
    index("ix_work_claimed", "id", where="state = 'claimed'"),
    index("ix_work_bound", "workload", where="bound_usd is not null"),
    index("ix_work_replay", "workload, generation, state", where="generation > 0"),
    index(None, "item_id"),
    postgresql_with={
        "fillfactor": 70,  # most updates that start or end a claim fit into the row's page
        # Reads at the head of a partial index skip all entries that died since its last cleanup, so clean up often.
        "autovacuum_vacuum_scale_factor": 0.02,
        "vacuum_index_cleanup": "on",
    },
)
class work(TypedColumns):
    """One obligation to process an item on a lane."""

    id: Named[WorkId] = identity()
    item_id: Named[ItemId] = Column(reference_unenforced(item.c.id))
    workload: Named[str] = Column(reference_unenforced(workload.c.name))
    version_id: Named[VersionId] = Column(reference_unenforced(version.c.id))
    lane: Named[Lane]
    purpose: Named[Purpose] = column("answer, authoritative, shadow, replay or golden")
    revision: Named[int] = column("Which revision of the item it processes")
    generation: Named[int] = column(
        "0: live; above: the replay's number; below: minus the number of the version on a golden set",
        default="0",
    )
    state: Named[WorkState] = column(
        "ready: a drain or `depart` claims it; claimed: until lease_until; submitted: `collect`; others are final"
    )
    ready_at: Named[datetime] = column("Not before")
    rank_at: Named[datetime] = column("Order of service, computed once at routing")
    due_at: Named[datetime | None] = column("When its item is due")
    binds: Named[Lane | None] = column("The lane that it must stay on; null: it is free")
    claimed_by: Named[str | None]
    lease_until: Named[datetime | None]
    claim_no: Named[int] = column("Rises with every claim; fences writes", default="0")
    failures: Named[int] = column("Failures that count for the retry budget", default="0")
    rescued: Named[bool] = column(
        "The second look moved or copied it to real time", default="false"
    )
    alone: Named[bool] = column("It is asked alone: it may have spoiled its pack", default="false")
    urgent: Named[bool] = column("Its item was urgent when it was routed", default="false")
    consumer: Named[str] = column(
        "The consumer of its item, whose work takes turns with that of others; empty: none, or it only measures",
        default="''",
    )
    batch_id: Named[BatchId | None] = column(
        "The batch that owns it", reference_unenforced(batch.c.id)
    )
    bound_usd: Named[Decimal | None] = column(
        "US dollars reserved of hard budgets; while ready: more than is left, so it rests"
    )
    context: Named[Any | None] = column(
        "Digests of the context that it was asked with, which late context is compared with",
        type_=JSONB(none_as_null=True),
    )
    waits_since: Named[datetime] = column("When it was routed, moved or retried last")
    finished_at: Named[datetime | None]


@table()
class batch_member(TypedColumns):
    """The work in each request of a batch; late results find their items through it."""

    batch_id: Named[BatchId] = Column(reference_unenforced(batch.c.id), primary_key=True)
    request_no: Named[int] = column("Last part of the custom_id, from 0", primary_key=True)
    slot: Named[int] = column("Place within the pack, from 0", primary_key=True)
    work_id: Named[WorkId] = Column(reference_unenforced(work.c.id))
    claim_no: Named[int] = column("The claim under which the batch owns it")


@table(
    index("uq_pack_check_work", "work_id", unique=True),
    index("ix_pack_check_item", "item_id"),
    index(
        "ix_pack_check_compared", "version_id, lane, compared_at", where="compared_at is not null"
    ),
    index(
        "ix_pack_check_repeated", "version_id, lane, repeated_at", where="repeated_at is not null"
    ),
)
class pack_check(TypedColumns):
    """Packed items that a shadow also answers alone, with the comparison of the answers."""

    id: Named[int] = identity()
    item_id: Named[ItemId] = Column(reference_unenforced(item.c.id))
    work_id: Named[WorkId] = column("The work that was packed", reference_unenforced(work.c.id))
    version_id: Named[VersionId] = Column(ForeignKey(version.c.id))
    lane: Named[Lane]
    pack: Named[int] = column("How many items shared that call")
    twice: Named[bool] = column("Whether it is asked alone a second time")
    asked_at: Named[datetime]
    alone: Named[Any | None] = column("The first answer alone, kept until the second")
    agrees: Named[bool | None] = column("Whether the answers packed and alone agree")
    compared_at: Named[datetime | None]
    repeats: Named[bool | None] = column("Whether both answers alone agree")
    repeated_at: Named[datetime | None]


@table(index(None, "workload, lane, model, id"))
class pack_size(TypedColumns):
    """Append-only decisions about pack sizes; the newest of a workload, lane and model is in force."""

    id: Named[int] = identity()
    workload: Named[str]
    version_id: Named[VersionId] = column("The version that was measured", ForeignKey(version.c.id))
    lane: Named[Lane]
    model: Named[str] = column("The lane's model; another one starts anew")
    size: Named[int] = column("The largest pack from then on")
    allowed: Named[int] = column("The largest pack that the workload allows")
    hurt: Named[int | None] = column("The size that hurt answers; null: it grew")
    packed_n: Named[int] = column("Items compared packed and alone")
    packed_agreed: Named[int] = column("Of those, equal answers")
    alone_n: Named[int] = column("Items compared alone and alone")
    alone_agreed: Named[int] = column("Of those, equal answers")
    why: Named[str] = column("The decision as a sentence")
    decided_at: Named[datetime]
