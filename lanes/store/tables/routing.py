"""Which lane: splits and routes."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import (
    CheckConstraint,
    Column,
    Computed,
    Double,
    ForeignKey,
    Index,
    Integer,
    Named,
    Table,
    Text,
    TypedColumns,
    text,
)

from lanes.ids import ItemId, RouteId, VersionId
from lanes.routing.lane_rules import FREE
from lanes.store.tables.base import Moment, Usd, Word, id_of, identity, metadata, one_of
from lanes.store.tables.items import item
from lanes.store.tables.workloads import version, workload
from lanes.words import Lane, Reason


class SplitColumns(TypedColumns):
    id = identity(int)
    workload: Named[str] = Column(Text, ForeignKey(workload.c.name))
    consumer: Named[str | None] = Column(Text, comment="Whose items; null = every consumer's")
    basis_points: Named[int | None] = Column(
        Integer,
        comment="Share of undecided items to real-time, 0 to 10000; null: the consumer inherits the workload's",
    )
    who: Named[str] = Column(Text)
    why: Named[str] = Column(Text)
    set_at: Named[datetime] = Column(Moment)


split = Table(
    "split",
    metadata,
    SplitColumns,
    CheckConstraint("basis_points between 0 and 10000", name="basis_points_range"),
    CheckConstraint(
        "consumer is not null or basis_points is not null", name="only_a_consumer_inherits"
    ),
    Index(None, "workload", "consumer", "id"),
    comment="Append-only; the newest row of a (workload, consumer) is in force",
)


# As Postgres tells it again: `alembic check` compares the two.
BINDS = (
    f"case when reason <> all (array[{', '.join(f'{each.value!r}::text' for each in Reason if each in FREE)}]) "
    "then lane else null::text end"
)


class RouteColumns(TypedColumns):
    id = identity(RouteId)
    item_id: Named[ItemId] = Column(
        id_of(ItemId), ForeignKey(item.c.id)
    )  # not enforced: the statement writes the item too
    version_id: Named[VersionId] = Column(
        id_of(VersionId), ForeignKey(version.c.id)
    )  # not enforced: the router has read it
    lane: Named[Lane] = Column(Word(Lane))
    reason: Named[Reason] = Column(Word(Reason), comment="Which rule decided")
    explanation: Named[str] = Column(Text, comment="The decision as a sentence")
    realtime_usd: Named[Decimal] = Column(Usd, comment="What real-time would cost, estimated")
    batch_usd: Named[Decimal] = Column(Usd, comment="What batch would cost, estimated")
    decided_at: Named[datetime] = Column(Moment)
    probability: Named[float | None] = Column(
        Double(),
        comment="That a batch is back by the due time, as it was stated; null: none was weighed",
    )
    binds: Named[Lane | None] = Column(
        Word(Lane),
        Computed(BINDS, persisted=False),
        comment="The lane that nothing may take it from; null: it is free",
    )


route = Table(
    "route",
    metadata,
    RouteColumns,
    one_of("lane", Lane),
    one_of("reason", Reason),
    Index(None, "item_id", "id"),
    Index(
        "ix_route_split", "lane", "id", postgresql_where=text("reason = 'split'")
    ),  # a gate's own cohort
    Index(
        "ix_route_stated",
        "decided_at",
        postgresql_where=text("probability is not null and lane = 'batch'"),
    ),  # calibration
    Index("ix_route_fallback", "decided_at", postgresql_where=text("reason = 'fallback'")),
    Index("ix_route_shed", "decided_at", postgresql_where=text("reason = 'shed'")),
    Index("ix_route_rescue", "decided_at", postgresql_where=text("reason = 'rescue'")),
    comment="Append-only decisions; the newest of an item is in force",
)
