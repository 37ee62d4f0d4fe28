--- Admits one item inside the caller's transaction; returns its outcome as lanes.submit does, the key it goes by, and why
create or replace function lanes.submit_item(workload text, payload jsonb, key text default null, due_at timestamptz default null,
                                  consumer text default null, entity text default null, urgent boolean default false,
                                  lane text default null, occurred_at timestamptz default null, job text default null,
                                  traceparent text default null)
returns table (outcome text, key text, detail text)
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  select told.outcome, told.key, told.detail
    from lanes.admit_one(workload, payload, submit_item.key, due_at, consumer, entity, urgent, lane, occurred_at, job, traceparent,
                          'sql') told;
end;
