-- Most items have their first route: they counted for nothing before. `+ 0`: no plan looks for those by their number, through all.
create or replace function lanes.count_added()
returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
  ids bigint[] := array(select id from added);
  first bigint := (select min(id) from added);
  come lanes.item_state[];
  gone lanes.item_state[];
begin
  if first is null then return null; end if;
  if tg_table_name = 'route' then
    select array_agg(s::lanes.item_state), array_agg(s::lanes.item_state) filter (where exists (select from lanes.route r where r.item_id = s.id and r.id + 0 < first))
      into come, gone
      from (select i.id, i.workload, i.received_at, i.due_at, i.urgent, i.consumer, i.answered_at, i.settled_at, i.failed_at,
                   i.canceled_at
              from lanes.item i where i.id in (select item_id from added)) s;
    perform lanes.keep_figures('route', ids, coalesce(gone, '{}'), come, routes_before => first);
  elsif tg_table_name = 'read' then
    come := array(select row(i.id, i.workload, i.received_at, i.due_at, i.urgent, i.consumer, i.answered_at, i.settled_at,
                             i.failed_at, i.canceled_at)::lanes.item_state
                    from lanes.item i where i.answered_at is not null and i.id in (select item_id from added));
    if cardinality(come) > 0 then
      perform lanes.keep_figures('read', '{}', come, come, whole => false, reads_before => first);
    end if;
  else
    perform lanes.keep_figures(tg_table_name, ids);
  end if;
  return null;
end $$;

comment on function lanes.count_added is 'Whoever writes facts, in whatever way, adds them to the figures';
