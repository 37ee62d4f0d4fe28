--- The current result of an item of an own consumer, as `read_result` returns it; the read is recorded under the login
create or replace function lanes.own_result(workload text, key text)
returns table (output jsonb, standing text, generation int, lane text, created_at timestamptz)
language sql security definer set search_path = pg_catalog, pg_temp as $$
  select r.* from lanes.item i cross join lateral lanes.read_result(i.workload, i.key, session_user::text) r
   where i.workload = own_result.workload and i.key = own_result.key and i.consumer = any (lanes.own_consumers())
$$;
