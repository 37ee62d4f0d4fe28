create or replace function lanes.use_of_attempts()
returns trigger
language plpgsql as $$
begin
  if not exists (select from lanes.budget) then
    return null;
  end if;
  insert into lanes.budget_use (budget_id, began_at, usd, bound_usd)
  select b.id, date_trunc(b.period, a.ended_at, b.zone), sum(case when b.consumer is null then 0 else a.cost_usd end),
         sum(a.bound_usd)
    from added a
    join lanes.budget b on b.workload = a.workload
    left join lanes.item i on b.consumer is not null and i.id = a.item_id
   where (b.consumer is null and a.bound_usd <> 0) or i.consumer = b.consumer
   group by 1, 2;
  return null;
end $$;

comment on function lanes.use_of_attempts is
  'Whoever tries adds it to what counts against the budgets: a consumer''s part of a bill, and what a call without an answer may cost';
