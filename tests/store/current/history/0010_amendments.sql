-- Amendments carry their event time: of two the later one is in force, whichever is read first.

drop function lanes.amend(text, text, jsonb);
drop function lanes.take_amendment(text, text, jsonb, text, text, timestamptz);
drop function lanes.apply_amendment(bigint, jsonb, text, text, timestamptz, timestamptz);

create function lanes.apply_amendment(item_id bigint, payload jsonb, source text, place text, received_at timestamptz,
                                      at timestamptz, occurred_at timestamptz default null)
returns text
language plpgsql as $$
declare
  target lanes.item;
  newest int;
  happened timestamptz := least(coalesce(occurred_at, received_at), received_at);  -- a fast clock shuts nobody out
begin
  select i.* into target from lanes.item i where i.id = apply_amendment.item_id for no key update;
  if target.canceled_at is not null then return 'canceled'; end if;
  if target.payload::text = payload::text then
    update lanes.item set as_of = happened
     where id = target.id and coalesce(item.as_of < happened, true);
    return 'duplicate';
  end if;
  select coalesce(max(r.number), 0) + 1 into newest from lanes.revision r where r.item_id = target.id;

  insert into lanes.revision (item_id, number, payload, source, received_at, occurred_at)
  values (target.id, target.revision, target.payload, target.source, target.received_at, target.occurred_at)
  on conflict do nothing;
  insert into lanes.revision (item_id, number, payload, source, place, received_at, occurred_at, outdated)
  values (target.id, newest, apply_amendment.payload, apply_amendment.source, apply_amendment.place,
          apply_amendment.received_at, happened, coalesce(happened < target.as_of, false));
  if happened < target.as_of then return 'outdated'; end if;
  update lanes.item
     set payload = apply_amendment.payload, revision = newest, as_of = happened, settled_at = null, failed_at = null, failure = null
   where id = target.id;

  -- Work that nobody answered yet is owed for the newest revision instead. New rows, so that a claim under way, which
  -- has read the older payload, never takes them.
  insert into lanes.work (item_id, workload, version_id, lane, purpose, revision, generation, state, ready_at, rank_at,
                          created_at)
  select distinct on (w.lane, w.purpose, w.generation)
         w.item_id, w.workload, w.version_id, w.lane, w.purpose, newest, w.generation, 'ready', at, w.rank_at, at
    from lanes.work w
   where w.item_id = target.id and w.state in ('ready', 'claimed', 'submitted')
     and (w.generation > 0 or w.purpose = 'shadow' or target.result_id is null)
   order by w.lane, w.purpose, w.generation, w.id desc;
  update lanes.work w set state = 'canceled', finished_at = at
   where w.item_id = target.id and w.state = 'ready' and w.revision < newest;

  if target.result_id is not null then
    insert into lanes.work (item_id, workload, version_id, lane, purpose, revision, state, ready_at, rank_at, created_at)
    select target.id, target.workload, f.version_id, 'batch', 'authoritative', newest, 'ready', at, at, at
      from lanes.workload f where f.name = target.workload;
  elsif target.position is not null
        and not exists (select from lanes.work w where w.item_id = target.id and w.revision = newest
                                                   and w.purpose in ('answer', 'authoritative')) then
    insert into lanes.work (item_id, workload, version_id, lane, purpose, revision, state, ready_at, rank_at, created_at)
    select target.id, target.workload, f.version_id, r.lane, 'answer', newest, 'ready', at, coalesce(before.rank_at, at), at
      from lanes.workload f
     cross join (select lane from lanes.route where route.item_id = target.id order by id desc limit 1) r
      left join (select rank_at from lanes.work where work.item_id = target.id and work.generation = 0
                    and work.purpose in ('answer', 'authoritative') order by id desc limit 1) before on true
     where f.name = target.workload;
  end if;
  return 'amended';
end $$;
comment on function lanes.apply_amendment is
  'The item''s revision in force is this payload, and what it owes is owed for it: amended, duplicate, canceled, or outdated (kept: the amendment in force occurred later)';

create function lanes.take_amendment(workload text, key text, payload jsonb, source text, place text default null,
                                     at timestamptz default clock_timestamp(), occurred_at timestamptz default null)
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
      insert into lanes.rejected (workload, source, place, reason, detail, content, rejected_at)
      values (take_amendment.workload, take_amendment.source, coalesce(take_amendment.place, take_amendment.key, ''),
              refusal, sentence, left(coalesce(take_amendment.payload, 'null')::text, 65536), at);
      insert into lanes.event_outbox (event, resource, payload, occurred_at)
      values ('lanes.item.rejected', 'lanes.workload.' || coalesce(workload, 'unknown'),
              jsonb_strip_nulls(jsonb_build_object('key', key, 'outcome', refusal, 'detail', sentence,
                                                   'source', source, 'place', coalesce(place, key))), at);
    end if;
    outcome := refusal;
  end if;
  detail := sentence;
  perform pg_notify('lanes', '');
  return next;
end $$;
comment on function lanes.take_amendment is
  'Amends an item: amended, duplicate (the newest payload, or an event taken before), waiting (no such item yet), outdated, or refused';

create function lanes.amend(workload text, key text, payload jsonb, occurred_at timestamptz default null)
returns text
language sql
begin atomic
  select outcome from lanes.take_amendment(workload, key, payload, 'sql', occurred_at => occurred_at);
end;
comment on function lanes.amend is
  'Amends an item inside the caller''s transaction; returns amended, duplicate, waiting, outdated, or the reason of a refusal';

create or replace function lanes.apply_waiting(at timestamptz default clock_timestamp())
returns int
language plpgsql as $$
declare
  each record;
  said text;
  applied int := 0;
begin
  for each in
    select a.id, a.payload, a.source, a.place, a.received_at, a.occurred_at, i.id as item_id
      from lanes.amendment a
      join lanes.item i on i.workload = a.workload and i.key = a.key
     where a.outcome is null
     order by i.id, a.id
     limit 500
       for no key update of i, a skip locked
  loop
    said := lanes.apply_amendment(each.item_id, each.payload, each.source, each.place, each.received_at, at,
                                  each.occurred_at);
    update lanes.amendment a set outcome = said, decided_at = at, payload = null where a.id = each.id;
    applied := applied + 1;
  end loop;
  return applied;
end $$;

create or replace view lanes.revision_log as
select i.workload, i.key, r.number as revision, r.payload, r.source, r.place as position, r.received_at,
       r.occurred_at, r.outdated
  from lanes.revision r
  join lanes.item i on i.id = r.item_id
union all
select workload, key, null, payload, source, place, received_at, occurred_at, false
  from lanes.amendment where outcome is null;
