"""The queries behind the advice on workloads."""

from lanes.store.states import ANSWERING

IN_FORCE = """
select w.name as workload, v.id as version_id, v.number, v.mode, v.realtime_model, v.batch_model, v.batch_expected_minutes,
       v.confidence
  from lanes.workload w join lanes.version v on v.id = w.version_id
 where cast(:workload as text) is null or w.name = :workload
 order by w.name
"""

# Everything that is counted, read once. What arrived, what was asked and what came of it is told by its day. Ages
# are those of the middle of a day (UTC), or of what has passed of it, so that they do not depend on what is folded.
COUNTED = f"""
select workload, version_id, kind, lane, purpose, consumer, word,
       case when kind in ('item', 'call', 'attempt') then (at at time zone 'UTC')::date end as day,
       sum(n)::bigint as n, sum(items)::bigint as items, sum(usd) as usd, sum(realtime_usd) as realtime_usd,
       sum(batch_usd) as batch_usd, sum(input + cached + written)::bigint as input_tokens, sum(output)::bigint as output_tokens,
       sum(cached)::bigint as cached_tokens, sum(written)::bigint as written_tokens,
       sum(n * (since_s - least(since_s, 86400) / 2))::float8 as age_s
  from lanes.figures_since('{{item,due,urgent,route,asked,first,read,compared,call,attempt}}', :since),
       lateral (select extract(epoch from cast(:now as timestamptz) - date_trunc('day', at, 'UTC')) as since_s) aged
 where workload = any(:workloads) and (purpose is null or purpose in {ANSWERING})
 group by 1, 2, 3, 4, 5, 6, 7, 8
"""

# By how much answers of versions in force were corrected recently: of the newest corrections of all workloads, because none
# names its own.
DISTANCE = """
select w.name as workload, avg(c.distance) as distance
  from (select authoritative_id, distance, corrected_at from lanes.correction order by id desc limit 500) c
  join lanes.result r on r.id = c.authoritative_id
  join lanes.workload w on w.version_id = r.version_id
 where w.name = any(:workloads) and c.corrected_at >= :since
 group by 1
"""

TIMED = """
select workload, kind, lane, consumer, buckets, counts from lanes.figure_hist_since('{first,read,due}', :since)
 where workload = any(:workloads)
"""

# Items that are not routed yet are in no figure, so they are counted in their table.
UNROUTED = """
select workload, (received_at at time zone 'UTC')::date as day, count(*) as n, count(*) filter (where urgent) as urgent,
       coalesce(array_agg(extract(epoch from due_at - received_at)::float8) filter (where due_at is not null), '{}') as due_s
  from lanes.item
 where workload = any(:workloads) and position is null and canceled_at is null and received_at >= :since
 group by 1, 2
"""

# What was answered within the last minute may still be read at once. A plan kept for all expects few between two moments.
YOUNG = """
select i.workload, i.consumer, count(distinct i.id) as n
  from lanes.attempt a join lanes.item i on i.id = a.item_id
 where a.workload = any(:workloads) and a.lane = 'realtime' and a.shown
   and a.ended_at >= :now - 2 * cast(:at_once as interval) and a.ended_at <= :now + 2 * cast(:at_once as interval)
   and i.answered_at >= :now - cast(:at_once as interval) and i.canceled_at is null and i.received_at >= :since
   and not exists (select from lanes.read r where r.item_id = i.id and r.result_id is not null and r.read_at >= i.answered_at)
 group by 1, 2
"""

# An hour with anything that is not folded, or not routed, is counted minute by minute.
BUSIEST = """
with moving as materialized (
  select workload, date_trunc('hour', at, 'UTC') as at from lanes.figure_delta
   where kind = 'item' and workload = any(:workloads) and at >= :since
  union
  select workload, date_trunc('hour', received_at, 'UTC') from lanes.item
   where workload = any(:workloads) and position is null and canceled_at is null and received_at >= :since),
minutes as (
  select workload, at, sum(n) as n from (
    select h.workload, f.at, f.n
      from moving h
      join lanes.figure f on f.grain = 'minute' and f.kind = 'item' and f.word <> 'canceled' and f.workload = h.workload
                         and f.at >= h.at and f.at < h.at + interval '1 hour'
    union all
    select workload, at, n from lanes.figure_delta
     where kind = 'item' and workload = any(:workloads) and at >= :since and word <> 'canceled'
    union all
    select workload, date_trunc('minute', received_at, 'UTC'), 1 from lanes.item
     where workload = any(:workloads) and position is null and canceled_at is null and received_at >= :since) each
   group by 1, 2 having sum(n) > 0),
hours as (
  select workload, max(n) as n, min(at) as at from lanes.figure_peak p
   where workload = any(:workloads) and at >= :since and n > 0
     and not exists (select from moving h where h.workload = p.workload and h.at = p.at)
   group by 1)
select a.workload, least(m.at, f.at) as first_at, coalesce(greatest(m.n, h.n), 0)::bigint as n
  from unnest(cast(:workloads as text[])) a (workload)
  left join hours h on h.workload = a.workload
  left join lateral (
    select f.at from lanes.figure f
     where f.grain = 'minute' and f.kind = 'item' and f.word <> 'canceled' and f.workload = h.workload
       and f.at >= h.at and f.n > 0
     order by f.at limit 1) f on true
  left join (select workload, min(at) as at, max(n) as n from minutes group by 1) m on m.workload = a.workload
"""

# The newest limits that the provider told of the model that a workload asks in real time.
LIMITS = """
select distinct on (f.name, c.kind) f.name as workload, c.kind, c.limit_, c.remaining, c.reset_at, c.seen_at
  from lanes.workload f
  join lanes.version v on v.id = f.version_id
  join lanes.capacity c on c.model = v.realtime_model and c.account = coalesce(f.account, c.account)
 where f.name = any(:workloads) and c.seen_at >= :since
 order by f.name, c.kind, c.seen_at desc
"""

QUESTIONS = {
    "counted": COUNTED,
    "timed": TIMED,
    "unrouted": UNROUTED,
    "young": YOUNG,
    "busiest": BUSIEST,
    "limits": LIMITS,
    "distance": DISTANCE,
}
