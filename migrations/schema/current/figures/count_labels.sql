create or replace function lanes.count_labels()
returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_sort = off set enable_memoize = off as $$
declare
  gone lanes.label[] := '{}';
  come lanes.label[] := '{}';
  results lanes.result[];
begin
  if tg_op <> 'INSERT' then gone := array(select row(b.*)::lanes.label from before b); end if;
  if tg_op <> 'DELETE' then come := array(select row(a.*)::lanes.label from added a); end if;
  results := array(select r.result from (select distinct l.item_id from unnest(gone || come) l) l
                    cross join lateral (select r as result from lanes.result r where r.item_id = l.item_id offset 0) r);
  if results <> '{}' then
    perform lanes.keep_labels(gone, results, -1);
    perform lanes.keep_labels(come, results, 1);
  end if;
  return null;
end $$;

comment on function lanes.count_labels is 'Whoever says what is right, or takes it back, adds to the figures how right the answers were';
