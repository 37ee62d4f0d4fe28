-- A plan for the moment that is asked for: one for any moment reads all items of the consumer.
--- The items of own consumers that were received from a moment on, as `own_items` shows them
create or replace function lanes.own_items_since(since timestamptz)
returns setof lanes.own_items
language sql stable security definer set search_path = pg_catalog, pg_temp set plan_cache_mode = force_custom_plan as $$
  select s.workload, s.key, s.lane, s.state, s.received_at, s.due_at, s.answered_at, s.settled_at, s.consumer, s.entity, s.failure
    from lanes.item_status s
   where s.received_at >= since and s.consumer = any ((select lanes.own_consumers())::text[])
$$;
