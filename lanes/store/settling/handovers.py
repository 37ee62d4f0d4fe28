"""Items that change their lane: each change is a route, with its reason and both costs, beside the work it creates."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from lanes.ids import ItemId, WorkId
from lanes.money.cost import Estimate
from lanes.packing import history_chars
from lanes.routing.route import Route, fall_back
from lanes.store.bulk import insert_rows, one_of
from lanes.store.doors.history import lengths_of
from lanes.store.money import sharing
from lanes.store.payload import characters
from lanes.store.routing.routes import row_of
from lanes.store.settling.savable import LockedWork
from lanes.store.tables import item, route, work
from lanes.store.workload.workloads import versions
from lanes.words import Outcome, Purpose, WorkState


@dataclass(frozen=True)
class HandedOver:
    """Real-time work that failed for good, and how it ended: the batch lane answers its item."""

    failed: LockedWork
    last: Outcome


def save(connection: Connection, handed_over: Sequence[HandedOver], *, now: datetime) -> None:
    """Each item has a route to the batch lane, and its work there, as urgent as what failed. The items are locked."""
    costs = _estimates(connection, [each.failed for each in handed_over], now)
    made = [
        (
            of,
            fall_back(
                last=each.last, failures=of.failures, costs=costs[of.item_id], chance=of.chance
            ),
        )
        for each in handed_over
        for of in [each.failed]
    ]
    ranks = _ranks(connection, [each.failed.id for each in handed_over])
    connection.execute(
        insert_rows(
            route, [row_of(to, of.item_id, of.terms.version_id, now=now) for of, to in made]
        )
    )
    rows = [_work(of, to, ranks[of.id], now) for of, to in made]
    connection.execute(insert_rows(work, rows).on_conflict_do_nothing())


def _ranks(connection: Connection, ids: Sequence[WorkId]) -> dict[WorkId, datetime]:
    return {
        row.id: row.rank_at
        for row in connection.execute(
            select(work.c.id, work.c.rank_at).where(one_of(ids, work.c.id))
        )
    }


def _estimates(
    connection: Connection, rows: Sequence[LockedWork], now: datetime
) -> dict[ItemId, Estimate]:
    """Return what each item would cost on either lane, by its id.

    That is what its last route said where its models have no price now.
    """
    known = versions(connection, {row.terms.version_id for row in rows})
    ids = {row.item_id for row in rows}
    chars = {
        row.id: row.chars
        for row in connection.execute(
            select(item.c.id, characters(item.c.payload).label("chars")).where(
                one_of(ids, item.c.id)
            )
        )
    }
    told = lengths_of(connection, {row.item_id: known.get(row.terms.version_id) for row in rows})
    estimates, costs = sharing.estimates(connection, now=now), dict[ItemId, Estimate]()
    for row in rows:
        try:
            history = history_chars(told.get(row.item_id, ()))
            costs[row.item_id] = estimates.of(
                known[row.terms.version_id], chars[row.item_id], history
            )
        except LookupError:  # also a version that cannot be read any more
            costs[row.item_id] = _last_said(connection, row.item_id)
    return costs


def _last_said(connection: Connection, item_id: ItemId) -> Estimate:
    last = (
        select(route.c.realtime_usd, route.c.batch_usd)
        .where(route.c.item_id == item_id)
        .order_by(route.c.id.desc())
    )
    said = connection.execute(last.limit(1)).one()
    return Estimate(said.realtime_usd, said.batch_usd)


def _work(of: LockedWork, to: Route, rank_at: datetime, now: datetime) -> dict[str, Any]:
    return {
        "item_id": of.item_id,
        "workload": of.terms.workload,
        "version_id": of.terms.version_id,
        "lane": to.lane,
        "purpose": Purpose.ANSWER,
        "revision": of.terms.revision,
        "state": WorkState.READY,
        "ready_at": now,
        "rank_at": rank_at,
        "due_at": of.of_item.due_at,
        "binds": to.binds,
        "waits_since": now,
    }
