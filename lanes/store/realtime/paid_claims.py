"""Claims of workloads with a hard budget: each item reserves the most that its call may cost, if that much is left.

The reserve is stored in the work row and ends with its claim: when the work is saved, given back or rescued. It covers a call
for this item alone, so that items can share a call, or be sent singly again, without another reserve.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, select, update

from lanes.ids import VersionId, WorkId
from lanes.json_data import call_bytes
from lanes.money.budget import ReserveCandidate, ReserveResult, reserve
from lanes.money.cost import upper_bound
from lanes.packing import Claim, ClaimedWork
from lanes.realtime.pace import LEASE
from lanes.store import asking
from lanes.store.money import budget_status, budgets
from lanes.store.statements import is_, octets, one_of, rows_of
from lanes.store.tables import item, work
from lanes.store.work import OF_ITEM, OF_WORK, ClaimBounds, most_urgent, read_claimed
from lanes.store.workload.workloads import versions
from lanes.words import Lane, WorkState
from lanes.workload.version import Version


@dataclass(frozen=True)
class PaidClaims:
    """The claimed work, the most urgent first.

    The workloads in `held_back` have items that wait for reserved money, or for a budget that another transaction has locked.
    The workloads in `stopped` have less money left than any of their calls may cost.
    """

    claimed: Sequence[ClaimedWork] = ()
    held_back: Set[str] = frozenset()
    stopped: Set[str] = frozenset()


def claim(
    connection: Connection,
    most: Mapping[str, int],
    *,
    worker: str,
    lease: timedelta,
    within: ClaimBounds | None = None,
    now: datetime,
) -> PaidClaims:
    """Claim up to `most` of the most urgent real-time work of each workload, as far as its hard budgets can pay for it.

    Must run in a transaction of its own: the budgets stay locked until it ends. The query does not wait for a budget that
    another transaction has locked; the items that this budget would pay for are held back.
    """
    of = [each for each in budgets.list_hard(connection) if each.workload in most]
    rows = _candidates(connection, most, within or ClaimBounds(), now)
    readers = {row.consumer for row in rows}
    wanted = [each.id for each in of if each.consumer is None or each.consumer in readers]
    locked = budgets.lock_free(connection, wanted)
    busy = {each.workload for each in of if each.id in set(wanted) - locked}
    busy |= _reserve_for_claims(connection, set(most) - busy, now)
    candidates = [row for row in rows if row.workload not in busy]
    known = versions(connection, {row.version_id for row in candidates})
    found = budget_status.read_hard(asking.through(connection), locked, now=now)
    result = reserve(
        [
            ReserveCandidate(row.id, row.workload, row.consumer, _compute_bound(known, row, now))
            for row in candidates
        ],
        {id_: of for id_, of in found.items() if of.budget.workload not in busy},
        least=_least(known.values(), now),
        now=now,
    )
    budgets.note_lacking(connection, found, result.refused, now=now)
    _rest(connection, result)
    numbers = _take(connection, result, worker=worker, until=now + lease)
    claims = [
        read_claimed(row)._replace(claim=Claim(row.id, numbers[row.id]))
        for row in candidates
        if row.id in numbers
    ]
    return PaidClaims(claims, busy | result.waiting | result.stopped, result.stopped)


def end_reserves(connection: Connection, ended: Sequence[WorkId]) -> None:
    """End the reserves of calls that ended after their work had moved on: it was canceled, or the answer came late."""
    if ended:
        reserved = one_of(ended, work.c.id), work.c.bound_usd.is_not(None)
        connection.execute(update(work).where(*reserved).values(bound_usd=None, lease_until=None))


def _candidates(
    connection: Connection, most: Mapping[str, int], within: ClaimBounds, now: datetime
) -> Sequence[Any]:
    """Return and lock each workload's most urgent work within its part of the bytes; at least one item per workload."""
    of: list[ColumnElement[bool]] = []
    if within.only:
        of = [one_of(list(within.only), work.c.version_id)]
    elif within.but:
        of = [~one_of(list(within.but), work.c.version_id)]
    if within.before is not None:
        of.append(work.c.rank_at < within.before)
    picked = most_urgent(Lane.REALTIME, most, within, *of, now=now).cte("picked")
    size, order = octets(item.c.payload), (picked.c.rank_at, picked.c.id)
    before = func.sum(size).over(partition_by=picked.c.workload, order_by=order) - size
    of_work = [work.c[name] for name in ("id", "claim_no", *OF_WORK)]
    weighed = (
        select(*of_work, *(item.c[name] for name in OF_ITEM), before.label("bytes_before"))
        .join_from(picked, work, work.c.id == picked.c.id)
        .join(item, item.c.id == work.c.item_id)
        .cte("weighed")
    )
    fits = weighed.c.bytes_before < within.most_bytes // len(most)
    query = select(weighed).where(fits).order_by(weighed.c.rank_at, weighed.c.id)
    return connection.execute(query).all()


def _reserve_for_claims(connection: Connection, names: Set[str], now: datetime) -> set[str]:
    """Reserve for claims made before their workload had a hard budget; return the workloads that have a locked claim."""
    unbound = and_(
        is_(work.c.state, WorkState.CLAIMED),
        is_(work.c.lane, Lane.REALTIME),
        work.c.bound_usd.is_(None),
        # Claims of a paused replay last longer and make no call.
        work.c.lease_until < now + 10 * LEASE,
        one_of(list(names), work.c.workload),
    )
    wanted = select(work.c.id, work.c.workload, work.c.version_id, item.c.payload)
    claims = wanted.join(item, item.c.id == work.c.item_id).where(unbound)
    rows = connection.execute(claims).all()
    if not rows:
        return set()
    there = one_of([row.id for row in rows], work.c.id)
    in_order = select(work.c.id).where(there, unbound).order_by(work.c.id)
    locked = in_order.with_for_update(key_share=True, skip_locked=True)
    free = set(connection.execute(locked).scalars())
    known = versions(connection, {row.version_id for row in rows})
    _write_bounds(
        connection, {row.id: _compute_bound(known, row, now) for row in rows if row.id in free}
    )
    return {row.workload for row in rows if row.id not in free}


def _compute_bound(known: Mapping[VersionId, Version], row: Any, now: datetime) -> Decimal:
    """Return the most that a call for the item alone may cost, in US dollars; 0 if its version cannot be read."""
    version = known.get(row.version_id)
    if version is None:
        return Decimal(0)
    return upper_bound(version, call_bytes(row.payload), lane=Lane.REALTIME, at=now)


def _least(known: Any, now: datetime) -> dict[str, Decimal]:
    """Return, by workload, the smallest upper bound of a call's cost among these versions."""
    least: dict[str, Decimal] = {}
    for each in known:
        bound = upper_bound(each, 0, lane=Lane.REALTIME, at=now)
        least[each.workload] = min(bound, least.get(each.workload, bound))
    return least


def _rest(connection: Connection, result: ReserveResult) -> None:
    """Set resting items aside until their time, with the most that their call may cost."""
    if result.resting:
        resting = [
            {"id": each.work_id, "bound_usd": each.bound_usd, "ready_at": at}
            for each, at in result.resting
        ]
        given = rows_of(work, resting)
        values = {"ready_at": given.c.ready_at, "bound_usd": given.c.bound_usd}
        connection.execute(update(work).where(work.c.id == given.c.id).values(values))


def _take(
    connection: Connection, result: ReserveResult, *, worker: str, until: datetime
) -> dict[WorkId, int]:
    """Claim the paid items together with their reserves; return their claim numbers."""
    if not result.paid:
        return {}
    given = rows_of(
        work, [{"id": each.work_id, "bound_usd": each.bound_usd} for each in result.paid]
    )
    claim = {"claimed_by": worker, "lease_until": until, "claim_no": work.c.claim_no + 1}
    taken = update(work).where(work.c.id == given.c.id).values(state=WorkState.CLAIMED, **claim)
    taken = taken.values(bound_usd=given.c.bound_usd).returning(work.c.id, work.c.claim_no)
    return {row.id: row.claim_no for row in connection.execute(taken)}


def _write_bounds(connection: Connection, bounds: Mapping[WorkId, Decimal]) -> None:
    if bounds:
        given = rows_of(work, [{"id": id_, "bound_usd": usd} for id_, usd in bounds.items()])
        its = work.c.id == given.c.id
        connection.execute(update(work).where(its).values(bound_usd=given.c.bound_usd))
