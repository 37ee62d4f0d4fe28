--- Records what is right for an item, by fields with names of 1 to 512 characters, in 64 KiB; the newest label of a source
--- counts, and an item has those of 100 sources. The source `review`, or one that begins with `review:`, answers the review queue
create or replace function lanes.label(workload text, key text, expected jsonb, source text default 'sql',
                                       at timestamptz default clock_timestamp())
returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  target bigint;
  chosen text := 'given';
begin
  if jsonb_typeof(expected) is distinct from 'object' or lanes.unreadable(expected) is not null
     or exists (select from jsonb_object_keys(expected) field where length(field) not between 1 and 512)
     or coalesce(length(source) not between 1 and 512, true) then
    return 'malformed';
  end if;
  if octet_length(expected::text) > 65536 then return 'label_too_large'; end if;
  select i.id into target from lanes.item i where i.workload = label.workload and i.key = label.key and lanes.is_own(lanes.own_consumers(), i.consumer);
  if target is null then return 'unknown_item'; end if;
  if exists (select from lanes.item i where i.id = target and i.archive_id is not null) then return 'archived'; end if;
  if (select count(*) >= 100 and count(*) filter (where l.source = label.source) = 0 from lanes.label l where l.item_id = target) then
    return 'too_many_labels';
  end if;
  if source = 'review' or starts_with(source, 'review:') then
    select case when lanes.review_chance(label.workload, label.key) < v.review_share then 'uniform' else 'review' end into chosen
      from lanes.workload w join lanes.version v on v.id = w.version_id where w.name = label.workload;
  end if;
  insert into lanes.label (item_id, expected, source, labeled_at, basis)
  values (target, label.expected, label.source, at, coalesce(chosen, 'review'))
  on conflict on constraint uq_label_item_id_source do update set expected = excluded.expected, labeled_at = excluded.labeled_at;
  return 'labeled';
end $$;
