-- The same for a single input: there is no list to take apart, so that a caller may send row by row.
--- Admits one input as lanes.admit does; without a key it is known by its content, where its workload asks so, or by a
--- made-up one
create or replace function lanes.admit_one(workload text, payload jsonb, key text, due_at timestamptz, consumer text, entity text,
                                           urgent boolean, lane text, occurred_at timestamptz, job text, traceparent text,
                                           door text, at timestamptz default clock_timestamp())
returns lanes.admitted
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  dedupe text;
  max_payload_kib int;
  input_schema jsonb;
  said text := payload;
  hash bytea := sha256(convert_to(coalesce(said, 'null'), 'UTF8'));
  known_as text;
  known_hash bytea;
  is_forgotten boolean;
  wrong text[];
  its lanes.job;
  own text[] := lanes.own_consumers();
begin
  select v.dedupe, v.max_payload_kib, v.input_schema into dedupe, max_payload_kib, input_schema
    from lanes.workload w join lanes.version v on v.id = w.version_id where w.name = admit_one.workload;
  if job is not null then
    perform lanes.begin_job(job, workload, at);
    select j.* into its from lanes.job j where j.name = admit_one.job;
  end if;
  known_as := coalesce(key, case when dedupe = 'content' then encode(hash, 'hex') end, uuidv7()::text);
  wrong := coalesce(
    lanes.refusal(false, '{}', workload, max_payload_kib, payload, said, known_as, consumer, entity, lane,
                  to_jsonb(due_at) #>> '{}', to_jsonb(occurred_at) #>> '{}', job),
    lanes.sender_refusal(own, consumer, its.id),
    lanes.job_refusal(its.name, its.workload, its.closed_at, workload),
    lanes.input_refusal(input_schema, workload, payload));
  if wrong is null then
    insert into lanes.item (workload, key, payload, content_hash, consumer, entity, urgent, pin, due_at, occurred_at, received_at,
                            source, job_id, trace)
    values (admit_one.workload, known_as, admit_one.payload, hash, admit_one.consumer, admit_one.entity,
            coalesce(admit_one.urgent, false), admit_one.lane, coalesce(admit_one.due_at, its.due_at),
            coalesce(admit_one.occurred_at, at), at, door, its.id, lanes.trace_context(traceparent))
    on conflict on constraint uq_item_workload_key do nothing;
    if found then
      insert into lanes.job_use (job_id, received) select its.id, 1 where its.id is not null;
      perform pg_notify('lanes', '');
      return row('accepted', known_as, null)::lanes.admitted;
    end if;
    -- A second snapshot: it has the item that another committed while we waited for it.
    select case when lanes.is_own(own, i.consumer) then i.content_hash end, i.forgotten_at is not null into known_hash, is_forgotten
      from lanes.item i where i.workload = admit_one.workload and i.key = known_as;
    if known_hash = hash then
      return row('duplicate', known_as, null)::lanes.admitted;
    end if;
    wrong := array['key_conflict', lanes.conflict(workload, known_as)];
  elsif lanes.may_be_known(wrong[1])
        and exists (select from lanes.item i where i.workload = admit_one.workload and i.key = known_as and i.content_hash = hash
                       and lanes.is_own(own, i.consumer)) then
    return row('duplicate', known_as, null)::lanes.admitted;
  end if;
  perform lanes.refuse(door, known_as, workload, known_as, wrong[1], wrong[2],
                       case when is_forgotten then '' else coalesce(said, 'null') end, at);
  perform pg_notify('lanes', '');
  return row(wrong[1], known_as, wrong[2])::lanes.admitted;
end $$;
