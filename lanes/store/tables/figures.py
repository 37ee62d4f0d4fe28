"""Facts folded into minutes, hours and days."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    Index,
    Integer,
    Named,
    Table,
    Text,
    TypedColumns,
    text,
)

from lanes.figures.kinds import Grain, Kind
from lanes.ids import VersionId
from lanes.store.tables.base import Moment, Usd, Word, id_of, identity, metadata, one_of
from lanes.words import Lane, Purpose

ZERO = text("0")
BY_GRAIN = "list (grain)"  # a part for each: days are few, and read most
PARTS = frozenset(f"{table}_{grain}" for table in ("figure", "figure_spread") for grain in Grain)


class FigureColumns(TypedColumns):
    grain: Named[Grain] = Column(Word(Grain), comment="minute, hour or day (of UTC)")
    at: Named[datetime] = Column(Moment, comment="When that begins")
    workload: Named[str] = Column(Text)
    version_id: Named[VersionId | None] = Column(
        id_of(VersionId), comment="Null: not counted apart"
    )
    lane: Named[Lane | None] = Column(Word(Lane), comment="Null: not counted apart, or none")
    purpose: Named[Purpose | None] = Column(Word(Purpose), comment="Null: not counted apart")
    consumer: Named[str | None] = Column(
        Text, comment="Null: not counted apart, or nobody; other: all but the first fifty"
    )
    kind: Named[Kind] = Column(
        Word(Kind), comment="What is counted: lanes/figures/kinds.py says it of each"
    )
    word: Named[str | None] = Column(Text, comment="Its reason, outcome or standing")
    n: Named[int] = Column(BigInteger, comment="How many")
    items: Named[int] = Column(  # pyright: ignore[reportIncompatibleMethodOverride]
        BigInteger, server_default=ZERO, comment="Of those, or in those: as the kind says"
    )
    usd: Named[Decimal] = Column(Usd, server_default=ZERO, comment="Billed")
    bound_usd: Named[Decimal] = Column(
        Usd, server_default=ZERO, comment="The most that was billed and is not known"
    )
    realtime_usd: Named[Decimal] = Column(
        Usd, server_default=ZERO, comment="What real-time would cost, estimated"
    )
    batch_usd: Named[Decimal] = Column(
        Usd, server_default=ZERO, comment="What batch would cost, estimated"
    )
    input: Named[int] = Column(
        BigInteger, server_default=ZERO, comment="Input tokens, without cached ones"
    )
    output: Named[int] = Column(BigInteger, server_default=ZERO, comment="Output tokens")
    cached: Named[int] = Column(
        BigInteger, server_default=ZERO, comment="Input tokens read from a cache"
    )
    written: Named[int] = Column(
        BigInteger, server_default=ZERO, comment="Input tokens written to a cache"
    )
    first_at: Named[datetime | None] = Column(Moment, comment="Of tries: when the first began")
    last_at: Named[datetime | None] = Column(Moment, comment="Of tries: when the last ended")


figure = Table(
    "figure",
    metadata,
    FigureColumns,
    one_of("grain", Grain),
    one_of("kind", Kind),
    one_of("lane", Lane),
    one_of("purpose", Purpose),
    Index(
        "uq_figure",
        "grain",
        "kind",
        "workload",
        "at",
        "lane",
        "word",
        "purpose",
        "consumer",
        "version_id",
        unique=True,
        postgresql_nulls_not_distinct=True,
    ),
    # The busiest minute of an hour is no sum.
    Index(
        "ix_figure_peak",
        "workload",
        "at",
        postgresql_include=["n"],
        postgresql_where=text("grain = 'minute' and kind = 'item' and word <> 'canceled'"),
    ),
    postgresql_partition_by=BY_GRAIN,
    comment="Facts by minute, hour and day; what is not folded yet stands in figure_delta, and readers add both",
)


class FigureSpreadColumns(TypedColumns):
    grain: Named[Grain] = Column(Word(Grain), comment="minute, hour or day (of UTC)")
    at: Named[datetime] = Column(Moment, comment="When that begins")
    workload: Named[str] = Column(Text)
    version_id: Named[VersionId | None] = Column(
        id_of(VersionId), comment="Null: not counted apart"
    )
    lane: Named[Lane | None] = Column(Word(Lane), comment="Null: not counted apart, or none")
    purpose: Named[Purpose | None] = Column(Word(Purpose), comment="Null: not counted apart")
    consumer: Named[str | None] = Column(
        Text, comment="Null: not counted apart, or nobody; other: all but the first fifty"
    )
    kind: Named[Kind] = Column(
        Word(Kind), comment="What was timed: lanes/figures/kinds.py says it of each"
    )
    word: Named[str | None] = Column(Text, comment="Its reason, outcome or standing")
    buckets: Named[list[int]] = Column(
        ARRAY(Integer),
        comment="How long they took: 1.04^bucket to 1.04^(bucket + 1) milliseconds; -1: less than one",
    )
    counts: Named[list[int]] = Column(
        ARRAY(BigInteger), comment="How many took so long, of each bucket"
    )


figure_spread = Table(
    "figure_spread",
    metadata,
    FigureSpreadColumns,
    one_of("grain", Grain),
    one_of("kind", Kind),
    one_of("lane", Lane),
    one_of("purpose", Purpose),
    Index(
        "uq_figure_spread",
        "grain",
        "kind",
        "workload",
        "at",
        "lane",
        "word",
        "purpose",
        "consumer",
        "version_id",
        unique=True,
        postgresql_nulls_not_distinct=True,
    ),
    postgresql_partition_by=BY_GRAIN,
    comment="How long what figures count took: percentiles of any sum of it are right within two per cent",
)


class FigureDeltaColumns(TypedColumns):
    id = identity(int)
    at: Named[datetime] = Column(Moment, comment="The minute")
    workload: Named[str] = Column(Text)
    version_id: Named[VersionId | None] = Column(id_of(VersionId))
    lane: Named[Lane | None] = Column(Word(Lane))
    purpose: Named[Purpose | None] = Column(Word(Purpose))
    consumer: Named[str | None] = Column(Text)
    kind: Named[Kind] = Column(Word(Kind))
    word: Named[str | None] = Column(Text)
    n: Named[int] = Column(BigInteger, comment="How many more; negative: how many fewer")
    items: Named[int] = Column(BigInteger, server_default=ZERO)  # pyright: ignore[reportIncompatibleMethodOverride]
    usd: Named[Decimal] = Column(Usd, server_default=ZERO)
    bound_usd: Named[Decimal] = Column(Usd, server_default=ZERO)
    realtime_usd: Named[Decimal] = Column(Usd, server_default=ZERO)
    batch_usd: Named[Decimal] = Column(Usd, server_default=ZERO)
    input: Named[int] = Column(BigInteger, server_default=ZERO)
    output: Named[int] = Column(BigInteger, server_default=ZERO)
    cached: Named[int] = Column(BigInteger, server_default=ZERO)
    written: Named[int] = Column(BigInteger, server_default=ZERO)
    first_at: Named[datetime | None] = Column(Moment)
    last_at: Named[datetime | None] = Column(Moment)
    buckets: Named[list[int] | None] = Column(ARRAY(Integer), comment="How long they took")
    counts: Named[list[int] | None] = Column(
        ARRAY(BigInteger), comment="How many more of each bucket"
    )
    set_aside: Named[bool] = Column(
        server_default=text("false"),
        comment="Whether it cannot be folded: readers count it where it stands",
    )


figure_delta = Table(
    "figure_delta",
    metadata,
    FigureDeltaColumns,
    one_of("kind", Kind),
    one_of("lane", Lane),
    one_of("purpose", Purpose),
    comment="What each transaction adds to the figures, written with its facts; the folder moves it into them",
)


class FigureConsumerColumns(TypedColumns):
    workload: Named[str] = Column(Text, primary_key=True)
    consumer: Named[str] = Column(Text, primary_key=True)


figure_consumer = Table(
    "figure_consumer",
    metadata,
    FigureConsumerColumns,
    comment="The consumers of each workload that figures count apart: the first fifty",
)


class FigurePeakColumns(TypedColumns):
    workload: Named[str] = Column(Text, primary_key=True)
    at: Named[datetime] = Column(Moment, primary_key=True, comment="When the hour begins")
    n: Named[int] = Column(
        BigInteger, comment="Items that were received in its busiest minute, without canceled ones"
    )


figure_peak = Table(
    "figure_peak",
    metadata,
    FigurePeakColumns,
    comment="The busiest minute of each hour, which is no sum: the folder keeps it as the minutes of `figure` have it",
)
