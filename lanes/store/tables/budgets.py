"""What may be spent: budgets, what counts against them, and what is reserved for batches."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Named,
    Table,
    Text,
    TypedColumns,
    text,
)

from lanes.ids import BatchId, BudgetId
from lanes.money.budget import Period
from lanes.store.tables.base import Moment, Usd, Word, id_of, identity, metadata, one_of
from lanes.store.tables.batches import batch
from lanes.store.tables.workloads import workload

ZERO = text("0")


class BudgetColumns(TypedColumns):
    id = identity(BudgetId)
    workload: Named[str] = Column(Text, ForeignKey(workload.c.name))
    consumer: Named[str | None] = Column(
        Text, comment="Whose items; null = all of the workload, whoever reads it"
    )
    period: Named[Period] = Column(
        Word(Period), comment="day or month, from midnight in its zone on"
    )
    zone: Named[str] = Column(Text, comment="IANA time zone")
    soft_usd: Named[Decimal | None] = Column(
        Usd, comment="From here on what may wait goes to batch; null: no such limit"
    )
    hard_usd: Named[Decimal | None] = Column(
        Usd, comment="Never exceeded; null: no such limit; 0: nothing is paid"
    )
    refused_at: Named[datetime | None] = Column(
        Moment,
        comment="Since when less is left than the next call may cost; null: the last one was paid for",
    )
    refused_usd: Named[Decimal | None] = Column(Usd, comment="The least that such a call may cost")
    who: Named[str] = Column(Text)
    why: Named[str] = Column(Text)
    set_at: Named[datetime] = Column(Moment)


budget = Table(
    "budget",
    metadata,
    BudgetColumns,
    one_of("period", Period),
    CheckConstraint(
        "soft_usd >= 0 and hard_usd >= 0 and soft_usd <= hard_usd", name="limits_in_order"
    ),
    CheckConstraint("num_nonnulls(soft_usd, hard_usd) > 0", name="limits_given"),
    Index(
        "uq_budget",
        "workload",
        "consumer",
        "period",
        unique=True,
        postgresql_nulls_not_distinct=True,
    ),
    comment="What a workload, or a consumer of it, may cost in a period",
)


class BudgetSpentColumns(TypedColumns):
    budget_id: Named[BudgetId] = Column(
        id_of(BudgetId), ForeignKey(budget.c.id, ondelete="cascade"), primary_key=True
    )
    began_at: Named[datetime] = Column(Moment, primary_key=True, comment="When the period begins")
    usd: Named[Decimal] = Column(Usd, comment="Billed")
    bound_usd: Named[Decimal] = Column(Usd, comment="The most that was billed and is not known")


budget_spent = Table(
    "budget_spent",
    metadata,
    BudgetSpentColumns,
    comment="What counts against a budget in each period; what was added since stands in budget_use, and readers add both",
)


class BudgetUseColumns(TypedColumns):
    id = identity(int)
    budget_id: Named[BudgetId] = Column(id_of(BudgetId), comment="No key: a save locks no budget")
    began_at: Named[datetime] = Column(Moment, comment="When the period begins")
    usd: Named[Decimal] = Column(Usd, server_default=ZERO)
    bound_usd: Named[Decimal] = Column(Usd, server_default=ZERO)


budget_use = Table(
    "budget_use",
    metadata,
    BudgetUseColumns,
    Index(None, "budget_id"),
    comment="What each transaction adds, written with the ledger's rows; the sweep moves it into budget_spent",
)


class BudgetHoldColumns(TypedColumns):
    budget_id: Named[BudgetId] = Column(
        id_of(BudgetId), ForeignKey(budget.c.id, ondelete="cascade"), primary_key=True
    )
    batch_id: Named[BatchId] = Column(
        id_of(BatchId),
        ForeignKey(batch.c.id),
        primary_key=True,
        comment="Reserved until this batch is collected or released",
    )
    usd: Named[Decimal] = Column(Usd, comment="The most that the batch may cost")


budget_hold = Table(
    "budget_hold",
    metadata,
    BudgetHoldColumns,
    comment="What is reserved of a budget for batches; what is reserved for calls stands in work.bound_usd",
)
