"""Reads what the second look rescued, and what that cost."""

from datetime import datetime

from lanes.report.rescued import RescueFigures
from lanes.store.asking import Ask

MOST = 10_000  # items, those that were rescued last

RESCUED = f"""
with rescued as (
  select i.id, i.workload, i.due_at, i.answered_at
    from (select item_id from lanes.route where reason = 'rescue' and decided_at >= :since
           order by decided_at desc limit {MOST}) r
    join lanes.item i on i.id = r.item_id
   where i.canceled_at is null)
select r.workload, count(*) as items, count(*) filter (where r.answered_at <= r.due_at) as met,
       count(*) filter (where r.answered_at is null and r.due_at > :now) as waiting,
       coalesce(sum(b.usd), 0) as usd, coalesce(sum(b.usd) filter (where b.in_batch > 0), 0) as twice_usd
  from rescued r
 cross join lateral (
   select sum(a.cost_usd) filter (where a.lane = 'realtime') as usd,
          count(*) filter (where a.lane = 'batch' and a.message_id is not null) as in_batch
     from lanes.attempt a where a.item_id = r.id) b
 group by 1 order by 1
"""


def figures(ask: Ask, *, since: datetime, now: datetime) -> list[RescueFigures]:
    """Of the items that were rescued since then, by workload: of the newest `MOST`."""
    return [RescueFigures(**row._asdict()) for row in ask(RESCUED, since=since, now=now)]
