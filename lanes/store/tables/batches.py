"""Message Batches, and whose they are."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
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

from lanes.ids import BatchId, VersionId
from lanes.store.tables.base import Moment, Word, id_of, identity, metadata, one_of
from lanes.store.tables.workloads import version, workload
from lanes.words import BatchState


class BatchColumns(TypedColumns):
    id = identity(BatchId)
    nonce: Named[str] = Column(
        Text, unique=True, comment="First part of every custom_id: proves the batch is ours"
    )
    account: Named[str] = Column(Text, comment="Name of the provider account that pays")
    workload: Named[str] = Column(Text, ForeignKey(workload.c.name))
    version_id: Named[VersionId] = Column(id_of(VersionId), ForeignKey(version.c.id))
    model: Named[str] = Column(Text)
    state: Named[BatchState] = Column(
        Word(BatchState),
        comment="intended: submit or collect moves it; submitted, ended: collect; held: a "
        "person; superseded: collect, without its work; collected, released: nobody",
    )
    requests: Named[int] = Column(Integer)
    items: Named[int] = Column(Integer)  # pyright: ignore[reportIncompatibleMethodOverride]
    marked_requests: Named[int] = Column(
        Integer,
        server_default=text("0"),
        comment="Of its requests: marked what they share for the provider's cache",
    )
    bytes: Named[int] = Column(BigInteger, comment="Size of the body of its create")
    body_hash: Named[str] = Column(Text, comment="SHA-256 of the body of its create")
    provider_batch_id: Named[str | None] = Column(Text, unique=True)
    processed: Named[int] = Column(
        Integer, server_default=text("0"), comment="Requests no longer processing"
    )
    succeeded: Named[int] = Column(
        Integer, server_default=text("0"), comment="Items with a valid answer"
    )
    invalid: Named[int] = Column(
        Integer, server_default=text("0"), comment="Items whose answer was unusable"
    )
    errored: Named[int] = Column(Integer, server_default=text("0"))
    canceled: Named[int] = Column(Integer, server_default=text("0"))
    expired: Named[int] = Column(Integer, server_default=text("0"))
    missing: Named[int] = Column(
        Integer, server_default=text("0"), comment="Items without any result"
    )
    intended_at: Named[datetime] = Column(Moment)
    unproved: Named[bool] = Column(
        server_default=text("false"),
        comment="It was adopted from the provider's list, and no nonce or answer of its create has proved it",
    )
    cancel_at: Named[datetime | None] = Column(
        Moment, comment="From when on collect cancels it at the provider"
    )
    submitted_at: Named[datetime | None] = Column(Moment)
    expected_end_at: Named[datetime | None] = Column(Moment)
    stated_back_at: Named[datetime | None] = Column(
        Moment,
        comment="By when it was stated to be back with 95 in 100 as it left; null: older than this column",
    )
    ended_at: Named[datetime | None] = Column(Moment)
    collected_at: Named[datetime | None] = Column(Moment)
    note: Named[str | None] = Column(Text, comment="What a person should know of it")
    flow_run_id: Named[Any | None] = Column(
        Uuid, comment="The run of submit that intended it; null: older than this column"
    )


batch = Table(
    "batch",
    metadata,
    BatchColumns,
    one_of("state", BatchState),
    Index(
        "uq_batch_unresolved", "account", unique=True, postgresql_where=text("state = 'intended'")
    ),
    Index(
        "uq_batch_unresolved_requests",
        "account",
        "requests",
        unique=True,
        postgresql_where=text(
            "state in ('intended', 'held') or (state in ('submitted', 'ended') and unproved)"
        ),
    ),
    Index("ix_batch_open", "state", postgresql_where=text("state <> 'collected'")),
    Index(None, "submitted_at"),  # how long batches took is read of the newest
    comment="One Message Batch: its intent is committed before the paid call",
)


class BatchDoubtColumns(TypedColumns):
    batch_id: Named[BatchId] = Column(id_of(BatchId), ForeignKey(batch.c.id), primary_key=True)
    create_ended_at: Named[datetime | None] = Column(
        Moment, comment="When its create ended without an answer"
    )
    searched_at: Named[datetime | None] = Column(
        Moment, comment="When the provider's list was last searched for it"
    )
    unknown_since: Named[datetime | None] = Column(
        Moment, comment="Since when the provider has said that it has no such batch"
    )
    short_reads: Named[int] = Column(
        Integer,
        server_default=text("0"),
        comment="How often in a row its results ended without the same requests",
    )
    short_read_lacking: Named[str | None] = Column(
        Text, comment="SHA-256 of the numbers of those requests"
    )
    short_read_at: Named[datetime | None] = Column(Moment, comment="When that was last counted")


batch_doubt = Table(
    "batch_doubt",
    metadata,
    BatchDoubtColumns,
    comment="What is not known of a batch: whether it was created, is still there, or returned every result",
)


class DisownedColumns(TypedColumns):
    account: Named[str] = Column(Text, primary_key=True)
    provider_batch_id: Named[str] = Column(Text, primary_key=True)
    batch_id: Named[BatchId] = Column(
        id_of(BatchId), ForeignKey(batch.c.id), comment="Which batch of ours was taken for it"
    )
    disowned_at: Named[datetime] = Column(Moment)


disowned = Table(
    "disowned",
    metadata,
    DisownedColumns,
    comment="Batches at the provider that are somebody else's: none of ours is taken for them again",
)
