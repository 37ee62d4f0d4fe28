"""What an incident keeps from its answer: items, and the nearest due time. Counted up to a bound, whatever waits."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from lanes.promises.answers import FAILED_FOR
from lanes.promises.breaches import lanes_of
from lanes.promises.briefing import UNSTAKED, Stake
from lanes.promises.incident import Incident, Promise, lane_of
from lanes.store.promises.causes import batch_of, period, workloads_of
from lanes.words import Lane

MOST = 10_000  # pieces of work that are counted, of each workload

WAITING = f"""
  select w.item_id, w.rank_at
    from unnest(cast(:workloads as text[])) n(name)
   cross join unnest(cast(:lanes as text[])) l(lane)
   cross join lateral (
     select item_id, rank_at from lanes.work
      where lane = l.lane and workload = n.name and state = 'ready' and generation = 0
      order by rank_at, id limit {MOST}) w
  union all
  select item_id, rank_at from lanes.work
   where state = 'claimed' and generation = 0 and workload = any(cast(:workloads as text[]))
     and lane = any(cast(:lanes as text[]))
  union all
  select i.id, i.received_at
    from unnest(cast(:workloads as text[])) n(name)
   cross join lateral (
     select id, received_at from lanes.item
      where workload = n.name and position is null and canceled_at is null
        and coalesce(pin, 'realtime') = any(cast(:lanes as text[]))
      order by urgent desc, due_at, id limit {MOST}) i
"""
SUBMITTED = f"""
  select w.item_id, w.rank_at
    from lanes.batch b
   cross join lateral (
     select item_id, rank_at from lanes.work where batch_id = b.id and state = 'submitted' limit {MOST}) w
   where b.workload = any(cast(:workloads as text[])) and b.state <> 'collected' and b.state <> 'released'
"""
OF_BATCH = f"select item_id, rank_at from lanes.work where batch_id = :batch_id and state = 'submitted' limit {MOST}"
FAILED = f"""
  select i.id as item_id, i.failed_at as rank_at
    from unnest(cast(:workloads as text[])) n(name)
   cross join lateral (
     select id, failed_at from lanes.item
      where workload = n.name and failed_at >= :since and failed_at <= :until
      order by failed_at desc limit {MOST}) i
"""
COUNTED = """
with owed as ({owed})
select count(*) filter (where i.answered_at is null) as unanswered,
       count(*) filter (where i.answered_at is not null) as uncorrected,
       count(*) filter (where i.answered_at is null and i.due_at < :now) as overdue,
       min(i.due_at) filter (where i.answered_at is null and i.due_at >= :now) as due_at,
       (array_agg(i.workload order by i.due_at, o.rank_at, i.id))[1:20] as workloads,
       (array_agg(i.key order by i.due_at, o.rank_at, i.id))[1:20] as keys,
       (select count(*) from owed) as seen
  from (select item_id, min(rank_at) as rank_at from owed group by 1) o
  cross join lateral (select * from lanes.item where id = o.item_id limit 1) i
 where i.settled_at is null and i.canceled_at is null
"""


@dataclass(frozen=True)
class AtStake:
    """Items that an incident keeps from their answer; some of them by workload and key, the most urgent first."""

    stake: Stake | None = None
    unstaked: str = ""
    items: Sequence[tuple[str, str]] = ()


def find(connection: Connection, of: Incident, *, now: datetime) -> AtStake:
    """What is at stake with the incident; of one that is over, what of it is still to come."""
    promise = of.promise
    if promise in UNSTAKED:
        return AtStake(unstaked=UNSTAKED[promise])
    if promise is Promise.AUTHORITATIVE_FAILED:
        return AtStake(Stake(unanswered=0, uncorrected=round(of.value)))
    at: dict[str, Any] = {
        "workloads": workloads_of(connection, of),
        "lanes": _lanes(of),
        "batch_id": batch_of(of),
        "now": now,
        **period(of, FAILED_FOR, now),
    }
    return _counted(connection, _owed(promise, at), at)


def on_lane(connection: Connection, lane: Lane, *, now: datetime) -> Stake:
    """What waits for an answer of that lane, of all workloads."""
    names = list(connection.execute(text("select name from lanes.workload")).scalars())
    stake = _counted(connection, WAITING, {"workloads": names, "lanes": [lane], "now": now}).stake
    assert stake is not None
    return stake


def _lanes(of: Incident) -> list[Lane]:
    """Return whose items it holds up: those of its lane or role, of real time where a model answers none, or of both lanes."""
    if of.promise is Promise.ROLE_TAKEN:
        return sorted(lanes_of(of.subject))
    lane = Lane.REALTIME if of.promise is Promise.PROVIDER_DOWN else lane_of(of.promise)
    return list(Lane) if lane is None else [lane]


def _owed(promise: Promise, at: dict[str, Any]) -> str:
    """Which items: those that failed, those of the batch, or those that wait on the lanes."""
    if promise is Promise.ITEMS_FAILED:
        return FAILED
    if at["batch_id"] is not None:
        return OF_BATCH
    return f"{WAITING} union all {SUBMITTED}" if Lane.BATCH in at["lanes"] else WAITING


def _counted(connection: Connection, owed: str, at: dict[str, Any]) -> AtStake:
    row = connection.execute(text(COUNTED.format(owed=owed)), at).one()
    stake = Stake(
        unanswered=row.unanswered,
        uncorrected=row.uncorrected,
        overdue=row.overdue,
        due_at=row.due_at,
        at_least=row.seen >= MOST,
    )
    return AtStake(stake, items=list(zip(row.workloads or (), row.keys or (), strict=True)))
