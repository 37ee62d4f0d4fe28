"""Reads what real time is up against: what the provider's limits leave, what waits, and how fast it is answered.

Asked every few seconds by whoever routes: each question has its limit, and is answered from an index.
"""

from collections import defaultdict
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from lanes.routing.capacity import Kind, Limit
from lanes.routing.room import BELIEVED, BUSY, Ahead, Load
from lanes.store.workload.known import known

MOST_WAITING = 20_000  # of a workload that are counted: more are as many
MOST_ANSWERED = 500  # of a workload by which its rate is known
LONGEST = timedelta(minutes=5)  # what was answered earlier says nothing of now

# What was told of each model's limits last, by whichever account: a stand asks by one.
TOLD = """
select distinct on (model, kind) model, kind, limit_, remaining, reset_at, seen_at
  from lanes.capacity where seen_at >= :since order by model, kind, seen_at desc
"""

# What waits in real time and could be asked: nothing of a workload that is paused, or has no money.
WAITING = f"""
select f.name as workload, f.version_id, w.items, w.since
  from lanes.workload f
 cross join lateral (
   select count(*) as items, min(ready_at) filter (where ready_at <= :now) as since from (
     select ready_at from lanes.work
      where lane = 'realtime' and state = 'ready' and workload = f.name
      order by rank_at, id limit {MOST_WAITING}) w) w
 where f.paused_at is null and f.version_id is not null and w.items > 0
   and not exists (
     select from lanes.budget b
      where b.workload = f.name and b.consumer is null and b.refused_at >= date_trunc(b.period, :now, b.zone))
"""

# Of each workload, how many items were answered from :since on, and from when on that many were.
ANSWERED = f"""
select a.items, a.since
  from unnest(cast(:workloads as text[])) f (name)
 cross join lateral (
   select count(*) as items, min(ended_at) as since from (
     select ended_at from lanes.attempt
      where workload = f.name and lane = 'realtime' and ended_at >= :since and ended_at <= :now and outcome = 'valid'
      order by ended_at desc limit {MOST_ANSWERED}) a) a
"""


def load(connection: Connection, *, now: datetime) -> Load:
    """What real time is up against at `now`."""
    limits = defaultdict[str, list[Limit]](list)
    for row in connection.execute(text(TOLD), {"since": now - BELIEVED}):
        limits[row.model].append(Limit(Kind(row.kind), row.limit_, row.remaining, row.reset_at, row.seen_at))
    waiting = connection.execute(text(WAITING), {"now": now}).all()
    versions = known(connection, [row.version_id for row in waiting]).versions
    ahead = [Ahead(versions[row.version_id], row.items) for row in waiting if row.version_id in versions]
    since = min((row.since for row in waiting if row.since is not None), default=None)
    if since is None or now - since < BUSY:
        return Load(now, limits, ahead, since)
    return Load(now, limits, ahead, since, _per_s(connection, max(since, now - LONGEST), now))


def _per_s(connection: Connection, since: datetime, now: datetime) -> float | None:
    """How many items were answered a second since then, of all workloads; None where nothing was."""
    names = list(connection.execute(text("select name from lanes.workload order by name")).scalars())
    per_s = 0.0
    for row in connection.execute(text(ANSWERED), {"workloads": names, "since": since, "now": now}):
        began = row.since if row.items == MOST_ANSWERED else since
        if row.items and now > began:
            per_s += row.items / (now - began).total_seconds()
    return per_s or None
