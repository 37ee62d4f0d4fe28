-- Why an input is refused stands here alone: the first of these checks that finds something is its reason.
create or replace function lanes.screened(inputs jsonb)
returns table (place int, input jsonb, workload text, key text, payload jsonb, content_hash bytea, due_at timestamptz,
               occurred_at timestamptz, urgent boolean, consumer text, entity text, lane text, ack boolean,
               source_place text, refusal text, detail text)
language sql stable
begin atomic
  select given.place::int, given.input, given.input->>'workload', named.key, given.input->'payload',
         sha256(convert_to(coalesce(given.input->'payload', 'null')::text, 'UTF8')),
         case when wrong.reason is null then (given.input->>'due_at')::timestamptz end,
         case when wrong.reason is null then (given.input->>'occurred_at')::timestamptz end,
         case when wrong.reason is null then coalesce((given.input->>'urgent')::boolean, false) end,
         given.input->>'consumer', given.input->>'entity', given.input->>'lane',
         given.input->'ack' = 'true',
         coalesce(given.input->>'place', given.input->>'key', given.place::text),
         wrong.reason, wrong.detail
    from jsonb_array_elements(inputs) with ordinality as given (input, place)
    left join lanes.workload on workload.name = given.input->>'workload'
    left join lanes.version on version.id = workload.version_id
   cross join lateral (
     select coalesce(given.input->>'key',
                     case when version.dedupe = 'content'
                          then encode(sha256(convert_to(coalesce(given.input->'payload', 'null')::text, 'UTF8')), 'hex')
                     end,
                     given.input->>'place')) as named (key)
    left join lateral (
      select checks.reason, checks.detail
        from (values
          (1, 'malformed',
           case when jsonb_typeof(given.input) <> 'object' then 'an input must be a JSON object' end),
          (2, 'unknown_workload',
           case when version.id is null then format(
             'workload "%s" has no published version; publish it or correct the name',
             left(given.input->>'workload', 512)) end),
          (3, 'malformed',
           case when jsonb_typeof(given.input->'payload') is distinct from 'object'
                then 'the payload must be a JSON object' end),
          (4, 'payload_too_large',
           case when octet_length((given.input->'payload')::text) > version.max_payload_kib * 1024
                then format('the payload has %s bytes, workload "%s" takes %s KiB; shorten it or raise max_payload_kib',
                            octet_length((given.input->'payload')::text), workload.name,
                            version.max_payload_kib) end),
          (5, 'malformed',
           case when given.input->>'lane' not in ('realtime', 'batch')
                then format('lane "%s" is neither realtime nor batch', left(given.input->>'lane', 40)) end),
          (6, 'malformed',
           case when named.key is null then 'an input needs a key or a place'
                when length(named.key) not between 1 and 512 then 'the key must have 1 to 512 characters'
                when length(given.input->>'consumer') not between 1 and 512
                  then 'the consumer must have 1 to 512 characters'
                when length(given.input->>'entity') not between 1 and 512
                  then 'the entity must have 1 to 512 characters' end),
          (7, 'malformed',
           case when not lanes.is_a_moment(given.input->>'due_at')
                  then format('due_at "%s" is no time of the years 2 to 9998', left(given.input->>'due_at', 40))
                when not lanes.is_a_moment(given.input->>'occurred_at')
                  then format('occurred_at "%s" is no time of the years 2 to 9998', left(given.input->>'occurred_at', 40))
           end),
          (8, 'malformed',
           case when not pg_input_is_valid(given.input->>'urgent', 'boolean') then 'urgent must be true or false' end),
          (9, 'malformed', 'the payload ' || lanes.unreadable(given.input->'payload'))
        ) as checks (nth, reason, detail)
       where checks.detail is not null
       order by checks.nth limit 1) as wrong on true;
end;

comment on function lanes.screened is
  'Each input of a list (each has a key or a place) with its key and hash, and with a refusal where it cannot be admitted';
