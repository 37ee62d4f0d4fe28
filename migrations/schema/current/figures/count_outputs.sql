create or replace function lanes.count_outputs()
returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_sort = off set enable_memoize = off as $$
declare
  labels lanes.label[] := array(select l.label from (select distinct a.item_id from added a) a
                                 cross join lateral (select l as label from lanes.label l where l.item_id = a.item_id offset 0) l);
begin
  if labels <> '{}' then
    perform lanes.keep_labels(labels, array(select row(b.*)::lanes.result from before b), -1);
    perform lanes.keep_labels(labels, array(select row(a.*)::lanes.result from added a), 1);
  end if;
  return null;
end $$;

comment on function lanes.count_outputs is 'Whoever changes or empties what answers say has changed how right they were';
