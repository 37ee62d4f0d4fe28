-- The first read of what real time answered first counts: an earlier one takes the place of a later one.
--- Counts new reads in the figures
create or replace function lanes.count_reads()
returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_sort = off set enable_memoize = off as $$
begin
  insert into lanes.figure_delta ({columns})
  with found as materialized (
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
     where a.lane = 'realtime' and t.read_at is distinct from t.read_before),
  taken as (
    select f.at as received_at, f.workload, f.consumer, s.n, s.read_at - f.answered_at as read_in
      from found f cross join lateral (values (-1, f.read_before), (1, f.read_at)) s (n, read_at))
  {counted taken};
  return null;
end $$;
