"""What may be spent: budgets, overheads, and what is known of the provider's cache and limits."""

from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    Double,
    ForeignKey,
    Integer,
    Named,
    Text,
    TypedColumns,
)

from lanes.ids import BatchId, BudgetId, VersionId
from lanes.money.budget import Period
from lanes.money.caching import Marks
from lanes.money.overhead import OverheadKind
from lanes.routing.capacity import LimitKind
from lanes.store.tables.base import Moment, Usd, Word, column, id_of, identity, index, table
from lanes.store.tables.work import batch
from lanes.store.tables.workloads import version, workload
from lanes.words import Lane


class BudgetColumns(TypedColumns):
    id = identity(BudgetId)
    workload: Named[str] = Column(Text, ForeignKey(workload.c.name))
    consumer: Named[str | None] = column(Text, "Null: all consumers together")
    period: Named[Period] = column(Word(Period), "day or month, from midnight in its zone")
    zone: Named[str] = column(Text, "IANA time zone")
    soft_usd: Named[Decimal | None] = column(Usd, "Beyond it, items that may wait go to batch")
    hard_usd: Named[Decimal | None] = column(Usd, "Never exceeded; 0: nothing is paid")
    refused_at: Named[datetime | None] = column(
        Moment, "Since when too little has been left for the next call"
    )
    refused_usd: Named[Decimal | None] = column(Usd, "The least that such a call may cost")
    who: Named[str] = Column(Text)
    why: Named[str] = Column(Text)
    set_at: Named[datetime] = Column(Moment)


budget = table(
    "budget",
    BudgetColumns,
    "What a workload, or a consumer of it, may cost in a period",
    CheckConstraint(
        "soft_usd >= 0 and hard_usd >= 0 and soft_usd <= hard_usd", name="limits_in_order"
    ),
    CheckConstraint("num_nonnulls(soft_usd, hard_usd) > 0", name="limits_given"),
    index(
        "uq_budget",
        "workload",
        "consumer",
        "period",
        unique=True,
        postgresql_nulls_not_distinct=True,
    ),
)


class BudgetSpentColumns(TypedColumns):
    budget_id: Named[BudgetId] = Column(
        id_of(BudgetId), ForeignKey(budget.c.id, ondelete="cascade"), primary_key=True
    )
    began_at: Named[datetime] = column(Moment, "When the period begins", primary_key=True)
    usd: Named[Decimal] = column(Usd, "Billed")
    bound_usd: Named[Decimal] = column(Usd, "Upper bound of unknown bills")


budget_spent = table(
    "budget_spent",
    BudgetSpentColumns,
    "What counts against a budget by period; readers add budget_use",
)


class BudgetUseColumns(TypedColumns):
    id = identity(int)
    budget_id: Named[BudgetId] = column(id_of(BudgetId), "No key: a save locks no budget")
    began_at: Named[datetime] = column(Moment, "When the period begins")
    usd: Named[Decimal] = column(Usd, default="0")
    bound_usd: Named[Decimal] = column(Usd, default="0")


budget_use = table(
    "budget_use",
    BudgetUseColumns,
    "What transactions add, until the sweep moves it into budget_spent",
    index(None, "budget_id"),
)


class BudgetHoldColumns(TypedColumns):
    budget_id: Named[BudgetId] = Column(
        id_of(BudgetId), ForeignKey(budget.c.id, ondelete="cascade"), primary_key=True
    )
    batch_id: Named[BatchId] = column(
        id_of(BatchId),
        "The batch, until it is collected or released",
        ForeignKey(batch.c.id),
        primary_key=True,
    )
    usd: Named[Decimal] = column(Usd, "The most that the batch may cost")


budget_hold = table(
    "budget_hold",
    BudgetHoldColumns,
    "What is reserved of a budget for batches; for calls: work.bound_usd",
)


class OverheadColumns(TypedColumns):
    id = identity(int)
    workload: Named[str | None] = column(
        Text, "Null: every workload without an amount of its own", ForeignKey(workload.c.name)
    )
    lane: Named[Lane] = Column(Word(Lane))
    kind: Named[OverheadKind] = column(Word(OverheadKind), "infrastructure or engineering")
    monthly_usd: Named[Decimal] = column(Usd, "US dollars a month")
    from_date: Named[date] = column(Date, "First day, UTC; the newest that has begun is in force")
    who: Named[str] = Column(Text)
    why: Named[str] = Column(Text)
    set_at: Named[datetime] = Column(Moment)


overhead = table(
    "overhead",
    OverheadColumns,
    "Append-only: monthly costs of a lane beside the provider's bill",
    CheckConstraint("monthly_usd >= 0", name="not_negative"),
    index(None, "workload", "from_date"),
)


class CachingColumns(TypedColumns):
    version_id: Named[VersionId] = Column(
        id_of(VersionId), ForeignKey(version.c.id), primary_key=True
    )
    lane: Named[Lane] = Column(Word(Lane), primary_key=True)
    marks: Named[Marks] = column(Word(Marks), "none, some (to find out) or all")
    why: Named[str] = column(Text, "The evidence, as a sentence")
    pays_from: Named[float] = column(Double, "The hit rate from which it pays; infinity: never")
    since: Named[datetime] = column(Moment, "Since when it has marked so")
    decided_at: Named[datetime] = column(Moment, "When it was last evaluated")
    hit_rate: Named[float | None] = column(
        Double(), "Share of the cached tokens that was read, last measured"
    )
    calls: Named[int] = column(Integer, "About how many calls were measured", default="0")
    losses: Named[int] = column(Integer, "How often in a row it has not paid", default="0")
    again_at: Named[datetime | None] = column(
        Moment, "When it may be tried again; null: when it promises to pay"
    )


caching = table(
    "caching",
    CachingColumns,
    "Whether the calls of a version's lane mark their shared part for the provider's cache",
)


class CapacityColumns(TypedColumns):
    account: Named[str] = column(Text, "The provider account whose limit it is", primary_key=True)
    model: Named[str] = column(Text, "The model's name in requests", primary_key=True)
    kind: Named[LimitKind] = column(
        Word(LimitKind),
        "tokens: input and output together; cached input never counts",
        primary_key=True,
    )
    limit_: Named[int] = column(BigInteger, "Per minute")
    remaining: Named[int] = column(BigInteger, "What was left at seen_at")
    reset_at: Named[datetime] = column(Moment, "When it is whole again if unused")
    seen_at: Named[datetime] = column(Moment, "When the response came; the newest wins")


capacity = table(
    "capacity",
    CapacityColumns,
    "The provider's limits per minute and what is left, as last seen by any drain; a crash empties it",
    prefixes=["UNLOGGED"],
    postgresql_with={"fillfactor": 50},
)
