-- A bill counts against the budgets of its workload as a whole; those of a consumer count its attempts' parts.
--- Counts new responses against the budgets
create or replace function lanes.use_of_responses()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (select from lanes.budget) then
    return null;
  end if;
  insert into lanes.budget_use (budget_id, began_at, usd)
  select b.id, date_trunc(b.period, a.billed_at, b.zone), sum(a.cost_usd)
    from added a join lanes.budget b on b.workload = a.workload and b.consumer is null
   group by 1, 2;
  return null;
end $$;
