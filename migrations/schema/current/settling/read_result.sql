create or replace function lanes.read_result(workload text, key text, reader text,
                                             at timestamptz default clock_timestamp())
returns table (output jsonb, standing text, generation int, lane text, created_at timestamptz)
language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  target bigint;
  shown bigint;
begin
  select i.id, i.result_id into target, shown from lanes.item i
   where i.workload = read_result.workload and i.key = read_result.key;
  if target is null then return; end if;
  insert into lanes.read (item_id, reader, result_id, read_at)
  values (target, coalesce(nullif(left(read_result.reader, 512), ''), 'unknown'), shown, at);
  return query select r.output, r.standing, r.generation, r.lane, r.created_at from lanes.result r where r.id = shown;
end $$;

comment on function lanes.read_result is 'The current result of an item (no row: none yet; output null: emptied by its age); the read is recorded';
