--- Admits a list of items inside the caller's transaction: an array of objects with the arguments of lanes.submit by name. A
--- row each, in order: its place from 1, its outcome as lanes.submit tells it, the key it goes by, and why. What is refused
--- harms no other (see rejected_log)
create or replace function lanes.submit_many(workload text, rows jsonb)
returns table (place int, outcome text, key text, detail text)
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  select told.place, told.outcome, told.key, told.detail
    from lanes.admit(case jsonb_typeof(rows) when 'array' then rows else jsonb_build_array(rows) end, 'sql',
                     of_workload => workload, nameless => uuidv7()::text) told
   where rows is not null;
end;
