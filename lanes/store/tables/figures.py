"""Tables of figures: facts summed by minute, hour and day, their deltas, and the quality of answers."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ARRAY, BigInteger, Column, Named, TypedColumns

from lanes.ids import VersionId
from lanes.promises.quality import QualityMeasure
from lanes.statistics.figures import Grain, Kind
from lanes.store.tables.base import column, identity, index, table
from lanes.words import Lane, Purpose

BY_GRAIN = "list (grain)"  # a partition per grain: that of days is small, and read most often
PARTS = frozenset(f"{table}_{grain}" for table in ("figure", "figure_spread") for grain in Grain)


ONCE = "grain, kind, workload, at, lane, word, purpose, consumer, version_id"


class FigureGrain(TypedColumns):
    """The length of a figure's time span; the first column, as in the SQL functions that return figures."""

    grain: Named[Grain] = column("minute, hour or day (of UTC)")


class FigureKey(TypedColumns):
    """The key of a figure: kind, time, workload and finer dimensions."""

    at: Named[datetime] = column("Its beginning")
    workload: Named[str]
    version_id: Named[VersionId | None] = column("Null: not counted apart")
    lane: Named[Lane | None] = column("Null: not counted apart, or none")
    purpose: Named[Purpose | None] = column("Null: not counted apart")
    consumer: Named[str | None] = column(
        "Null: not counted apart, or none; other: beyond the first fifty"
    )
    kind: Named[Kind] = column("What is counted, or timed (lanes/statistics/figures.py)")
    word: Named[str | None] = column("Its reason, outcome or standing")


class FigureSums(TypedColumns):
    """The sums of a figure: counts, costs, tokens and the time span of tries."""

    n: Named[int] = column("How many; negative: fewer", type_=BigInteger)
    items: Named[int] = column("A second count, as the kind says", type_=BigInteger, default="0")  # pyright: ignore[reportIncompatibleMethodOverride]
    usd: Named[Decimal] = column("Billed", default="0")
    bound_usd: Named[Decimal] = column("Upper bound of unknown bills", default="0")
    realtime_usd: Named[Decimal] = column("What real-time would cost, estimated", default="0")
    batch_usd: Named[Decimal] = column("What batch would cost, estimated", default="0")
    input: Named[int] = column("Input tokens, without cached ones", type_=BigInteger, default="0")
    output: Named[int] = column("Output tokens", type_=BigInteger, default="0")
    cached: Named[int] = column("Input tokens read from a cache", type_=BigInteger, default="0")
    written: Named[int] = column("Input tokens written to a cache", type_=BigInteger, default="0")
    first_at: Named[datetime | None] = column("Of tries: the first start")
    last_at: Named[datetime | None] = column("Of tries: the last end")


@table(
    index("uq_figure", ONCE, unique=True, postgresql_nulls_not_distinct=True),
    index(
        "ix_figure_peak",
        "workload, at",
        postgresql_include=["n"],
        where="grain = 'minute' and kind = 'item' and word <> 'canceled'",
    ),
    postgresql_partition_by=BY_GRAIN,
)
class figure(FigureSums, FigureKey, FigureGrain):
    """Facts summed by minute, hour and day; readers add the deltas that are not folded yet (figure_delta)."""


@table(
    index("uq_figure_spread", ONCE, unique=True, postgresql_nulls_not_distinct=True),
    postgresql_partition_by=BY_GRAIN,
)
class figure_spread(FigureKey, FigureGrain):
    """Histograms of the durations of counted facts; percentiles are accurate to within 2 %."""

    buckets: Named[list[int]] = column("1.04^bucket to 1.04^(bucket + 1) ms; -1: less than 1 ms")
    counts: Named[list[int]] = column("The count of each bucket", type_=ARRAY(BigInteger))


@table()
class figure_delta(FigureSums, FigureKey):
    """Deltas that transactions add to the figures, until the folder moves them into the figures."""

    id: Named[int] = identity()
    buckets: Named[list[int] | None] = column("Buckets of durations")
    counts: Named[list[int] | None] = column(
        "How many more in each bucket", type_=ARRAY(BigInteger)
    )
    set_aside: Named[bool] = column("It cannot be folded; readers count it here", default="false")


@table()
class figure_consumer(TypedColumns):
    """The first fifty consumers of each workload, which figures count separately."""

    workload: Named[str] = Column(primary_key=True)
    consumer: Named[str] = Column(primary_key=True)


@table()
class figure_peak(TypedColumns):
    """Items in the busiest minute of each hour."""

    workload: Named[str] = Column(primary_key=True)
    at: Named[datetime] = column("When the hour begins", primary_key=True)
    n: Named[int] = column("Items received in that minute, without canceled ones", type_=BigInteger)


@table()
class quality(TypedColumns):
    """Quality figures of a version's answers on a lane, which are monitored for drift."""

    workload: Named[str]
    version_id: Named[VersionId] = Column(primary_key=True)
    lane: Named[Lane] = Column(primary_key=True)
    measure: Named[QualityMeasure] = column(
        "field, outcome, correction, accuracy, packed or served", primary_key=True
    )
    field: Named[str] = column("Of the output; empty: none", primary_key=True)
    watch: Named[Any] = column("Reference, newer answers and drift (lanes/promises/quality.py)")
    has_drift: Named[bool] = column("It has met one, which may have ended")
    updated_at: Named[datetime]
