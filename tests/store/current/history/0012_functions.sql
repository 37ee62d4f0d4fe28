-- The doors. An input is screened once: what was found then is what happens to it, whatever is published meanwhile.

create type lanes.screened_input as (
  place int, input jsonb, workload text, key text, payload jsonb, content_hash bytea, due_at timestamptz,
  occurred_at timestamptz, urgent boolean, consumer text, entity text, lane text, ack boolean, source_place text,
  refusal text, detail text);
comment on type lanes.screened_input is 'An input as lanes.screened found it: what its item would be, or why there is none';

create function lanes.unreadable(value jsonb)
returns text
language sql immutable
begin atomic
  select case when jsonb_path_exists(value, 'strict $.**{100}') then 'is nested deeper than 100 levels'
              when jsonb_path_exists(value, 'strict $.** ? (@.type() == "number" && (@ >= 1e308 || @ <= -1e308))')
                then 'holds a number beyond 1e308' end;
end;
comment on function lanes.unreadable is 'Why a value that jsonb takes cannot be read in Python, a clause; null when it can';

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
             'workload "%s" has no published version; publish it or correct the name',
             left(given.input->>'workload', 512)) end),
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

create or replace function lanes.admit(inputs jsonb, door text, at timestamptz default clock_timestamp())
returns table (place int, outcome text, detail text, key text)
language plpgsql as $$
#variable_conflict use_column
declare
  screened lanes.screened_input[];
  born bigint[];
begin
  screened := array(select row(s.*)::lanes.screened_input from lanes.screened(inputs) s);

  with taken as (
    insert into lanes.item (workload, key, payload, content_hash, consumer, entity, urgent, pin, due_at,
                            occurred_at, received_at, source)
    select s.workload, s.key, s.payload, s.content_hash, s.consumer, s.entity, s.urgent, s.lane, s.due_at,
           coalesce(s.occurred_at, at), at, door
      from unnest(screened) s
     where s.refusal is null
     order by s.place
    on conflict (workload, key) do nothing
    returning item.id)
  select coalesce(array_agg(taken.id), '{}') into born from taken;

  -- A second snapshot: it has the items that others committed while we waited for them.
  return query
  with judged as (
    select s.*, i.id as item_id, i.content_hash as known_hash, i.forgotten_at is not null as is_forgotten,
           row_number() over (partition by i.id order by s.place) = 1 and i.id = any (born) as is_new
      from unnest(screened) s
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
    select t.*
      from (select told.*, row_number() over (partition by told.source_place, told.verdict order by told.place) as nth
              from told
             where told.verdict not in ('accepted', 'duplicate')) t
     where door <> 'event'  -- an event that is read again is the same refusal
        or t.nth = 1 and not exists (select from lanes.rejected r
                                      where r.source = door and r.place = t.source_place and r.reason = t.verdict)),
  kept as (
    insert into lanes.rejected (workload, key, source, place, reason, detail, content, rejected_at)
    select r.workload, r.key, door, r.source_place, r.verdict, r.sentence,
           case when r.is_forgotten then '' else left(coalesce(r.payload, r.input)::text, 65536) end, at
      from refused r
     order by r.place),
  announced as (
    insert into lanes.event_outbox (event, resource, payload, occurred_at)
    select a.event, 'lanes.workload.' || coalesce(left(a.workload, 512), 'unknown'),
           jsonb_strip_nulls(jsonb_build_object('key', left(a.key, 512), 'outcome', a.verdict, 'detail', a.sentence,
                                                'source', door, 'place', left(a.source_place, 512))), at
      from (select 'lanes.item.accepted' as event, t.place, t.workload, t.key, t.verdict, t.sentence, t.source_place
              from told t
             where t.ack and t.verdict in ('accepted', 'duplicate')
             union all
            select 'lanes.item.rejected', r.place, r.workload, r.key, r.verdict, r.sentence, r.source_place
              from refused r) a
     order by a.place)
  select t.place, t.verdict, t.sentence, t.key from told t order by t.place;
  perform pg_notify('lanes', '');
end $$;

create function lanes.submit_item(workload text, payload jsonb, key text default null, due_at timestamptz default null,
                                  consumer text default null, entity text default null, urgent boolean default false,
                                  lane text default null, occurred_at timestamptz default null)
returns table (outcome text, key text, detail text)
language sql
begin atomic
  select told.outcome, told.key, told.detail
    from lanes.admit(jsonb_build_array(jsonb_build_object(
           'workload', workload, 'payload', payload, 'key', submit_item.key, 'due_at', due_at, 'consumer', consumer,
           'entity', entity, 'urgent', urgent, 'lane', lane, 'occurred_at', occurred_at,
           'place', coalesce(submit_item.key, uuidv7()::text))), 'sql') told;
end;
comment on function lanes.submit_item is
  'Admits one item inside the caller''s transaction; returns its outcome as lanes.submit does, the key it goes by, and why';

create function lanes.bound_refusal()
returns trigger
language plpgsql as $$
begin
  new.workload := left(new.workload, 512);
  new.place := left(new.place, 512);
  new.key := left(new.key, 512);
  return new;
end $$;
comment on function lanes.bound_refusal is
  'A refused input is kept whatever it is called: its workload, place and key are cut at 512 characters, which an index takes';
create trigger bound_refusal before insert on lanes.rejected for each row execute function lanes.bound_refusal();

create or replace function lanes.take_amendment(workload text, key text, payload jsonb, source text,
                                                place text default null, at timestamptz default clock_timestamp(),
                                                occurred_at timestamptz default null)
returns table (outcome text, detail text)
language plpgsql as $$
declare
  refusal text;
  sentence text;
  target bigint;
  taken bigint;
begin
  select s.refusal, s.detail into refusal, sentence
    from lanes.screened(jsonb_build_array(jsonb_build_object(
           'workload', workload, 'payload', payload, 'key', key, 'place', place,
           'occurred_at', occurred_at))) s;
  if refusal is null and key is null then
    refusal := 'malformed';
    sentence := 'an amendment needs the key of its item';
  end if;

  if refusal is null then
    insert into lanes.amendment (workload, key, payload, source, place, received_at, occurred_at)
    values (take_amendment.workload, take_amendment.key, take_amendment.payload, take_amendment.source,
            take_amendment.place, at, take_amendment.occurred_at)
    on conflict on constraint uq_amendment_source_place do nothing
    returning id into taken;
    if taken is null then return query select 'duplicate', null::text; return; end if;
    select i.id into target from lanes.item i
     where i.workload = take_amendment.workload and i.key = take_amendment.key;
    if target is null then return query select 'waiting', null::text; return; end if;
    outcome := lanes.apply_amendment(target, payload, source, place, at, at, occurred_at);
    if outcome = 'canceled' then
      refusal := 'canceled';
      sentence := format('item "%s" of workload "%s" was canceled; submit it under another key', key, workload);
    end if;
    update lanes.amendment a set outcome = take_amendment.outcome, decided_at = at, payload = null where a.id = taken;
  end if;

  if refusal is not null then
    if source <> 'event' or not exists (select from lanes.rejected r
                                         where r.source = 'event' and r.place = take_amendment.place) then
      insert into lanes.rejected (workload, key, source, place, reason, detail, content, rejected_at)
      values (take_amendment.workload, take_amendment.key, take_amendment.source,
              coalesce(take_amendment.place, take_amendment.key, ''), refusal, sentence,
              case when exists (select from lanes.item i where i.id = target and i.forgotten_at is not null) then ''
                   else left(coalesce(take_amendment.payload, 'null')::text, 65536) end, at);
      insert into lanes.event_outbox (event, resource, payload, occurred_at)
      values ('lanes.item.rejected', 'lanes.workload.' || coalesce(left(workload, 512), 'unknown'),
              jsonb_strip_nulls(jsonb_build_object('key', left(key, 512), 'outcome', refusal, 'detail', sentence,
                                                   'source', source, 'place', left(coalesce(place, key), 512))), at);
    end if;
    outcome := refusal;
  end if;
  detail := sentence;
  perform pg_notify('lanes', '');
  return next;
end $$;

create or replace function lanes.label(workload text, key text, expected jsonb, source text default 'sql',
                                       at timestamptz default clock_timestamp())
returns text
language plpgsql as $$
declare
  target bigint;
begin
  if jsonb_typeof(expected) is distinct from 'object' or lanes.unreadable(expected) is not null
     or coalesce(length(source) not between 1 and 512, true) then
    return 'malformed';
  end if;
  select i.id into target from lanes.item i where i.workload = label.workload and i.key = label.key;
  if target is null then return 'unknown_item'; end if;
  insert into lanes.label (item_id, expected, source, labeled_at)
  values (target, label.expected, label.source, at)
  on conflict on constraint uq_label_item_id_source do update set expected = excluded.expected, labeled_at = excluded.labeled_at;
  return 'labeled';
end $$;

create or replace function lanes.read_result(workload text, key text, reader text,
                                             at timestamptz default clock_timestamp())
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
  insert into lanes.read (item_id, reader, result_id, read_at)
  values (target, coalesce(nullif(left(read_result.reader, 512), ''), 'unknown'), shown, at);
  return query select r.output, r.standing, r.generation, r.lane, r.created_at from lanes.result r where r.id = shown;
end $$;

create or replace view lanes.rejected_log as
select workload, source, place as position, reason, content, rejected_at, detail, key from lanes.rejected;
