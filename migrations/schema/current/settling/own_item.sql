--- The item of an own consumer as `own_items` shows it
create or replace function lanes.own_item(workload text, key text)
returns setof lanes.own_items
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select s.workload, s.key, s.lane, s.state, s.received_at, s.due_at, s.answered_at, s.settled_at, s.consumer, s.entity, s.failure
    from lanes.item_status s
   where s.workload = own_item.workload and s.key = own_item.key and s.consumer = any ((select lanes.own_consumers())::text[])
$$;
