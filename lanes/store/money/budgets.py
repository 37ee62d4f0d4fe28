"""Budgets: people set, change and remove them, and batches reserve amounts of them."""

from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from lanes.errors import ActionRefused, LanesError
from lanes.ids import BatchId, BudgetId, WorkId
from lanes.money.budget import Budget, BudgetStatus, Period, refusal, round_limits
from lanes.promises.incident import Promise
from lanes.store import asking, incidents, signals
from lanes.store.database import limit_waits
from lanes.store.money import budget_status
from lanes.store.statements import one_of
from lanes.store.tables import batch, budget, budget_hold, budget_spent, budget_use, item, work
from lanes.store.workload import workloads
from lanes.units import usd
from lanes.words import FINISHED_BATCH

NEW_ZONE = "UTC"  # of a budget without a zone
# Longest wait for transactions that save; shorter than Postgres's deadlock timeout.
ALONE = timedelta(seconds=0.5)

# The sum of the costs that were billed before the budget existed; later saves count themselves. While this lock is held no
# transaction is saving, so no row with a smaller id than the newest can still appear. Responses have no index by id: the newest
# id is the last value of their sequence.
LOCKED = "lock table lanes.response, lanes.attempt in share row exclusive mode"
NEWEST = """
select (select case when is_called then last_value else 0 end from lanes.response_id_seq) as responses,
       (select coalesce(max(id), 0) from lanes.attempt) as attempts
"""
EVERYBODYS = """
select coalesce((select sum(r.cost_usd) from lanes.response r
                  where r.workload = :workload and r.billed_at >= :since and r.id {responses}), 0) as usd,
       coalesce((select sum(a.bound_usd) from lanes.attempt a
                  where a.workload = :workload and a.ended_at >= :since and a.bound_usd <> 0 and not {answered}
                    and a.id {attempts}), 0) as bound_usd
"""
CONSUMERS = """
select coalesce(sum(a.cost_usd), 0) as usd,
       coalesce(sum(a.bound_usd) filter (where a.bound_usd <> 0 and not {answered}), 0) as bound_usd
  from lanes.attempt a join lanes.item i on i.id = a.item_id
 where a.workload = :workload and i.consumer = :consumer and a.ended_at >= :since and a.id {attempts}
"""
# A call that seemed lost and was answered later counts as billed.
ANSWERED = """exists (select from lanes.attempt l
                        where l.work_id = a.work_id and l.claim_no = a.claim_no and l.message_id is not null)"""
UP_TO = {"responses": "<= :responses", "attempts": "<= :attempts"}
AFTER = {"responses": "> :responses", "attempts": "> :attempts"}
# Work that waits because its budget has too little left.
READY_NOW = """
with resting as (
  select w.id from lanes.work w
   where w.workload = :workload and w.bound_usd is not null and w.state = 'ready'
     for no key update skip locked)
update lanes.work w set ready_at = least(w.ready_at, :now), bound_usd = null from resting where w.id = resting.id
"""
# The join drops the rows of budgets that have been removed since, so these get no row of budget_spent.
FOLD = """
with moved as (
  delete from lanes.budget_use
   where id = any(array(select id from lanes.budget_use order by id limit :most for update skip locked))
  returning budget_id, began_at, usd, bound_usd),
folded as (
  insert into lanes.budget_spent as s (budget_id, began_at, usd, bound_usd)
  select m.budget_id, m.began_at, sum(m.usd), sum(m.bound_usd)
    from moved m join lanes.budget b on b.id = m.budget_id group by 1, 2
  on conflict (budget_id, began_at) do update
     set usd = s.usd + excluded.usd, bound_usd = s.bound_usd + excluded.bound_usd)
select count(*) from moved
"""
MOST = 20_000  # rows of budget_use moved in one transaction
# Request an immediate run for batch work that `depart` could not submit.
SUBMIT_NOW = (
    "update lanes.workload set submit_at = :now where name = :workload and submit_at > :now"
)


@dataclass(frozen=True)
class BudgetCount:
    """The US dollars that count against a budget, from the ledger's rows up to these ids."""

    usd: Decimal = Decimal(0)
    bound_usd: Decimal = Decimal(0)
    responses: int = 0
    attempts: int = 0


@dataclass(frozen=True)
class HardBudget:
    """A budget with a hard limit, and the limit for a whole period."""

    id: BudgetId
    workload: str
    consumer: str | None
    period: Period
    hard_usd: Decimal


def put(connection: sa.Connection, wanted: Budget, *, who: str, why: str, now: datetime) -> str:
    """Put the budget in force with its period's cost so far, and make waiting work ready; return its status as a sentence.

    A running drain obeys a new budget within about two seconds.

    Raises:
        UnknownWorkload: there is no such workload.
        ActionRefused: the budget is not valid; the message states the reason.
        StillLocked: another transaction holds a lock that is needed; nothing was changed.
    """
    workloads.check_known(connection, wanted.workload)
    if (no := refusal(wanted)) is not None:
        raise ActionRefused(no)
    wanted = round_limits(wanted)
    _require_zone(connection, wanted.zone, now)
    known = sa.select(budget.c.id, budget.c.zone).where(*_match_budget(wanted))
    row = connection.execute(known).first()
    so_far = BudgetCount()
    if row is None or row.zone != wanted.zone:
        so_far = _sum_so_far(connection, wanted, now)
    with limit_waits(connection, ALONE):
        values: dict[str, Any] = {"soft_usd": wanted.soft_usd, "hard_usd": wanted.hard_usd}
        values |= {"who": who, "why": why, "set_at": now, "refused_at": None, "refused_usd": None}
        row = connection.execute(known.with_for_update(key_share=True)).first()
        if row is not None:
            changed = sa.update(budget).where(budget.c.id == row.id)
            connection.execute(changed.values(zone=wanted.zone, **values))
        if row is None or row.zone != wanted.zone:
            _count_from(connection, wanted, None if row is None else row.id, values, so_far)
        _go_on(connection, wanted.workload, now)
    signals.wake(connection)
    standing = statuses(connection, [wanted.workload], now=now)
    return next(each.sentence for each in standing if each.budget == wanted)


def read_zone(
    connection: sa.Connection, workload: str, consumer: str | None, period: Period
) -> str:
    """Return the time zone of a budget; UTC if the budget does not exist."""
    it = Budget(workload, consumer, period, NEW_ZONE, None, None)
    return (
        connection.execute(sa.select(budget.c.zone).where(*_match_budget(it))).scalar() or NEW_ZONE
    )


def _sum_so_far(connection: sa.Connection, wanted: Budget, now: datetime) -> BudgetCount:
    """Sum the cost of the budget's period so far, which may take seconds; other transactions save during this time."""
    with limit_waits(connection, ALONE):
        for_a_moment = connection.begin_nested()
        connection.execute(sa.text(LOCKED))
        newest = connection.execute(sa.text(NEWEST)).one()
        for_a_moment.rollback()
    before = BudgetCount(responses=newest.responses, attempts=newest.attempts)
    return _sum(connection, wanted, now, UP_TO, before)


def _sum(
    connection: sa.Connection,
    wanted: Budget,
    now: datetime,
    rows: Mapping[str, str],
    before: BudgetCount,
) -> BudgetCount:
    """Return `before` plus the cost of the budget's period in these rows of the ledger."""
    since = _began_at(connection, wanted, now)
    parameters = {"workload": wanted.workload, "since": since, "attempts": before.attempts}
    if wanted.consumer is None:
        query, parameters = EVERYBODYS, {**parameters, "responses": before.responses}
    else:
        query, parameters = CONSUMERS, {**parameters, "consumer": wanted.consumer}
    found = connection.execute(sa.text(query.format(answered=ANSWERED, **rows)), parameters).one()
    return replace(before, usd=before.usd + found.usd, bound_usd=before.bound_usd + found.bound_usd)


def _began_at(connection: sa.Connection, wanted: Budget, now: datetime) -> datetime:
    began_at = sa.func.date_trunc(wanted.period, now, wanted.zone)
    return connection.execute(sa.select(began_at)).scalar_one()


def _count_from(
    connection: sa.Connection,
    wanted: Budget,
    id_: BudgetId | None,
    values: dict[str, Any],
    so_far: BudgetCount,
) -> None:
    """Start the budget's count with the cost of its period so far, including saves that were not summed yet."""
    connection.execute(sa.text(LOCKED))
    if id_ is None:
        of = {name: getattr(wanted, name) for name in ("workload", "consumer", "period", "zone")}
        new = sa.insert(budget).values(**of, **values).returning(budget.c.id)
        id_ = connection.execute(new).scalar_one()
    connection.execute(sa.delete(budget_use).where(budget_use.c.budget_id == id_))
    connection.execute(sa.delete(budget_spent).where(budget_spent.c.budget_id == id_))
    now: datetime = values["set_at"]
    total = _sum(connection, wanted, now, AFTER, so_far)
    spent = {"usd": total.usd, "bound_usd": total.bound_usd}
    began_at = _began_at(connection, wanted, now)
    new = sa.insert(budget_spent).values(budget_id=id_, began_at=began_at, **spent)
    connection.execute(new)


def remove(
    connection: sa.Connection, name: str, consumer: str | None, period: Period, *, now: datetime
) -> str:
    """Remove the budget and make the work that waited for it ready; return a sentence about the result.

    Raises:
        ActionRefused: there is no such budget.
    """
    removed_budget = Budget(name, consumer, period, "UTC", None, None)
    with limit_waits(connection, ALONE):
        removed = sa.delete(budget).where(*_match_budget(removed_budget)).returning(budget.c.id)
        id_ = connection.execute(removed).scalar_one_or_none()
        if id_ is None:
            raise ActionRefused(
                f"there is no such budget: {removed_budget.name}; `lanes budget` shows all of them"
            )
        connection.execute(sa.delete(budget_use).where(budget_use.c.budget_id == id_))
        _go_on(connection, name, now)
    message = "The budget was removed."
    incidents.resolve(
        connection, Promise.BUDGET, name, removed_budget.subject, sentence=message, now=now
    )
    signals.wake(connection)
    return f"{removed_budget.name} is removed: it no longer limits anything"


def _go_on(connection: sa.Connection, name: str, now: datetime) -> None:
    for each in (READY_NOW, SUBMIT_NOW):
        connection.execute(sa.text(each), {"workload": name, "now": now})


def fold(connection: sa.Connection, *, most: int = MOST) -> int:
    """Move up to `most` rows from `budget_use` into the sums of `budget_spent`; return how many."""
    return connection.execute(sa.text(FOLD), {"most": most}).scalar_one()


def statuses(
    connection: sa.Connection, names: Iterable[str] | None = None, *, now: datetime
) -> list[BudgetStatus]:
    """Return the status at `now` of the budgets of these workloads, or of all budgets, ordered by workload."""
    return budget_status.of(asking.through(connection), names, now=now)


def list_hard(connection: sa.Connection) -> list[HardBudget]:
    """Return the budgets that have a hard limit."""
    columns = [budget.c[name] for name in ("id", "workload", "consumer", "period", "hard_usd")]
    hard = sa.select(*columns).where(budget.c.hard_usd.is_not(None)).order_by(budget.c.id)
    rows = connection.execute(hard)
    return [asking.read_as(HardBudget, row, period=Period(row.period)) for row in rows]


def list_used_up(connection: sa.Connection, *, now: datetime) -> Set[tuple[str, str | None]]:
    """Return the workloads and consumers (None: all) whose budget is used up, whether a call was refused already or not."""
    exhausted = (each.budget for each in statuses(connection, now=now) if each.is_used_up)
    return {(each.workload, each.consumer) for each in exhausted}


def list_unpaid(connection: sa.Connection, *, now: datetime) -> list[str]:
    """Return the workloads with a used-up budget for all of their consumers, by name."""
    return sorted(name for name, consumer in list_used_up(connection, now=now) if consumer is None)


def _match_budget(wanted: Budget) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        budget.c.workload == wanted.workload,
        budget.c.consumer.is_not_distinct_from(wanted.consumer),
        budget.c.period == wanted.period,
    )


def _require_zone(connection: sa.Connection, zone: str, now: datetime) -> None:
    """Require that the database knows the time zone, by which it divides spending into periods.

    Raises:
        ActionRefused: the database does not know the zone.
    """
    try:
        with connection.begin_nested():
            connection.execute(sa.select(sa.func.date_trunc("day", sa.literal(now), zone)))
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        raise ActionRefused(f'the database knows no time zone "{zone}"') from error


Usd = Mapping[BudgetId, Decimal]
WAIT = timedelta(seconds=1)  # longest wait of a batch for a budget that another transaction holds


class BudgetUsedUp(LanesError):
    """A budget has less left than a batch may cost; `budgets` maps such budgets to the least amount that they could not pay."""

    def __init__(self, detail: str, budgets: Mapping[BudgetId, Decimal]) -> None:
        self.budgets = budgets
        super().__init__(detail)


def reserve(
    connection: sa.Connection,
    batch_id: BatchId,
    bounds: Usd,
    *,
    now: datetime,
    wait: timedelta = WAIT,
) -> None:
    """Reserve these amounts for the batch until it is collected or released, and lock the budgets until the transaction ends.

    Raises:
        BudgetUsedUp: a budget has too little left; the caller must roll back.
        StillLocked: another transaction has locked one of the budgets.
    """
    if not bounds:
        return
    with limit_waits(connection, wait):
        ids = list(
            connection.execute(_select_hard(bounds).with_for_update(key_share=True)).scalars()
        )
    status_by_id = budget_status.read_hard(asking.through(connection), ids, now=now)
    has_ended = batch.c.state.in_(FINISHED_BATCH)
    over = sa.exists().where(batch.c.id == budget_hold.c.batch_id, has_ended)
    connection.execute(sa.delete(budget_hold).where(one_of(ids, budget_hold.c.budget_id), over))
    for id_, status in status_by_id.items():
        most = bounds[id_]
        if most > status.left_usd:
            message = f"{status.sentence}; the batch may cost up to {usd(most)}"
            raise BudgetUsedUp(message, {id_: most})
        connection.execute(
            sa.insert(budget_hold).values(budget_id=id_, batch_id=batch_id, usd=most)
        )
    note_lacking(connection, status_by_id, dict.fromkeys(status_by_id), now=now)


def lock_free(connection: sa.Connection, ids: Collection[BudgetId]) -> set[BudgetId]:
    """Lock the hard budgets among `ids` that no other transaction has locked, without waiting; return their ids."""
    free = _select_hard(ids).with_for_update(key_share=True, skip_locked=True)
    return set(connection.execute(free).scalars())


def note_lacking(
    connection: sa.Connection,
    status_by_id: Mapping[BudgetId, BudgetStatus],
    refused: Mapping[BudgetId, Decimal | None],
    *,
    now: datetime,
) -> None:
    """Record the least amount that each of these locked budgets could not pay, None if it paid; write only changes."""
    for id_, lacked in refused.items():
        if lacked != status_by_id[id_].refused_usd:
            since = None if lacked is None else status_by_id[id_].refused_at or now
            change = sa.update(budget).where(budget.c.id == id_)
            connection.execute(change.values(refused_at=since, refused_usd=lacked))


def note_refused(
    connection: sa.Connection, lacking: Mapping[BudgetId, Decimal], *, now: datetime
) -> None:
    """Record the least amount that each of these budgets could not pay for a batch."""
    found = budget_status.read_hard(asking.through(connection), lacking, now=now)
    note_lacking(connection, found, {id_: lacking[id_] for id_ in found}, now=now)


def read_left_usd(
    connection: sa.Connection, ids: Iterable[BudgetId], *, now: datetime
) -> dict[BudgetId, Decimal]:
    """Return the amount left of each hard budget among `ids`, without a lock: a later `reserve` may find less."""
    found = budget_status.read_hard(asking.through(connection), ids, now=now)
    return {id_: of.left_usd for id_, of in found.items()}


def read_consumers(connection: sa.Connection, ids: list[WorkId]) -> dict[WorkId, str | None]:
    """Return the consumer of each piece of work, by work id."""
    wanted = sa.select(work.c.id, item.c.consumer).join(item, item.c.id == work.c.item_id)
    rows = connection.execute(wanted.where(one_of(ids, work.c.id)))
    return {row.id: row.consumer for row in rows}


def _select_hard(ids: Collection[BudgetId] | Mapping[BudgetId, Any]) -> Any:
    """Select the budgets among `ids` that have a hard limit, in the order in which all transactions lock them."""
    hard = budget.c.hard_usd.is_not(None)
    return sa.select(budget.c.id).where(one_of(list(ids), budget.c.id), hard).order_by(budget.c.id)
