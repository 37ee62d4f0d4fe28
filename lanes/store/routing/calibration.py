"""Reads whether batches were back as surely as routes stated."""

from datetime import datetime

from lanes.routing.calibration import EDGES, Calibration, Told, calibrations
from lanes.store.asking import Ask

SLICES, OF_EACH = (
    48,
    50,
)  # of the period, and routes: enough to judge by, and as quick to read however many there are

# The first batch that carried an item after its route shows whether that was right, once the item is due: hits alone are known
# before. An item that was answered without a batch shows nothing. What `back` means is said in `turnarounds.SEEN`.
BECAME = f"""
with stated as materialized (
  select r.item_id, r.probability
    from generate_series(0, {SLICES - 1}) n
   cross join lateral (
     select r.item_id, r.probability from lanes.route r
      where r.probability is not null and r.lane = 'batch'
        and r.decided_at >= cast(:since as timestamptz) + n * (cast(:now as timestamptz) - :since) / {SLICES}
        and r.decided_at < cast(:since as timestamptz) + (n + 1) * (cast(:now as timestamptz) - :since) / {SLICES}
      order by r.decided_at desc limit {OF_EACH}) r),
became as (
  select i.workload, s.probability,
         case when i.due_at >= :now then null
              when b.state = 'collected' and b.expired = 0 and b.canceled = 0 and b.collected_at <= i.due_at then 1
              when b.id is not null or i.answered_at is null then 0 end as back
    from stated s
   cross join lateral (select * from lanes.item i where i.id = s.item_id and i.canceled_at is null offset 0) i
    left join lateral (
      select a.batch_id from lanes.attempt a
       where a.item_id = s.item_id and a.batch_id is not null and a.purpose = 'answer' order by a.id + 0 limit 1) a on true
    left join lateral (
      select w.batch_id from lanes.work w
       where w.item_id = s.item_id and w.batch_id is not null and w.purpose = 'answer' order by w.id + 0 limit 1) w on true
    left join lateral (select * from lanes.batch b where b.id = coalesce(a.batch_id, w.batch_id) offset 0) b on true)
select workload, least(width_bucket(probability, cast(:edges as double precision[])), {len(EDGES) - 1}) as bin,
       count(*) as items, sum(back) as back, sum(probability) as stated, sum((probability - back) ^ 2) as squares
  from became where back is not null group by 1, 2
"""


def of_period(ask: Ask, *, since: datetime, now: datetime) -> list[Calibration]:
    """Return how right routes of the period were about when batches are back, by workload: a sample spread evenly over it."""
    rows = ask(BECAME, since=since, now=now, edges=list(EDGES))
    return calibrations(
        Told(row.workload, row.bin, row.items, row.back, row.stated, row.squares) for row in rows
    )
