--- Records a refused input and tells its sender. 1,000 refusals of a source are kept per day; the rest is only counted
create or replace function lanes.refuse(door text, place text, workload text, key text, reason text, sentence text, content text,
                                        at timestamptz)
returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  today timestamptz := date_trunc('day', at, 'UTC');
begin
  -- An event that is read again is the same refusal.
  if door = 'event' and exists (select from lanes.rejected r where r.source = refuse.door and r.place = left(refuse.place, 512)
                                                              and r.reason = refuse.reason) then
    return;
  end if;
  if (select count(*) < 1000 from (select from lanes.rejected r where r.source = door and r.rejected_at >= today limit 1000) kept) then
    insert into lanes.rejected (workload, key, source, place, reason, detail, content, rejected_at)
    values (refuse.workload, refuse.key, door, coalesce(refuse.place, ''), refuse.reason, sentence, left(refuse.content, 65536), at);
  else
    -- Skip a row that another open transaction has counted in, instead of waiting for it: a second row counts then.
    update lanes.rejected r set times = r.times + 1
     where r.id = (select c.id from lanes.rejected c
                    where c.source = door and c.place = to_char(today at time zone 'UTC', 'YYYY-MM-DD') and c.reason = 'only_counted'
                    order by c.id limit 1 for no key update skip locked);
    if not found then
      insert into lanes.rejected (source, place, reason, detail, content, rejected_at)
      values (door, to_char(today at time zone 'UTC', 'YYYY-MM-DD'), 'only_counted',
              'this source had 1,000 refusals on this day; those after them are counted here, and not kept', '', at);
    end if;
  end if;
  insert into lanes.event_outbox (event, resource, payload, occurred_at)
  values ('lanes.item.rejected', 'lanes.workload.' || coalesce(left(refuse.workload, 512), 'unknown'),
          jsonb_strip_nulls(jsonb_build_object('key', left(refuse.key, 512), 'outcome', refuse.reason, 'detail', sentence,
                                               'source', door, 'place', left(refuse.place, 512))), at);
end $$;
