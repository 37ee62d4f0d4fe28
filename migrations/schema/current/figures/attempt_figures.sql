-- A valid try is held against what the route in force when it ended had said. Routes are ordered by their item first, so that no
-- plan walks through all of them by their number.
create or replace function lanes.attempt_figures(ids bigint[])
returns setof lanes.figure_row
language sql stable as $$
  with tried as (
    select date_trunc('minute', a.ended_at, 'UTC') as ended_at, date_trunc('minute', i.received_at, 'UTC') as received_at,
           a.workload collate "C" as workload, w.version_id, a.lane collate "C" as lane, a.purpose collate "C" as purpose,
           a.outcome collate "C" as outcome,
           case when a.lane = 'realtime' and a.purpose = 'answer' and a.message_id is not null
                then lanes.figure_bucket(a.started_at - i.received_at) end as waited, count(*) as n, count(*) filter (where a.shown) as shown, sum(a.cost_usd) as usd,
           sum(a.bound_usd) as bound_usd, sum(coalesce(r.realtime_usd, first.realtime_usd)) as realtime_usd,
           sum(coalesce(r.batch_usd, first.batch_usd)) as batch_usd, sum(a.input_tokens) as input, sum(a.output_tokens) as output,
           sum(a.cache_read_tokens) as cached, sum(a.cache_write_tokens) as written, min(a.started_at) as first_at,
           max(a.ended_at) as last_at
      from lanes.attempt a
      join lanes.item i on i.id = a.item_id
      join lanes.work w on w.id = a.work_id
      left join lateral (
        select r.realtime_usd, r.batch_usd from lanes.route r
         where r.item_id = a.item_id and r.decided_at <= a.ended_at and a.outcome = 'valid' order by r.item_id desc, r.id desc
         limit 1) r on true
      left join lateral (
        select r.realtime_usd, r.batch_usd from lanes.route r
         where r.item_id = a.item_id and a.outcome = 'valid' order by r.item_id, r.id limit 1) first on r.realtime_usd is null
     where a.id = any (attempt_figures.ids)
     group by 1, 2, 3, 4, 5, 6, 7, 8)
  select t.ended_at, t.workload, t.version_id, t.lane, t.purpose, null::text, 'attempt'::text, t.outcome, t.n, t.shown, t.usd,
         t.bound_usd, t.realtime_usd, t.batch_usd, t.input, t.output, t.cached, t.written, null::timestamptz, null::timestamptz,
         null::int
    from tried t
  union all
  select t.received_at, t.workload, t.version_id, t.lane, t.purpose, null, 'try', t.outcome, t.n, t.shown, t.usd, t.bound_usd,
         t.realtime_usd, t.batch_usd, t.input, t.output, t.cached, t.written, t.first_at, t.last_at, null
    from tried t
  union all
  select t.ended_at, t.workload, t.version_id, t.lane, t.purpose, null, 'buffer', null, t.n, null, null, null, null, null, null,
         null, null, null, null, null, t.waited
    from tried t where t.waited is not null
$$;

comment on function lanes.attempt_figures is 'What these tries count for';
