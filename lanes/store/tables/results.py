"""Answers, what they corrected, and who read them."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    Named,
    Table,
    Text,
    TypedColumns,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from lanes.ids import ItemId, ResultId, VersionId, WorkId
from lanes.store.tables.base import Moment, Word, id_of, identity, metadata, one_of
from lanes.store.tables.items import item
from lanes.store.tables.work import work
from lanes.store.tables.workloads import version
from lanes.words import Lane, Standing


class ResultColumns(TypedColumns):
    id = identity(ResultId)
    item_id: Named[ItemId] = Column(
        id_of(ItemId), ForeignKey(item.c.id)
    )  # not enforced, nor the next two: a save reads them
    work_id: Named[WorkId] = Column(
        id_of(WorkId), ForeignKey(work.c.id)
    )  # from the row of work that it has locked
    version_id: Named[VersionId] = Column(id_of(VersionId), ForeignKey(version.c.id))
    lane: Named[Lane] = Column(Word(Lane))
    standing: Named[Standing] = Column(Word(Standing))
    generation: Named[int] = Column(Integer)
    revision: Named[int] = Column(Integer)
    output: Named[Any | None] = Column(
        JSONB, comment="The answer; null: it was emptied by its item's age"
    )
    message_id: Named[str | None] = Column(Text)
    created_at: Named[datetime] = Column(Moment)


result = Table(
    "result",
    metadata,
    ResultColumns,
    UniqueConstraint("item_id", "generation", "revision", "standing"),
    one_of("lane", Lane),
    one_of("standing", Standing),
    Index("ix_result_overlay", "generation", "item_id", postgresql_where=text("generation > 0")),
    comment="Answers that stood; the first valid one of a standing wins",
)


class CorrectionColumns(TypedColumns):
    id = identity(int)
    item_id: Named[ItemId] = Column(id_of(ItemId), ForeignKey(item.c.id))
    generation: Named[int] = Column(Integer)
    provisional_id: Named[ResultId] = Column(id_of(ResultId), ForeignKey(result.c.id))
    authoritative_id: Named[ResultId] = Column(id_of(ResultId), ForeignKey(result.c.id))
    changed_fields: Named[list[str]] = Column(ARRAY(Text))
    distance: Named[float] = Column(
        Double, comment="Share of the compared fields that changed, 0 to 1"
    )
    corrected_at: Named[datetime] = Column(Moment)


correction = Table(
    "correction",
    metadata,
    CorrectionColumns,
    UniqueConstraint("item_id", "authoritative_id"),
    comment="An authoritative result replaced a different provisional one",
)


class ReadColumns(TypedColumns):
    id = identity(int)
    item_id: Named[ItemId] = Column(id_of(ItemId), ForeignKey(item.c.id))
    reader: Named[str] = Column(Text, comment="Who asked")
    result_id: Named[ResultId | None] = Column(
        id_of(ResultId), ForeignKey(result.c.id), comment="Null: there was none yet"
    )
    read_at: Named[datetime] = Column(Moment)


read = Table(
    "read",
    metadata,
    ReadColumns,
    Index(None, "item_id"),
    Index(None, "reader", "read_at"),
    comment="The consumption ledger: a reader took a result",
)
