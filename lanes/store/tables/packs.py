"""What packing does to answers, and how many items may share a call because of it."""

from datetime import datetime
from typing import Any

from sqlalchemy import Column, ForeignKey, Index, Integer, Named, Table, Text, TypedColumns, text
from sqlalchemy.dialects.postgresql import JSONB

from lanes.ids import ItemId, VersionId, WorkId
from lanes.store.tables.base import Moment, Word, id_of, identity, metadata, one_of
from lanes.store.tables.items import item
from lanes.store.tables.work import work
from lanes.store.tables.workloads import version
from lanes.words import Lane


class PackCheckColumns(TypedColumns):
    id = identity(int)
    item_id: Named[ItemId] = Column(id_of(ItemId), ForeignKey(item.c.id))
    work_id: Named[WorkId] = Column(
        id_of(WorkId), ForeignKey(work.c.id), comment="The work that a packed call answered"
    )
    version_id: Named[VersionId] = Column(id_of(VersionId), ForeignKey(version.c.id))
    lane: Named[Lane] = Column(Word(Lane))
    pack: Named[int] = Column(Integer, comment="How many items shared that call")
    twice: Named[bool] = Column(comment="Whether it is answered alone a second time")
    asked_at: Named[datetime] = Column(Moment)
    alone: Named[Any | None] = Column(
        JSONB, comment="What it said alone, kept until it has said so a second time"
    )
    agrees: Named[bool | None] = Column(comment="Whether it said the same alone; null: not yet")
    compared_at: Named[datetime | None] = Column(Moment)
    repeats: Named[bool | None] = Column(
        comment="Whether it said the same alone again; null: not asked, or not yet"
    )
    repeated_at: Named[datetime | None] = Column(Moment)


pack_check = Table(
    "pack_check",
    metadata,
    PackCheckColumns,
    one_of("lane", Lane),
    Index("uq_pack_check_work", "work_id", unique=True),
    Index("ix_pack_check_item", "item_id"),
    Index(
        "ix_pack_check_compared",
        "version_id",
        "lane",
        "compared_at",
        postgresql_where=text("compared_at is not null"),
    ),
    Index(
        "ix_pack_check_repeated",
        "version_id",
        "lane",
        "repeated_at",
        postgresql_where=text("repeated_at is not null"),
    ),
    comment="Packed items that are also answered alone, by shadows that move nothing",
)


class PackSizeColumns(TypedColumns):
    id = identity(int)
    workload: Named[str] = Column(Text)
    version_id: Named[VersionId] = Column(
        id_of(VersionId), ForeignKey(version.c.id), comment="The one that was looked at"
    )
    lane: Named[Lane] = Column(Word(Lane))
    model: Named[str] = Column(Text, comment="For as long as the lane asks it")
    size: Named[int] = Column(Integer, comment="How many items may share a call from then on")
    allowed: Named[int] = Column(Integer, comment="How many the workload allowed")
    hurt: Named[int | None] = Column(Integer, comment="The size that hurt; null: none did, it grew")
    packed_n: Named[int] = Column(
        Integer, comment="Packed items that were compared with their answers alone"
    )
    packed_agreed: Named[int] = Column(Integer, comment="Of those, how many agreed")
    alone_n: Named[int] = Column(Integer, comment="Items that were answered alone twice")
    alone_agreed: Named[int] = Column(Integer, comment="Of those, how many agreed")
    why: Named[str] = Column(Text, comment="The decision as a sentence")
    decided_at: Named[datetime] = Column(Moment)


pack_size = Table(
    "pack_size",
    metadata,
    PackSizeColumns,
    one_of("lane", Lane),
    Index(None, "workload", "lane", "model", "id"),
    comment="Append-only decisions by evidence; the newest of a workload, lane and model is in force",
)
