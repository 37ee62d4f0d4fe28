"""The work that waits for a lane: the load behind every second look, and the backlog that may require another drain.

The load includes the provider's limits, as drains share them. `lanes.routing.load` defines what the load means, and
`lanes.routing.capacity` what the limits mean.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ARRAY, Connection, Text, all_, func, literal, literal_column, select, text
from sqlalchemy.dialects.postgresql import insert

from lanes.realtime.pace import items_per_s
from lanes.routing.capacity import Limit, LimitKind, MeasuredTry, Need, quantile
from lanes.routing.lane_rules import EXPECTED_CALL, LONG_OVERDUE
from lanes.routing.load import Load, ModelRest, RankedQueue
from lanes.statistics.figures import Kind
from lanes.store import asking, outbox, states
from lanes.store.money import budgets
from lanes.store.outbox import EventOut
from lanes.store.realtime import circuits
from lanes.store.signals import Role, holders
from lanes.store.statements import characters, is_, rows_of
from lanes.store.tables import attempt, capacity, item, response, work, workload
from lanes.store.work import claimable
from lanes.store.workload import accounts, workloads
from lanes.store.workload.accounts import LaneAccount
from lanes.words import ANSWERING, Lane, Outcome

MOST = 20_000  # counted items of a workload's queue, the most urgent first
NEWEST = 200  # attempts of a workload whose calls are timed
TIMED = 20  # attempts; fewer are little evidence, because the first calls also connect
USUAL = timedelta(days=1)  # an item's usage is the mean over this time
A_WEEK = timedelta(days=7)
OF_LATE = timedelta(hours=1)  # calls within this time are timed
MOST_TRIES = 200  # attempts of a workload to learn from
TRIED_WITHIN = timedelta(days=1)
# An older limit says nothing about what is left, because every limit has been refilled since.
FRESH = timedelta(minutes=5)
KEY = ("account", "model", "kind")
# The edges of the counted ranks, in minutes after now.
STEPS_MINUTES = (0, 0.5, 1, 2, 3, 5, 7, 10, 15, 20, 30, 45, 60, 120, 240, 480)

# Waiting work that could be called, and work in flight, which ranks first whatever its rank was. Work uses the model of its
# own version, not of the version in force.
QUEUES = f"""
select f.name as workload, v.realtime_model as model, width_bucket(w.rank_at, cast(:edges as timestamptz[])) as place,
       count(*) as items
  from lanes.workload f
 cross join lateral (
   select w.rank_at, w.version_id from lanes.work w
    where w.lane = 'realtime' and w.state = 'ready' and w.workload = f.name and w.purpose in {states.ANSWERING}
    order by w.rank_at, w.id limit {MOST}) w
  join lanes.version v on v.id = w.version_id
 where f.paused_at is null
   and f.name <> all(cast(:unpaid as text[])) and f.name = any(cast(:names as text[]))
 group by 1, 2, 3
union all
select w.workload, v.realtime_model, 0, count(*)
  from lanes.work w join lanes.version v on v.id = w.version_id
 where w.state = 'claimed' and w.lane = 'realtime' and w.purpose in {states.ANSWERING}
   and w.workload = any(cast(:names as text[]))
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
 where a.message_id is not null and f.name = any(cast(:names as text[]))
 group by 1
"""

HOURS = f"""
select at, sum(n) as n from lanes.figure
 where grain = 'hour' and kind = '{Kind.ATTEMPT}' and lane = 'realtime' and purpose in {states.ANSWERING} and at >= :since
 group by at order by at
"""


def snapshot(connection: Connection, account: LaneAccount, *, now: datetime) -> Load:
    """Return the load of the real-time lane at `now`, for the workloads of this account."""
    names = accounts.list_workloads(connection, account.provider)
    refused = budgets.list_used_up(connection, now=now)
    unpaid = [name for name, consumer in refused if consumer is None]
    edges = [now + timedelta(minutes=each) for each in STEPS_MINUTES]
    ranks = [LONG_OVERDUE, *edges]
    rows = connection.execute(text(QUEUES), {"edges": edges, "unpaid": unpaid, "names": names})
    queues = [RankedQueue(row.workload, row.model, ranks[row.place], row.items) for row in rows]
    used = connection.execute(text(NEEDS), {"since": now - USUAL})
    needs = {row.workload: Need(row.input, row.output, row.requests) for row in used}
    calls = connection.execute(text(CALLS), {"since": now - OF_LATE, "names": names}).all()
    seen_limits = recent_limits(connection, account.name, since=now - FRESH)
    tries = sum(each.tries for each in calls)
    took_s = sum(each.mean_s * each.tries for each in calls)
    mean_s = took_s / tries if tries else EXPECTED_CALL.total_seconds()
    per_s = items_per_s(
        max(mean_s, 0.001),
        items_a_call=tries / sum(each.calls for each in calls) if tries else 1,
        most_calls=account.most_calls,
        told=bool(seen_limits),
        drains=holders(connection, Role.DRAIN),
    )
    longest = {each.model: max(EXPECTED_CALL, timedelta(seconds=each.most_s)) for each in calls}
    # A circuit whose probe is overdue rests too: its queue is empty, so no call shows whether the model is available.
    down = (
        (name, circuit)
        for name, circuit in circuits.open_circuits(connection, account.name).items()
        if circuit.is_open
    )
    rests = {name: ModelRest(name, each.since, each.why) for name, each in down}
    in_force = workloads.read_versions(connection).items()
    entitled = {name: each.entitlement for name, each in in_force if name in names}
    return Load(
        now,
        per_s,
        calls=longest,
        queues=queues,
        limits=seen_limits,
        needs=needs,
        entitled=entitled,
        rests=rests,
        refused=refused,
        timed=tries >= TIMED,
        workloads=None if account.provider is None else names,
    )


def live_per_s(connection: Connection, share: float, *, now: datetime) -> float:
    """Return the rate of live items, per second, that is not exceeded in the given share, 0 to 1, of last week's hours."""
    rows = connection.execute(text(HOURS), {"since": now - A_WEEK}).all()
    if not rows:
        return 0.0
    hours = max(len(rows), int((now - rows[0].at) / timedelta(hours=1)))
    asked = [0.0] * (hours - len(rows)) + [float(row.n) for row in rows]
    return quantile(asked, share) / 3_600


@dataclass(frozen=True)
class Backlog:
    """The work that waits on a lane: its amount, and the time since which the most urgent of it has been ready."""

    ready: int
    ready_since: datetime | None


def backlog(connection: Connection, lane: Lane, *, now: datetime) -> Backlog:
    """Return the amount of work that can be claimed and sent now, and the time since which it has been ready.

    The result excludes work that waits for a budget, because no drain can change that, and work that only measures.
    """
    paid = work.c.workload != all_(literal(budgets.list_unpaid(connection, now=now), ARRAY(Text)))
    row = connection.execute(
        select(func.count().label("ready"), func.min(work.c.ready_at).label("since"))
        .join(workload, workload.c.name == work.c.workload)
        .where(claimable(lane, now), workload.c.paused_at.is_(None))
        .where(paid, work.c.purpose.in_(ANSWERING))
    ).one()
    return Backlog(row.ready, row.since)


WAITING = "lanes.work.waiting"
LANE = "lanes.lane.realtime"  # the resource of the event


def call_for_drain(connection: Connection, *, now: datetime, **waiting: int) -> None:
    """Emit an event after the commit that requests a drain; `waiting` states the waiting work by kind, with its amount."""
    outbox.add(connection, [EventOut(WAITING, LANE, waiting)], now=now)


def exchange_limits(
    connection: Connection, account: str, limits: Mapping[str, Sequence[Limit]], *, now: datetime
) -> dict[str, list[Limit]]:
    """Share the limits that this drain saw, unless newer ones are stored; return the account's newest limits by model."""
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
        for model in sorted(limits)
        for each in sorted(limits[model], key=lambda each: each.kind)
    ]
    if rows:
        given = rows_of(capacity, rows)
        put = insert(capacity).from_select(list(rows[0]), select(*given.c))
        newest = {name: put.excluded[name] for name in rows[0] if name not in KEY}
        older = capacity.c.seen_at < put.excluded.seen_at
        put = put.on_conflict_do_update(index_elements=KEY, set_=newest, where=older)
        connection.execute(put)
    return recent_limits(connection, account, since=now - FRESH)


LIMITS = """
select * from lanes.capacity where account = :account and seen_at >= :since order by model, kind
"""


def recent_limits(
    connection: Connection, account: str, *, since: datetime
) -> dict[str, list[Limit]]:
    """Return an account's limits that were seen at or after `since`, by model."""
    found = defaultdict[str, list[Limit]](list)
    for row in asking.through(connection)(LIMITS, account=account, since=since):
        limit = Limit(LimitKind(row.kind), row.limit_, row.remaining, row.reset_at, row.seen_at)
        found[row.model].append(limit)
    return dict(found)


def list_tries(connection: Connection, workload: str, *, now: datetime) -> list[MeasuredTry]:
    """Return a workload's newest valid real-time attempts: at most 200, from the last day."""
    names = ("item_id", "message_id", "input_tokens", "cache_write_tokens", "output_tokens")
    # The limit is a literal, because a generic plan for a parameter would expect a tenth of all rows.
    newest = (
        select(*(attempt.c[name] for name in names))
        .where(attempt.c.workload == workload, is_(attempt.c.lane, Lane.REALTIME))
        .where(attempt.c.ended_at >= now - TRIED_WITHIN, attempt.c.outcome == Outcome.VALID)
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
