-- A valid try is held against what the route in force when it ended had said, or else the first.
--- Counts new attempts in the figures
create or replace function lanes.count_attempts()
returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_sort = off set enable_memoize = off as $$
begin
  insert into lanes.figure_delta (at, workload, version_id, lane, purpose, kind, word, n, items, usd, bound_usd, realtime_usd,
                                  batch_usd, input, output, cached, written, first_at, last_at, buckets, counts)
  with tried as materialized (
    select date_trunc('minute', a.ended_at, 'UTC') as ended_at, date_trunc('minute', i.received_at, 'UTC') as received_at, a.workload,
           a.version_id, a.lane, a.purpose, a.outcome,
           case when a.lane = 'realtime' and a.purpose = 'answer' and a.message_id is not null
                then lanes.figure_bucket(a.started_at - i.received_at) end as waited,
           a.left_because,
           case when a.gathered_ms is not null then lanes.figure_bucket(a.gathered_ms * interval '1 millisecond') end as gathered,
           count(*) as n, count(*) filter (where a.shown) as shown, sum(a.cost_usd) as usd, sum(a.bound_usd) as bound_usd,
           coalesce(sum(r.realtime_usd), 0) as realtime_usd, coalesce(sum(r.batch_usd), 0) as batch_usd,
           sum(a.input_tokens) as input, sum(a.output_tokens) as output, sum(a.cache_read_tokens) as cached,
           sum(a.cache_write_tokens) as written, min(a.started_at) as first_at, max(a.ended_at) as last_at
      from added a
     cross join lateral (select i.received_at from lanes.item i where i.id = a.item_id offset 0) i
      left join lateral (
        select r.realtime_usd, r.batch_usd from lanes.route r
         where r.item_id = a.item_id and a.outcome = 'valid'
         order by r.decided_at > a.ended_at, case when r.decided_at > a.ended_at then r.id else -r.id end limit 1) r on true
     group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
  select ended_at, workload, version_id, lane, purpose, 'attempt', outcome, sum(n)::bigint, sum(shown)::bigint, sum(usd),
         sum(bound_usd), sum(realtime_usd), sum(batch_usd), sum(input)::bigint, sum(output)::bigint, sum(cached)::bigint,
         sum(written)::bigint, null::timestamptz, null::timestamptz, null::int[], null::bigint[]
    from tried group by 1, 2, 3, 4, 5, 7
  union all
  select received_at, workload, version_id, lane, purpose, 'try', outcome, sum(n)::bigint, sum(shown)::bigint, sum(usd),
         sum(bound_usd), sum(realtime_usd), sum(batch_usd), sum(input)::bigint, sum(output)::bigint, sum(cached)::bigint,
         sum(written)::bigint, min(first_at), max(last_at), null, null
    from tried group by 1, 2, 3, 4, 5, 7
  union all
  select ended_at, workload, version_id, lane, purpose, 'buffer', null, sum(n)::bigint, 0, 0, 0, 0, 0, 0, 0, 0, 0, null, null,
         array_agg(waited), array_agg(n)
    from (select ended_at, workload, version_id, lane, purpose, waited, sum(n)::bigint as n
            from tried where waited is not null group by 1, 2, 3, 4, 5, 6) buffer
   group by 1, 2, 3, 4, 5
  union all
  select ended_at, workload, version_id, lane, purpose, 'gathered', left_because, sum(n)::bigint, 0, 0, 0, 0, 0, 0, 0, 0, 0, null,
         null, array_agg(gathered), array_agg(n)
    from (select ended_at, workload, version_id, lane, purpose, left_because, gathered, sum(n)::bigint as n
            from tried where gathered is not null group by 1, 2, 3, 4, 5, 6, 7) windows
   group by 1, 2, 3, 4, 5, 7;
  return null;
end $$;
