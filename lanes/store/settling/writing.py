"""The statement that writes a whole save at once: attempts, work, results, items, corrections and events.

Its input is one row per attempt (`GIVEN`); it reads the other values from the database.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, Insert, insert

from lanes.ids import BatchId
from lanes.store import signals
from lanes.store.statements import Row, split, split_records
from lanes.store.tables import (
    attempt,
    batch,
    correction,
    event_outbox,
    item,
    read,
    result,
    revision,
    work,
)
from lanes.store.tables.base import Moment, Usd
from lanes.words import SettledReason, Standing, WorkState
from lanes.workload.context import LATE

MOST_READERS = 20  # readers named in the event of a correction
ANSWERED, CORRECTED, FAILED = "lanes.item.answered", "lanes.item.corrected", "lanes.item.failed"

TRIED = (  # the columns of an attempt, except its claim
    sa.column("outcome", sa.Text),
    sa.column("error", sa.Text),
    sa.column("request_id", sa.Text),
    sa.column("message_id", sa.Text),
    sa.column("model", sa.Text),
    sa.column("input_tokens", sa.Integer),
    sa.column("output_tokens", sa.Integer),
    sa.column("cache_read_tokens", sa.Integer),
    sa.column("cache_write_tokens", sa.Integer),
    sa.column("cost_usd", Usd),
    sa.column("bound_usd", Usd),
    sa.column("latency_ms", sa.Integer),
    sa.column("started_at", Moment),
    sa.column("ended_at", Moment),
    sa.column("gathered_ms", sa.Integer),
    sa.column("left_because", sa.Text),
)
GIVEN = (
    sa.column("n", sa.Integer),  # the order of the rows
    sa.column("work_id", sa.BigInteger),
    sa.column("claim_no", sa.Integer),
    *TRIED,
    sa.column("tried_for", sa.Text),  # the attempt's purpose, if it may differ from the work's
    sa.column("tried_with", sa.BigInteger),  # its version, if it may differ from the work's
    sa.column("lane", sa.Text),  # the attempt's lane; the work may have left it since
    sa.column("state", sa.Text),  # the work's next state; null: a late attempt, work unchanged
    sa.column("failures", sa.Integer),
    sa.column("alone", sa.Boolean),
    sa.column("ready_at", Moment),
    sa.column("standing", sa.Text),
    sa.column("output", JSONB),  # the output of the new result, if any
    # These booleans are never null, so that the planner expects half of the rows to match instead of one.
    sa.column("moves_item", sa.Boolean),
    sa.column("settles", sa.Boolean),
    sa.column("fails", sa.Boolean),
    sa.column("failure", sa.Text),  # why the item or its authoritative pass failed
    sa.column("changed_fields", sa.ARRAY(sa.Text)),  # of the correction, if any, as the next three
    sa.column("distance", sa.Double),
    sa.column("provisional_id", sa.BigInteger),  # the corrected result, if it is stored
    sa.column("provisional_of", sa.BigInteger),  # else the work whose new result is corrected
    sa.column("told", sa.Boolean),  # whether the answer has an event
    sa.column("acknowledged", sa.Boolean),  # whether the sender set `ack`
)

_now = sa.bindparam("now", type_=Moment)


def write(
    connection: sa.Connection,
    given: Sequence[Row],
    *,
    fresh: bool,
    batch_id: BatchId | None,
    flow_run_id: UUID | None,
    now: datetime,
) -> Collection[int]:
    """Write all rows, or none; return the numbers (`n`) of the attempts that were already recorded.

    Set `fresh` if no attempt can be recorded yet, because each claim is in force and its work is locked.
    """
    params = split(given) | {"batch": batch_id, "flow_run": flow_run_id, "now": now}
    params |= signals.sender(connection)
    row = connection.execute(statement(fresh=fresh), params).one()
    return frozenset(row.known or ())


@cache
def statement(*, fresh: bool) -> sa.Select[*tuple[Any, ...]]:
    """Build the statement of `write`; it notifies listeners if an item moves."""
    input_rows = split_records(GIVEN).subquery("given")
    # `offset 0` makes every plan look up work by its key, also a plan that was made while the table was small.
    of_work = (
        sa.select(
            work.c.item_id,
            work.c.workload,
            work.c.purpose,
            work.c.version_id,
            work.c.generation,
            work.c.revision,
        )
        .where(work.c.id == input_rows.c.work_id)
        .offset(sa.literal_column("0"))
        .lateral("of_work")
    )
    entries = (
        sa.select(*input_rows.c, *of_work.c)
        .select_from(input_rows.join(of_work, sa.true()))
        .cte("each")
    )
    attempts = _attempts(entries)
    live = _results(entries, live=True).returning(result.c.id, result.c.work_id).cte("live")
    items = _items(entries, live)
    notification = (
        sa.select(signals.waking())
        .where(sa.select(entries.c.n).where(entries.c.moves_item).exists())
        .scalar_subquery()
    )
    # Replays move no item; the first result of a generation wins.
    overlays = _results(entries, live=False).on_conflict_do_nothing().cte("overlays")
    written = (_move_work(entries), overlays, _corrections(entries, live), _events(entries, items))
    if fresh:
        return sa.select(sa.null().label("known"), notification).add_cte(
            attempts.cte("attempts"), *written
        )
    # A plain insert is cheaper than one that handles conflicts.
    inserted = (
        attempts.on_conflict_do_nothing()
        .returning(attempt.c.id, attempt.c.work_id, attempt.c.claim_no, attempt.c.message_id)
        .cte("attempts")
    )
    return sa.select(_select_known(entries, inserted).label("known"), notification).add_cte(
        *written
    )


def _json(document: str) -> sa.ColumnElement[Any]:
    return sa.literal(document, sa.Text).cast(JSONB)


def _attempts(entries: sa.CTE) -> Insert:
    """Insert every attempt, with the version that was tried: the batch's, else `tried_with`, else the work's."""
    of_batch = (
        sa.select(batch.c.version_id)
        .where(batch.c.id == sa.bindparam("batch", type_=sa.BigInteger))
        .scalar_subquery()
    )
    values = {
        "work_id": entries.c.work_id,
        "claim_no": entries.c.claim_no,
        **{of.name: entries.c[of.name] for of in TRIED},
        "item_id": entries.c.item_id,
        "workload": entries.c.workload,
        "lane": entries.c.lane,
        "version_id": sa.func.coalesce(of_batch, entries.c.tried_with, entries.c.version_id),
        "purpose": sa.func.coalesce(entries.c.tried_for, entries.c.purpose),
        "batch_id": sa.bindparam("batch", type_=sa.BigInteger),
        "flow_run_id": sa.bindparam("flow_run", type_=sa.Uuid),
        "shown": entries.c.standing.is_not(None),
    }
    return insert(attempt).from_select(
        list(values), sa.select(*values.values()).order_by(entries.c.n)
    )


def _select_known(entries: sa.CTE, attempts: sa.CTE) -> sa.ColumnElement[Any]:
    """Return the numbers (`n`) of the rows whose attempts were recorded before: the insert did not add them."""
    added = (
        attempts.c.work_id == entries.c.work_id,
        attempts.c.claim_no == entries.c.claim_no,
        sa.func.coalesce(attempts.c.message_id, "") == sa.func.coalesce(entries.c.message_id, ""),
    )
    is_recorded = sa.select(attempts.c.id).where(*added).exists()
    return sa.select(sa.func.array_agg(entries.c.n)).where(~is_recorded).scalar_subquery()


def _move_work(entries: sa.CTE) -> sa.CTE:
    """Set the next state of work, and release its claim.

    A late answer does not release the reservation and lease of a newer claim, whose call is still in progress: they last until
    that call or its lease ends.
    """
    newer = sa.and_(
        work.c.state == WorkState.CLAIMED,
        work.c.claim_no != entries.c.claim_no,
        work.c.bound_usd.is_not(None),
    )
    finished = sa.case((entries.c.state != WorkState.READY, _now))
    moving = sa.select(entries.c.work_id).where(entries.c.state.is_not(None))
    return (
        sa.update(work)
        .where(work.c.id == entries.c.work_id, entries.c.state.is_not(None))
        .where(work.c.id == sa.func.any(sa.func.array(moving.scalar_subquery())))
        .values(
            state=entries.c.state,
            failures=entries.c.failures,
            alone=entries.c.alone,
            ready_at=sa.func.coalesce(entries.c.ready_at, _now),
            finished_at=finished,
            claimed_by=None,
            batch_id=None,
            lease_until=sa.case((newer, work.c.lease_until)),
            bound_usd=sa.case((newer, work.c.bound_usd)),
        )
        .cte("moved")
    )


def _results(entries: sa.CTE, *, live: bool) -> Insert:
    """Insert the results of live work if `live`, else the results of work that does not move its item, such as replays."""
    values = {
        "item_id": entries.c.item_id,
        "work_id": entries.c.work_id,
        "version_id": entries.c.version_id,
        "lane": entries.c.lane,
        "standing": entries.c.standing,
        "generation": entries.c.generation,
        "revision": entries.c.revision,
        "output": sa.func.coalesce(
            entries.c.output, sa.literal("null", sa.Text).cast(sa.JSON).cast(JSONB)
        ),
        "message_id": entries.c.message_id,
        "created_at": _now,
    }
    moves = entries.c.moves_item if live else sa.not_(entries.c.moves_item)
    there = sa.select(*values.values()).where(moves, entries.c.standing.is_not(None))
    return insert(result).from_select(list(values), there.order_by(entries.c.n))


def _items(entries: sa.CTE, live: sa.CTE) -> sa.CTE:
    """Update each item once: set its newest result, settle it, or mark it as failed."""
    of_item = (
        sa.select(
            entries.c.item_id,
            sa.func.max(live.c.id).label("result_id"),
            sa.func.bool_or(entries.c.settles).label("settles"),
            sa.func.bool_or(entries.c.fails).label("fails"),
            sa.func.bool_or(
                sa.and_(entries.c.settles, entries.c.standing == Standing.PROVISIONAL)
            ).label("is_left"),
            sa.func.max(entries.c.failure).label("failure"),
        )
        .join_from(entries, live, live.c.work_id == entries.c.work_id, isouter=True)
        .where(entries.c.moves_item)
        .group_by(entries.c.item_id)
        .cte("of_item")
    )
    answered = of_item.c.result_id.is_not(None)
    not_sampled = sa.literal(SettledReason.NOT_SAMPLED, item.c.settled_reason.type)
    return (
        sa.update(item)
        .where(item.c.id == of_item.c.item_id)
        .values(
            result_id=sa.func.coalesce(of_item.c.result_id, item.c.result_id),
            answered_at=sa.case(
                (answered, sa.func.coalesce(item.c.answered_at, _now)), else_=item.c.answered_at
            ),
            settled_at=sa.case(
                (of_item.c.settles, sa.func.coalesce(item.c.settled_at, _now)),
                else_=item.c.settled_at,
            ),
            settled_reason=sa.case(
                (of_item.c.is_left, not_sampled),
                (of_item.c.settles, sa.null()),
                else_=item.c.settled_reason,
            ),
            failed_at=sa.case(
                (of_item.c.fails, _now), (answered, sa.null()), else_=item.c.failed_at
            ),
            failure=of_item.c.failure,
        )
        .returning(item.c.id, item.c.key)
        .cte("items")
    )


def _corrections(entries: sa.CTE, live: sa.CTE) -> sa.CTE:
    """Insert a correction for each authoritative answer that differs from the provisional one."""
    earlier = live.alias("before")
    values = {
        "item_id": entries.c.item_id,
        "generation": entries.c.generation,
        "provisional_id": sa.func.coalesce(entries.c.provisional_id, earlier.c.id),
        "authoritative_id": live.c.id,
        "changed_fields": entries.c.changed_fields,
        "distance": entries.c.distance,
        "corrected_at": _now,
    }
    made = (
        sa.select(*values.values())
        .select_from(
            entries.join(live, live.c.work_id == entries.c.work_id).outerjoin(
                earlier, earlier.c.work_id == entries.c.provisional_of
            )
        )
        .where(entries.c.changed_fields.is_not(None))
        .order_by(entries.c.n)
    )
    return insert(correction).from_select(list(values), made).cte("corrections")


def _readers(entries: sa.CTE) -> sa.ColumnElement[Any]:
    """Return the readers of the corrected answer, at most `MOST_READERS` names."""
    readers = (
        sa.select(read.c.reader)
        .where(read.c.item_id == entries.c.item_id, read.c.result_id == entries.c.provisional_id)
        .distinct()
        .order_by(read.c.reader)
        .limit(MOST_READERS)
        .correlate(entries)
    )
    return sa.func.array(readers.scalar_subquery())


def _late(entries: sa.CTE) -> sa.ColumnElement[Any]:
    """Return the parts of the context whose late change caused the pass; null if no late context caused it."""
    of = revision.c.item_id == entries.c.item_id, revision.c.number == entries.c.revision
    late = sa.select(revision.c.place).where(*of, revision.c.source == LATE)
    return late.correlate(entries).scalar_subquery()


def _events(entries: sa.CTE, items: sa.CTE) -> sa.CTE:
    """Insert the items' events: failures first, then answers and corrections in the order of the attempts."""

    def select_event(
        event: str, when: sa.ColumnElement[bool], *, turn: int, **says: sa.ColumnElement[Any]
    ) -> sa.Select[*tuple[Any, ...]]:
        payload = {"key": items.c.key, "lane": entries.c.lane, **says}
        pairs = [part for name, value in payload.items() for part in (sa.literal(name), value)]
        asked = sa.case((entries.c.acknowledged, _json('{"ack": true}')), else_=_json("{}"))
        return (
            sa.select(
                sa.literal(turn, sa.Integer).label("turn"),
                entries.c.n,
                sa.literal(event).label("event"),
                entries.c.workload,
                sa.func.jsonb_build_object(*pairs).op("||")(asked).label("payload"),
            )
            .join_from(entries, items, items.c.id == entries.c.item_id)
            .where(entries.c.moves_item, when)
        )

    events = sa.union_all(
        select_event(FAILED, entries.c.fails, turn=0, reason=entries.c.failure),
        select_event(ANSWERED, entries.c.told, turn=1, standing=entries.c.standing),
        select_event(
            CORRECTED,
            entries.c.changed_fields.is_not(None),
            turn=1,
            changed_fields=entries.c.changed_fields,
            readers=_readers(entries),
            late_context=_late(entries),
        ),
    ).subquery("said")
    values = {
        "event": events.c.event,
        "resource": sa.literal("lanes.workload.") + events.c.workload,
        "payload": events.c.payload,
        "occurred_at": _now,
    }
    # In alphabetical order, answered precedes corrected.
    in_order = (events.c.turn, events.c.n, events.c.event)
    return (
        insert(event_outbox)
        .from_select(list(values), sa.select(*values.values()).order_by(*in_order))
        .cte("events")
    )
