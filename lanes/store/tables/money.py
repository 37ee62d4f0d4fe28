"""Tables of money: budgets, overheads, and what is known of the provider's cache and limits."""

from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Named, TypedColumns

from lanes.ids import BatchId, BudgetId, VersionId
from lanes.money.budget import Period
from lanes.money.caching import Marks
from lanes.money.overhead import OverheadKind
from lanes.realtime.limiter import WaitReason
from lanes.routing.capacity import LimitKind
from lanes.store.tables.base import column, identity, index, table
from lanes.store.tables.work import batch
from lanes.store.tables.workloads import version, workload
from lanes.words import Lane


@table(
    CheckConstraint(
        "soft_usd >= 0 and hard_usd >= 0 and soft_usd <= hard_usd", name="limits_in_order"
    ),
    CheckConstraint("num_nonnulls(soft_usd, hard_usd) > 0", name="limits_given"),
    index(
        "uq_budget", "workload, consumer, period", unique=True, postgresql_nulls_not_distinct=True
    ),
)
class budget(TypedColumns):
    """What a workload, or a consumer of it, may cost in a period."""

    id: Named[BudgetId] = identity()
    workload: Named[str] = Column(ForeignKey(workload.c.name))
    consumer: Named[str | None] = column("Null: all consumers together")
    period: Named[Period] = column("day or month, from midnight in its zone")
    zone: Named[str] = column("IANA time zone")
    soft_usd: Named[Decimal | None] = column("Beyond it, items that may wait go to batch")
    hard_usd: Named[Decimal | None] = column("Never exceeded; 0: nothing is paid")
    refused_at: Named[datetime | None] = column(
        "Since when too little has been left for the next call"
    )
    refused_usd: Named[Decimal | None] = column("The least that such a call may cost")
    who: Named[str]
    why: Named[str]
    set_at: Named[datetime]


@table()
class budget_spent(TypedColumns):
    """What counts against a budget by period; readers add budget_use."""

    budget_id: Named[BudgetId] = Column(
        ForeignKey(budget.c.id, ondelete="cascade"), primary_key=True
    )
    began_at: Named[datetime] = column("When the period begins", primary_key=True)
    usd: Named[Decimal] = column("Billed")
    bound_usd: Named[Decimal] = column("Upper bound of unknown bills")


@table(index(None, "budget_id"))
class budget_use(TypedColumns):
    """What transactions add, until the sweep moves it into budget_spent."""

    id: Named[int] = identity()
    budget_id: Named[BudgetId] = column("No key: a save locks no budget")
    began_at: Named[datetime] = column("When the period begins")
    usd: Named[Decimal] = column(default="0")
    bound_usd: Named[Decimal] = column(default="0")


@table()
class budget_hold(TypedColumns):
    """What is reserved of a budget for batches; for calls: work.bound_usd."""

    budget_id: Named[BudgetId] = Column(
        ForeignKey(budget.c.id, ondelete="cascade"), primary_key=True
    )
    batch_id: Named[BatchId] = column(
        "The batch, until it is collected or released", ForeignKey(batch.c.id), primary_key=True
    )
    usd: Named[Decimal] = column("The most that the batch may cost")


@table(CheckConstraint("monthly_usd >= 0", name="not_negative"), index(None, "workload, from_date"))
class overhead(TypedColumns):
    """Append-only: monthly costs of a lane beside the provider's bill."""

    id: Named[int] = identity()
    workload: Named[str | None] = column(
        "Null: every workload without an amount of its own", ForeignKey(workload.c.name)
    )
    lane: Named[Lane]
    kind: Named[OverheadKind] = column("infrastructure or engineering")
    monthly_usd: Named[Decimal] = column("US dollars a month")
    from_date: Named[date] = column("First day, UTC; the newest that has begun is in force")
    who: Named[str]
    why: Named[str]
    set_at: Named[datetime]


@table()
class caching(TypedColumns):
    """Whether the calls of a version's lane mark their shared part for the provider's cache."""

    version_id: Named[VersionId] = Column(ForeignKey(version.c.id), primary_key=True)
    lane: Named[Lane] = Column(primary_key=True)
    marks: Named[Marks] = column("none, some (to find out) or all")
    why: Named[str] = column("The evidence, as a sentence")
    pays_from: Named[float] = column("The hit rate from which it pays; infinity: never")
    since: Named[datetime] = column("Since when it has marked so")
    decided_at: Named[datetime] = column("When it was last evaluated")
    hit_rate: Named[float | None] = column(
        "Share of the cached tokens that was read, last measured"
    )
    calls: Named[int] = column("About how many calls were measured", default="0")
    losses: Named[int] = column("How often in a row it has not paid", default="0")
    again_at: Named[datetime | None] = column(
        "When it may be tried again; null: when it promises to pay"
    )


@table(prefixes=["UNLOGGED"], postgresql_with={"fillfactor": 50})
class capacity(TypedColumns):
    """The provider's limits per minute and what is left, as last seen by any drain; a crash empties it."""

    account: Named[str] = column("The provider account whose limit it is", primary_key=True)
    model: Named[str] = column("The model's name in requests", primary_key=True)
    kind: Named[LimitKind] = column(
        "tokens: input and output together; cached input never counts", primary_key=True
    )
    limit_: Named[int] = column("Per minute", type_=BigInteger)
    remaining: Named[int] = column("What was left at seen_at", type_=BigInteger)
    reset_at: Named[datetime] = column("When it is whole again if unused")
    seen_at: Named[datetime] = column("When the response came; the newest wins")


@table(prefixes=["UNLOGGED"], postgresql_with={"fillfactor": 50})
class call_wait(TypedColumns):
    """Why claimed work is not asked yet, as the drain that reported last says; a crash empties it."""

    workload: Named[str] = column("Its workload", primary_key=True)
    reason: Named[WaitReason] = column("What holds the calls back", primary_key=True)
    calls: Named[int] = column("Calls that waited at seen_at")
    seen_at: Named[datetime] = column("When the drain reported it; it counts for a few seconds")
