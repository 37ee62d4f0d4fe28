create or replace function lanes.response_figures(ids bigint[])
returns setof lanes.figure_row
language sql stable as $$
  select date_trunc('minute', r.billed_at, 'UTC'), r.workload, null::bigint, r.lane, r.purpose, null::text, 'call'::text, null::text,
         1::bigint, r.items::bigint, r.cost_usd, null::numeric, null::numeric, null::numeric, r.input_tokens::bigint,
         r.output_tokens::bigint, r.cache_read_tokens::bigint, r.cache_write_tokens::bigint, null::timestamptz,
         null::timestamptz, null::int
    from lanes.response r
   where r.id = any (response_figures.ids)
$$;

comment on function lanes.response_figures is 'What these billed responses count for';
