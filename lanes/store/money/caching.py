"""Recent use of the provider's cache, the decisions based on it, and its savings; the rule is in `lanes.money.caching`."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from lanes.ids import VersionId
from lanes.money.caching import (
    TERMS,
    CacheSavings,
    CacheUse,
    CachingDecision,
    HitRates,
    Marks,
    cache_prices,
    compute_saved_usd,
    decide,
    start_unmarked,
)
from lanes.money.cost import estimate_shared_tokens
from lanes.store import asking
from lanes.store.asking import Ask, read_as
from lanes.words import Lane

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from lanes.workload.version import Version

LOOKED_EVERY = timedelta(seconds=15)  # the shortest time between two decisions, by any process
OF_LATE = timedelta(minutes=30)  # the time over which the present rate of calls is measured
# after this time every drain marks as decided, and earlier calls have ended
MARKING_AFTER = timedelta(minutes=2)
MOST_BATCHES = 100

# Cached tokens of a version's tries since a moment, and the number of answered tries: a failing provider caches nothing either.
TRIED = """
select coalesce(sum(cached), 0)::bigint as read, coalesce(sum(written), 0)::bigint as written,
       coalesce(sum(n) filter (where word in ('valid', 'invalid', 'truncated', 'refused')), 0)::bigint as answered
  from lanes.figures_since('{attempt}', :since)
 where workload = :workload and version_id = :version and lane = :lane
"""

# Billed calls of a workload's lane since a moment, and the number of items that shared them.
CALLED = """
select coalesce(sum(n), 0)::bigint as n, coalesce(sum(items), 0)::bigint as items
  from lanes.figures_since('{call}', :since) where workload = :workload and lane = :lane
"""

# Answered requests with a marked prefix, of the version's newest batches that were submitted since a moment and are collected.
# Which requests were marked is not stored, so each item without an answer counts as one with a marked request.
MARKED = f"""
select coalesce(sum(greatest(0, marked_requests - (items - succeeded - invalid))), 0)::bigint as n from (
  select marked_requests, items, succeeded, invalid from lanes.batch
   where submitted_at >= :since and version_id = :version and state = 'collected'
   order by submitted_at desc limit {MOST_BATCHES}) b
"""

STATE = "select * from lanes.caching where version_id = :version and lane = :lane"
CACHED = "select version_id, lane, hit_rate from lanes.caching where marks = 'all' and hit_rate is not null"

# The caching decisions of the versions in force, by workload and lane.
STATES = """
select f.name as workload, c.* from lanes.workload f join lanes.caching c on c.version_id = f.version_id
 where cast(:workload as text) is null or f.name = :workload order by f.name, c.lane desc
"""

SAVED = """
select f.workload, f.lane, case f.lane when 'batch' then v.batch_model else v.realtime_model end as model,
       sum(f.cached)::bigint as read, sum(f.written)::bigint as written
  from lanes.figures_since('{attempt}', :since) f join lanes.version v on v.id = f.version_id
 where f.cached > 0 or f.written > 0
 group by 1, 2, 3 order by 1, 2 desc, 3
"""


def weigh(
    connection: "Connection", version: "Version", lane: Lane, *, now: datetime
) -> CachingDecision:
    """Decide how calls of the version's lane mark their prefix, or return a recent decision.

    If another transaction is deciding, the earlier decision is returned.

    Raises:
        LookupError: no price is known for the version's model.
    """
    ask = asking.through(connection)
    known = state(ask, version.id, lane)
    if known is not None and known.decided_at <= now < known.decided_at + LOOKED_EVERY:
        return known
    prices = cache_prices(version.spec.model_of(lane), lane, at=now)
    before = known or start_unmarked(prices, now=now)
    decided = decide(before, _measure(ask, version, lane, before, now), prices, lane=lane, now=now)
    return decided if _try_write(connection, version.id, lane, decided, known) else before


def state(ask: Ask, version: VersionId, lane: Lane) -> CachingDecision | None:
    """Return the last decision for the version's lane; None before the first."""
    rows = ask(STATE, version=version, lane=lane)
    return _read_decision(rows[0]) if rows else None


def states(ask: Ask, workload: str | None = None) -> list[tuple[str, Lane, CachingDecision]]:
    """Return the last decisions of the versions in force, with workload and lane."""
    return [
        (row.workload, Lane(row.lane), _read_decision(row))
        for row in ask(STATES, workload=workload)
    ]


def hit_rates(ask: Ask) -> HitRates:
    """Return the measured hit rates of lanes on which all calls mark."""
    return {(VersionId(row.version_id), Lane(row.lane)): row.hit_rate for row in ask(CACHED)}


def _measure(
    ask: Ask, version: "Version", lane: Lane, before: CachingDecision, now: datetime
) -> CacheUse:
    """Return the measurements since the lane last changed its marking, as far back as measurements count."""
    parameters = {"workload": version.workload, "lane": lane}
    per_s = 0.0
    if lane is Lane.REALTIME:
        (called,) = ask(CALLED, **parameters, since=now - OF_LATE)
        per_s = called.n / OF_LATE.total_seconds()
    if before.marks is Marks.NONE:
        return CacheUse(per_s=per_s)
    since = max(before.since, now - TERMS[lane].measured)
    (tried,) = ask(TRIED, **parameters, version=version.id, since=since)
    calls = round((tried.read + tried.written) / max(1, estimate_shared_tokens(version.spec)))
    marked = calls or _count_marked(ask, version, lane, since, now)
    return CacheUse(tried.read, tried.written, calls, marked, per_s)


def _count_marked(ask: Ask, version: "Version", lane: Lane, since: datetime, now: datetime) -> int:
    """Count the answered calls that certainly marked their prefix.

    In real time the number of calls is derived from the answered items and the workload's ratio of calls to items, because
    packs are often not full.
    """
    if lane is Lane.BATCH:
        (marked,) = ask(MARKED, version=version.id, since=since)
        return marked.n
    if (settled := since + MARKING_AFTER) > now:
        return 0
    of = {"workload": version.workload, "lane": lane, "since": settled}
    (tried,), (called,) = ask(TRIED, **of, version=version.id), ask(CALLED, **of)
    return tried.answered * called.n // called.items if called.items else 0


def _try_write(
    connection: "Connection",
    version: VersionId,
    lane: Lane,
    decided: CachingDecision,
    known: CachingDecision | None,
) -> bool:
    """Write the decision; return False if another transaction is deciding, or has decided in the meantime."""
    from sqlalchemy import and_, select, update
    from sqlalchemy.dialects.postgresql import insert

    from lanes.store.tables import caching

    if known is None:
        new = insert(caching).values(version_id=version, lane=lane, **asdict(decided))
        made = new.on_conflict_do_nothing().returning(caching.c.version_id)
        return connection.execute(made).first() is not None
    ours = and_(caching.c.version_id == version, caching.c.lane == lane)
    row = select(caching.c.decided_at).where(ours)
    free = row.with_for_update(key_share=True, skip_locked=True)
    if connection.execute(free).scalar() != known.decided_at:
        return False
    connection.execute(update(caching).where(ours).values(**asdict(decided)))
    return True


def _read_decision(row: Any) -> CachingDecision:
    return read_as(CachingDecision, row, marks=Marks(row.marks))


def list_savings(ask: Ask, *, since: datetime, now: datetime) -> list[CacheSavings]:
    """Return the cache's savings since the minute of `since`, by workload and lane, at today's prices.

    Lanes without cached tokens have no row; tokens of a model without a price are left out.
    """
    sums: dict[tuple[str, Lane], list[CacheSavings]] = {}
    for row in ask(SAVED, since=since):
        lane = Lane(row.lane)
        try:
            usd = compute_saved_usd(row.read, row.written, model=row.model, lane=lane, at=now)
        except LookupError:
            continue
        saved = CacheSavings(row.workload, lane, row.read, row.written, usd)
        sums.setdefault((row.workload, lane), []).append(saved)
    return [_sum(of) for of in sums.values()]


def _sum(savings: Sequence[CacheSavings]) -> CacheSavings:
    usd = sum((each.usd for each in savings[1:]), savings[0].usd)
    read, written = sum(each.read for each in savings), sum(each.written for each in savings)
    return CacheSavings(savings[0].workload, savings[0].lane, read, written, usd)
