--- Writes the workload of a label's item beside the label, whoever writes it: an index finds the newest of a workload
create or replace function lanes.set_workload()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  new.workload := (select i.workload from lanes.item i where i.id = new.item_id);
  return new;
end $$;
