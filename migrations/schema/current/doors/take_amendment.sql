-- Late data. One path amends: every door, in SQL or Python, ends here.
--- Amends an item: amended, duplicate (the newest payload, or an event taken before), waiting (no such item yet), outdated,
--- or refused
create or replace function lanes.take_amendment(workload text, key text, payload jsonb, source text,
                                                place text default null, at timestamptz default clock_timestamp(),
                                                occurred_at timestamptz default null)
returns table (outcome text, detail text)
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  refusal text;
  sentence text;
  target bigint;
  taken bigint;
begin
  select s.refusal, s.detail into refusal, sentence
    from lanes.screened(jsonb_build_array(jsonb_build_object(
           'workload', workload, 'payload', payload, 'key', key, 'place', place, 'occurred_at', occurred_at,
           'consumer', (select i.consumer from lanes.item i
                         where i.workload = take_amendment.workload and i.key = take_amendment.key)))) s;
  if refusal = 'foreign_consumer' then  -- whether there is such an item of another consumer, it is not to learn
    select wrong[1], wrong[2] into refusal, sentence
      from (select array['unknown_item', format('workload "%s" has no item "%s" of a consumer of login "%s"; send it first',
                                                workload, key, session_user)]) told (wrong);
  end if;
  if refusal is null and key is null then
    refusal := 'malformed';
    sentence := 'an amendment needs the key of its item';
  end if;

  if lanes.may_be_known(refusal) and exists (
       select from lanes.amendment a where a.source = take_amendment.source and a.place = take_amendment.place) then
    return query select 'duplicate', null::text; return;
  end if;

  if refusal is null then
    select i.id into target from lanes.item i
     where i.workload = take_amendment.workload and i.key = take_amendment.key;
    select wrong[1], wrong[2] into refusal, sentence from lanes.too_many_amendments(target, workload, key) wrong;
  end if;

  if refusal is null then
    insert into lanes.amendment (workload, key, payload, source, place, received_at, occurred_at)
    values (take_amendment.workload, take_amendment.key, take_amendment.payload, take_amendment.source,
            take_amendment.place, at, take_amendment.occurred_at)
    on conflict on constraint uq_amendment_source_place do nothing
    returning id into taken;
    if taken is null then return query select 'duplicate', null::text; return; end if;
    -- A second snapshot: it has the item that another committed meanwhile.
    select i.id into target from lanes.item i
     where i.workload = take_amendment.workload and i.key = take_amendment.key;
    if target is null then return query select 'waiting', null::text; return; end if;
    outcome := lanes.apply_amendment(target, payload, source, place, at, at, occurred_at);
    if outcome = 'canceled' then
      refusal := 'canceled';
      sentence := format('item "%s" of workload "%s" was canceled; submit it under another key', key, workload);
    end if;
    if outcome = 'archived' then
      delete from lanes.amendment a where a.id = taken;
      select wrong[1], wrong[2] into refusal, sentence
        from (select array['archived', format('item "%s" of workload "%s" was archived, and changes no more; submit it under '
                                              'another key', key, workload)] as wrong) w;
    end if;
    update lanes.amendment a set outcome = take_amendment.outcome, decided_at = at, payload = null where a.id = taken;
  end if;

  if refusal is not null then
    if source <> 'event' or not exists (select from lanes.rejected r
                                         where r.source = 'event' and r.place = take_amendment.place) then
      perform lanes.refuse(source, coalesce(place, key), workload, key, refusal, sentence,
                           case when exists (select from lanes.item i where i.id = target and i.forgotten_at is not null) then ''
                                else coalesce(payload, 'null')::text end, at);
    end if;
    outcome := refusal;
  end if;
  detail := sentence;
  perform pg_notify('lanes', '');
  return next;
end $$;
