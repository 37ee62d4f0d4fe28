-- Most updates of an item move it nowhere: those are seen without a look at any table.
create or replace function lanes.count_moved()
returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  gone lanes.item_state[];
  come lanes.item_state[];
  whole boolean;
begin
  select array_agg(row(o.id, o.workload, o.received_at, o.due_at, o.urgent, o.consumer, o.answered_at, o.settled_at, o.failed_at,
                       o.canceled_at)::lanes.item_state),
         array_agg(row(n.id, n.workload, n.received_at, n.due_at, n.urgent, n.consumer, n.answered_at, n.settled_at, n.failed_at,
                       n.canceled_at)::lanes.item_state),
         bool_or(o.canceled_at is distinct from n.canceled_at)
    into gone, come, whole
    from before o join after n on n.id = o.id
   where (o.answered_at, o.settled_at, o.failed_at, o.canceled_at)
         is distinct from (n.answered_at, n.settled_at, n.failed_at, n.canceled_at);
  if gone is not null then perform lanes.keep_figures('item', '{}', gone, come, whole); end if;
  return null;
end $$;

comment on function lanes.count_moved is 'Whoever moves an item, in whatever way, moves it in the figures';
