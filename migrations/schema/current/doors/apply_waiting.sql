-- The router and the sweep apply waiting amendments, some at a time; those in another open transaction come later.
--- Amendments that came before their items are applied to those that exist now
create or replace function lanes.apply_waiting(at timestamptz default clock_timestamp())
returns int
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  each record;
  said text;
  applied int := 0;
begin
  for each in
    select a.id, a.payload, a.source, a.place, a.received_at, a.occurred_at, i.id as item_id
      from lanes.amendment a
      join lanes.item i on i.workload = a.workload and i.key = a.key
     where a.outcome is null
     order by i.id, a.id
     limit 500
       for no key update of i, a skip locked
  loop
    said := lanes.apply_amendment(each.item_id, each.payload, each.source, each.place, each.received_at, at,
                                  each.occurred_at);
    update lanes.amendment a set outcome = case said when 'archived' then 'canceled' else said end, decided_at = at,
           payload = null
     where a.id = each.id;
    applied := applied + 1;
  end loop;
  return applied;
end $$;
