create or replace function lanes.route_figures(ids bigint[])
returns setof lanes.figure_row
language sql stable as $$
  select date_trunc('minute', r.decided_at, 'UTC'), i.workload, r.version_id, r.lane, null::text, null::text, 'route'::text,
         r.reason, 1::bigint, null::bigint, null::numeric, null::numeric, r.realtime_usd, r.batch_usd, null::bigint, null::bigint,
         null::bigint, null::bigint, null::timestamptz, null::timestamptz, null::int
    from lanes.route r join lanes.item i on i.id = r.item_id
   where r.id = any (route_figures.ids)
$$;

comment on function lanes.route_figures is 'What these decisions count for';
