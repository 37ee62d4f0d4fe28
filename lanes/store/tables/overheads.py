"""What keeping each lane takes a month beside the provider's bill."""

from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import (
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Index,
    Named,
    Table,
    Text,
    TypedColumns,
)

from lanes.money.overhead import OverheadKind
from lanes.store.tables.base import Moment, Usd, Word, identity, metadata, one_of
from lanes.store.tables.workloads import workload
from lanes.words import Lane


class OverheadColumns(TypedColumns):
    id = identity(int)
    workload: Named[str | None] = Column(
        Text,
        ForeignKey(workload.c.name),
        comment="Whose; null = of every workload without an amount of its own",
    )
    lane: Named[Lane] = Column(Word(Lane))
    kind: Named[OverheadKind] = Column(Word(OverheadKind), comment="infrastructure or engineering")
    monthly_usd: Named[Decimal] = Column(Usd, comment="US dollars a month")
    from_date: Named[date] = Column(
        Date, comment="From when on, UTC; the newest that has begun is in force"
    )
    who: Named[str] = Column(Text)
    why: Named[str] = Column(Text)
    set_at: Named[datetime] = Column(Moment)


overhead = Table(
    "overhead",
    metadata,
    OverheadColumns,
    one_of("lane", Lane),
    one_of("kind", OverheadKind),
    CheckConstraint("monthly_usd >= 0", name="not_negative"),
    Index(None, "workload", "from_date"),
    comment="What keeping a lane takes a month beside the provider's bill, by date; rows are only added",
)
