--- Withdraws those of these items that are neither settled nor canceled, with their work outside batches; returns how many
create or replace function lanes.cancel_items(items bigint[], at timestamptz)
returns int
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  chosen bigint[] := array(select i.id from lanes.item i
                            where i.id = any(items) and i.canceled_at is null and i.settled_at is null
                            order by i.id for no key update);
begin
  update lanes.item i set canceled_at = at where i.id = any(chosen);
  update lanes.work w set state = 'canceled', finished_at = at
   where w.item_id = any(chosen) and w.state in ('ready', 'claimed');
  return cardinality(chosen);
end $$;
