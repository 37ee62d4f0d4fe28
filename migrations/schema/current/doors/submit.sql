--- Admits one item inside the caller's transaction; returns accepted, duplicate, or the reason of a refusal (see rejected_log)
create or replace function lanes.submit(workload text, payload jsonb, key text default null, due_at timestamptz default null,
                             consumer text default null, entity text default null, urgent boolean default false,
                             lane text default null, occurred_at timestamptz default null, job text default null,
                             traceparent text default null)
returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  return (lanes.admit_one(workload, payload, key, due_at, consumer, entity, urgent, lane, occurred_at, job, traceparent,
                          'sql')).outcome;
end $$;
