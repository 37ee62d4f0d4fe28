-- As in own_items_since, a plan for that moment.
--- The corrections of items of own consumers from a moment on, as `own_corrections` shows them
create or replace function lanes.own_corrections_since(since timestamptz)
returns setof lanes.own_corrections
language sql stable security definer set search_path = pg_catalog, pg_temp set plan_cache_mode = force_custom_plan as $$
  select c.workload, c.key, c.provisional_output, c.authoritative_output, c.changed_fields, c.corrected_at, i.consumer
    from lanes.correction_log c join lanes.item i on i.workload = c.workload and i.key = c.key
   where c.corrected_at >= since and i.consumer = any ((select lanes.own_consumers())::text[])
$$;
