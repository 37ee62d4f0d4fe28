--- Counts new attempts in the figures, and their cost in that of their jobs
create or replace function lanes.count_attempts()
returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_sort = off set enable_memoize = off set enable_nestloop = off as $$
begin
  with tries as materialized (
    select a.*, i.received_at, i.job_id from added a
      join (select i.id, i.received_at, i.job_id from lanes.item i
             where i.id = any (array(select item_id from added)) offset 0) i on i.id = a.item_id),
  of_jobs as (
    insert into lanes.job_use (job_id, usd)
    select job_id, sum(cost_usd) from tries where job_id is not null group by 1)
  insert into lanes.figure_delta ({columns})
  with {made tried}
  {counted tried};
  return null;
end $$;
