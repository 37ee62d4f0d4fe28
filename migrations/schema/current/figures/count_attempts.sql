--- Counts new attempts in the figures
create or replace function lanes.count_attempts()
returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_sort = off set enable_memoize = off as $$
begin
  insert into lanes.figure_delta ({columns})
  with tries as (
    select a.*, i.received_at from added a
     cross join lateral (select i.received_at from lanes.item i where i.id = a.item_id offset 0) i),
  {made tried}
  {counted tried};
  return null;
end $$;
