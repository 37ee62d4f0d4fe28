-- Where both lanes answered a revision of an item, that comparison counts instead of the one before it.
--- Counts new results in the figures
create or replace function lanes.count_results()
returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_sort = off set enable_memoize = off set enable_nestloop = off as $$
begin
  insert into lanes.figure_delta ({columns})
  with results as materialized (
    select a.id, a.item_id, a.version_id, a.lane, a.standing, a.generation, a.revision, a.created_at, i.workload, i.received_at
      from added a
      join (select i.id, i.workload, i.received_at from lanes.item i
             where i.id = any (array(select item_id from added)) offset 0) i on i.id = a.item_id),
  {made given},
  found as (
    select g.id, g.item_id, g.version_id, g.generation, g.created_at, g.workload, g.received_at
      from results g
      join (select p.item_id, p.generation, p.revision from lanes.result p
             where p.item_id = any (array(select item_id from added where standing = 'authoritative')) and p.standing = 'provisional'
            offset 0) p on p.item_id = g.item_id and p.generation = g.generation and p.revision = g.revision
     where g.standing = 'authoritative'
    offset 0),
  compared as materialized (
    select date_trunc('minute', s.created_at, 'UTC') as created_at, date_trunc('minute', g.received_at, 'UTC') as received_at,
           g.workload, g.generation, s.version_id, s.n, s.items
      from found g
      left join lateral (
        select b.id, b.created_at, b.version_id,
               exists (select from lanes.correction c where c.item_id = b.item_id and c.authoritative_id = b.id) as corrected
          from lanes.result b
         where b.item_id = g.item_id and b.generation = g.generation and b.standing = 'authoritative' and b.id + 0 < g.id
           and exists (select from lanes.result q
                        where q.item_id = b.item_id and q.generation = b.generation and q.revision = b.revision
                          and q.standing = 'provisional')
         order by b.created_at desc, b.id + 0 desc limit 1) before on true
     cross join lateral (values
        (1, 0, g.created_at, g.version_id), (-1, -before.corrected::int, before.created_at, before.version_id)
       ) s (n, items, created_at, version_id)
     where s.created_at is not null)
  {counted given compared};
  return null;
end $$;
