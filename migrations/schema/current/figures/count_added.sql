create or replace function lanes.count_added()
returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  ids bigint[] := array(select id from added);
  states lanes.item_state[];
begin
  if cardinality(ids) = 0 then return null; end if;
  if tg_table_name in ('route', 'read') then
    states := array(select row(i.id, i.workload, i.received_at, i.due_at, i.urgent, i.consumer, i.answered_at, i.settled_at,
                               i.failed_at, i.canceled_at)::lanes.item_state
                      from lanes.item i where i.id in (select item_id from added));
  end if;
  if tg_table_name = 'route' then
    perform lanes.keep_figures('route', ids, states, states, routes_before => (select min(id) from unnest(ids) id));
  elsif tg_table_name = 'read' then
    perform lanes.keep_figures('read', ids, states, states, reads_before => (select min(id) from unnest(ids) id));
  else
    perform lanes.keep_figures(tg_table_name, ids);
  end if;
  return null;
end $$;

comment on function lanes.count_added is 'Whoever writes facts, in whatever way, adds them to the figures';
