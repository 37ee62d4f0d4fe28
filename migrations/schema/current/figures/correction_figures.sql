create or replace function lanes.correction_figures(ids bigint[])
returns setof lanes.figure_row
language sql stable as $$
  select f.at, i.workload, a.version_id, null::text, null::text, null::text, f.kind, null::text, f.n::bigint, f.items::bigint,
         null::numeric, null::numeric, null::numeric, null::numeric, null::bigint, null::bigint, null::bigint, null::bigint,
         null::timestamptz, null::timestamptz, null::int
    from lanes.correction c
    join lanes.item i on i.id = c.item_id
    join lanes.result a on a.id = c.authoritative_id
    left join lanes.result p on p.item_id = a.item_id and p.generation = a.generation and p.revision = a.revision
                            and p.standing = 'provisional' and a.standing = 'authoritative'
   cross join lateral (values
      ('correction', 1, null, date_trunc('minute', c.corrected_at, 'UTC')),
      ('agreement', 0, 1, case when p.id is not null then date_trunc('minute', a.created_at, 'UTC') end),
      ('compared', 0, 1, case when p.id is not null and a.generation = 0 then date_trunc('minute', i.received_at, 'UTC') end)
    ) f (kind, n, items, at)
   where c.id = any (correction_figures.ids) and f.at is not null
$$;

comment on function lanes.correction_figures is 'What these corrections count for';
