"""Reads what the real-time lane has before it, once for every second look. What it means stands in `lanes.routing.load`."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from lanes.realtime.pace import items_per_s
from lanes.routing.capacity import Need
from lanes.routing.lane_rules import EXPECTED_CALL, LONG_OVERDUE
from lanes.routing.load import Load, ModelRest, RankedQueue
from lanes.store.money import budgets
from lanes.store.realtime import circuits, limits
from lanes.store.signals import Role, holders
from lanes.store.workload import workloads

MOST = 20_000  # items of a workload's queue that are counted, the most urgent first
NEWEST = 200  # tries of a workload whose calls are timed
TIMED = 20  # tries: of fewer the first ones, which connect, tell little
USUAL = timedelta(days=1)  # what an item takes is the mean since then
OF_LATE = timedelta(hours=1)  # calls since then are timed
# ranks, from now on
STEPS_MINUTES = (0, 0.5, 1, 2, 3, 5, 7, 10, 15, 20, 30, 45, 60, 120, 240, 480)

# What waits and could be asked, and what is being asked: that ranks first, whatever its rank was. Work asks the model of its
# own version, whichever is in force.
QUEUES = f"""
select f.name as workload, v.realtime_model as model, width_bucket(w.rank_at, cast(:edges as timestamptz[])) as place,
       count(*) as items
  from lanes.workload f
 cross join lateral (
   select w.rank_at, w.version_id from lanes.work w
    where w.lane = 'realtime' and w.state = 'ready' and w.workload = f.name
    order by w.rank_at, w.id limit {MOST}) w
  join lanes.version v on v.id = w.version_id
 where f.paused_at is null
   and f.name <> all(cast(:unpaid as text[]))
 group by 1, 2, 3
union all
select w.workload, v.realtime_model, 0, count(*)
  from lanes.work w join lanes.version v on v.id = w.version_id
 where w.state = 'claimed' and w.lane = 'realtime'
 group by 1, 2
"""

NEEDS = """
select workload, (sum(n) / sum(items))::float8 as requests, (sum(input + written) / sum(items))::float8 as input,
       (sum(output) / sum(items))::float8 as output
  from lanes.figures_since('{call}', :since) where lane = 'realtime' group by 1 having sum(items) > 0
"""

CALLS = f"""
select v.realtime_model as model, count(*) as tries, count(distinct a.message_id) as calls,
       avg(a.latency_ms)::float8 / 1000 as mean_s, percentile_cont(0.95) within group (order by a.latency_ms) / 1000 as most_s
  from lanes.workload f
  join lanes.version v on v.id = f.version_id
 cross join lateral (
   select a.message_id, a.latency_ms from lanes.attempt a
    where a.workload = f.name and a.lane = 'realtime' and a.ended_at >= :since
    order by a.ended_at desc limit {NEWEST}) a
 where a.message_id is not null
 group by 1
"""


def snapshot(connection: Connection, *, account: str, most_calls: int = 0, now: datetime) -> Load:
    """Return the load of the lane at `now`; `most_calls` is the bound set for the calls of a drain, 0 for none."""
    refused = budgets.used_up(connection, now=now)
    unpaid = [name for name, consumer in refused if consumer is None]
    edges = [now + timedelta(minutes=each) for each in STEPS_MINUTES]
    ranks = [LONG_OVERDUE, *edges]
    rows = connection.execute(text(QUEUES), {"edges": edges, "unpaid": unpaid})
    queues = [RankedQueue(row.workload, row.model, ranks[row.place], row.items) for row in rows]
    used = connection.execute(text(NEEDS), {"since": now - USUAL})
    needs = {row.workload: Need(row.input, row.output, row.requests) for row in used}
    calls = connection.execute(text(CALLS), {"since": now - OF_LATE}).all()
    known = limits.known(connection, account, since=now - limits.FRESH)
    tries = sum(each.tries for each in calls)
    took_s = sum(each.mean_s * each.tries for each in calls)
    mean_s = took_s / tries if tries else EXPECTED_CALL.total_seconds()
    per_s = items_per_s(
        max(mean_s, 0.001),
        items_a_call=tries / sum(each.calls for each in calls) if tries else 1,
        most_calls=most_calls,
        told=bool(known),
        drains=holders(connection, Role.DRAIN),
    )
    longest = {each.model: max(EXPECTED_CALL, timedelta(seconds=each.most_s)) for each in calls}
    # A circuit without probes rests too: its queue is empty, so no call shows whether the model answers.
    down = ((name, of) for name, of in circuits.known(connection, account).items() if of.is_open)
    rests = {name: ModelRest(name, of.since, of.why) for name, of in down}
    entitled = {name: each.entitlement for name, each in workloads.in_force(connection).items()}
    return Load(
        now,
        per_s,
        calls=longest,
        queues=queues,
        limits=known,
        needs=needs,
        entitled=entitled,
        rests=rests,
        refused=refused,
        timed=tries >= TIMED,
    )
