-- One pass over counts and durations, so that a condition on workload, lane or minute reaches all of them.
--- Seconds from received to answered, right within 2 %, and the share of failed tries, by minute, of the last 35 days
---   workload: Name of the workload
---   lane: The lane that answered
---   minute: The minute in which the answers came and the tries ended
---   items: How many items were answered in it
---   p50_s: Seconds from received to answered that half of them kept; null: none was answered
---   p95_s: Seconds from received to answered that 95 % of them kept; null: none was answered
---   p99_s: Seconds from received to answered that 99 % of them kept; null: none was answered
---   error_rate: Share of the tries that ended without a valid answer, 0 to 1
create or replace view lanes.lane_latency as
with counted as (
  select workload, lane, at as minute, kind, word, n, null::int as bucket from lanes.figure
   where grain = 'minute' and kind in ('result', 'attempt') and coalesce(purpose, '') not in ('shadow', 'golden')
  union all
  select workload, lane, at, kind, word, n, null from lanes.figure_delta
   where kind in ('result', 'attempt') and coalesce(purpose, '') not in ('shadow', 'golden')
  union all
  select h.workload, h.lane, h.at, 'took', null, b.n, b.bucket
    from lanes.figure_spread h cross join lateral unnest(h.buckets, h.counts) b (bucket, n)
   where h.grain = 'minute' and h.kind = 'result'
  union all
  select d.workload, d.lane, d.at, 'took', null, b.n, b.bucket
    from lanes.figure_delta d cross join lateral unnest(d.buckets, d.counts) b (bucket, n)
   where d.kind = 'result'),
each as (
  select workload, lane, minute, bucket, coalesce(sum(n) filter (where kind = 'result'), 0) as answers,
         coalesce(sum(n) filter (where kind = 'attempt'), 0) as tries,
         coalesce(sum(n) filter (where kind = 'attempt' and word <> 'valid'), 0) as failed,
         coalesce(sum(n) filter (where kind = 'took'), 0)::bigint as n
    from counted group by workload, lane, minute, bucket),
ranked as (
  select workload, lane, minute, bucket, answers, tries, failed, n,
         (sum(n) over (partition by workload, lane, minute order by bucket nulls first))::bigint as upto,
         (sum(n) over (partition by workload, lane, minute))::bigint as whole
    from each)
select workload, lane, minute, sum(answers)::bigint as items,
       sum(lanes.figure_seconds(bucket) * lanes.figure_weight(0.5, upto, n, whole)) as p50_s,
       sum(lanes.figure_seconds(bucket) * lanes.figure_weight(0.95, upto, n, whole)) as p95_s,
       sum(lanes.figure_seconds(bucket) * lanes.figure_weight(0.99, upto, n, whole)) as p99_s,
       coalesce(sum(failed)::float8 / nullif(sum(tries), 0)::float8, 0) as error_rate
  from ranked
 group by workload, lane, minute
having sum(answers) <> 0 or sum(tries) <> 0;
