"""The rebuild of figures from all facts of a period: it joins whole tables, while the triggers look up single facts.

`lanes.store.current.counts` defines, for both, the figures for which each fact counts.
"""

from lanes.statistics.figures import HOURLY, Kind
from lanes.store.current.counts import COLUMNS, MADE, OF, SUMS, select_counts

CONSUMERS = 50  # of each workload that are counted separately
# The name under which a consumer is counted.
APART = "left join lanes.figure_consumer f on f.workload = i.workload and f.consumer = i.consumer"
NAMED = "case when i.consumer is null or f.consumer is not null then i.consumer else 'other' end as consumer"
RECEIVED = "i.received_at >= :since and i.received_at < :until"
ITS_MINUTE = "date_trunc('minute', received_at, 'UTC') as received_at"

# The counted relations, and the relations from which they are derived.
FACTS = f"""
routes as (select * from lanes.route where decided_at >= :since and decided_at < :until),
responses as (select * from lanes.response where billed_at >= :since and billed_at < :until),
-- tries that ended in the period, and tries of items that were received in it, each once; and results alike
tries as (
  select a.*, i.received_at from lanes.attempt a join lanes.item i on i.id = a.item_id
   where a.ended_at >= :since and a.ended_at < :until
  union all
  select a.*, i.received_at from lanes.item i join lanes.attempt a on a.item_id = i.id
   where {RECEIVED} and not (a.ended_at >= :since and a.ended_at < :until)),
results as (
  select r.*, i.workload, i.received_at from lanes.result r join lanes.item i on i.id = r.item_id
   where r.created_at >= :since and r.created_at < :until
  union all
  select r.*, i.workload, i.received_at from lanes.item i join lanes.result r on r.item_id = i.id
   where {RECEIVED} and not (r.created_at >= :since and r.created_at < :until)),
corrected as (
  select date_trunc('minute', c.corrected_at, 'UTC') as corrected_at, i.workload, r.version_id, 1 as n
    from lanes.correction c join lanes.item i on i.id = c.item_id join lanes.result r on r.id = c.authoritative_id
   where c.corrected_at >= :since and c.corrected_at < :until),
-- the newest answer of both lanes, of each generation of an item
compared as (
  select date_trunc('minute', c.created_at, 'UTC') as created_at, date_trunc('minute', i.received_at, 'UTC') as received_at,
         i.workload, c.generation, c.version_id, 1 as n,
         exists (select from lanes.correction n where n.item_id = c.item_id and n.authoritative_id = c.id)::int as items
    from (select distinct on (r.item_id, r.generation) r.item_id, r.generation, r.id, r.version_id, r.created_at
            from lanes.result r
            join lanes.result p on p.item_id = r.item_id and p.generation = r.generation and p.revision = r.revision
                               and p.standing = 'provisional'
           where r.standing = 'authoritative'
           order by r.item_id, r.generation, r.id desc) c
    join lanes.item i on i.id = c.item_id),
-- items that were received in the period, a row for each of their routes, or one without a route
routed_items as materialized (
  select i.received_at, i.workload, {NAMED}, i.urgent, i.due_at - i.received_at as due_in, i.answered_at, i.canceled_at,
         lanes.figure_stands(i.answered_at, i.settled_at, i.failed_at, i.canceled_at) as word,
         r.version_id, r.lane, r.reason, r.realtime_usd, r.batch_usd, row_number() over of_item = 1 as is_first,
         lead(r.id) over of_item is null as is_newest, 1 as n
    from lanes.item i left join lanes.route r on r.item_id = i.id {APART}
   where {RECEIVED}
  window of_item as (partition by i.id order by r.id)),
stood as (
  select {ITS_MINUTE}, workload, lane, word, n, (answered_at is not null)::int as items,
         coalesce(realtime_usd, 0) as realtime_usd, coalesce(batch_usd, 0) as batch_usd
    from routed_items where is_newest and (lane is not null or canceled_at is not null)),
asked as (
  select {ITS_MINUTE}, workload, consumer, urgent, due_in, version_id, lane, reason, n, realtime_usd, batch_usd
    from routed_items where is_first and lane is not null and canceled_at is null),
-- their first answers, and the first read of those from real time
answered as materialized (
  select {ITS_MINUTE}, a.workload, a.consumer, a.lane, 1 as n, a.answered_at - a.received_at as took,
         (select min(r.read_at) from lanes.read r
           where r.item_id = a.id and a.lane = 'realtime' and r.result_id is not null and r.read_at >= a.answered_at)
         - a.answered_at as read_in
    from (select distinct on (i.id) i.id, i.received_at, i.workload, {NAMED}, i.answered_at, r.lane
            from lanes.item i join lanes.result r on r.item_id = i.id and r.generation = 0 {APART}
           where {RECEIVED} and i.answered_at is not null and i.canceled_at is null
           order by i.id, r.created_at, r.id) a),
taken as (select * from answered),
ends as (
  select i.id as item_id, i.workload, i.received_at, i.due_at, 1 as n, coalesce(i.answered_at, i.failed_at) as at, i.answered_at
    from lanes.item i
   where i.due_at is not null and i.canceled_at is null and coalesce(i.answered_at, i.failed_at) >= :since
     and coalesce(i.answered_at, i.failed_at) < :until)
"""

# All counts as `COLUMNS`, by minute or by hour.
EVERYTHING = f"""
with {", ".join([FACTS, *MADE.values()])},
every ({COLUMNS}) as (
{select_counts(rebuilt=True)}
  union all
  select f.at, f.workload, f.version_id, 'batch', null, null, f.word, f.kind, f.n, f.items, 0, 0, 0, 0, 0, 0, 0, 0, null, null,
         f.buckets, f.counts
    from lanes.batch_figures('{{}}', array(select b from lanes.batch b
                                          where b.intended_at >= :since and b.intended_at < :until)) f)
select * from every
"""


MEASURED = f"n, {', '.join(SUMS)}, first_at, last_at"
SUMMED = f"{', '.join(f'sum({name}) as {name}' for name in ('n', *SUMS))}, min(first_at) as first_at, max(last_at) as last_at"
IS_BY_MINUTE = f"kind not in ({', '.join(repr(each.value) for each in HOURLY)})"
# First answers are timed for all consumers together.
TIMED = OF.replace("consumer", f"case when kind <> '{Kind.FIRST}' then consumer end as consumer")

# New consumers, up to `CONSUMERS` for each workload.
HEARD = f"""
insert into lanes.figure_consumer (workload, consumer)
select workload, consumer
  from (select i.workload, i.consumer,
               row_number() over (partition by i.workload order by min(i.received_at), i.consumer) as place
          from lanes.item i
         where i.received_at >= :since and i.received_at < :until and i.consumer is not null
           and not exists (select from lanes.figure_consumer c where c.workload = i.workload and c.consumer = i.consumer)
         group by i.workload, i.consumer) u
 where place + (select count(*) from lanes.figure_consumer c where c.workload = u.workload) <= {CONSUMERS}
"""
FIGURES = f"""
with every as materialized ({EVERYTHING}),
hours as materialized (
  select date_trunc('hour', at, 'UTC') as at, {OF}, {SUMMED} from every group by date_trunc('hour', at, 'UTC'), {OF}),
days as (
  select date_trunc('day', at, 'UTC') as at, {OF}, {SUMMED} from hours group by date_trunc('day', at, 'UTC'), {OF}),
counted as (
  insert into lanes.figure (grain, at, {OF}, {MEASURED})
  select 'minute', at, {OF}, {MEASURED} from every where {IS_BY_MINUTE}
  union all
  select 'hour', at, {OF}, {MEASURED} from hours
  union all
  select 'day', at, {OF}, {MEASURED} from days),
timed as materialized (
  select date_trunc('hour', at, 'UTC') as at, {OF}, b.bucket, sum(b.n)::bigint as n
    from (select at, {TIMED}, buckets, counts from every where buckets is not null) each
   cross join lateral unnest(buckets, counts) b (bucket, n)
   group by date_trunc('hour', at, 'UTC'), {OF}, b.bucket)
insert into lanes.figure_spread (grain, at, {OF}, buckets, counts)
select 'minute', at, {OF}, buckets, counts from every where buckets is not null and {IS_BY_MINUTE}
union all
select 'hour', at, {OF}, array_agg(bucket), array_agg(n) from timed group by at, {OF}
union all
select 'day', at, {OF}, array_agg(bucket), array_agg(n)
  from (select date_trunc('day', at, 'UTC') as at, {OF}, bucket, sum(n)::bigint as n
          from timed group by date_trunc('day', at, 'UTC'), {OF}, bucket) days_timed
 group by at, {OF}
"""
PEAKED = """
insert into lanes.figure_peak (workload, at, n)
select workload, date_trunc('hour', at, 'UTC'), max(n)
  from (select workload, at, sum(n) as n from lanes.figure
         where grain = 'minute' and kind = 'item' and word <> 'canceled' and at >= :since and at < :until
         group by workload, at) minutes
 group by 1, 2
"""
FILLED = (HEARD, FIGURES, PEAKED)
