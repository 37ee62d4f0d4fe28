--- Counts new and changed batches in the figures
create or replace function lanes.count_batches()
returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  gone lanes.batch[] := '{}';
begin
  if tg_op = 'UPDATE' then gone := array(select row(b.*)::lanes.batch from before b); end if;
  insert into lanes.figure_delta (lane, at, workload, version_id, kind, word, n, items, buckets, counts)
  select 'batch', f.* from lanes.batch_figures(gone, array(select row(a.*)::lanes.batch from added a)) f;
  return null;
end $$;
