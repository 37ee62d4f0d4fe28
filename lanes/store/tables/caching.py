"""Whether calls mark what they share for the provider's cache."""

from datetime import datetime

from sqlalchemy import Column, Double, ForeignKey, Integer, Named, Table, Text, TypedColumns, text

from lanes.ids import VersionId
from lanes.money.caching import Marks
from lanes.store.tables.base import Moment, Word, id_of, metadata, one_of
from lanes.store.tables.workloads import version
from lanes.words import Lane


class CachingColumns(TypedColumns):
    version_id: Named[VersionId] = Column(
        id_of(VersionId), ForeignKey(version.c.id), primary_key=True
    )
    lane: Named[Lane] = Column(Word(Lane), primary_key=True)
    marks: Named[Marks] = Column(
        Word(Marks), comment="Which calls mark what they share: none, some (to find out) or all"
    )
    why: Named[str] = Column(Text, comment="By what it was measured or expected to pay, or not to")
    pays_from: Named[float] = Column(
        Double, comment="The hit rate from which on it pays, by the prices; infinity: never"
    )
    since: Named[datetime] = Column(Moment, comment="Since when it marks so")
    decided_at: Named[datetime] = Column(Moment, comment="When that was looked at last")
    hit_rate: Named[float | None] = Column(
        Double(), comment="Measured last: the part of the cached tokens that was read"
    )
    calls: Named[int] = Column(Integer, server_default=text("0"), comment="In about so many calls")
    losses: Named[int] = Column(
        Integer, server_default=text("0"), comment="How often in a row it did not pay"
    )
    again_at: Named[datetime | None] = Column(
        Moment, comment="It is not tried again before; null: when it promises to pay"
    )


caching = Table(
    "caching",
    metadata,
    CachingColumns,
    one_of("lane", Lane),
    one_of("marks", Marks),
    comment="Whether the calls of a version's lane mark what they share for the provider's cache; drains and submit decide",
)
