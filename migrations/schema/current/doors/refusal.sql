-- Why an input is refused stands here alone: the first of these checks that finds something is its reason. One expression,
-- so that it becomes a part of the query, or of the statement, that asks. `read_submission` in lanes/doors/item.py says the same
-- of what it reads before, in the same order and words.
--- Why an input with these fields cannot be admitted, as a reason and a sentence; null when it can. A version in force has a
--- max_payload_kib; said is the payload as text
create or replace function lanes.refusal(only_arguments boolean, input jsonb, workload text, max_payload_kib int, payload jsonb,
                                         said text, key text, consumer text, entity text, lane text, due_at text,
                                         occurred_at text, job text)
returns text[]
language sql stable
begin atomic
  select case
    when jsonb_typeof(input) <> 'object' then array['malformed', 'an input must be a JSON object']
    when max_payload_kib is null then array['unknown_workload', format(
      'workload "%s" has no published version; publish it or correct the name', left(workload, 512))]
    when only_arguments and input - '{payload,key,due_at,consumer,entity,urgent,lane,occurred_at,job,traceparent}'::text[] <> '{}'
      then array['malformed', format(
        'unknown field %s; allowed are payload, key, due_at, consumer, entity, urgent, lane, occurred_at, job and traceparent',
        lanes.field_names(input - '{payload,key,due_at,consumer,entity,urgent,lane,occurred_at,job,traceparent}'::text[]))]
    when jsonb_typeof(payload) is distinct from 'object' then array['malformed', '"payload" must be a JSON object']
    when lanes.unreadable(payload) is not null then array['malformed', 'payload ' || lanes.unreadable(payload)]
    when not lanes.is_a_moment(due_at) then array['malformed',
      '"due_at" must be an ISO 8601 time, for example 2026-12-01T09:00:00Z']
    when key is null then array['malformed', 'an input needs a key or a place']
    when jsonb_typeof(input->'key') not in ('string', 'null') or length(key) not between 1 and 512
      then array['malformed', '"key" must be a text of 1 to 512 characters']
    when not lanes.is_a_moment(occurred_at) then array['malformed',
      '"occurred_at" must be an ISO 8601 time, for example 2026-12-01T09:00:00Z']
    when jsonb_typeof(input->'urgent') not in ('boolean', 'null') then array['malformed', '"urgent" must be true or false']
    when jsonb_typeof(input->'consumer') not in ('string', 'null') or length(consumer) not between 1 and 512
      then array['malformed', '"consumer" must be a text of 1 to 512 characters']
    when jsonb_typeof(input->'entity') not in ('string', 'null') or length(entity) not between 1 and 512
      then array['malformed', '"entity" must be a text of 1 to 512 characters']
    when lane not in ('realtime', 'batch') then array['malformed', '"lane" must be realtime or batch']
    when job is not null and (jsonb_typeof(input->'job') <> 'string' or length(job) not between 1 and 512)
      then array['malformed', '"job" must be a text of 1 to 512 characters']
    when octet_length(said) > max_payload_kib * 1024 then array['payload_too_large', format(
      'the payload has %s bytes, workload "%s" takes %s KiB; shorten it or raise max_payload_kib',
      octet_length(said), workload, max_payload_kib)]
  end;
end;
