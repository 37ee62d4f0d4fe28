-- Where both lanes answered a revision of an item, that comparison counts instead of the one before it.
--- Counts new results in the figures
create or replace function lanes.count_results()
returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_sort = off set enable_memoize = off as $$
begin
  insert into lanes.figure_delta (at, workload, version_id, lane, kind, word, n, items, buckets, counts)
  with given as materialized (
    select a.id, a.item_id, a.version_id, a.lane, a.standing, a.generation, a.revision, a.created_at, i.workload, i.received_at
      from added a
     cross join lateral (select i.workload, i.received_at from lanes.item i where i.id = a.item_id offset 0) i),
  timed as materialized (
    select date_trunc('minute', g.created_at, 'UTC') as created_at, date_trunc('minute', g.received_at, 'UTC') as received_at, g.workload,
           g.version_id, g.lane, g.standing, lanes.figure_bucket(g.created_at - g.received_at) as bucket, count(*) as n
      from given g where g.generation = 0 group by 1, 2, 3, 4, 5, 6, 7),
  compared as (
    select g.id, g.item_id, g.version_id, g.generation, g.created_at, g.workload, g.received_at
      from given g
     cross join lateral (
        select from lanes.result p
         where p.item_id = g.item_id and p.generation = g.generation and p.revision = g.revision and p.standing = 'provisional'
        offset 0) p
     where g.standing = 'authoritative'
    offset 0)
  select created_at, workload, version_id, lane, 'result', standing, sum(n)::bigint, 0, array_agg(bucket), array_agg(n)
    from (select created_at, workload, version_id, lane, standing, bucket, sum(n)::bigint as n from timed group by 1, 2, 3, 4, 5, 6) r
   group by 1, 2, 3, 4, 6
  union all
  select received_at, workload, version_id, lane, 'answer', standing, sum(n)::bigint, 0, array_agg(bucket), array_agg(n)
    from (select received_at, workload, version_id, lane, standing, bucket, sum(n)::bigint as n from timed group by 1, 2, 3, 4, 5, 6) r
   group by 1, 2, 3, 4, 6
  union all
  select f.at, g.workload, s.version_id, null, f.kind, null, sum(s.n), sum(s.items), null, null
    from compared g
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
      (1, 0, g.created_at, g.version_id), (-1, -before.corrected::int, before.created_at, before.version_id)) s (n, items, at, version_id)
   cross join lateral (values
      ('agreement', date_trunc('minute', s.at, 'UTC')),
      ('compared', case when g.generation = 0 then date_trunc('minute', g.received_at, 'UTC') end)) f (kind, at)
   where s.at is not null and f.at is not null
   group by 1, 2, 3, 5;
  return null;
end $$;
