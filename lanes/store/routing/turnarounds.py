"""Observed turnarounds of our batches, cached for a minute, and the calibration of stated probabilities."""

from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

from lanes.ids import BatchId
from lanes.routing import prospect
from lanes.store import asking
from lanes.store.asking import Ask, KeptReading
from lanes.store.states import FINISHED_BATCH

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from lanes.routing.turnaround import Turnarounds


BACK_TO = timedelta(days=28)  # an older batch has less than a sixteenth of a new one's weight
MOST = 2_000  # the newest batches; more add little, and each costs a drain 6 µs

# The newest batches submitted from :since to :now. They are measured from their intent, because a batch whose create was
# answered late, or that was found in the provider's list, has been there for longer. If a request of a batch expired or was
# canceled, the batch is only known not to have been complete by its end.
SEEN = f"""
select model, extract(epoch from :now - intended_at)::float8 as age_s,
       extract(epoch from case when back then collected_at
                               when state in {FINISHED_BATCH} then coalesce(ended_at, collected_at, :now)
                               else :now end - intended_at)::float8 as took_s,
       back, requests, items, coalesce(extract(epoch from stated_back_at - intended_at), 'NaN')::float8 as stated_s
  from (select *, state = 'collected' and expired = 0 and canceled = 0 as back
          from lanes.batch
         where submitted_at >= :since and submitted_at <= :now
         order by submitted_at desc limit {MOST}) b
 order by model, intended_at, id
"""

KEPT = KeptReading["Turnarounds"](timedelta(minutes=1))


def prospects(connection: "Connection", *, now: datetime) -> prospect.Prospects:
    """Return the prospects of batches at `now`, from turnaround distributions that are at most a minute old."""
    return prospect.Prospects(read_cached(connection, now=now), now)


def read_cached(connection: "Connection", *, now: datetime) -> "Turnarounds":
    """Return the turnaround distributions of all batches, at most a minute old."""
    return KEPT.get(connection, partial(read, now=now), now=now)


def read(ask: Ask, *, now: datetime) -> "Turnarounds":
    """Return the turnaround distributions from the `MOST` newest batches of the last 28 days, including open ones."""
    from lanes.routing.turnaround import ObservedBatches, Turnarounds

    rows = ask(SEEN, now=now, since=now - BACK_TO)
    models = groupby(rows, lambda row: row.model)
    return Turnarounds(
        {model: ObservedBatches.of([tuple(row)[1:] for row in of_it]) for model, of_it in models},
        now,
    )


# An expected end that changes by less than this, or by less than a tenth, is not updated.
MOVED = timedelta(minutes=1)
BATCHES = """
select b.id, b.model, b.requests, b.intended_at, b.expected_end_at, v.batch_expected_minutes
  from lanes.batch b join lanes.version v on v.id = b.version_id
"""
EXPECT = """
update lanes.batch set expected_end_at = :ends
 where id = (select id from lanes.batch where id = :id and state = 'submitted' for no key update skip locked)
returning id
"""


def estimate_end(connection: "Connection", batch_id: BatchId, *, now: datetime) -> datetime:
    """Return when a batch is expected to be back, given how long it has been in flight."""
    asked = asking.through(connection)
    (row,) = asked(f"{BATCHES} where b.id = :id", id=batch_id)
    return _estimate_end(row, prospects(connection, now=now))


def expect(connection: "Connection", *, now: datetime) -> None:
    """Update when each batch at the provider is expected to be back; a locked batch is updated in a later call."""
    asked, laws = asking.through(connection), prospects(connection, now=now)
    for row in asked(f"{BATCHES} where b.state = 'submitted' order by b.id"):
        ends, before = _estimate_end(row, laws), row.expected_end_at
        if before is None or abs(ends - before) > max(MOVED, (ends - now) / 10):
            asked(EXPECT, id=row.id, ends=ends)


def _estimate_end(row: Any, laws: prospect.Prospects) -> datetime:
    of = prospect.BatchProfile(row.model, timedelta(minutes=row.batch_expected_minutes))
    return laws.underway(of, left_at=row.intended_at, requests=row.requests).expected_at


# The number of sample points in the period, and of routes at each: enough evidence, at a constant cost.
SLICES, OF_EACH = (48, 50)

# The first batch that carried an item after its route shows whether the prediction was right, once the item is due: before
# that, only hits are known. An item that was answered without a batch shows nothing. `SEEN` defines `back`.
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
select workload, least(width_bucket(probability, cast(:edges as double precision[])), {len(prospect.EDGES) - 1}) as bin,
       count(*) as items, sum(back) as back, sum(probability) as stated, sum((probability - back) ^ 2) as squares
  from became where back is not null group by 1, 2
"""


def read_calibrations(ask: Ask, *, since: datetime, now: datetime) -> list[prospect.Calibration]:
    """Return the calibration of the period's routes, by workload, from a sample spread evenly over the period."""
    rows = ask(BECAME, since=since, now=now, edges=list(prospect.EDGES))
    return prospect.calibrations(
        prospect.StatedBin(row.workload, row.bin, row.items, row.back, row.stated, row.squares)
        for row in rows
    )
