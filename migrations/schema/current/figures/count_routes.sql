-- How counting looks things up, here and in the functions beside this one: a plan is made once for a session, perhaps while the
-- tables are empty. So each look-up is a lateral query of its own (`offset 0`, `limit 1`) that names what an index begins with,
-- and orders by what no index has (`id + 0`): there is no other plan for it, and none that walks through a table.
--- Counts new routes, and their items, in the figures
create or replace function lanes.count_routes()
returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_sort = off set enable_memoize = off as $$
begin
  insert into lanes.figure_delta (at, workload, version_id, lane, kind, word, n, realtime_usd, batch_usd)
  select r.at, v.workload, r.version_id, r.lane, 'route', r.reason, r.n, r.realtime_usd, r.batch_usd
    from (select date_trunc('minute', a.decided_at, 'UTC') as at, a.version_id, a.lane, a.reason, count(*) as n,
                 sum(a.realtime_usd) as realtime_usd, sum(a.batch_usd) as batch_usd
            from added a group by 1, 2, 3, 4) r
   cross join lateral (select v.workload from lanes.version v where v.id = r.version_id offset 0) v;

  -- Most items have their first route: they counted for nothing before.
  insert into lanes.figure_delta (at, workload, lane, consumer, kind, word, n, items, realtime_usd, batch_usd, buckets, counts)
  with decided as (
    select a.item_id, a.id, a.lane, a.reason, a.realtime_usd, a.batch_usd, row_number() over of_item = 1 as is_first,
           lead(a.id) over of_item is null as is_newest
      from added a window of_item as (partition by a.item_id order by a.id)),
  stood as materialized (
    select d.*, i.*, b.lane as lane_before, b.realtime_usd as realtime_before, b.batch_usd as batch_before,
           d.is_first and b.lane is null and i.canceled_at is null as is_asked
      from decided d
     cross join lateral (
        select date_trunc('minute', i.received_at, 'UTC') as at, i.workload, i.consumer, i.urgent, i.due_at - i.received_at as due_in,
               i.answered_at is not null as answered, i.canceled_at,
               lanes.figure_stands(i.answered_at, i.settled_at, i.failed_at, i.canceled_at) as word
          from lanes.item i where i.id = d.item_id offset 0) i
      left join lateral (
        select r.lane, r.realtime_usd, r.batch_usd from lanes.route r
         where r.item_id = d.item_id and d.is_first and r.id + 0 < d.id order by r.id + 0 desc limit 1) b on true)
  select at, workload, lane, null, 'item', word, count(*), count(*) filter (where answered), sum(realtime_usd), sum(batch_usd),
         null::int[], null::bigint[]
    from stood where is_newest group by 1, 2, 3, 6
  union all
  select at, workload, lane_before, null, 'item', word, -count(*), -count(*) filter (where answered),
         -coalesce(sum(realtime_before), 0), -coalesce(sum(batch_before), 0), null, null
    from stood where is_first and (lane_before is not null or canceled_at is not null) group by 1, 2, 3, 6
  union all
  select at, workload, lane, consumer, 'asked', reason, count(*), 0, sum(realtime_usd), sum(batch_usd), null, null
    from stood where is_asked group by 1, 2, 3, 4, 6
  union all
  select at, workload, null, null, 'urgent', null, count(*), 0, 0, 0, null, null
    from stood where is_asked and urgent group by 1, 2
  union all
  select at, workload, null, null, 'due', null, sum(n)::bigint, 0, 0, 0, array_agg(bucket), array_agg(n)
    from (select at, workload, lanes.figure_bucket(due_in) as bucket, count(*) as n
            from stood where is_asked and due_in is not null group by 1, 2, 3) due
   group by 1, 2;
  return null;
end $$;
