-- Where both lanes answered a revision of an item, that comparison counts instead of the one before it.
create or replace function lanes.result_figures(ids bigint[])
returns setof lanes.figure_row
language sql stable as $$
  with given as (
    select date_trunc('minute', r.created_at, 'UTC') as created_at, date_trunc('minute', i.received_at, 'UTC') as received_at,
           i.workload collate "C" as workload, r.version_id, r.lane collate "C" as lane, r.standing collate "C" as standing,
           lanes.figure_bucket(r.created_at - i.received_at) as bucket, count(*) as n
      from lanes.result r join lanes.item i on i.id = r.item_id
     where r.id = any (result_figures.ids) and r.generation = 0
     group by 1, 2, 3, 4, 5, 6, 7)
  select g.created_at, g.workload, g.version_id, g.lane, null::text, null::text, 'result'::text, g.standing, g.n, null::bigint,
         null::numeric, null::numeric, null::numeric, null::numeric, null::bigint, null::bigint, null::bigint, null::bigint,
         null::timestamptz, null::timestamptz, g.bucket
    from given g
  union all
  select g.received_at, g.workload, g.version_id, g.lane, null, null, 'answer', g.standing, g.n, null, null, null, null, null, null, null,
         null, null, null, null, g.bucket
    from given g
  union all
  select f.at, i.workload, c.version_id, null, null, null, f.kind, null, c.n, c.items, null, null, null, null, null, null, null, null, null,
         null, null
    from lanes.result r
    join lanes.result p on p.item_id = r.item_id and p.generation = r.generation and p.revision = r.revision
                       and p.standing = 'provisional'
    join lanes.item i on i.id = r.item_id
    left join lateral (
      select b.id, b.created_at, b.version_id from lanes.result b
        join lanes.result q on q.item_id = b.item_id and q.generation = b.generation and q.revision = b.revision
                           and q.standing = 'provisional'
       where b.item_id = r.item_id and b.generation = r.generation and b.standing = 'authoritative' and b.id + 0 < r.id
       order by b.created_at desc, b.id desc limit 1) before on true  -- by its number alone, all might be walked through
   cross join lateral (values
      (1, 0, r.created_at, r.version_id),
      (-1, -(exists (select from lanes.correction c where c.item_id = r.item_id and c.authoritative_id = before.id))::int,
       before.created_at, before.version_id)) c (n, items, at, version_id)
   cross join lateral (values ('agreement', date_trunc('minute', c.at, 'UTC')),
                              ('compared', case when r.generation = 0 then date_trunc('minute', i.received_at, 'UTC') end))
              f (kind, at)
   where r.id = any (result_figures.ids) and r.standing = 'authoritative' and c.at is not null and f.at is not null
$$;

comment on function lanes.result_figures is 'What these answers count for';
