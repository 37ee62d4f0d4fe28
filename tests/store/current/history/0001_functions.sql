-- The doors. One path admits: every door, in SQL or Python, ends in lanes.admit.

create function lanes.is_a_moment(said text)
returns boolean
language sql stable
begin atomic
  select case when pg_input_is_valid(said, 'timestamptz')
              then said::timestamptz between '0002-01-01 00:00Z' and '9998-12-31 00:00Z'
              when said is not null then false end;
end;
comment on function lanes.is_a_moment is
  'Whether a text names a time that every reader can hold; infinity is none. Null when there is no text';

create function lanes.screened(inputs jsonb)
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
                     case when version.spec->>'dedupe' = 'content'
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
             'workload "%s" has no published version; publish it or correct the name', given.input->>'workload') end),
          (3, 'malformed',
           case when jsonb_typeof(given.input->'payload') is distinct from 'object'
                then 'the payload must be a JSON object' end),
          (4, 'payload_too_large',
           case when octet_length((given.input->'payload')::text) > (version.spec->>'max_payload_kib')::int * 1024
                then format('the payload has %s bytes, workload "%s" takes %s KiB; shorten it or raise max_payload_kib',
                            octet_length((given.input->'payload')::text), workload.name,
                            version.spec->>'max_payload_kib') end),
          (5, 'malformed',
           case when given.input->>'lane' not in ('realtime', 'batch')
                then format('lane "%s" is neither realtime nor batch', given.input->>'lane') end),
          (6, 'malformed',
           case when named.key is null then 'an input needs a key or a place'
                when length(given.input->>'key') not between 1 and 512 then 'the key must have 1 to 512 characters'
                when length(given.input->>'consumer') not between 1 and 512
                  then 'the consumer must have 1 to 512 characters'
                when length(given.input->>'entity') not between 1 and 512
                  then 'the entity must have 1 to 512 characters' end),
          (7, 'malformed',
           case when not lanes.is_a_moment(given.input->>'due_at')
                  then format('due_at "%s" is no time of the years 2 to 9998', given.input->>'due_at')
                when not lanes.is_a_moment(given.input->>'occurred_at')
                  then format('occurred_at "%s" is no time of the years 2 to 9998', given.input->>'occurred_at') end),
          (8, 'malformed',
           case when not pg_input_is_valid(given.input->>'urgent', 'boolean') then 'urgent must be true or false' end),
          (9, 'malformed',
           case when jsonb_path_exists(given.input->'payload', 'strict $.**{100}')
                  then 'the payload is nested deeper than 100 levels'
                when jsonb_path_exists(given.input->'payload',
                                       'strict $.** ? (@.type() == "number" && (@ >= 1e308 || @ <= -1e308))')
                  then 'the payload holds a number beyond 1e308' end)
        ) as checks (nth, reason, detail)
       where checks.detail is not null
       order by checks.nth limit 1) as wrong on true;
end;
comment on function lanes.screened is
  'Each input of a list (each has a key or a place) with its key and hash, and with a refusal where it cannot be admitted';

create function lanes.admit(inputs jsonb, door text, at timestamptz default clock_timestamp())
returns table (place int, outcome text, detail text, key text)
language plpgsql as $$
#variable_conflict use_column
declare
  born bigint[];
begin
  with taken as (
    insert into lanes.item (workload, key, payload, content_hash, consumer, entity, urgent, pin, due_at,
                            occurred_at, received_at, source)
    select s.workload, s.key, s.payload, s.content_hash, s.consumer, s.entity, s.urgent, s.lane, s.due_at,
           coalesce(s.occurred_at, at), at, door
      from lanes.screened(inputs) s
     where s.refusal is null
     order by s.place
    on conflict (workload, key) do nothing
    returning item.id)
  select coalesce(array_agg(taken.id), '{}') into born from taken;

  return query
  with judged as (
    select s.*, i.id as item_id, i.content_hash as known_hash,
           row_number() over (partition by i.id order by s.place) = 1 and i.id = any (born) as is_new
      from lanes.screened(inputs) s
      left join lanes.item i on i.workload = s.workload and i.key = s.key and s.refusal is null),
  told as (
    select j.*,
           case when j.refusal is not null then j.refusal
                when j.known_hash <> j.content_hash then 'key_conflict'
                when j.is_new then 'accepted'
                else 'duplicate' end as verdict,
           case when j.refusal is not null then j.detail
                when j.known_hash <> j.content_hash then format(
                  'item "%s" of workload "%s" exists with other content; send an amendment, or another key',
                  j.key, j.workload) end as sentence
      from judged j),
  refused as (
    insert into lanes.rejected (workload, source, place, reason, detail, content, rejected_at)
    select t.workload, door, t.source_place, t.verdict, t.sentence, left(coalesce(t.payload, t.input)::text, 65536), at
      from told t
     where t.verdict not in ('accepted', 'duplicate')
       and not exists (select from lanes.rejected r
                        where r.source = door and r.place = t.source_place and r.reason = t.verdict
                          and door = 'event')),
  announced as (
    insert into lanes.event_outbox (event, resource, payload, occurred_at)
    select case when t.verdict in ('accepted', 'duplicate') then 'lanes.item.accepted' else 'lanes.item.rejected' end,
           'lanes.workload.' || coalesce(t.workload, 'unknown'),
           jsonb_strip_nulls(jsonb_build_object('key', t.key, 'outcome', t.verdict, 'detail', t.sentence,
                                                'source', door, 'place', t.source_place)), at
      from told t
     where t.ack or t.verdict not in ('accepted', 'duplicate'))
  select t.place, t.verdict, t.sentence, t.key from told t order by t.place;
  perform pg_notify('lanes', '');
end $$;
comment on function lanes.admit is
  'Admits a list of inputs: accepted, duplicate (same key and content), or refused with its reason and kept in rejected_log';

create function lanes.submit(workload text, payload jsonb, key text default null, due_at timestamptz default null,
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

create function lanes.cancel(workload text, key text, at timestamptz default clock_timestamp())
returns text
language plpgsql as $$
declare
  target lanes.item;
begin
  select i.* into target from lanes.item i
   where i.workload = cancel.workload and i.key = cancel.key for update;
  if target.id is null then return 'unknown_item'; end if;
  if target.canceled_at is not null then return 'canceled'; end if;
  if target.settled_at is not null then return 'settled'; end if;
  update lanes.item set canceled_at = at where item.id = target.id;
  update lanes.work set state = 'canceled', finished_at = at
   where work.item_id = target.id and work.state in ('ready', 'claimed');
  return 'canceled';
end $$;
comment on function lanes.cancel is
  'Withdraws an item that is not settled; what a batch already holds is billed, recorded and never shown';

create function lanes.label(workload text, key text, expected jsonb, source text default 'sql',
                            at timestamptz default clock_timestamp())
returns text
language plpgsql as $$
declare
  target bigint;
begin
  if jsonb_typeof(expected) is distinct from 'object' then return 'malformed'; end if;
  select i.id into target from lanes.item i where i.workload = label.workload and i.key = label.key;
  if target is null then return 'unknown_item'; end if;
  insert into lanes.label (item_id, expected, source, labeled_at)
  values (target, label.expected, label.source, at)
  on conflict on constraint uq_label_item_id_source do update set expected = excluded.expected, labeled_at = excluded.labeled_at;
  return 'labeled';
end $$;
comment on function lanes.label is 'Records what is right for an item; the newest label of a source counts';

create function lanes.read_result(workload text, key text, reader text, at timestamptz default clock_timestamp())
returns table (output jsonb, standing text, generation int, lane text, created_at timestamptz)
language plpgsql as $$
#variable_conflict use_column
declare
  target bigint;
  shown bigint;
begin
  select i.id, i.result_id into target, shown from lanes.item i
   where i.workload = read_result.workload and i.key = read_result.key;
  if target is null then return; end if;
  insert into lanes.read (item_id, reader, result_id, read_at) values (target, read_result.reader, shown, at);
  return query select r.output, r.standing, r.generation, r.lane, r.created_at from lanes.result r where r.id = shown;
end $$;
comment on function lanes.read_result is 'The current result of an item (no row: none yet); the read is recorded';
