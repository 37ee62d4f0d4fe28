--- Amends an item inside the caller's transaction; returns amended, duplicate, waiting, outdated, or the reason of a refusal
create or replace function lanes.amend(workload text, key text, payload jsonb, occurred_at timestamptz default null)
returns text
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  select outcome from lanes.take_amendment(workload, key, payload, 'sql', occurred_at => occurred_at);
end;
