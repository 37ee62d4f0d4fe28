"""What transactions added to the figures is moved into them. One folds at a time; whoever comes meanwhile leaves it to them."""

import logging

from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import DBAPIError

from lanes.figures.kinds import HOURLY, Kind
from lanes.store.discreet import is_refusal

log = logging.getLogger(__name__)

FOLDING = 7_016_021  # advisory lock: one transaction folds, or rebuilds, at a time
MOST = 20_000  # rows of figure_delta moved in one transaction
CONSUMERS = 50  # counted apart, of each workload

# Nobody else writes figures meanwhile, so their rows are taken in any order. Grouped by bytes: comparing words as a language
# has them takes longer than everything else. Moments of tries never take anything back; everything else is a sum.
MOVED = f"""
with moved as (
  delete from lanes.figure_delta
   where id = any(array(select id from lanes.figure_delta where not set_aside order by id limit :most for update skip locked))
  returning *),
unheard as (
  select workload, consumer, row_number() over (partition by workload order by min(id)) as place from moved m
   where consumer is not null
     and not exists (select from lanes.figure_consumer c where c.workload = m.workload and c.consumer = m.consumer)
   group by workload, consumer),
met as (
  insert into lanes.figure_consumer (workload, consumer)
  select workload, consumer from unheard u
   where place + (select count(*) from lanes.figure_consumer c where c.workload = u.workload) <= {CONSUMERS}
  returning workload, consumer),
apart as (
  select workload, consumer from met union all select workload, consumer from lanes.figure_consumer),
named as (
  select m.id, g.grain collate "C" as grain, date_trunc(g.grain, m.at, 'UTC') as at, m.workload collate "C" as workload,
         m.version_id, m.lane collate "C" as lane, m.purpose collate "C" as purpose,
         case when m.consumer is null or a.consumer is not null then m.consumer else 'other' end collate "C" as consumer,
         m.kind collate "C" as kind, m.word collate "C" as word,
         m.n, m.items, m.usd, m.bound_usd, m.realtime_usd, m.batch_usd, m.input, m.output, m.cached, m.written, m.first_at,
         m.last_at, m.buckets, m.counts
    from moved m
    left join apart a on a.workload = m.workload and a.consumer = m.consumer
   cross join (values ('minute'), ('hour'), ('day')) g (grain)
   where g.grain <> 'minute' or m.kind not in ({", ".join(repr(each.value) for each in HOURLY)})),
counted as (
  insert into lanes.figure as f (grain, at, workload, version_id, lane, purpose, consumer, kind, word, n, items, usd, bound_usd,
                                 realtime_usd, batch_usd, input, output, cached, written, first_at, last_at)
  select grain, at, workload, version_id, lane, purpose, consumer, kind, word, sum(n), sum(items), sum(usd), sum(bound_usd),
         sum(realtime_usd), sum(batch_usd), sum(input), sum(output), sum(cached), sum(written), min(first_at), max(last_at)
    from named
   group by grain, at, workload, version_id, lane, purpose, consumer, kind, word
  on conflict (grain, kind, workload, at, lane, word, purpose, consumer, version_id) do update
     set n = f.n + excluded.n, items = f.items + excluded.items, usd = f.usd + excluded.usd,
         bound_usd = f.bound_usd + excluded.bound_usd, realtime_usd = f.realtime_usd + excluded.realtime_usd,
         batch_usd = f.batch_usd + excluded.batch_usd, input = f.input + excluded.input, output = f.output + excluded.output,
         cached = f.cached + excluded.cached, written = f.written + excluded.written,
         first_at = least(f.first_at, excluded.first_at), last_at = greatest(f.last_at, excluded.last_at)),
timed as (
  insert into lanes.figure_spread as h (grain, at, workload, version_id, lane, purpose, consumer, kind, word, buckets, counts)
  select grain, at, workload, version_id, lane, purpose, consumer, kind, word, array_agg(bucket), array_agg(n)
    from (
      -- what was answered first is timed for all consumers together
      select grain, at, workload, version_id, lane, purpose, case when kind <> '{Kind.FIRST}' then consumer end as consumer,
             kind, word, b.bucket, sum(b.n)::bigint as n
        from named cross join lateral unnest(buckets, counts) b (bucket, n)
       group by 1, 2, 3, 4, 5, 6, 7, kind, word, b.bucket) each
   group by grain, at, workload, version_id, lane, purpose, consumer, kind, word
  on conflict (grain, kind, workload, at, lane, word, purpose, consumer, version_id) do update
     set (buckets, counts) = (
       select coalesce(array_agg(bucket), '{{}}'), coalesce(array_agg(n), '{{}}')
         from (select bucket, sum(n)::bigint as n
                 from (select * from unnest(h.buckets, h.counts) union all
                       select * from unnest(excluded.buckets, excluded.counts)) both_of_it (bucket, n)
                group by bucket having sum(n) <> 0) summed)),
hours as (
  select distinct workload, date_trunc('hour', at, 'UTC') as at from moved where kind = '{Kind.ITEM}')
select (select count(*) from moved) as moved, array(select workload from hours order by workload, at) as workloads,
       array(select at from hours order by workload, at) as hours
"""

SET_ASIDE = """
update lanes.figure_delta set set_aside = true
 where id = (select id from lanes.figure_delta where not set_aside order by id limit 1 for update skip locked)
returning id
"""

PEAKS = """
insert into lanes.figure_peak as p (workload, at, n)
select h.workload, h.at, coalesce(max(m.n), 0)
  from unnest(cast(:workloads as text[]), cast(:hours as timestamptz[])) h (workload, at)
  left join lateral (
    select sum(f.n) as n from lanes.figure f
     where f.grain = 'minute' and f.kind = 'item' and f.word <> 'canceled' and f.workload = h.workload
       and f.at >= h.at and f.at < h.at + interval '1 hour'
     group by f.at) m on true
 group by 1, 2
on conflict (workload, at) do update set n = excluded.n where p.n <> excluded.n
"""


def may_fold(connection: Connection) -> bool:
    """Whether this transaction is the only one that folds; it stays so until it ends."""
    return connection.execute(select(func.pg_try_advisory_xact_lock(FOLDING))).scalar_one()


def fold(connection: Connection, *, most: int = MOST) -> int:
    """Move up to `most` of what was added into the figures and return how much; 0 while another transaction folds."""
    return move(connection, most) if may_fold(connection) else 0


def move(connection: Connection, most: int) -> int:
    """As `fold`, for a transaction that may. A row that the database refuses is set aside and stops no other.

    Readers count a row that is set aside as they count every row that is not folded yet.
    """
    try:
        with connection.begin_nested():
            return _moved(connection, most)
    except DBAPIError as error:
        if not is_refusal(error):
            raise
        if most > 1:
            return move(connection, most // 2) + move(connection, most - most // 2)
        row = connection.execute(text(SET_ASIDE)).scalar_one_or_none()
        log.error(
            "row %s of lanes.figure_delta cannot be folded and is set aside: %s",
            row,
            type(error.orig).__name__,
        )
        return 1


def _moved(connection: Connection, most: int) -> int:
    done = connection.execute(text(MOVED), {"most": most}).one()
    if done.hours:
        connection.execute(text(PEAKS), {"workloads": done.workloads, "hours": done.hours})
    return done.moved
