-- Each step has its expressions evaluated once: `offset 0` keeps it from being merged into the next. A function that is called
-- for each input costs a few microseconds: the one that asks who sends is called for bound senders alone.
--- Each input of a list with its key and hash, and with a refusal where it cannot be admitted. Where nameless is given they
--- are of that workload, hold what lanes.submit takes, and are called nameless and their number if they have no key
create or replace function lanes.screened(inputs jsonb, of_workload text default null, nameless text default null)
returns table (place int, workload text, key text, payload jsonb, content_hash bytea, due_at timestamptz,
               occurred_at timestamptz, urgent boolean, consumer text, entity text, lane text, ack boolean,
               source_place text, refusal text, detail text, job_id bigint, trace bytea)
language sql stable
begin atomic
  with given as (
    select list.place::int, list.input, case when nameless is null then list.input->>'workload' else of_workload end as workload,
           list.input->>'key' as given_key, list.input->>'place' as given_place,
           list.input->'payload' as payload, (list.input->'payload')::text as said,
           list.input->>'due_at' as due_at, list.input->>'occurred_at' as occurred_at, list.input->>'urgent' as urgent,
           list.input->>'consumer' as consumer, list.input->>'entity' as entity, list.input->>'lane' as lane,
           list.input->>'job' as job, list.input->'ack' = 'true' as ack,
           lanes.trace_context(list.input->>'traceparent') as trace
      from jsonb_array_elements(inputs) with ordinality as list (input, place)
    offset 0),
  hashed as (
    select given.*, sha256(convert_to(coalesce(given.said, 'null'), 'UTF8')) as content_hash
      from given
    offset 0),
  named as (
    select hashed.*, version.max_payload_kib, version.input_schema,
           coalesce(given_key, case when version.dedupe = 'content' then encode(content_hash, 'hex') end, given_place,
                    nameless || '-' || place) as key
      from hashed
      left join lanes.workload on workload.name = hashed.workload
      left join lanes.version on version.id = workload.version_id
    offset 0),
  judged as (
    select named.*, its.id as job_id, its.due_at as due_with_job, coalesce(
             lanes.refusal(nameless is not null, input, named.workload, max_payload_kib, payload, said, named.key, consumer,
                           entity, lane, named.due_at, occurred_at, job),
             case when (select lanes.own_consumers()) <> '{}'
                  then lanes.sender_refusal((select lanes.own_consumers()), consumer, its.id) end,
             lanes.job_refusal(its.name, its.workload, its.closed_at, named.workload),
             lanes.input_refusal(input_schema, named.workload, payload)) as wrong
      from named
      left join lanes.job its on its.name = named.job
    offset 0)
  select j.place, j.workload, j.key, j.payload, j.content_hash,
         case when wrong is null then coalesce(lanes.in_a_zone(j.due_at)::timestamptz, j.due_with_job) end,
         case when wrong is null then lanes.in_a_zone(j.occurred_at)::timestamptz end,
         case when wrong is null then coalesce(j.urgent::boolean, false) end,
         j.consumer, j.entity, j.lane, coalesce(j.ack, false), coalesce(given_place, given_key, j.place::text),
         wrong[1], wrong[2], j.job_id, j.trace
    from judged j;
end;
