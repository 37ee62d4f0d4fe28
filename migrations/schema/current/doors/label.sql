create or replace function lanes.label(workload text, key text, expected jsonb, source text default 'sql',
                                       at timestamptz default clock_timestamp())
returns text
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  target bigint;
begin
  if jsonb_typeof(expected) is distinct from 'object' or lanes.unreadable(expected) is not null
     or exists (select from jsonb_object_keys(expected) field where length(field) not between 1 and 512)
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

comment on function lanes.label is 'Records what is right for an item, by fields with names of 1 to 512 characters; the newest label of a source counts';
