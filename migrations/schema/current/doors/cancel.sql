-- No key of an item changes here, so a transaction that only refers to the item (a read, a label) waits for nothing.
--- Withdraws an item that is not settled; what a batch already holds is billed, recorded and never shown
create or replace function lanes.cancel(workload text, key text, at timestamptz default clock_timestamp())
returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  target lanes.item;
begin
  select i.* into target from lanes.item i
   where i.workload = cancel.workload and i.key = cancel.key and (i.position is null or i.position > 0) for no key update;
  if target.id is null or not lanes.is_own(lanes.own_consumers(), target.consumer) then return 'unknown_item'; end if;
  if target.canceled_at is not null then return 'canceled'; end if;
  if target.settled_at is not null then return 'settled'; end if;
  if target.archive_id is not null then return 'archived'; end if;
  perform lanes.cancel_items(array[target.id], at);
  perform pg_notify('lanes', '');
  return 'canceled';
end $$;
