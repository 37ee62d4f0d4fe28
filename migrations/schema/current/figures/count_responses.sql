--- Counts new responses in the figures
create or replace function lanes.count_responses()
returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_sort = off as $$
begin
  insert into lanes.figure_delta ({columns})
  with responses as (select * from added),
  {made billed}
  {counted billed};
  return null;
end $$;
