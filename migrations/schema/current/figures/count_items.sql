-- Most updates of an item move it nowhere. How it stood is joined by hash (`enable_nestloop`), also where a plan was made for one.
--- Counts each change of items in the figures, and in their jobs
create or replace function lanes.count_items()
returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_sort = off set enable_memoize = off set enable_nestloop = off as $$
begin
  with changed as (
    select n.id, n.job_id, date_trunc('minute', n.received_at, 'UTC') as at, n.workload, n.consumer, n.received_at, n.due_at, n.urgent,
           o.answered_at as answered_before, n.answered_at, o.failed_at as failed_before, n.failed_at,
           o.result_id is not null or o.answered_at is not null as is_shown_before,
           o.canceled_at is not null as canceled_before, n.canceled_at is not null as canceled,
           lanes.figure_stands(o.answered_at, o.settled_at, o.failed_at, o.canceled_at) as word_before,
           lanes.figure_stands(n.answered_at, n.settled_at, n.failed_at, n.canceled_at) as word
      from before o join added n on n.id = o.id
     where (o.answered_at, o.settled_at, o.failed_at, o.canceled_at)
           is distinct from (n.answered_at, n.settled_at, n.failed_at, n.canceled_at)),
  moved as materialized (
    select m.*, r.lane, r.realtime_usd, r.batch_usd
      from changed m
      left join (
        select distinct on (r.item_id) r.item_id, r.lane, r.realtime_usd, r.batch_usd from lanes.route r
         where r.item_id = any (array(select id from changed)) order by r.item_id desc, r.id desc) r on r.item_id = m.id),
  of_jobs as (
    insert into lanes.job_use (job_id, answered, settled, failed, canceled)
    select job_id, sum((word = 'answered')::int - (word_before = 'answered')::int),
           sum((word = 'settled')::int - (word_before = 'settled')::int),
           sum((word = 'failed')::int - (word_before = 'failed')::int),
           sum((word = 'canceled')::int - (word_before = 'canceled')::int)
      from moved where job_id is not null group by 1)
  insert into lanes.figure_delta ({columns})
  with stood as (
    select at as received_at, workload, lane, word, 1 as n, (answered_at is not null)::int as items,
           coalesce(realtime_usd, 0) as realtime_usd, coalesce(batch_usd, 0) as batch_usd
      from moved where lane is not null or canceled
    union all
    select at, workload, lane, word_before, -1, -(answered_before is not null)::int, -coalesce(realtime_usd, 0),
           -coalesce(batch_usd, 0)
      from moved where lane is not null or canceled_before),
  answered as materialized (
    select m.at as received_at, m.workload, m.consumer, a.lane, s.n, s.answered_at - m.received_at as took,
           t.read_at - s.answered_at as read_in
      from moved m
     cross join lateral (values (-1, m.answered_before, m.canceled_before), (1, m.answered_at, m.canceled)) s (n, answered_at, canceled)
      join (
        select distinct on (r.item_id) r.item_id, r.lane from lanes.result r
         where r.item_id = any (array(select id from moved where coalesce(answered_at, answered_before) is not null))
           and r.generation = 0 order by r.item_id, r.created_at, r.id) a on a.item_id = m.id
      left join lateral (
        select min(r.read_at) as read_at from lanes.read r
         where r.item_id = m.id and r.result_id is not null and r.read_at >= s.answered_at and a.lane = 'realtime'
           and m.is_shown_before) t on true  -- an item that showed nothing was not read
     where s.answered_at is not null and not s.canceled
       and (m.canceled <> m.canceled_before or m.answered_at is distinct from m.answered_before)),
  taken as (select * from answered),
  asked as materialized (
    select m.at as received_at, m.workload, m.consumer, m.urgent, m.due_at - m.received_at as due_in, s.n, f.version_id, f.lane, f.reason,
           s.n * f.realtime_usd as realtime_usd, s.n * f.batch_usd as batch_usd
      from moved m
     cross join lateral (select case when m.canceled then -1 else 1 end as n) s
     cross join lateral (
        select r.version_id, r.lane, r.reason, r.realtime_usd, r.batch_usd from lanes.route r
         where r.item_id = m.id order by r.id + 0 limit 1) f
     where m.canceled <> m.canceled_before),
  ends as (
    select m.id as item_id, m.workload, m.received_at, m.due_at, s.n, s.at, s.answered_at
      from moved m
     cross join lateral (values
        (-1, coalesce(m.answered_before, m.failed_before), m.answered_before, m.canceled_before),
        (1, coalesce(m.answered_at, m.failed_at), m.answered_at, m.canceled)) s (n, at, answered_at, canceled)
     where m.due_at is not null and s.at is not null and not s.canceled
       and (m.answered_before, m.failed_before, m.canceled_before) is distinct from (m.answered_at, m.failed_at, m.canceled)),
  {made decided}
  {counted stood asked answered taken decided};
  return null;
end $$;
