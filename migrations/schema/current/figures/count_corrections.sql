--- Counts new corrections in the figures
create or replace function lanes.count_corrections()
returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_sort = off set enable_memoize = off as $$
begin
  insert into lanes.figure_delta (at, workload, version_id, kind, n, items)
  select f.at, i.workload, r.version_id, f.kind, sum(f.n), sum(f.items)
    from added a
   cross join lateral (select i.workload, i.received_at from lanes.item i where i.id = a.item_id offset 0) i
   cross join lateral (
      select r.item_id, r.version_id, r.generation, r.revision, r.standing, r.created_at from lanes.result r
       where r.id = a.authoritative_id offset 0) r
    left join lateral (
      select true as both from lanes.result p
       where p.item_id = r.item_id and p.generation = r.generation and p.revision = r.revision
         and p.standing = 'provisional' and r.standing = 'authoritative' offset 0) p on true
   cross join lateral (values
      ('correction', 1, 0, date_trunc('minute', a.corrected_at, 'UTC')),
      ('agreement', 0, 1, case when p.both then date_trunc('minute', r.created_at, 'UTC') end),
      ('compared', 0, 1, case when p.both and r.generation = 0 then date_trunc('minute', i.received_at, 'UTC') end)
    ) f (kind, n, items, at)
   where f.at is not null
   group by 1, 2, 3, 4;
  return null;
end $$;
