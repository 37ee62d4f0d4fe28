create or replace function lanes.refuse(door text, place text, workload text, key text, reason text, sentence text, content text,
                                        at timestamptz)
returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  -- An event that is read again is the same refusal.
  if door = 'event' and exists (select from lanes.rejected r where r.source = refuse.door and r.place = left(refuse.place, 512)
                                                              and r.reason = refuse.reason) then
    return;
  end if;
  insert into lanes.rejected (workload, key, source, place, reason, detail, content, rejected_at)
  values (refuse.workload, refuse.key, door, coalesce(refuse.place, ''), refuse.reason, sentence, left(refuse.content, 65536), at);
  insert into lanes.event_outbox (event, resource, payload, occurred_at)
  values ('lanes.item.rejected', 'lanes.workload.' || coalesce(left(refuse.workload, 512), 'unknown'),
          jsonb_strip_nulls(jsonb_build_object('key', left(refuse.key, 512), 'outcome', refuse.reason, 'detail', sentence,
                                               'source', door, 'place', left(refuse.place, 512))), at);
end $$;

comment on function lanes.refuse is 'The refusal of an input is in rejected_log, and its sender is told';
