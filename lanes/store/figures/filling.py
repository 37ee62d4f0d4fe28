"""Figures of a period that has none, all of them at once: minutes as they were summed, hours from those, days from hours."""

from lanes.figures.kinds import HOURLY, Kind
from lanes.store.figures.facts import EVERYTHING
from lanes.store.figures.folding import CONSUMERS
from lanes.store.figures.summing import KEYS, SUMS

OF = f"{', '.join(KEYS)}, kind"
MEASURED = f"n, {', '.join(SUMS)}, first_at, last_at"
SUMMED = f"{', '.join(f'sum({name}) as {name}' for name in ('n', *SUMS))}, min(first_at) as first_at, max(last_at) as last_at"
IS_BY_MINUTE = f"kind not in ({', '.join(repr(each.value) for each in HOURLY)})"
# What was answered first is timed for all consumers together.
TIMED = OF.replace("consumer", f"case when kind <> '{Kind.FIRST}' then consumer end as consumer")

# Whoever was not heard of yet, as long as there is room.
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
COUNTED = f"""
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
FILLED = (HEARD, COUNTED, PEAKED)
