-- How counting looks things up, here and in the functions beside this one: a plan is made once for a session, perhaps while the
-- tables are empty. So each look-up is a query of its own (`offset 0`, `limit 1`) that names what an index begins with, and orders
-- by what no index has (`id + 0`) or the whole index has: there is no other plan for it, and none that walks through a table.
-- What most rows need is found by one walk along an index (`= any (array(...))`) and joined by hash (`enable_nestloop`), which
-- takes a third of a lateral look-up for each row; what few rows need is lateral.
-- What is found counts as lanes/store/current/counts.py says, which also holds what stands in braces.
--- Counts new routes, and their items, in the figures
create or replace function lanes.count_routes()
returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_sort = off set enable_memoize = off set enable_nestloop = off as $$
begin
  insert into lanes.figure_delta ({columns})
  with routes as (select * from added),
  {made routed},
  {made raised}
  {counted routed raised};

  -- Most items have their first route: they counted for nothing before.
  insert into lanes.figure_delta ({columns})
  with chosen as (
    select a.item_id, a.id, a.version_id, a.lane, a.reason, a.realtime_usd, a.batch_usd, row_number() over of_item = 1 as is_first,
           lead(a.id) over of_item is null as is_newest
      from added a window of_item as (partition by a.item_id order by a.id)),
  found as materialized (
    select d.*, i.*, b.lane as lane_before, b.realtime_usd as realtime_before, b.batch_usd as batch_before,
           d.is_first and b.lane is null and i.canceled_at is null as is_asked
      from chosen d
      join (
        select i.id as known_id, date_trunc('minute', i.received_at, 'UTC') as received_at, i.workload, i.consumer, i.urgent,
               i.due_at - i.received_at as due_in, (i.answered_at is not null)::int as answered, i.canceled_at,
               lanes.figure_stands(i.answered_at, i.settled_at, i.failed_at, i.canceled_at) as word
          from lanes.item i where i.id = any (array(select item_id from added)) offset 0) i on i.known_id = d.item_id
      left join (
        select r.item_id, r.lane, r.realtime_usd, r.batch_usd, lead(r.id) over (partition by r.item_id order by r.id) as next_id
          from lanes.route r where r.item_id = any (array(select item_id from added))) b
             on b.item_id = d.item_id and b.next_id = d.id and d.is_first),
  stood as (
    select received_at, workload, lane, word, 1 as n, answered as items, realtime_usd, batch_usd from found where is_newest
    union all
    select received_at, workload, lane_before, word, -1, -answered, -coalesce(realtime_before, 0), -coalesce(batch_before, 0)
      from found where is_first and (lane_before is not null or canceled_at is not null)),
  asked as (select f.*, 1 as n from found f where f.is_asked)
  {counted stood asked};
  return null;
end $$;
