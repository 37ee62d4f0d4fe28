"""Facts folded into minutes, hours and days."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import BigInteger, Boolean, Column, Integer, Named, Text, TypedColumns

from lanes.figures.kinds import Grain, Kind
from lanes.ids import VersionId
from lanes.store.tables.base import (
    Moment,
    Usd,
    Word,
    column,
    id_of,
    identity,
    index,
    list_of,
    table,
)
from lanes.words import Lane, Purpose

BY_GRAIN = "list (grain)"  # a part for each: days are few, and read most
PARTS = frozenset(f"{table}_{grain}" for table in ("figure", "figure_spread") for grain in Grain)


class FigureColumns(TypedColumns):
    grain: Named[Grain] = column(Word(Grain), "minute, hour or day (of UTC)")
    at: Named[datetime] = column(Moment, "Its beginning")
    workload: Named[str] = Column(Text)
    version_id: Named[VersionId | None] = column(id_of(VersionId), "Null: not counted apart")
    lane: Named[Lane | None] = column(Word(Lane), "Null: not counted apart, or none")
    purpose: Named[Purpose | None] = column(Word(Purpose), "Null: not counted apart")
    consumer: Named[str | None] = column(
        Text, "Null: not counted apart, or none; other: beyond the first fifty"
    )
    kind: Named[Kind] = column(Word(Kind), "What is counted (lanes/figures/kinds.py)")
    word: Named[str | None] = column(Text, "Its reason, outcome or standing")
    n: Named[int] = column(BigInteger, "How many")
    items: Named[int] = column(BigInteger, "A second count, as the kind says", default="0")  # pyright: ignore[reportIncompatibleMethodOverride]
    usd: Named[Decimal] = column(Usd, "Billed", default="0")
    bound_usd: Named[Decimal] = column(Usd, "Upper bound of unknown bills", default="0")
    realtime_usd: Named[Decimal] = column(Usd, "What real-time would cost, estimated", default="0")
    batch_usd: Named[Decimal] = column(Usd, "What batch would cost, estimated", default="0")
    input: Named[int] = column(BigInteger, "Input tokens, without cached ones", default="0")
    output: Named[int] = column(BigInteger, "Output tokens", default="0")
    cached: Named[int] = column(BigInteger, "Input tokens read from a cache", default="0")
    written: Named[int] = column(BigInteger, "Input tokens written to a cache", default="0")
    first_at: Named[datetime | None] = column(Moment, "Of tries: the first start")
    last_at: Named[datetime | None] = column(Moment, "Of tries: the last end")


figure = table(
    "figure",
    FigureColumns,
    "Facts by minute, hour and day; readers add figure_delta, which is not folded yet",
    index(
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
    index(
        "ix_figure_peak",
        "workload",
        "at",
        postgresql_include=["n"],
        where="grain = 'minute' and kind = 'item' and word <> 'canceled'",
    ),
    postgresql_partition_by=BY_GRAIN,
)


class FigureSpreadColumns(TypedColumns):
    grain: Named[Grain] = column(Word(Grain), "minute, hour or day (of UTC)")
    at: Named[datetime] = column(Moment, "Its beginning")
    workload: Named[str] = Column(Text)
    version_id: Named[VersionId | None] = column(id_of(VersionId), "Null: not counted apart")
    lane: Named[Lane | None] = column(Word(Lane), "Null: not counted apart, or none")
    purpose: Named[Purpose | None] = column(Word(Purpose), "Null: not counted apart")
    consumer: Named[str | None] = column(
        Text, "Null: not counted apart, or none; other: beyond the first fifty"
    )
    kind: Named[Kind] = column(Word(Kind), "What is timed (lanes/figures/kinds.py)")
    word: Named[str | None] = column(Text, "Its reason, outcome or standing")
    buckets: Named[list[int]] = column(
        list_of(Integer), "1.04^bucket to 1.04^(bucket + 1) ms; -1: less than 1 ms"
    )
    counts: Named[list[int]] = column(list_of(BigInteger), "The count of each bucket")


figure_spread = table(
    "figure_spread",
    FigureSpreadColumns,
    "Durations of what figures count; percentiles are right within 2 %",
    index(
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
)


class FigureDeltaColumns(TypedColumns):
    id = identity(int)
    at: Named[datetime] = column(Moment, "The minute")
    workload: Named[str] = Column(Text)
    version_id: Named[VersionId | None] = Column(id_of(VersionId))
    lane: Named[Lane | None] = Column(Word(Lane))
    purpose: Named[Purpose | None] = Column(Word(Purpose))
    consumer: Named[str | None] = Column(Text)
    kind: Named[Kind] = Column(Word(Kind))
    word: Named[str | None] = Column(Text)
    n: Named[int] = column(BigInteger, "How many more; negative: fewer")
    items: Named[int] = column(BigInteger, default="0")  # pyright: ignore[reportIncompatibleMethodOverride]
    usd: Named[Decimal] = column(Usd, default="0")
    bound_usd: Named[Decimal] = column(Usd, default="0")
    realtime_usd: Named[Decimal] = column(Usd, default="0")
    batch_usd: Named[Decimal] = column(Usd, default="0")
    input: Named[int] = column(BigInteger, default="0")
    output: Named[int] = column(BigInteger, default="0")
    cached: Named[int] = column(BigInteger, default="0")
    written: Named[int] = column(BigInteger, default="0")
    first_at: Named[datetime | None] = Column(Moment)
    last_at: Named[datetime | None] = Column(Moment)
    buckets: Named[list[int] | None] = column(list_of(Integer), "Buckets of durations")
    counts: Named[list[int] | None] = column(list_of(BigInteger), "How many more in each bucket")
    set_aside: Named[bool] = column(
        Boolean, "It cannot be folded; readers count it here", default="false"
    )


figure_delta = table(
    "figure_delta",
    FigureDeltaColumns,
    "What transactions add to the figures, until the folder moves it into them",
)


class FigureConsumerColumns(TypedColumns):
    workload: Named[str] = Column(Text, primary_key=True)
    consumer: Named[str] = Column(Text, primary_key=True)


figure_consumer = table(
    "figure_consumer",
    FigureConsumerColumns,
    "The first fifty consumers of each workload, which figures count apart",
)


class FigurePeakColumns(TypedColumns):
    workload: Named[str] = Column(Text, primary_key=True)
    at: Named[datetime] = column(Moment, "When the hour begins", primary_key=True)
    n: Named[int] = column(BigInteger, "Items received in that minute, without canceled ones")


figure_peak = table("figure_peak", FigurePeakColumns, "Items in the busiest minute of each hour")
