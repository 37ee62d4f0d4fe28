"""What is owed, and which batch owns it."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import Column, ForeignKey, Index, Integer, Named, Table, Text, TypedColumns, text

from lanes.ids import BatchId, ItemId, VersionId, WorkId
from lanes.store.tables.base import Moment, Usd, Word, id_of, identity, metadata, one_of
from lanes.store.tables.batches import batch
from lanes.store.tables.items import item
from lanes.store.tables.workloads import version, workload
from lanes.words import Lane, Purpose, WorkState


class WorkColumns(TypedColumns):
    id = identity(WorkId)
    item_id: Named[ItemId] = Column(
        id_of(ItemId), ForeignKey(item.c.id)
    )  # not enforced: it was read from the item itself
    workload: Named[str] = Column(
        Text, ForeignKey(workload.c.name)
    )  # not enforced: whoever writes has read it
    version_id: Named[VersionId] = Column(
        id_of(VersionId), ForeignKey(version.c.id)
    )  # not enforced either
    lane: Named[Lane] = Column(Word(Lane))
    purpose: Named[Purpose] = Column(
        Word(Purpose), comment="answer, authoritative, shadow or replay"
    )
    revision: Named[int] = Column(Integer, comment="Which revision of the item it processes")
    generation: Named[int] = Column(
        Integer, server_default=text("0"), comment="0 = live, else a replay's number"
    )
    state: Named[WorkState] = Column(
        Word(WorkState),
        comment="ready: drain or submit claims it; claimed: until lease_until; "
        "submitted: collect moves it; done, failed, canceled: nobody",
    )
    ready_at: Named[datetime] = Column(Moment, comment="Not before")
    rank_at: Named[datetime] = Column(Moment, comment="Order of service, computed once at routing")
    due_at: Named[datetime | None] = Column(Moment, comment="When its item is due")
    binds: Named[Lane | None] = Column(
        Word(Lane), comment="The lane that its route binds it to; null: it is free"
    )
    claimed_by: Named[str | None] = Column(Text)
    lease_until: Named[datetime | None] = Column(Moment)
    claim_no: Named[int] = Column(
        Integer, server_default=text("0"), comment="Rises with every claim; fences writes"
    )
    failures: Named[int] = Column(
        Integer, server_default=text("0"), comment="Spent of the retry budget"
    )
    rescued: Named[bool] = Column(
        server_default=text("false"),
        comment="The second look took its item to real time: instead of this, or beside it",
    )
    alone: Named[bool] = Column(
        server_default=text("false"), comment="It may have spoiled its pack: it is asked alone"
    )
    urgent: Named[bool] = Column(
        server_default=text("false"), comment="Its item was urgent when it was routed"
    )
    batch_id: Named[BatchId | None] = Column(
        id_of(BatchId), ForeignKey(batch.c.id), comment="The batch that owns it"
    )
    bound_usd: Named[Decimal | None] = Column(
        Usd,
        comment="US dollars reserved of hard budgets until its claim ends; while ready: its call may cost so much and "
        "less is left, so it rests; null: no hard budget",
    )
    waits_since: Named[datetime] = Column(
        Moment,
        comment="Since when it waits for an answer on this lane: routed, moved or retried then",
    )
    finished_at: Named[datetime | None] = Column(Moment)


work = Table(
    "work",
    metadata,
    WorkColumns,
    one_of("lane", Lane),
    one_of("binds", Lane),
    one_of("purpose", Purpose),
    one_of("state", WorkState),
    Index(
        "ix_work_claimable",
        "lane",
        "workload",
        "rank_at",
        "id",
        postgresql_where=text("state = 'ready'"),
    ),
    Index(
        "ix_work_urgent",
        "lane",
        "workload",
        "rank_at",
        "id",  # looked at every time, however slow looks from the head are
        postgresql_where=text("state = 'ready' and urgent"),
    ),
    Index(
        "uq_work_open",
        "item_id",
        "lane",
        "purpose",
        "generation",
        "revision",
        unique=True,
        postgresql_where=text("state in ('ready', 'claimed', 'submitted')"),
    ),
    Index(
        "ix_work_due_of_workload",
        "workload",
        "binds",
        "due_at",
        "id",  # whose batch is late, or may be
        postgresql_where=text(
            "due_at is not null and lane = 'batch' and purpose = 'answer' "
            "and state in ('ready', 'submitted') and not rescued"
        ),
    ),
    Index(
        "ix_work_unrescued",
        "due_at",
        "id",  # what real time took over, and could not answer: perhaps its batch still does
        postgresql_where=text("rescued and lane = 'realtime' and state = 'failed'"),
    ),
    Index("ix_work_submitted", "batch_id", postgresql_where=text("state = 'submitted'")),
    Index("ix_work_claimed", "id", postgresql_where=text("state = 'claimed'")),
    Index("ix_work_bound", "workload", postgresql_where=text("bound_usd is not null")),
    Index(
        "ix_work_replay", "workload", "generation", "state", postgresql_where=text("generation > 0")
    ),
    Index(None, "item_id"),
    comment="One obligation to process an item on a lane",
)


class BatchMemberColumns(TypedColumns):
    batch_id: Named[BatchId] = Column(id_of(BatchId), ForeignKey(batch.c.id), primary_key=True)
    request_no: Named[int] = Column(
        Integer, primary_key=True, comment="Last part of the custom_id, from 0"
    )
    slot: Named[int] = Column(Integer, primary_key=True, comment="Place within the pack, from 0")
    work_id: Named[WorkId] = Column(id_of(WorkId), ForeignKey(work.c.id))
    claim_no: Named[int] = Column(Integer, comment="The claim under which the batch owns it")


batch_member = Table(
    "batch_member",
    metadata,
    BatchMemberColumns,
    comment="Which work each request of a batch carries; kept so that late results find their items",
)
