--- A refused input is kept whatever it is called: its workload, place and key are cut at 512 characters, which an index takes
create or replace function lanes.bound_refusal()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  new.workload := left(new.workload, 512);
  new.place := left(new.place, 512);
  new.key := left(new.key, 512);
  return new;
end $$;
