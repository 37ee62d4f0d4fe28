--- Counts new attempts against the budgets: a consumer's share of a bill, and the bound of a call without an answer
create or replace function lanes.use_of_attempts()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
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
  -- A call that was thought lost is answered: its bill takes the place of the most that it may have been.
  insert into lanes.budget_use (budget_id, began_at, bound_usd)
  select b.id, date_trunc(b.period, lost.ended_at, b.zone), -sum(lost.bound_usd)
    from added a
    join lanes.budget b on b.workload = a.workload
    join lanes.attempt lost on lost.work_id = a.work_id and lost.claim_no = a.claim_no and lost.message_id is null
     and lost.bound_usd <> 0
    left join lanes.item i on b.consumer is not null and i.id = a.item_id
   where a.message_id is not null and (b.consumer is null or i.consumer = b.consumer)
     and not exists (select from lanes.attempt other
                      where other.work_id = a.work_id and other.claim_no = a.claim_no and other.message_id is not null
                        and other.id < a.id)
   group by 1, 2;
  return null;
end $$;
