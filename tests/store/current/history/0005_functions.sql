-- No key of an item changes here: whoever only names the item (a reader, a label) neither waits nor is waited for.

create or replace function lanes.cancel(workload text, key text, at timestamptz default clock_timestamp())
returns text
language plpgsql as $$
declare
  target lanes.item;
begin
  select i.* into target from lanes.item i
   where i.workload = cancel.workload and i.key = cancel.key for no key update;
  if target.id is null then return 'unknown_item'; end if;
  if target.canceled_at is not null then return 'canceled'; end if;
  if target.settled_at is not null then return 'settled'; end if;
  update lanes.item set canceled_at = at where item.id = target.id;
  update lanes.work set state = 'canceled', finished_at = at
   where work.item_id = target.id and work.state in ('ready', 'claimed');
  return 'canceled';
end $$;

create or replace function lanes.apply_amendment(item_id bigint, payload jsonb, source text, place text, received_at timestamptz,
                                      at timestamptz)
returns text
language plpgsql as $$
declare
  target lanes.item;
  newest int;
begin
  select i.* into target from lanes.item i where i.id = apply_amendment.item_id for no key update;
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

-- The router and the sweep apply what waits: some at once, and what is in somebody's open transaction another time.
create or replace function lanes.apply_waiting(at timestamptz default clock_timestamp())
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
     limit 500
       for no key update of i, a skip locked
  loop
    said := lanes.apply_amendment(each.item_id, each.payload, each.source, each.place, each.received_at, at);
    update lanes.amendment a set outcome = said, decided_at = at, payload = null where a.id = each.id;
    applied := applied + 1;
  end loop;
  return applied;
end $$;
