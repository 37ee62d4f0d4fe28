"""One statement that writes everything of a save: attempts, work, results, items, corrections and events.

It takes a row for each attempt (`GIVEN`), and reads the rest from the database.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    CTE,
    JSON,
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    Double,
    Integer,
    Select,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    column,
    func,
    literal,
    not_,
    null,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, Insert, insert

from lanes.ids import BatchId
from lanes.store import signals
from lanes.store.bulk import Row, split, split_records
from lanes.store.tables import attempt, batch, correction, event_outbox, item, result, work
from lanes.store.tables.base import Moment, Usd
from lanes.words import WorkState

ANSWERED, CORRECTED, FAILED = "lanes.item.answered", "lanes.item.corrected", "lanes.item.failed"

TRIED = (  # the columns of an attempt beside its claim
    column("outcome", Text),
    column("error", Text),
    column("request_id", Text),
    column("message_id", Text),
    column("model", Text),
    column("input_tokens", Integer),
    column("output_tokens", Integer),
    column("cache_read_tokens", Integer),
    column("cache_write_tokens", Integer),
    column("cost_usd", Usd),
    column("bound_usd", Usd),
    column("latency_ms", Integer),
    column("started_at", Moment),
    column("ended_at", Moment),
    column("gathered_ms", Integer),
    column("left_because", Text),
)
GIVEN = (
    column("n", Integer),  # their order
    column("work_id", BigInteger),
    column("claim_no", Integer),
    *TRIED,
    column("tried_for", Text),  # the purpose, where it may differ from the work's
    column("tried_with", BigInteger),  # the version, where it may differ from the work's by now
    column("lane", Text),  # the lane of the attempt, which its work may have left since
    column("state", Text),  # the work's next state; null: the attempt came late and moves nothing
    column("failures", Integer),
    column("alone", Boolean),
    column("ready_at", Moment),
    column("standing", Text),
    column("output", JSONB),  # the result that it makes, if any
    column(
        "moves_item", Boolean
    ),  # never null, so that the planner expects half of the rows instead of one
    column("settles", Boolean),
    column("fails", Boolean),
    column("failure", Text),  # the item, and why
    column("changed_fields", ARRAY(Text)),
    column("distance", Double),  # the correction that it makes, if any:
    column("provisional_id", BigInteger),
    column("provisional_of", BigInteger),  # of a result, or of that of other work
    column("told", Boolean),
    column(
        "acknowledged", Boolean
    ),  # whether the answer has an event, and whether the sender asked for one
)

_now = bindparam("now", type_=Moment)


def write(
    connection: Connection,
    given: Sequence[Row],
    *,
    fresh: bool,
    batch_id: BatchId | None,
    flow_run_id: UUID | None,
    now: datetime,
) -> Collection[int]:
    """Write everything given, or nothing; return the numbers (`n`) of attempts that were there before.

    `fresh` says that none can be, because each claim is in force and its work locked.
    """
    params = split(given) | {"batch": batch_id, "flow_run": flow_run_id, "now": now}
    row = connection.execute(statement(fresh=fresh), params).one()
    return frozenset(row.known or ())


@cache
def statement(*, fresh: bool) -> Select[*tuple[Any, ...]]:
    """Build the statement behind `write`; it notifies listeners where an item moved."""
    given = split_records(GIVEN).subquery("given")
    each = (
        select(
            *given.c,
            work.c.item_id,
            work.c.workload,
            work.c.purpose,
            work.c.version_id,
            work.c.generation,
            work.c.revision,
        )
        .join_from(given, work, work.c.id == given.c.work_id)
        .cte("each")
    )
    attempts, live = _attempts(each), _live(each)
    items = _items(each, live)
    told = (
        select(signals.waking())
        .where(select(each.c.n).where(each.c.moves_item).exists())
        .scalar_subquery()
    )
    written = (_moved(each), _overlays(each), _corrections(each, live), _events(each, items))
    if fresh:
        return select(null().label("known"), told).add_cte(attempts.cte("attempts"), *written)
    # A plain insert is cheaper than one that handles conflicts.
    added = (
        attempts.on_conflict_do_nothing()
        .returning(attempt.c.id, attempt.c.work_id, attempt.c.claim_no, attempt.c.message_id)
        .cte("attempts")
    )
    return select(_known(each, added).label("known"), told).add_cte(*written)


def _json(document: str) -> ColumnElement[Any]:
    return literal(document, Text).cast(JSONB)


def _attempts(each: CTE) -> Insert:
    """Record every attempt, with the version that was tried: the batch's, the claim's, or that of its work."""
    of_batch = (
        select(batch.c.version_id)
        .where(batch.c.id == bindparam("batch", type_=BigInteger))
        .scalar_subquery()
    )
    values = {
        "work_id": each.c.work_id,
        "claim_no": each.c.claim_no,
        **{of.name: each.c[of.name] for of in TRIED},
        "item_id": each.c.item_id,
        "workload": each.c.workload,
        "lane": each.c.lane,
        "version_id": func.coalesce(of_batch, each.c.tried_with, each.c.version_id),
        "purpose": func.coalesce(each.c.tried_for, each.c.purpose),
        "batch_id": bindparam("batch", type_=BigInteger),
        "flow_run_id": bindparam("flow_run", type_=Uuid),
        "shown": each.c.standing.is_not(None),
    }
    return insert(attempt).from_select(list(values), select(*values.values()).order_by(each.c.n))


def _known(each: CTE, attempts: CTE) -> ColumnElement[Any]:
    """Return the numbers of those that were recorded before."""
    added = (
        attempts.c.work_id == each.c.work_id,
        attempts.c.claim_no == each.c.claim_no,
        func.coalesce(attempts.c.message_id, "") == func.coalesce(each.c.message_id, ""),
    )
    there = select(attempts.c.id).where(*added).exists()
    return select(func.array_agg(each.c.n)).where(~there).scalar_subquery()


def _moved(each: CTE) -> CTE:
    """Move work where its attempt leads, and free it of its claim.

    A late answer leaves the reserve of a newer claim, whose call is still under way, until that ends or its lease does.
    """
    newer = and_(
        work.c.state == WorkState.CLAIMED,
        work.c.claim_no != each.c.claim_no,
        work.c.bound_usd.is_not(None),
    )
    finished = case((each.c.state != WorkState.READY, _now))
    return (
        update(work)
        .where(work.c.id == each.c.work_id, each.c.state.is_not(None))
        .values(
            state=each.c.state,
            failures=each.c.failures,
            alone=each.c.alone,
            ready_at=func.coalesce(each.c.ready_at, _now),
            finished_at=finished,
            claimed_by=None,
            batch_id=None,
            lease_until=case((newer, work.c.lease_until)),
            bound_usd=case((newer, work.c.bound_usd)),
        )
        .cte("moved")
    )


def _results(each: CTE) -> dict[str, ColumnElement[Any]]:
    return {
        "item_id": each.c.item_id,
        "work_id": each.c.work_id,
        "version_id": each.c.version_id,
        "lane": each.c.lane,
        "standing": each.c.standing,
        "generation": each.c.generation,
        "revision": each.c.revision,
        "output": func.coalesce(each.c.output, literal("null", Text).cast(JSON).cast(JSONB)),
        "message_id": each.c.message_id,
        "created_at": _now,
    }


def _live(each: CTE) -> CTE:
    """Insert the results that items show."""
    values = _results(each)
    there = (
        select(*values.values())
        .where(each.c.moves_item, each.c.standing.is_not(None))
        .order_by(each.c.n)
    )
    return (
        insert(result)
        .from_select(list(values), there)
        .returning(result.c.id, result.c.work_id)
        .cte("live")
    )


def _overlays(each: CTE) -> CTE:
    """Insert the results of replays, which move no item; the first of a generation stands."""
    values = _results(each)
    there = (
        select(*values.values())
        .where(not_(each.c.moves_item), each.c.standing.is_not(None))
        .order_by(each.c.n)
    )
    return insert(result).from_select(list(values), there).on_conflict_do_nothing().cte("overlays")


def _items(each: CTE, live: CTE) -> CTE:
    """Let items show their newest result, settle or fail: each is written once."""
    of_item = (
        select(
            each.c.item_id,
            func.max(live.c.id).label("result_id"),
            func.bool_or(each.c.settles).label("settles"),
            func.bool_or(each.c.fails).label("fails"),
            func.max(each.c.failure).label("failure"),
        )
        .join_from(each, live, live.c.work_id == each.c.work_id, isouter=True)
        .where(each.c.moves_item)
        .group_by(each.c.item_id)
        .cte("of_item")
    )
    answered = of_item.c.result_id.is_not(None)
    return (
        update(item)
        .where(item.c.id == of_item.c.item_id)
        .values(
            result_id=func.coalesce(of_item.c.result_id, item.c.result_id),
            answered_at=case(
                (answered, func.coalesce(item.c.answered_at, _now)), else_=item.c.answered_at
            ),
            settled_at=case(
                (of_item.c.settles, func.coalesce(item.c.settled_at, _now)), else_=item.c.settled_at
            ),
            failed_at=case((of_item.c.fails, _now), (answered, null()), else_=item.c.failed_at),
            failure=of_item.c.failure,
        )
        .returning(item.c.id, item.c.key)
        .cte("items")
    )


def _corrections(each: CTE, live: CTE) -> CTE:
    """Record a correction where an authoritative answer differs from what was shown."""
    before = live.alias("before")
    values = {
        "item_id": each.c.item_id,
        "generation": each.c.generation,
        "provisional_id": func.coalesce(each.c.provisional_id, before.c.id),
        "authoritative_id": live.c.id,
        "changed_fields": each.c.changed_fields,
        "distance": each.c.distance,
        "corrected_at": _now,
    }
    made = (
        select(*values.values())
        .select_from(
            each.join(live, live.c.work_id == each.c.work_id).outerjoin(
                before, before.c.work_id == each.c.provisional_of
            )
        )
        .where(each.c.changed_fields.is_not(None))
        .order_by(each.c.n)
    )
    return insert(correction).from_select(list(values), made).cte("corrections")


def _events(each: CTE, items: CTE) -> CTE:
    """Emit the items' events: failed first, then answered and corrected in order."""

    def told(
        event: str, when: ColumnElement[bool], *, turn: int, **says: ColumnElement[Any]
    ) -> Select[*tuple[Any, ...]]:
        payload = {"key": items.c.key, "lane": each.c.lane, **says}
        named = [part for name, value in payload.items() for part in (literal(name), value)]
        asked = case((each.c.acknowledged, _json('{"ack": true}')), else_=_json("{}"))
        return (
            select(
                literal(turn, Integer).label("turn"),
                each.c.n,
                literal(event).label("event"),
                each.c.workload,
                func.jsonb_build_object(*named).op("||")(asked).label("payload"),
            )
            .join_from(each, items, items.c.id == each.c.item_id)
            .where(each.c.moves_item, when)
        )

    said = union_all(
        told(FAILED, each.c.fails, turn=0, reason=each.c.failure),
        told(ANSWERED, each.c.told, turn=1, standing=each.c.standing),
        told(
            CORRECTED,
            each.c.changed_fields.is_not(None),
            turn=1,
            changed_fields=each.c.changed_fields,
        ),
    ).subquery("said")
    values = {
        "event": said.c.event,
        "resource": literal("lanes.workload.") + said.c.workload,
        "payload": said.c.payload,
        "occurred_at": _now,
    }
    in_order = (said.c.turn, said.c.n, said.c.event)  # alphabetically, answered precedes corrected
    return (
        insert(event_outbox)
        .from_select(list(values), select(*values.values()).order_by(*in_order))
        .cte("events")
    )
