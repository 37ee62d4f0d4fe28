"""What is kept of a budget: slices of drains, and the bounds of batches. Both are taken under the lock of the budget's row."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, and_, delete, exists, func, insert, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from lanes.errors import LanesError
from lanes.ids import BatchId, BudgetId, WorkId
from lanes.money.budget import SLICE_S, BudgetStatus, slice_usd
from lanes.store import asking
from lanes.store.bulk import one_of
from lanes.store.locks import by_itself, waiting_at_most
from lanes.store.money import budget_status
from lanes.store.signals import Role, sessions_of
from lanes.store.tables import batch, budget, budget_hold, item, work
from lanes.units import usd
from lanes.words import BatchState

WAIT = timedelta(seconds=1)  # longest wait for a budget that somebody else holds
IDLE = timedelta(seconds=2 * SLICE_S)  # by then nobody debits a slice any more that he did not renew

FOLD = """
with moved as (
  delete from lanes.budget_use where budget_id = any(:ids) returning budget_id, began_at, usd, bound_usd)
insert into lanes.budget_spent as s (budget_id, began_at, usd, bound_usd)
select budget_id, began_at, sum(usd), sum(bound_usd) from moved group by 1, 2
on conflict (budget_id, began_at) do update set usd = s.usd + excluded.usd, bound_usd = s.bound_usd + excluded.bound_usd
"""


class BudgetUsedUp(LanesError):
    """Less of a budget is left than the most that a batch may cost; `budgets` are those."""

    def __init__(self, detail: str, budgets: Collection[BudgetId]) -> None:
        self.budgets = budgets
        super().__init__(detail)


@dataclass(frozen=True)
class Want:
    """What a drain asks of a budget, in US dollars: `need` at once and about `minute` in a minute, beside the `outstanding`
    bounds of calls that it began and has not saved."""

    outstanding: Decimal
    need: Decimal
    minute: Decimal


def take(
    connection: Connection, holder: UUID, session: int | None, wants: Mapping[BudgetId, Want], *, now: datetime
) -> dict[BudgetId, Decimal | None]:
    """What the holder may spend from now on, until the slice is a minute old, of each budget; None: not what it needs at once.

    Budgets that are there no longer, or have no hard limit any more, are left out. A transaction of its own.

    Raises:
        StillLocked: somebody holds one of them; nothing was taken.
    """
    return by_itself(connection, WAIT, _take, holder, session, wants, now)


def _take(
    connection: Connection, holder: UUID, session: int | None, wants: Mapping[BudgetId, Want], now: datetime
) -> dict[BudgetId, Decimal | None]:
    found = _locked(connection, wants, now)
    given: dict[BudgetId, Decimal | None] = {}
    own = _own(connection, holder, found)
    for id_, status in found.items():
        want = wants[id_]
        rest = _rest(status) + own.get(id_, Decimal(0)) - want.outstanding
        given[id_] = slice_usd(rest=rest, need=want.need, minute=want.minute)
        _hold(connection, id_, want.outstanding + (given[id_] or 0), now, holder=holder, session=session)
        if want.need:
            _tell(connection, id_, status, refused=given[id_] is None, now=now)
    return given


def give_back(connection: Connection, holder: UUID, outstanding: Mapping[BudgetId, Decimal], *, now: datetime) -> None:
    """The holder keeps of its slices only what its calls that are not saved may cost."""
    over = budget_hold.c.budget_id.not_in(list(outstanding))
    connection.execute(delete(budget_hold).where(budget_hold.c.holder == holder, over))
    for id_, kept in sorted(outstanding.items()):
        mine = and_(budget_hold.c.holder == holder, budget_hold.c.budget_id == id_)
        connection.execute(update(budget_hold).where(mine).values(usd=func.least(budget_hold.c.usd, kept), taken_at=now))


def reserve(connection: Connection, batch_id: BatchId, bounds: Mapping[BudgetId, Decimal], *, now: datetime) -> None:
    """That much of each budget is kept for the batch until it is collected or released. The budgets are locked until this
    transaction ends.

    Raises:
        BudgetUsedUp: one has not so much left; the transaction is to be taken back.
        StillLocked: somebody holds one of them.
    """
    if not bounds:
        return
    with waiting_at_most(connection, WAIT):
        found = _locked(connection, bounds, now)
    for id_, status in found.items():
        if bounds[id_] > _rest(status):
            raise BudgetUsedUp(f"{status.said}; the batch may cost up to {usd(bounds[id_])}", [id_])
        _hold(connection, id_, bounds[id_], now, batch_id=batch_id)
        _tell(connection, id_, status, refused=False, now=now)


def refused(connection: Connection, ids: Collection[BudgetId], *, now: datetime) -> None:
    """These have not left what was asked of them."""
    connection.execute(
        update(budget).where(one_of(list(ids), budget.c.id)).values(refused_at=func.coalesce(budget.c.refused_at, now))
    )


def rests(connection: Connection, ids: Mapping[BudgetId, Any], *, now: datetime) -> dict[BudgetId, Decimal]:
    """What is left of these budgets now; nothing is locked, so that less may be left when it is asked for."""
    return {id_: _rest(status) for id_, status in budget_status.limited(asking.through(connection), ids, now=now).items()}


def consumers(connection: Connection, ids: list[WorkId]) -> dict[WorkId, str | None]:
    """Who reads the results of this work."""
    rows = connection.execute(
        select(work.c.id, item.c.consumer).join(item, item.c.id == work.c.item_id).where(one_of(ids, work.c.id))
    )
    return {row.id: row.consumer for row in rows}


def _locked(connection: Connection, ids: Mapping[BudgetId, Any], now: datetime) -> dict[BudgetId, BudgetStatus]:
    """The budgets with a hard limit, locked in the order of their ids; what was used of them is added up, and what the dead
    held is free."""
    wanted = select(budget.c.id).where(one_of(list(ids), budget.c.id), budget.c.hard_usd.is_not(None)).order_by(budget.c.id)
    ours = list(connection.execute(wanted.with_for_update(key_share=True)).scalars())
    if not ours:
        return {}
    connection.execute(text(FOLD), {"ids": ours})
    _free(connection, ours, now)
    return budget_status.limited(asking.through(connection), ours, now=now)


def _free(connection: Connection, ids: list[BudgetId], now: datetime) -> None:
    """Free what drains held that are gone, whose leases are over by then, and what collected batches did."""
    gone = and_(
        budget_hold.c.holder.is_not(None), budget_hold.c.taken_at < now - IDLE,
        or_(budget_hold.c.session.is_(None), budget_hold.c.session.not_in(sessions_of(Role.DRAIN))),
    )  # fmt: skip
    over = exists().where(batch.c.id == budget_hold.c.batch_id, batch.c.state == BatchState.COLLECTED)
    connection.execute(delete(budget_hold).where(one_of(ids, budget_hold.c.budget_id), gone | over))


def _own(connection: Connection, holder: UUID, of: Mapping[BudgetId, Any]) -> dict[BudgetId, Decimal]:
    rows = connection.execute(
        select(budget_hold.c.budget_id, budget_hold.c.usd).where(
            budget_hold.c.holder == holder, one_of(list(of), budget_hold.c.budget_id)
        )
    )
    return {row.budget_id: row.usd for row in rows}


def _rest(status: BudgetStatus) -> Decimal:
    """As `rest_usd`, and negative where more is held than the limit is now."""
    assert status.budget.hard_usd is not None
    return status.budget.hard_usd - status.used_usd - status.reserved_usd


def _hold(
    connection: Connection, id_: BudgetId, kept: Decimal, now: datetime, *, holder: UUID | None = None,
    session: int | None = None, batch_id: BatchId | None = None,
) -> None:  # fmt: skip
    values = {"budget_id": id_, "holder": holder, "session": session, "batch_id": batch_id, "usd": kept, "taken_at": now}
    if batch_id is not None:
        connection.execute(insert(budget_hold).values(values))
        return
    held = upsert(budget_hold).values(values)
    connection.execute(
        held.on_conflict_do_update(
            index_elements=["budget_id", "holder"], index_where=text("holder is not null"),
            set_={"usd": held.excluded.usd, "session": held.excluded.session, "taken_at": held.excluded.taken_at},
        )
    )  # fmt: skip


def _tell(connection: Connection, id_: BudgetId, status: BudgetStatus, *, refused: bool, now: datetime) -> None:
    if refused != (status.refused_at is not None):
        connection.execute(update(budget).where(budget.c.id == id_).values(refused_at=now if refused else None))
