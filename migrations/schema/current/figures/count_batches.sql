create or replace function lanes.count_batches()
returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'UPDATE' then
    perform lanes.keep_batches(array(select row(b.*)::lanes.batch from before b), array(select row(a.*)::lanes.batch from added a));
  else
    perform lanes.keep_batches('{}', array(select row(a.*)::lanes.batch from added a));
  end if;
  return null;
end $$;

comment on function lanes.count_batches is 'Whoever intends a batch, moves it on or counts its items, has done so in the figures';
