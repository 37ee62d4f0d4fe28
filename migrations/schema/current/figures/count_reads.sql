-- The first read of what real time answered first counts: an earlier one takes the place of a later one.
--- Counts new reads in the figures
create or replace function lanes.count_reads()
returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_sort = off set enable_memoize = off as $$
begin
  insert into lanes.figure_delta (at, workload, consumer, kind, n, items, buckets, counts)
  with taken as materialized (
    select i.at, i.workload, i.consumer, i.answered_at, t.read_at, t.read_before
      from (select a.item_id, min(a.id) as first_id from added a where a.result_id is not null group by 1) d
     cross join lateral (
        select date_trunc('minute', i.received_at, 'UTC') as at, i.workload, i.consumer, i.answered_at from lanes.item i
         where i.id = d.item_id and i.answered_at is not null and i.canceled_at is null offset 0) i
     cross join lateral (
        select r.lane from lanes.result r
         where r.item_id = d.item_id and r.generation = 0 order by r.created_at, r.id + 0 limit 1) a
     cross join lateral (
        select min(r.read_at) as read_at, min(r.read_at) filter (where r.id < d.first_id) as read_before from lanes.read r
         where r.item_id = d.item_id and r.result_id is not null and r.read_at >= i.answered_at) t
     where a.lane = 'realtime' and t.read_at is distinct from t.read_before)
  select at, workload, consumer, 'read', sum(n)::bigint, sum(items)::bigint, array_agg(bucket), array_agg(n)
    from (select t.at, t.workload, t.consumer, lanes.figure_bucket(s.read_at - t.answered_at) as bucket, sum(s.sign)::bigint as n,
                 coalesce(sum(s.sign) filter (where s.read_at <= t.answered_at + interval '1 minute'), 0) as items
            from taken t cross join lateral (values (-1, t.read_before), (1, t.read_at)) s (sign, read_at)
           where s.read_at is not null group by 1, 2, 3, 4) read
   group by 1, 2, 3;
  return null;
end $$;
