"""What the receiving lane did with the items that the split gave it under the step in force."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from lanes.rollouts.gates import Figures, Gate, Measure, Measurement
from lanes.rollouts.rollout import Rollout

# Items pinned, urgent or due soon reach the lane whatever the split says, and prove nothing about the traffic that
# moves. Neither do the items of a consumer that has a split of its own. An item that nobody answered yet and that is
# older than the p95 limit counts as slow: otherwise a lane that answers few things quickly would look quick.
# Every figure counts items, however often one was tried or amended. A try that the account, the provider or a neighbour
# in its pack was in the way of says nothing of the item; but one that the lane had to shed is one that it failed, whatever
# was in the way: a lane that gives away what it cannot serve would look well by that. It stays unanswered by the lane, and so
# is slow, and late, once its time is over. (`offset 0` and `|| ''`: asked item by item along the item's routes, and
# never of all that was shed, be the statistics from before that.) An answer is compared with the one to the same revision.
FIGURES = """
with under as materialized (
  select i.id, i.received_at, i.due_at,
         exists (select from lanes.route s where s.item_id = i.id and s.reason || '' = 'shed' offset 0) as was_shed
    from lanes.route r
    join lanes.item i on i.id = r.item_id
   where r.id > :routes_before and r.id <= (select max(id) from lanes.route)  -- a plan kept for all expects few between two
     and r.decided_at >= :since and r.reason = 'split' and r.lane = :lane
     and i.workload = :workload and i.canceled_at is null
     and case when cast(:consumer as text) is not null then i.consumer = :consumer
              else i.consumer is null or not exists (
                select from lanes.split s where s.workload = i.workload and s.consumer = i.consumer) end
   group by i.id),
tried as materialized (
  select u.id, u.received_at, u.due_at,
         u.was_shed or bool_or(a.outcome not in ('unserved', 'pack_refused')) as was_tried,
         u.was_shed or bool_or(a.outcome not in ('valid', 'unserved', 'pack_refused')) as has_failed,
         min(a.ended_at) filter (where a.outcome = 'valid') as answered_at
    from under u
    left join lanes.attempt a on a.item_id = u.id and a.lane = :lane and a.purpose in ('answer', 'authoritative')
   group by u.id, u.received_at, u.due_at, u.was_shed),
timed as (
  select extract(epoch from coalesce(answered_at, :now) - received_at)::float8 as seconds
    from tried
   where answered_at is not null or extract(epoch from :now - received_at) > cast(:slow_s as float8)),
due as (
  select answered_at is not null and answered_at <= due_at as met
    from tried where due_at is not null and (answered_at is not null or due_at < :now)),
compared as (
  select distinct on (u.id) c.id is null as agrees
    from under u
    join lanes.result p on p.item_id = u.id and p.generation = 0 and p.standing = 'provisional'
    join lanes.result a on a.item_id = u.id and a.generation = 0 and a.standing = 'authoritative'
     and a.revision = p.revision
    left join lanes.correction c on c.item_id = u.id and c.authoritative_id = a.id
   order by u.id, p.revision desc)
select (select count(*) from tried where answered_at is not null) as answered,
       (select count(*) from tried where was_tried) as tried,
       (select count(*) from tried where has_failed) as failed,
       (select percentile_cont(0.95) within group (order by seconds) from timed) as p95_s,
       (select count(*) from timed) as timed,
       (select count(*) from timed where seconds > cast(:slow_s as float8)) as slow,
       (select count(*) from due) as due,
       (select count(*) from due where not met) as missed,
       (select count(*) from compared) as compared,
       (select count(*) from compared where not agrees) as corrected
"""


def take(connection: Connection, of: Rollout, *, now: datetime) -> Figures:
    """The figures of the step in force."""
    gates = of.now_at.gates
    slow_s = next((gate.limit for gate in gates if gate.measure is Measure.P95_S), None)
    row = connection.execute(
        text(FIGURES),
        {
            "routes_before": of.routes_before, "since": of.step_started_at, "lane": of.playbook.direction.receiving,
            "workload": of.workload, "consumer": of.consumer, "slow_s": slow_s, "now": now,
        },
    ).one()  # fmt: skip
    return Figures(row.answered, [_measurement(gate, row) for gate in gates])


def unavailable(gates: Sequence[Gate], problem: str) -> list[Measurement]:
    """Measurements that say why there is no number."""
    return [Measurement(gate.measure, None, 0, problem=problem) for gate in gates]


def _measurement(gate: Gate, row: Any) -> Measurement:
    match gate.measure:
        case Measure.ERROR_RATE:
            return _share(gate.measure, row.tried, row.failed, bad=True)
        case Measure.DEADLINES_MET:
            return _share(gate.measure, row.due, row.missed, bad=False)
        case Measure.AGREEMENT:
            return _share(gate.measure, row.compared, row.corrected, bad=False)
        case Measure.P95_S:
            return Measurement(gate.measure, row.p95_s, row.timed, row.slow)


def _share(measure: Measure, samples: int, wrong: int, *, bad: bool) -> Measurement:
    """The share of the samples that are wrong (`bad`), or of those that are right."""
    counted = wrong if bad else samples - wrong
    return Measurement(measure, counted / samples if samples else None, samples, wrong)
