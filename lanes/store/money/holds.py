"""Reserves of budgets: the bounds of calls stand in their work, those of batches here.

Both are reserved under the lock of the budgets' rows, so that claims and batches together never promise more than is left.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, delete, exists, insert, select, update

from lanes.errors import LanesError
from lanes.ids import BatchId, BudgetId, WorkId
from lanes.money.budget import BudgetStatus
from lanes.store import asking
from lanes.store.bulk import one_of
from lanes.store.locks import waiting_at_most
from lanes.store.money import budget_status
from lanes.store.tables import batch, budget, budget_hold, item, work
from lanes.units import usd
from lanes.words import FINISHED_BATCH

Usd = Mapping[BudgetId, Decimal]
WAIT = timedelta(seconds=1)  # longest wait of a batch for a budget that another transaction holds


class BudgetUsedUp(LanesError):
    """Less of a budget is left than a batch may cost; `budgets` are those, with the least that was lacking."""

    def __init__(self, detail: str, budgets: Mapping[BudgetId, Decimal]) -> None:
        self.budgets = budgets
        super().__init__(detail)


def reserve(
    connection: Connection, batch_id: BatchId, bounds: Usd, *, now: datetime, wait: timedelta = WAIT
) -> None:
    """Reserve these amounts for the batch until it is collected or released, and lock the budgets until the transaction ends.

    Raises:
        BudgetUsedUp: one has too little left; roll the transaction back.
        StillLocked: another transaction holds one of them.
    """
    if not bounds:
        return
    with waiting_at_most(connection, wait):
        ids = list(connection.execute(_hard(bounds).with_for_update(key_share=True)).scalars())
    found = budget_status.limited(asking.through(connection), ids, now=now)
    has_ended = batch.c.state.in_(FINISHED_BATCH)
    over = exists().where(batch.c.id == budget_hold.c.batch_id, has_ended)
    connection.execute(delete(budget_hold).where(one_of(ids, budget_hold.c.budget_id), over))
    for id_, status in found.items():
        most = bounds[id_]
        if most > status.left_usd:
            said = f"{status.said}; the batch may cost up to {usd(most)}"
            raise BudgetUsedUp(said, {id_: most})
        connection.execute(insert(budget_hold).values(budget_id=id_, batch_id=batch_id, usd=most))
    tell(connection, found, dict.fromkeys(found), now=now)


def lock_free(connection: Connection, ids: Collection[BudgetId]) -> set[BudgetId]:
    """Lock those of these budgets that no other transaction holds, without waiting."""
    free = _hard(ids).with_for_update(key_share=True, skip_locked=True)
    return set(connection.execute(free).scalars())


def tell(
    connection: Connection,
    found: Mapping[BudgetId, BudgetStatus],
    refused: Mapping[BudgetId, Decimal | None],
    *,
    now: datetime,
) -> None:
    """Note the least that each of these locked budgets lacked for its next call, None where it paid; write only changes."""
    for id_, lacked in refused.items():
        if lacked != found[id_].refused_usd:
            since = None if lacked is None else found[id_].refused_at or now
            change = update(budget).where(budget.c.id == id_)
            connection.execute(change.values(refused_at=since, refused_usd=lacked))


def refused(connection: Connection, lacking: Mapping[BudgetId, Decimal], *, now: datetime) -> None:
    """Note the least that these budgets lacked for a batch."""
    found = budget_status.limited(asking.through(connection), lacking, now=now)
    tell(connection, found, {id_: lacking[id_] for id_ in found}, now=now)


def lefts(
    connection: Connection, ids: Iterable[BudgetId], *, now: datetime
) -> dict[BudgetId, Decimal]:
    """Return what is left of these budgets now, without a lock: less may be left when it is asked for."""
    found = budget_status.limited(asking.through(connection), ids, now=now)
    return {id_: of.left_usd for id_, of in found.items()}


def consumers(connection: Connection, ids: list[WorkId]) -> dict[WorkId, str | None]:
    """Return the consumers of this work."""
    wanted = select(work.c.id, item.c.consumer).join(item, item.c.id == work.c.item_id)
    rows = connection.execute(wanted.where(one_of(ids, work.c.id)))
    return {row.id: row.consumer for row in rows}


def _hard(ids: Collection[BudgetId] | Mapping[BudgetId, Any]) -> Any:
    """Select those of these budgets that have a hard limit, in the order in which all transactions lock them."""
    hard = budget.c.hard_usd.is_not(None)
    return select(budget.c.id).where(one_of(list(ids), budget.c.id), hard).order_by(budget.c.id)
