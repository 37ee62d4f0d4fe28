--- Counts new corrections in the figures
create or replace function lanes.count_corrections()
returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_sort = off set enable_memoize = off as $$
begin
  insert into lanes.figure_delta ({columns})
  with found as materialized (
    select date_trunc('minute', a.corrected_at, 'UTC') as corrected_at, date_trunc('minute', i.received_at, 'UTC') as received_at,
           date_trunc('minute', r.created_at, 'UTC') as created_at, i.workload, r.version_id, r.generation, p.both
      from added a
     cross join lateral (select i.workload, i.received_at from lanes.item i where i.id = a.item_id offset 0) i
     cross join lateral (
        select r.item_id, r.version_id, r.generation, r.revision, r.standing, r.created_at from lanes.result r
         where r.id = a.authoritative_id offset 0) r
      left join lateral (
        select true as both from lanes.result p
         where p.item_id = r.item_id and p.generation = r.generation and p.revision = r.revision
           and p.standing = 'provisional' and r.standing = 'authoritative' offset 0) p on true),
  corrected as (select f.*, 1 as n from found f),
  compared as (select f.*, 0 as n, 1 as items from found f where f.both)
  {counted corrected compared};
  return null;
end $$;
