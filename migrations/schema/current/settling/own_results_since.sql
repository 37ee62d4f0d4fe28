-- As in own_items_since, a plan for that moment.
--- The answers to items of own consumers that were saved from a moment on, as `own_results` shows them
create or replace function lanes.own_results_since(since timestamptz)
returns setof lanes.own_results
language sql stable security definer set search_path = pg_catalog, pg_temp set plan_cache_mode = force_custom_plan as $$
  select r.workload, r.key, r.output, r.standing, r.generation, r.lane, r.created_at, r.consumer, r.entity
    from lanes.current_results r
   where r.created_at >= since and r.consumer = any ((select lanes.own_consumers())::text[])
$$;
