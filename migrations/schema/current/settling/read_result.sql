--- The current result of an item (no row: none yet; output null: emptied by its age); the read is recorded, of each result
--- 1,000, unless the item was archived
create or replace function lanes.read_result(workload text, key text, reader text,
                                             at timestamptz default clock_timestamp())
returns table (output jsonb, standing text, generation int, lane text, created_at timestamptz)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  target bigint;
  shown bigint;
  kept bigint;
begin
  select i.id, i.result_id, i.archive_id into target, shown, kept from lanes.item i
   where i.workload = read_result.workload and i.key = read_result.key;
  if target is null then return; end if;
  -- The first read of an answer is what the figures count; a reader that asks without an end fills no disk.
  insert into lanes.read (item_id, reader, result_id, read_at)
  select target, coalesce(nullif(left(read_result.reader, 512), ''), 'unknown'), shown, at
   where kept is null
     and (select count(*) from (select from lanes.read r where r.item_id = target
                                           and r.result_id is not distinct from shown limit 1000) kept) < 1000;
  return query select r.output, r.standing, r.generation, r.lane, r.created_at from lanes.result r where r.id = shown;
  if not found and shown is not null then return query select a.* from lanes.archived_result(target) a; end if;
end $$;
