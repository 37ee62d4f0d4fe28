create or replace view lanes.lane_latency as
with answered as (
  select i.workload, r.lane, date_trunc('minute', r.created_at) as minute,
         extract(epoch from r.created_at - i.received_at) as seconds
    from lanes.result r join lanes.item i on i.id = r.item_id
   where r.generation = 0),
latency as (
  select workload, lane, minute, count(*) as items,
         percentile_cont(0.5) within group (order by seconds) as p50_s,
         percentile_cont(0.95) within group (order by seconds) as p95_s,
         percentile_cont(0.99) within group (order by seconds) as p99_s
    from answered group by workload, lane, minute),
tried as (
  select workload, lane, date_trunc('minute', ended_at) as minute,
         count(*) filter (where outcome <> 'valid')::float8 / count(*) as error_rate
    from lanes.attempt group by workload, lane, date_trunc('minute', ended_at))
select workload, lane, minute, coalesce(items, 0) as items, p50_s, p95_s, p99_s, coalesce(error_rate, 0) as error_rate
  from latency full join tried using (workload, lane, minute);

comment on view lanes.lane_latency is 'Seconds from received to answered, and the share of failed tries, by minute';
