"""Due items: the met and missed due times, from the figures, and the overdue items, from the items themselves."""

from datetime import datetime

from lanes.report.figures import DeadlineFigures
from lanes.store.asking import Ask
from lanes.store.states import UNCLAIMED
from lanes.words import Lane

MOST = 2_000  # rows per workload and kind of wait: more rows would add no information

# Unanswered items past their due time. They wait in or for a batch, wait for real time (which ranks them by due time), are
# claimed, or are not routed yet. A rescued item waits for real time. If its real-time work failed, it still waits for its
# batch, and is found by the failed work, because a batch also contains answered items. Items that were due before they arrived
# do not count. The latest due times are read first, so that such items do not use up the limit.
IN_BATCH = f"""
      select item_id from lanes.work
       where workload = f.name and binds {{binds}} and due_at is not null and lane = 'batch' and purpose = 'answer'
         and state in {UNCLAIMED} and not rescued and due_at < :now
       order by binds desc, due_at desc, id desc limit {MOST}"""
OVERDUE = f"""
late as (
  select w.item_id
    from lanes.workload f
   cross join lateral (
     ({IN_BATCH.format(binds="is null")})
     union all
     ({IN_BATCH.format(binds="= 'batch'")})) w
  union
  select w.item_id
    from lanes.workload f
   cross join lateral (
     select item_id, due_at from lanes.work
      where lane = 'realtime' and workload = f.name and state = 'ready' and rank_at < :now
      order by rank_at desc, id desc limit {MOST}) w
   where w.due_at < :now
  union
  (select item_id from lanes.work
    where rescued and lane = 'realtime' and state = 'failed' and due_at < :now
    order by due_at desc, id desc limit {MOST})
  union
  (select item_id from lanes.work
    where state = 'claimed' and purpose = 'answer' and due_at < :now
    order by id desc limit {MOST})
  union
  select i.id
    from lanes.workload f
   cross join (values (true), (false)) u (urgent)
   cross join lateral (
     select id, due_at, received_at from lanes.item
      where workload = f.name and urgent = u.urgent and position is null and canceled_at is null and due_at < :now
      order by due_at desc, id desc limit {MOST}) i
   where i.due_at > i.received_at),
overdue as materialized (
  select i.workload, r.lane, r.reason  -- of the newest route; what is not routed has none
    from late l
   cross join lateral (select * from lanes.item i where i.id = l.item_id offset 0) i
    left join lateral (
      select lane, reason from lanes.route r where r.item_id = i.id order by r.id + 0 desc limit 1) r on true
   where i.due_at < :now and i.due_at > i.received_at and i.answered_at is null and i.failed_at is null
     and i.canceled_at is null)
"""

# The counts of each workload, as promises use them. `in_realtime` counts the missed and overdue items on real time. `in_batch`
# has, by reason, the missed items and all items that were routed to batch.
BY_WORKLOAD = f"""
with {OVERDUE},
routed as (
  select workload, lane, word, sum(items)::bigint as met, sum(n - items)::bigint as missed
    from lanes.figures_since('{{deadline}}', :since) where word <> 'overdue' group by 1, 2, 3),
decided as (
  select workload, sum(met)::bigint as met, sum(missed)::bigint as missed,
         coalesce(sum(missed) filter (where lane = 'realtime'), 0)::bigint as in_realtime,
         jsonb_object_agg(word, array[missed, met + missed]) filter (where lane = 'batch') as in_batch
    from routed group by 1),
waits as (
  select workload, count(*) as overdue, count(*) filter (where lane = 'realtime') as in_realtime from overdue group by 1)
select workload, coalesce(d.met, 0) as met, coalesce(d.missed, 0) as missed, coalesce(w.overdue, 0) as overdue,
       coalesce(d.in_realtime, 0) + coalesce(w.in_realtime, 0) as in_realtime, coalesce(d.in_batch, '{{}}') as in_batch
  from decided d full join waits w using (workload)
 where d.met + d.missed > 0 or w.overdue > 0
"""

# By lane and reason. Items that became due before they were routed count under `deadline` here, not under `overdue`.
BY_REASON = f"""
with {OVERDUE}
select workload, lane, reason, sum(met)::bigint as met, sum(missed)::bigint as missed, sum(overdue)::bigint as overdue
  from (
    select workload, lane, word as reason, items as met, n - items as missed, 0 as overdue
      from lanes.figures_since('{{deadline}}', :since)
    union all
    select workload, lane, case reason when 'overdue' then 'deadline' else reason end, 0, 0, 1
      from overdue where lane is not null) each
 group by 1, 2, 3 having sum(met) <> 0 or sum(missed) <> 0 or sum(overdue) <> 0
 order by 1, 2 desc, 4 desc, 3
"""

OVERDUE_OF = f"""
with {OVERDUE}
select lane, reason, count(*) as items from overdue where workload = :workload and lane is not null
 group by 1, 2 order by 3 desc, 1, 2
"""


def count_overdue(ask: Ask, workload: str, *, now: datetime) -> list[tuple[Lane, str, int]]:
    """Count the overdue items of a workload by lane and reason of their newest route, largest count first."""
    rows = ask(OVERDUE_OF, workload=workload, now=now)
    return [(Lane(row.lane), row.reason, row.items) for row in rows]


def read_outcomes(ask: Ask, *, since: datetime, now: datetime) -> list[DeadlineFigures]:
    """Return the outcomes of due times since the minute of `since`, by workload, lane and reason."""
    return [
        DeadlineFigures(row.workload, Lane(row.lane), row.reason, row.met, row.missed, row.overdue)
        for row in ask(BY_REASON, since=since, now=now)
    ]
