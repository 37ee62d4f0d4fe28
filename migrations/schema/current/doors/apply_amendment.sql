-- Of two amendments the one that occurred later is in force, whichever is read first.
--- The item's revision in force is this payload, and what it owes is owed for it: amended, duplicate, canceled, or outdated
--- (kept: the amendment in force occurred later); archived: nothing is changed
create or replace function lanes.apply_amendment(item_id bigint, payload jsonb, source text, place text, received_at timestamptz,
                                      at timestamptz, occurred_at timestamptz default null)
returns text
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  target lanes.item;
  newest int;
  happened timestamptz := least(coalesce(occurred_at, received_at), received_at);  -- a fast clock shuts out no later amendment
begin
  select i.* into target from lanes.item i where i.id = apply_amendment.item_id for no key update;
  if target.archive_id is not null then return 'archived'; end if;
  if target.canceled_at is not null then return 'canceled'; end if;
  if target.payload::text = payload::text and target.emptied_at is null then
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
     set payload = apply_amendment.payload, revision = newest, as_of = happened, settled_at = null, settled_reason = null, failed_at = null,
         failure = null, emptied_at = null
   where id = target.id;

  -- Unanswered work is owed for the newest revision instead. New rows, so that a claim under way, which
  -- has read the older payload, never takes them. What only measured the older one's answer is over. What a lane still has
  -- under way of a revision before that is owed nothing: the item may have changed its lane since.
  insert into lanes.work (item_id, workload, version_id, lane, purpose, revision, generation, state, ready_at, rank_at,
                          due_at, binds, rescued, consumer, waits_since)
  select distinct on (w.lane, w.purpose, w.generation)
         w.item_id, w.workload, w.version_id, w.lane, w.purpose, newest, w.generation, 'ready', at, w.rank_at, w.due_at, w.binds,
         w.rescued, w.consumer, at
    from lanes.work w
   where w.item_id = target.id and w.state in ('ready', 'claimed', 'submitted')
     and (w.generation > 0 or w.purpose <> 'shadow' and target.result_id is null)
     and (w.generation > 0 or w.revision = target.revision)
   order by w.lane, w.purpose, w.generation, w.id desc;
  update lanes.work w set state = 'canceled', finished_at = at
   where w.item_id = target.id and w.state = 'ready' and w.revision < newest;

  if target.result_id is not null then
    insert into lanes.work (item_id, workload, version_id, lane, purpose, revision, state, ready_at, rank_at, waits_since)
    select target.id, target.workload, f.version_id, 'batch', 'authoritative', newest, 'ready', at, at, at
      from lanes.workload f where f.name = target.workload;
  elsif target.position is not null
        and not exists (select from lanes.work w where w.item_id = target.id and w.revision = newest
                                                   and w.purpose in ('answer', 'authoritative')) then
    insert into lanes.work (item_id, workload, version_id, lane, purpose, revision, state, ready_at, rank_at, due_at, binds,
                            rescued, consumer, waits_since)
    select target.id, target.workload, f.version_id, r.lane, 'answer', newest, 'ready', at, coalesce(before.rank_at, at),
           target.due_at, r.binds,
           exists (select from lanes.work w where w.item_id = target.id and w.generation = 0 and w.rescued),
           coalesce(target.consumer, ''), at
      from lanes.workload f
     cross join (select lane, binds from lanes.route where route.item_id = target.id order by id desc limit 1) r
      left join (select rank_at from lanes.work where work.item_id = target.id and work.generation = 0
                    and work.purpose in ('answer', 'authoritative') order by id desc limit 1) before on true
     where f.name = target.workload;
  end if;
  return 'amended';
end $$;
