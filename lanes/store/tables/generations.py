"""Replays, and what their promotions replaced."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
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

from lanes.ids import GenerationId, ItemId, ResultId, VersionId
from lanes.store.tables.base import Moment, Word, id_of, identity, metadata, one_of
from lanes.store.tables.items import item
from lanes.store.tables.results import result
from lanes.store.tables.workloads import version, workload
from lanes.words import ReplayState


class GenerationColumns(TypedColumns):
    id = identity(GenerationId)
    workload: Named[str] = Column(Text, ForeignKey(workload.c.name))
    number: Named[int] = Column(
        Integer, comment="1, 2, 3 ... within the workload; 0 is the live generation"
    )
    version_id: Named[VersionId] = Column(id_of(VersionId), ForeignKey(version.c.id))
    state: Named[ReplayState] = Column(
        Word(ReplayState),
        comment="running: reading, or its work is open; complete: promote or drop "
        "decides; promoted: demote; demoted: promote or drop; dropped: nobody",
    )
    from_position: Named[int] = Column(
        BigInteger, comment="First position of the stream that it reads"
    )
    to_position: Named[int] = Column(BigInteger, comment="Last position that it reads")
    cursor_position: Named[int] = Column(BigInteger, comment="Everything up to here has its work")
    items: Named[int] = Column(  # pyright: ignore[reportIncompatibleMethodOverride]
        Integer, server_default=text("0"), comment="How many items got work"
    )
    who: Named[str] = Column(Text)
    why: Named[str] = Column(Text)
    created_at: Named[datetime] = Column(Moment)
    completed_at: Named[datetime | None] = Column(Moment, comment="When the last of its work ended")
    promoted_at: Named[datetime | None] = Column(Moment)
    demoted_at: Named[datetime | None] = Column(Moment)
    dropped_at: Named[datetime | None] = Column(Moment)


generation = Table(
    "generation",
    metadata,
    GenerationColumns,
    UniqueConstraint("workload", "number"),
    CheckConstraint("number > 0", name="number_positive"),
    one_of("state", ReplayState),
    Index(
        "uq_generation_open",
        "workload",
        unique=True,
        postgresql_where=text("state in ('running', 'complete')"),
    ),
    comment="A numbered re-reading of a workload's stream by one version; its results lie over the live ones",
)


class PromotedColumns(TypedColumns):
    generation_id: Named[GenerationId] = Column(
        id_of(GenerationId), ForeignKey(generation.c.id), primary_key=True
    )
    item_id: Named[ItemId] = Column(id_of(ItemId), ForeignKey(item.c.id), primary_key=True)
    before_id: Named[ResultId] = Column(
        id_of(ResultId), ForeignKey(result.c.id), comment="Current before: demote restores it"
    )
    after_id: Named[ResultId] = Column(
        id_of(ResultId), ForeignKey(result.c.id), comment="The replay's, current instead"
    )


promoted = Table(
    "promoted",
    metadata,
    PromotedColumns,
    Index(None, "item_id"),
    comment="What a promotion replaced; kept until it is taken back",
)
