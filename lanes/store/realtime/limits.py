"""The provider's limits as drains share them, and what calls took recently; `lanes.routing.capacity` says what it means."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, literal_column, select
from sqlalchemy.dialects.postgresql import insert

from lanes.routing.capacity import Limit, LimitKind, MeasuredTry
from lanes.store.statements import characters, is_, rows_of
from lanes.store.tables import attempt, capacity, item, response
from lanes.words import Lane, Outcome

MOST_TRIES = 200  # of a workload that are learned from
OF_LATE = timedelta(days=1)
# what is older says nothing of what is left: every limit has filled since
FRESH = timedelta(minutes=5)
KEY = ("account", "model", "kind")


def exchange(
    connection: Connection, account: str, seen: Mapping[str, Sequence[Limit]], *, now: datetime
) -> dict[str, list[Limit]]:
    """Share the limits that this drain saw, unless newer ones are known; return the account's newest limits by model."""
    rows = [
        {
            "account": account,
            "model": model,
            "kind": each.kind,
            "limit_": each.limit,
            "remaining": int(each.remaining),
            "reset_at": each.reset_at,
            "seen_at": each.seen_at,
        }
        for model in sorted(seen)
        for each in sorted(seen[model], key=lambda each: each.kind)
    ]
    if rows:
        given = rows_of(capacity, rows)
        put = insert(capacity).from_select(list(rows[0]), select(*given.c))
        newest = {name: put.excluded[name] for name in rows[0] if name not in KEY}
        older = capacity.c.seen_at < put.excluded.seen_at
        put = put.on_conflict_do_update(index_elements=KEY, set_=newest, where=older)
        connection.execute(put)
    return recent(connection, account, since=now - FRESH)


def recent(connection: Connection, account: str, *, since: datetime) -> dict[str, list[Limit]]:
    """Return an account's limits that were seen since then, by model."""
    found = defaultdict[str, list[Limit]](list)
    newest = select(capacity).where(capacity.c.account == account, capacity.c.seen_at >= since)
    for row in connection.execute(newest.order_by(capacity.c.model, capacity.c.kind)):
        limit = Limit(LimitKind(row.kind), row.limit_, row.remaining, row.reset_at, row.seen_at)
        found[row.model].append(limit)
    return dict(found)


def tries(connection: Connection, workload: str, *, now: datetime) -> list[MeasuredTry]:
    """Return a workload's newest answered real-time tries: at most 200, of the last day."""
    names = ("item_id", "message_id", "input_tokens", "cache_write_tokens", "output_tokens")
    # a plan kept for any number takes it for a tenth of all there are
    newest = (
        select(*(attempt.c[name] for name in names))
        .where(attempt.c.workload == workload, is_(attempt.c.lane, Lane.REALTIME))
        .where(attempt.c.ended_at >= now - OF_LATE, attempt.c.outcome == Outcome.VALID)
        .order_by(attempt.c.ended_at.desc())
        .limit(literal_column(str(MOST_TRIES)))
        .cte("newest")
    )
    rows = connection.execute(
        select(
            characters(item.c.payload).label("characters"),
            func.coalesce(response.c["items"], 1).label("items"),
            (newest.c.input_tokens + newest.c.cache_write_tokens).label("input"),
            newest.c.output_tokens.label("output"),
        )
        .select_from(newest)
        .join(item, item.c.id == newest.c.item_id)
        .outerjoin(response, response.c.message_id == newest.c.message_id)
    )
    return [MeasuredTry(row.characters, row.items, row.input, row.output) for row in rows]
