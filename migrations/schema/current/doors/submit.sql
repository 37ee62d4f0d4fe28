create or replace function lanes.submit(workload text, payload jsonb, key text default null, due_at timestamptz default null,
                             consumer text default null, entity text default null, urgent boolean default false,
                             lane text default null, occurred_at timestamptz default null)
returns text
language sql
begin atomic
  select outcome
    from lanes.admit(jsonb_build_array(jsonb_build_object(
           'workload', workload, 'payload', payload, 'key', key, 'due_at', due_at, 'consumer', consumer,
           'entity', entity, 'urgent', urgent, 'lane', lane, 'occurred_at', occurred_at,
           'place', coalesce(key, uuidv7()::text))), 'sql');
end;

comment on function lanes.submit is
  'Admits one item inside the caller''s transaction; returns accepted, duplicate, or the reason of a refusal (see rejected_log)';
