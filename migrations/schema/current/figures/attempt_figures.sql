-- A valid try is held against what the route in force when it ended had said.
create or replace function lanes.attempt_figures(ids bigint[])
returns setof lanes.figure_row
language sql stable as $$
  select f.at, a.workload, null::bigint, a.lane, a.purpose, null::text, f.kind, a.outcome, 1::bigint, a.shown::int::bigint,
         a.cost_usd, a.bound_usd, r.realtime_usd, r.batch_usd, a.input_tokens::bigint, a.output_tokens::bigint,
         a.cache_read_tokens::bigint, a.cache_write_tokens::bigint, f.first_at, f.last_at, null::int
    from lanes.attempt a
    join lanes.item i on i.id = a.item_id
    left join lateral (
      select r.realtime_usd, r.batch_usd from lanes.route r
       where r.item_id = a.item_id and a.outcome = 'valid'
       order by r.decided_at <= a.ended_at desc, case when r.decided_at <= a.ended_at then -r.id else r.id end
       limit 1) r on true
   cross join lateral (
      select 'attempt' as kind, date_trunc('minute', a.ended_at, 'UTC') as at, null::timestamptz as first_at, null::timestamptz as last_at
      union all
      select 'try', date_trunc('minute', i.received_at, 'UTC'), a.started_at, a.ended_at) f
   where a.id = any (attempt_figures.ids)
$$;

comment on function lanes.attempt_figures is 'What these tries count for';
