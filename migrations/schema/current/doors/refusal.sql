-- Why an input is refused stands here alone: the first of these checks that finds something is its reason. One expression,
-- so that it becomes a part of the query, or of the statement, that asks.
create or replace function lanes.refusal(only_arguments boolean, input jsonb, workload text, max_payload_kib int, payload jsonb,
                                         said text, key text, consumer text, entity text, lane text, due_at text,
                                         occurred_at text, urgent text)
returns text[]
language sql stable
begin atomic
  select case
    when jsonb_typeof(input) <> 'object' then array['malformed', 'an input must be a JSON object']
    when max_payload_kib is null then array['unknown_workload', format(
      'workload "%s" has no published version; publish it or correct the name', left(workload, 512))]
    when jsonb_typeof(payload) is distinct from 'object' then array['malformed', 'the payload must be a JSON object']
    when octet_length(said) > max_payload_kib * 1024 then array['payload_too_large', format(
      'the payload has %s bytes, workload "%s" takes %s KiB; shorten it or raise max_payload_kib',
      octet_length(said), workload, max_payload_kib)]
    when lane not in ('realtime', 'batch') then array['malformed', format(
      'lane "%s" is neither realtime nor batch', left(lane, 40))]
    when key is null then array['malformed', 'an input needs a key or a place']
    when length(key) not between 1 and 512 then array['malformed', 'the key must have 1 to 512 characters']
    when length(consumer) not between 1 and 512 then array['malformed', 'the consumer must have 1 to 512 characters']
    when length(entity) not between 1 and 512 then array['malformed', 'the entity must have 1 to 512 characters']
    when not lanes.is_a_moment(due_at) then array['malformed', format(
      'due_at "%s" is no time of the years 2 to 9998', left(due_at, 40))]
    when not lanes.is_a_moment(occurred_at) then array['malformed', format(
      'occurred_at "%s" is no time of the years 2 to 9998', left(occurred_at, 40))]
    when not pg_input_is_valid(urgent, 'boolean') then array['malformed', 'urgent must be true or false']
    when lanes.unreadable(payload) is not null then array['malformed', 'the payload ' || lanes.unreadable(payload)]
    when only_arguments and input - '{payload,key,due_at,consumer,entity,urgent,lane,occurred_at}'::text[] <> '{}'
      then array['malformed', format(
        'unknown field %s; allowed are payload, key, due_at, consumer, entity, urgent, lane and occurred_at',
        lanes.field_names(input - '{payload,key,due_at,consumer,entity,urgent,lane,occurred_at}'::text[]))]
  end;
end;

comment on function lanes.refusal is
  'Why an input with these fields cannot be admitted, as a reason and a sentence; null when it can. A version in force has a max_payload_kib; said is the payload as text';
