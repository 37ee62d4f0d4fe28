-- Late data. One path amends: every door, in SQL or Python, ends in lanes.take_amendment.

create function lanes.apply_amendment(item_id bigint, payload jsonb, source text, place text, received_at timestamptz,
                                      at timestamptz)
returns text
language plpgsql as $$
declare
  target lanes.item;
  newest int;
begin
  select i.* into target from lanes.item i where i.id = apply_amendment.item_id for update;
  if target.canceled_at is not null then return 'canceled'; end if;
  if target.payload::text = payload::text then return 'duplicate'; end if;
  newest := target.revision + 1;

  insert into lanes.revision (item_id, number, payload, source, received_at)
  values (target.id, target.revision, target.payload, target.source, target.received_at)
  on conflict do nothing;
  insert into lanes.revision (item_id, number, payload, source, place, received_at)
  values (target.id, newest, apply_amendment.payload, apply_amendment.source, apply_amendment.place,
          apply_amendment.received_at);
  update lanes.item
     set payload = apply_amendment.payload, revision = newest, settled_at = null, failed_at = null, failure = null
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
    select target.id, target.workload, f.version_id, r.lane, 'answer', newest, 'ready', at, at, at
      from lanes.workload f
     cross join (select lane from lanes.route where route.item_id = target.id order by id desc limit 1) r
     where f.name = target.workload;
  end if;
  return 'amended';
end $$;
comment on function lanes.apply_amendment is
  'The item''s newest revision is this payload, and what it owes is owed for it: amended, duplicate or canceled';

create function lanes.take_amendment(workload text, key text, payload jsonb, source text, place text default null,
                                     at timestamptz default clock_timestamp())
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
           'workload', workload, 'payload', payload, 'key', key, 'place', place))) s;
  if refusal is null and key is null then
    refusal := 'malformed';
    sentence := 'an amendment needs the key of its item';
  end if;

  if refusal is null then
    insert into lanes.amendment (workload, key, payload, source, place, received_at)
    values (take_amendment.workload, take_amendment.key, take_amendment.payload, take_amendment.source,
            take_amendment.place, at)
    on conflict on constraint uq_amendment_source_place do nothing
    returning id into taken;
    if taken is null then return query select 'duplicate', null::text; return; end if;
    select i.id into target from lanes.item i
     where i.workload = take_amendment.workload and i.key = take_amendment.key;
    if target is null then return query select 'waiting', null::text; return; end if;
    outcome := lanes.apply_amendment(target, payload, source, place, at, at);
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
  'Amends an item: amended, duplicate (the newest payload, or an event taken before), waiting (no such item yet), or refused';

create function lanes.amend(workload text, key text, payload jsonb)
returns text
language sql
begin atomic
  select outcome from lanes.take_amendment(workload, key, payload, 'sql');
end;
comment on function lanes.amend is
  'Amends an item inside the caller''s transaction; returns amended, duplicate, waiting, or the reason of a refusal';

create function lanes.apply_waiting(at timestamptz default clock_timestamp())
returns int
language plpgsql as $$
declare
  each record;
  said text;
  applied int := 0;
begin
  for each in
    select a.id, a.payload, a.source, a.place, a.received_at, i.id as item_id
      from lanes.amendment a
      join lanes.item i on i.workload = a.workload and i.key = a.key
     where a.outcome is null
     order by i.id, a.id
       for update of a skip locked
  loop
    said := lanes.apply_amendment(each.item_id, each.payload, each.source, each.place, each.received_at, at);
    update lanes.amendment a set outcome = said, decided_at = at, payload = null where a.id = each.id;
    applied := applied + 1;
  end loop;
  return applied;
end $$;
comment on function lanes.apply_waiting is 'Amendments that came before their items are applied to those that exist now';
