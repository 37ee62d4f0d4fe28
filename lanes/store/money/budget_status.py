"""The status of budgets in their periods."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from lanes.ids import BudgetId
from lanes.money.budget import Budget, BudgetStatus, Period
from lanes.store.asking import Ask, read_as

STATUS = """
select budget_id, workload, consumer, period, zone, began_at, ends_at, spent_usd, unknown_usd, calls_usd, batches_usd, soft_usd,
       hard_usd, refused_at, refused_usd
  from lanes.budgets_at(:now)
"""
NAMED = f"""{STATUS}
 where cast(:names as text[]) is null or workload = any(cast(:names as text[]))
 order by workload, consumer nulls first, period
"""
LIMITED = f"""{STATUS}
 where budget_id = any(cast(:ids as bigint[])) and hard_usd is not null
 order by budget_id
"""


def of(ask: Ask, names: Iterable[str] | None = None, *, now: datetime) -> list[BudgetStatus]:
    """Return the status at `now` of the budgets of these workloads, or of all budgets, ordered by workload."""
    only = None if names is None else list(names)
    return [_status(row) for row in ask(NAMED, now=now, names=only)]


def read_hard(ask: Ask, ids: Iterable[BudgetId], *, now: datetime) -> dict[BudgetId, BudgetStatus]:
    """Return the status of the budgets among `ids` that have a hard limit, by id and in the order of the ids."""
    return {row.budget_id: _status(row) for row in ask(LIMITED, now=now, ids=list(ids))}


def _status(row: Any) -> BudgetStatus:
    """Return the status of a row of `lanes.budgets_at`, without a refusal from before its period."""
    status = read_as(BudgetStatus, row, budget=read_as(Budget, row, period=Period(row.period)))
    if row.refused_at is not None and row.refused_at >= row.began_at:
        return status
    return replace(status, refused_at=None, refused_usd=None)
