"""Reads of results, and news of a workload since a moment: new answers, corrections and failures.

A follower marks and locks nothing in the database: it reads the append-only tables of results and attempts in order of id. A
row gets its id when it is written but becomes visible when its transaction commits, so rows with higher ids may appear first.
`Tail` stores the missing ids as gaps until every transaction that may have taken them has ended. It recognizes writing
transactions by the lock that every insert takes before it gets an id.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, column, func, select, text

from lanes.errors import AnswerEmptied
from lanes.ids import GenerationId, ItemId
from lanes.settling.listing import Listed, NoResult, ResultRequest, explain_emptied
from lanes.store.asking import read_as
from lanes.store.states import ANSWERING
from lanes.store.tables import item, result
from lanes.words import Lane, ReplayState, Standing


@dataclass(frozen=True)
class Result:
    """An item's current answer."""

    workload: str
    key: str
    output: dict[str, Any]
    standing: Standing
    lane: Lane
    generation: int
    created_at: datetime
    is_settled: bool


@dataclass(frozen=True)
class CorrectedRead:
    """A corrected answer that a reader had read: `taken` is the output that they read, `output` the current one."""

    workload: str
    key: str
    taken: dict[str, Any]
    output: dict[str, Any]
    changed_fields: list[str]
    read_at: datetime
    corrected_at: datetime


def to_correct(connection: Connection, reader: str) -> list[CorrectedRead]:
    """Return the corrected answers that this reader has not read again, oldest correction first."""
    rows = connection.execute(
        text("select * from lanes.reads_to_correct(:reader)"), {"reader": reader}
    )
    return [read_as(CorrectedRead, row) for row in rows]


def current(connection: Connection, workload: str, key: str) -> Result | None:
    """Return the item's current result, or None if it has none yet.

    Raises:
        AnswerEmptied: the result is no longer stored.
    """
    shown = [result.c[name] for name in ("output", "standing", "lane", "generation", "created_at")]
    row = connection.execute(
        select(*shown, item.c.settled_at)
        .join(item, item.c.result_id == result.c.id)
        .where(item.c.workload == workload, item.c.key == key)
    ).first()
    if row is None:
        row = connection.execute(ARCHIVED, {"workload": workload, "key": key}).first()
    if row is None:
        return None
    if row.output is None:
        raise AnswerEmptied(explain_emptied(workload, key))
    return read_as(Result, row, workload=workload, key=key, is_settled=row.settled_at is not None)


ARCHIVED = text("""
select a.*, i.settled_at
  from lanes.item i cross join lateral lanes.archived_result(i.id) a
 where i.workload = :workload and i.key = :key and i.archive_id is not null
""")
STANDINGS = text("""
select i.id, i.result_id is not null and (i.emptied_at is null or i.archive_id is not null)
             and (i.settled_at is not null or not s.settled) as answered,
       case when f.name is null then 'no workload'
            when i.id is null then 'no item'
            when i.canceled_at is not null or i.forgotten_at is not null then 'canceled'
            when i.emptied_at is not null and i.result_id is not null then 'emptied'
            when i.failed_at is not null then 'failed'
            else 'not yet' end as otherwise
  from unnest(cast(:workloads as text[]), cast(:keys as text[]), cast(:settled as boolean[]))
       with ordinality s (workload, key, settled, nth)
  left join lanes.workload f on f.name = s.workload
  left join lanes.item i on i.workload = s.workload and i.key = s.key
 order by s.nth
""")
# Locked items are skipped, so that a lock on one item delays no other.
TAKEN = text("""
with free as materialized (
  select i.id, i.workload, i.key, i.settled_at from lanes.item i where i.id = any (:items) for key share skip locked)
select s.nth, i.workload, i.key, r.output, r.standing, r.lane, r.generation, r.created_at,
       i.settled_at is not null as is_settled
  from unnest(cast(:items as bigint[]), cast(:readers as text[])) with ordinality s (item_id, reader, nth)
  join free i on i.id = s.item_id
 cross join lateral lanes.read_result(i.workload, i.key, s.reader) r
""")


def take(connection: Connection, requests: Sequence[ResultRequest]) -> list[Result | NoResult]:
    """Return the result, or the reason for having none, of each request in order, and record the reads of results.

    This never waits for a lock: an item that another transaction has locked counts as not answered yet.
    """
    parameters = {
        "workloads": [each.workload for each in requests],
        "keys": [each.key for each in requests],
        "settled": [each.settled for each in requests],
    }
    standings = connection.execute(STANDINGS, parameters).all()
    results: list[Result | NoResult] = [
        NoResult.NOT_YET if row.answered else NoResult(row.otherwise) for row in standings
    ]
    answered = [(place, row.id) for place, row in enumerate(standings) if row.answered]
    if not answered:
        return results
    read_parameters = {
        "items": [id_ for _, id_ in answered],
        "readers": [requests[place].reader for place, _ in answered],
    }
    for row in connection.execute(TAKEN, read_parameters):
        place, _ = answered[row.nth - 1]
        if row.output is None:
            results[place] = NoResult.EMPTIED
            continue
        results[place] = read_as(Result, row, standing=Standing(row.standing), lane=Lane(row.lane))
    return results


def record_reads(
    connection: Connection, workload: str, items: Sequence[Listed], reader: str | None
) -> list[Listed]:
    """Record that the reader, if there is one, has read the answers of these items; return the items that were locked.

    This never waits for a lock: the reads of items that another transaction has locked are not recorded.
    """
    if reader is None:
        return []
    answered = [each for each in items if each.output is not None]
    asked = [ResultRequest(workload, each.key, reader) for each in answered]
    taken = take(connection, asked)
    return [each for each, what in zip(answered, taken, strict=True) if what is NoResult.NOT_YET]


def read(connection: Connection, workload: str, key: str, *, reader: str) -> Result | None:
    """Return the item's current result, or None if it has none yet, and record the read.

    Raises:
        AnswerEmptied: the result is no longer stored.
    """
    recorded = func.lanes.read_result(workload, key, reader).table_valued(column("standing"))
    connection.execute(select(recorded.c.standing)).all()
    return current(connection, workload, key)


MOST = 500  # rows that one query returns at most

WRITING = """
select virtualtransaction from pg_locks
 where locktype = 'relation' and relation = cast(:log as regclass) and mode = 'RowExclusiveLock' and granted
   and database = (select oid from pg_database where datname = current_database())
"""

# New live results. Results of replays become news when the replay is promoted.
RESULTS = """
select l.id, l.item_id, l.generation = 0 and i.workload = :workload as news
  from lanes.result l join lanes.item i on i.id = l.item_id
"""
# Attempts without an answer that ended their work and thereby their item: it failed, or was settled on its earlier answer.
ENDS = f"""
select l.id, l.item_id,
       not l.shown and l.workload = :workload and l.purpose in {ANSWERING} and exists (
         select from lanes.work w join lanes.item i on i.id = w.item_id
          where w.id = l.work_id and w.claim_no = l.claim_no and w.finished_at in (i.failed_at, i.settled_at))
       and not exists (select from lanes.attempt f where f.work_id = l.work_id and f.claim_no = l.claim_no and f.id < l.id)
       as news
  from lanes.attempt l
"""
LOGS = {"lanes.result": RESULTS, "lanes.attempt": ENDS}

NEWEST = "select coalesce(max(id), 0) from {log}"
MISSING = """
select id - gap as first, id - 1 as last
  from (select id, id - coalesce(lag(id) over (order by id), 0) - 1 as gap from {log} where id <= :high) numbered
 where gap > 0
"""
LATE = """
select late.*
  from unnest(cast(:firsts as bigint[]), cast(:lasts as bigint[])) gap (first, last)
 cross join lateral ({rows} where l.id between gap.first and gap.last order by l.id limit :most) late
 order by late.id limit :most
"""
FRESH = "{rows} where l.id > :high order by l.id limit :most"

REPLAYS = "select id, number, state, promoted_at, demoted_at from lanes.generation where workload = :workload order by id"
PROMOTED = "select item_id from lanes.promoted where generation_id = :id and item_id > :after order by item_id limit :most"
OVERLAID = """
select r.item_id from lanes.result r join lanes.item i on i.id = r.item_id
 where r.generation = :number and r.generation > 0 and i.workload = :workload and r.item_id > :after
 order by r.item_id limit :most
"""


@dataclass(frozen=True)
class Gap:
    """A range of ids without visible rows: open transactions may have taken them, or they are unused.

    `writers` are the open transactions that may have taken them; None means all that write to the table at the next reading.
    """

    first: int
    last: int
    writers: frozenset[str] | None = None


class Tail:
    """The position up to which a table was read. Every row is read once, however late it was committed.

    A reading consists of three queries in this order, each of which sees everything committed before it: the transactions that
    write to the table (`writing`), the rows in the `gaps`, and the rows beyond `high`. Then pass all three results to `read`.
    """

    def __init__(
        self,
        high: int,
        missing: Sequence[tuple[int, int]] = (),
        writing: frozenset[str] = frozenset(),
    ) -> None:
        """Start at `high`; the transactions in `writing` may have taken the `missing` ids below it."""
        self.high = high
        self.gaps = [Gap(first, last, writing) for first, last in missing] if writing else []

    def read(
        self,
        writing: frozenset[str],
        late: Sequence[int],
        fresh: Sequence[int],
        *,
        whole: bool = True,
    ) -> None:
        """Record the ids of the `late` rows, which were in gaps, and of the `fresh` rows beyond `high`; both in order.

        `whole` is true if the gaps contain no other visible row.
        """
        left = (
            [replace(gap, writers=_may_fill(gap, writing)) for gap in self.gaps]
            if whole
            else self.gaps
        )
        open_ = [gap for gap in left if gap.writers is None or gap.writers]
        self.gaps = [part for gap in open_ for part in _without(gap, late)]
        self.gaps += _between(self.high, fresh)
        self.high = fresh[-1] if fresh else self.high


def _may_fill(gap: Gap, writing: frozenset[str]) -> frozenset[str]:
    return writing if gap.writers is None else gap.writers & writing


def _without(gap: Gap, taken: Sequence[int]) -> Iterator[Gap]:
    first = gap.first
    for number in taken[bisect_left(taken, gap.first) : bisect_right(taken, gap.last)]:
        if number > first:
            yield replace(gap, first=first, last=number - 1)
        first = number + 1
    if first <= gap.last:
        yield replace(gap, first=first)


def _between(high: int, fresh: Sequence[int]) -> Iterator[Gap]:
    for number in fresh:
        if number > high + 1:
            yield Gap(high + 1, number - 1)
        high = number


@dataclass
class MovedReplay:
    """A replay that was promoted or demoted; `after` is the last of its items that was read."""

    query: str
    of: Mapping[str, Any]
    after: int = 0


class News:
    """The items of a workload that were answered, corrected, settled or failed since this object was created.

    Each change is read once, however late its transaction was committed, and is returned until `confirm_read` is called.
    `more` is true if the last reading did not return everything.
    """

    def __init__(self, connection: Connection, workload: str) -> None:
        self._workload = workload
        self._tails = {log: _end(connection, log) for log in LOGS}
        self._replays = self._look_at_replays(connection)
        self._moved: list[MovedReplay] = []
        self._untold: set[ItemId] = set()
        self.more = False

    def read(self, connection: Connection) -> list[ItemId]:
        """Return the ids of the changed items, each once. Each statement must see everything committed before it."""
        self.more = False
        for log, tail in self._tails.items():
            self._read_log(connection, log, tail)
        self._see_moves(connection)
        if self._moved:
            self._read_moved(connection, self._moved[0])
        return sorted(self._untold)

    def confirm_read(self) -> None:
        """Drop the returned items; call this once they have been delivered."""
        self._untold.clear()

    def _read_log(self, connection: Connection, log: str, tail: Tail) -> None:
        writing = _read_writers(connection, log)
        late: list[Row[Any]] = []
        if tail.gaps:
            firsts, lasts = [each.first for each in tail.gaps], [each.last for each in tail.gaps]
            late = self._rows(connection, LATE, log, firsts=firsts, lasts=lasts)
        fresh = self._rows(connection, FRESH, log, high=tail.high)
        ids = [row.id for row in late], [row.id for row in fresh]
        tail.read(writing, *ids, whole=len(late) < MOST)
        self.more = self.more or MOST in (len(late), len(fresh))
        self._untold |= {row.item_id for row in (*late, *fresh) if row.news}

    def _rows(self, connection: Connection, query: str, log: str, **where: Any) -> list[Row[Any]]:
        given = {"workload": self._workload, "most": MOST, **where}
        return list(connection.execute(text(query.format(rows=LOGS[log])), given))

    def _look_at_replays(self, connection: Connection) -> dict[GenerationId, Row[Any]]:
        rows = connection.execute(text(REPLAYS), {"workload": self._workload})
        return {row.id: row for row in rows}

    def _see_moves(self, connection: Connection) -> None:
        before, self._replays = self._replays, self._look_at_replays(connection)
        for id_, row in self._replays.items():
            if row == before.get(id_):
                continue
            if row.state == ReplayState.PROMOTED:
                self._moved.append(MovedReplay(PROMOTED, {"id": id_}))
            # The results that the promotion had replaced are no longer recorded, so any of the replay's items may have changed.
            elif row.state == ReplayState.DEMOTED:
                shown = {"number": row.number, "workload": self._workload}
                self._moved.append(MovedReplay(OVERLAID, shown))

    def _read_moved(self, connection: Connection, moved: MovedReplay) -> None:
        given = {**moved.of, "after": moved.after, "most": MOST}
        found = list(connection.execute(text(moved.query), given).scalars())
        if len(found) < MOST:
            self._moved.pop(0)
        else:
            moved.after = found[-1]
        self.more = self.more or bool(self._moved)
        self._untold |= set(found)


def _end(connection: Connection, log: str) -> Tail:
    """Return a tail at the current end of the table, with the gaps that writing transactions may still fill."""
    high = connection.execute(text(NEWEST.format(log=log))).scalar_one()
    writing = _read_writers(connection, log)
    if not writing:
        return Tail(high)
    missing = connection.execute(text(MISSING.format(log=log)), {"high": high})
    return Tail(high, [(row.first, row.last) for row in missing], writing)


def _read_writers(connection: Connection, log: str) -> frozenset[str]:
    """Return the open transactions that write to the table or are about to, without taking a lock."""
    return frozenset(connection.execute(text(WRITING), {"log": log}).scalars())
