"""Ready batch work: its kinds, the work that must be submitted outside the schedule, and the wait for a primer.

Work is submitted early if its due time presses, or if an earlier run could not submit it. A primer is a batch of one request
that fills the provider's cache for the next batch of its version.
"""

from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from lanes.batch.batch import AT_PROVIDER, BatchKind
from lanes.money import caching
from lanes.money.cost import estimate_shared_tokens
from lanes.money.pack_size import PackSizes
from lanes.packing import ClaimedWork
from lanes.routing.lane_rules import EXPECTED_CALL
from lanes.routing.prospect import Prospect
from lanes.store import asking
from lanes.store.asking import Ask, read_as
from lanes.store.money import sharing
from lanes.store.routing import turnarounds
from lanes.store.statements import is_among, size_of, stream_rows
from lanes.store.states import AWAITED_PRIMER
from lanes.store.tables import batch, item, work, workload
from lanes.store.tables.base import Moment
from lanes.store.work import OF_ITEM, OF_WORK, claimable, read_claimed
from lanes.store.workload.workloads import read_versions
from lanes.units import clock
from lanes.words import ANSWERING, BatchState, Lane
from lanes.workload.version import Version

OUT = (BatchState.INTENDED, *AT_PROVIDER)  # states in which results may still come
NOTHING_SENT: Mapping[str, int] = {}


def list_pressing(connection: sa.Connection, *, now: datetime) -> list[str]:
    """Return the workloads whose batch work must be submitted now, outside the schedule.

    Their work has a pressing due time, or was put off until now. Paused workloads are excluded, and so are workloads that were
    put off until later, unless they only wait for a primer.
    """
    is_due = sa.or_(workload.c.submit_at.is_(None), workload.c.submit_at <= now)
    waits = sa.case((workload.c.submit_at > now, workload.c.submit_at)).label("waits_until")
    names = sa.select(workload.c.name, waits).where(
        workload.c.paused_at.is_(None), is_due | _has_primer(out=True)
    )
    going = {row.name: row.waits_until for row in connection.execute(names)}
    prospects = turnarounds.prospects(connection, now=now)
    until = dict[str, datetime]()
    for name, each in read_versions(connection).items():
        if name in going:
            of, waits_until = prospects.of(each), going[name]
            until[name] = safe_from(of, waits_until, now) if waits_until else of.presses_until
    due = set(connection.execute(due_before(until, now)).scalars()) if until else set[str]()
    return sorted(due | _put_off(connection, now))


def safe_from(of: Prospect, waits_until: datetime, now: datetime) -> datetime:
    """Return the earliest due time with which an item can wait until `waits_until` and still be back in time."""
    return waits_until + (of.back_at - now)


def _has_primer(*, out: bool) -> sa.ColumnElement[bool]:
    """Match a workload that was put off until a primer is back; `out` says whether the primer still is at the provider."""
    is_out = is_among(batch.c.state, OUT) == out
    awaited = sa.exists().select_from(batch).where(sa.text(AWAITED_PRIMER), is_out)
    return awaited.correlate(workload)


def find_awaited_primer(connection: sa.Connection, name: str) -> Mapping[str, Any] | None:
    """Return the row of the primer that the workload waits for; None if it waits for none."""
    its = sa.text(AWAITED_PRIMER), workload.c.name == name, is_among(batch.c.state, OUT)
    joined = batch.join(workload, workload.c.name == batch.c.workload)
    row = connection.execute(sa.select(batch).select_from(joined).where(*its)).mappings().first()
    return None if row is None else dict(row)


def hold(connection: sa.Connection, name: str, until: datetime) -> None:
    """Put the workload off until a primer is back; skip it if another transaction has locked it."""
    _note(connection, name, submit_at=until)


def due_before(until: Mapping[str, datetime], now: datetime) -> sa.Select[str]:
    """Select the workloads with unanswered batch work that is due after `now` and before the workload's moment in `until`.

    Work is ranked by due time, so the query reads only the ranks between the two moments.
    """
    names = sa.literal(list(until), sa.ARRAY(sa.Text))
    moments = sa.literal(list(until.values()), sa.ARRAY(Moment))
    columns = sa.column("workload", sa.Text), sa.column("until", Moment)
    requested = sa.func.unnest(names, moments).table_valued(*columns, name="asked").render_derived()
    due = (
        sa.select(work.c.id)
        .join(item, item.c.id == work.c.item_id)
        .where(
            work.c.workload == requested.c.workload,
            claimable(Lane.BATCH, now),
            work.c.purpose.in_(ANSWERING),
            work.c.rank_at > now - EXPECTED_CALL,
            work.c.rank_at < requested.c.until - EXPECTED_CALL,
            item.c.due_at > now,
            item.c.due_at < requested.c.until,
            item.c.answered_at.is_(None),
        )
        .order_by(work.c.rank_at)
        .limit(1)
        .lateral("due")
    )
    return sa.select(requested.c.workload).select_from(requested.join(due, sa.true()))


def check_in(connection: sa.Connection, of: str | None, *, now: datetime) -> None:
    """Record that a run for one workload, or for all, begins to look for batch work at `now`."""
    _note(connection, of, departed_at=now, departed_items=None)


def _note(connection: sa.Connection, of: str | None, **values: Any) -> None:
    """Write columns of one workload, or of all; skip workloads that other transactions have locked."""
    its = sa.true() if of is None else workload.c.name == of
    free = sa.select(workload.c.name).where(its)
    free = free.with_for_update(key_share=True, skip_locked=True)
    connection.execute(sa.update(workload).where(workload.c.name.in_(free)).values(**values))


def put_off(
    connection: sa.Connection,
    until: Mapping[str, datetime],
    *,
    of: str | None,
    sent: Mapping[str, int] = NOTHING_SENT,
) -> None:
    """Record the result of a run for one workload, or for all: the items that it sent, and when another run is needed.

    Workloads that are not in `until` wait for their schedule.
    """
    items = sa.case(sent, value=workload.c.name, else_=0) if sent else 0
    _note(connection, of, departed_items=items)
    ran = workload.c.submit_at.is_not(None) if of is None else workload.c.name == of
    over = sa.update(workload).where(ran, workload.c.name.not_in(list(until)))
    connection.execute(over.values(submit_at=None))
    for name, moment in until.items():
        change = sa.update(workload).where(workload.c.name == name)
        connection.execute(change.values(submit_at=moment))


def _put_off(connection: sa.Connection, now: datetime) -> set[str]:
    waits = sa.exists().where(work.c.workload == workload.c.name, claimable(Lane.BATCH, now))
    due = (workload.c.submit_at <= now) | _has_primer(out=False), workload.c.paused_at.is_(None)
    query = sa.select(workload.c.name).where(*due, waits)
    return set(connection.execute(query).scalars())


MOST_BYTES = 128 * 1024**2  # payloads held at once for one batch


def list_waiting_kinds(
    connection: sa.Connection, name: str | None, *, now: datetime
) -> list[BatchKind]:
    """Return the (workload, version) pairs that have batch work to submit, of one workload or all; paused workloads wait."""
    wanted = sa.and_(claimable(Lane.BATCH, now), workload.c.paused_at.is_(None))
    if name is not None:
        wanted = sa.and_(wanted, work.c.workload == name)
    rows = connection.execute(
        sa.select(work.c.workload, work.c.version_id, workload.c.provider)
        .join(workload, workload.c.name == work.c.workload)
        .where(wanted)
        .distinct()
        .order_by(work.c.workload, work.c.version_id)
    )
    return [BatchKind(row.workload, row.version_id, row.provider) for row in rows]


def lock_batch_work(
    connection: sa.Connection,
    kind: BatchKind,
    *,
    limit: int,
    most_bytes: int = MOST_BYTES,
    now: datetime,
) -> Generator[ClaimedWork]:
    """Lock the most urgent batch work of a kind until this transaction ends, and yield it as it is read.

    Stops after `limit` work rows, or once their payloads reach `most_bytes` as JSON, and skips work that other transactions
    have locked. Close the generator if you do not need all of the work.
    """
    query = select_for_batch(kind, limit, now=now)
    with closing(stream_rows(connection, query, most_bytes=most_bytes)) as rows:
        yield from map(read_claimed, rows)


def select_for_batch(kind: BatchKind, limit: int, *, now: datetime) -> sa.Select[*tuple[Any, ...]]:
    """Select and lock the most urgent batch work of a kind with its payload, skipping locked work."""
    return (
        sa.select(
            work.c.id,
            (work.c.claim_no + 1).label("claim_no"),
            *(work.c[name] for name in OF_WORK),
            *(item.c[name] for name in OF_ITEM),
            size_of(item.c.payload),
        )
        .join(item, item.c.id == work.c.item_id)
        .where(claimable(Lane.BATCH, now), work.c.workload == kind.workload)
        .where(work.c.version_id == kind.version_id)
        .order_by(work.c.rank_at, work.c.id)
        .limit(limit)
        .with_for_update(of=work, key_share=True, skip_locked=True)
    )


COUNTED = 100_000  # the most items of the next batch that are counted

# The version's newest batches with marked requests. A batch that was never created wrote nothing. If most items of a batch
# were answered, a marked request probably was too.
LEFT_IN_CACHE = """
select coalesce(bool_or(state = 'collected' and ended_at > :lately and 2 * answered > items), false) as warm,
       max(id) filter (where is_primer and is_out) as primer,
       max(stated_back_at) filter (where is_primer and is_out) as until,
       coalesce(bool_or(is_primer and (is_out or coalesce(ended_at, intended_at) > :lately)), false) as primed
  from (select *, succeeded + invalid as answered, requests = 1 as is_primer, state in ('submitted', 'ended') as is_out
          from lanes.batch
         where version_id = :version and marked_requests > 0 and state <> 'released'
         order by id desc limit 50) b
"""


@dataclass(frozen=True)
class CachePlan:
    """The primer step of a version's next batch, and the requests that mark their prefix; `until` limits a primer's wait."""

    marked: range
    step: caching.PrimerStep = caching.PrimerStep.NONE
    until: datetime | None = None
    reason: str = ""


def cache_plan(
    connection: sa.Connection, version: Version, marks: caching.Marks, *, now: datetime
) -> CachePlan:
    """Return the plan of the version's next batch, whose requests mark their prefix as `marks` says."""
    shared = estimate_shared_tokens(version.spec)
    if marks is caching.Marks.NONE or (
        marks is caching.Marks.SOME and shared < caching.SHORTEST_CACHED
    ):
        return CachePlan(caching.select_marked(marks))
    cache = read_batch_cache(asking.through(connection), version, now=now)
    whole = CachePlan(caching.select_marked(marks, warm=cache.warm))
    if cache.warm:
        return whole
    prospects = turnarounds.prospects(connection, now=now)
    until = cache.until or prospects.for_size(version, 1).stated_back_at
    named = {version.workload: safe_from(prospects.of(version), until, now)}
    endangers = bool(connection.execute(due_before(named, now)).first())
    saves = _compute_primer_savings(connection, version, shared, prospects.of(version), now)
    match step := cache.step(saves=saves, endangers=endangers, now=now):
        case caching.PrimerStep.NONE:
            return whole
        case caching.PrimerStep.SEND:
            return CachePlan(whole.marked, step, until)
        case caching.PrimerStep.WAIT:
            at_latest = clock(until, beside=now)
            reason = f"it waits for batch {cache.primer}, which primes the provider's cache, until {at_latest} at the latest"
            return CachePlan(whole.marked, step, until, reason)


def read_batch_cache(ask: Ask, version: Version, *, now: datetime) -> caching.BatchCache:
    """Return the state in which earlier batches of the version left the provider's cache."""
    (row,) = ask(LEFT_IN_CACHE, version=version.id, lately=now - caching.WARM_FOR)
    return read_as(caching.BatchCache, row)


def _compute_primer_savings(
    connection: sa.Connection, version: Version, shared: int, prospect: Prospect, now: datetime
) -> Decimal:
    """Return a primer's saving in US dollars, less the value that all items lose while they wait for it."""
    spec, size = (
        version.spec,
        PackSizes(sharing.read_pack_sizes(connection)).of(version, Lane.BATCH),
    )
    ready = claimable(Lane.BATCH, now), work.c.workload == version.workload
    some = sa.select(work.c.id).where(*ready, work.c.version_id == version.id).limit(COUNTED)
    items = connection.execute(sa.select(sa.func.count()).select_from(some.subquery())).scalar_one()
    saved = caching.primer_saves(-(-items // size), shared, model=spec.batch_model, at=now)
    if not spec.value_usd:
        return saved
    lost = prospect.compute_loss(early=True)
    return saved - Decimal(items * spec.value_usd * lost * (1 - lost))
