-- A period is known by the midnight at which it begins in the budget's zone, whatever the clocks do in it. What is spent and
-- what is reserved are read in one snapshot, so that a call that is just saved counts as one of both, and only as one.
--- Every budget in the period of that moment: what was billed, what may have been, and what is reserved for calls and batches
--- under way
create or replace function lanes.budgets_at(at timestamptz)
returns table (budget_id bigint, workload text, consumer text, period text, zone text, began_at timestamptz, ends_at timestamptz,
               spent_usd numeric, unknown_usd numeric, calls_usd numeric, batches_usd numeric, soft_usd numeric, hard_usd numeric,
               refused_at timestamptz, refused_usd numeric, who text, why text, set_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  with calls as (
    select w.workload, i.consumer, sum(w.bound_usd) as usd
      from lanes.work w join lanes.item i on i.id = w.item_id
     where w.bound_usd is not null and w.state <> 'ready'
     group by 1, 2)
  select b.id, b.workload, b.consumer, b.period, b.zone, p.began_at,
         (date_trunc(b.period, budgets_at.at at time zone b.zone) + ('1 ' || b.period)::interval) at time zone b.zone,
         coalesce(s.usd, 0) + u.usd, coalesce(s.bound_usd, 0) + u.bound_usd, c.usd, h.usd, b.soft_usd, b.hard_usd, b.refused_at,
         b.refused_usd, b.who, b.why, b.set_at
    from lanes.budget b
   cross join lateral (select date_trunc(b.period, budgets_at.at, b.zone) as began_at) p
    left join lanes.budget_spent s on s.budget_id = b.id and s.began_at = p.began_at
   cross join lateral (
     select coalesce(sum(x.usd), 0) as usd, coalesce(sum(x.bound_usd), 0) as bound_usd
       from lanes.budget_use x where x.budget_id = b.id and x.began_at = p.began_at) u
   cross join lateral (
     select coalesce(sum(x.usd), 0) as usd from calls x
      where x.workload = b.workload and (b.consumer is null or x.consumer = b.consumer)) c
   cross join lateral (
     select coalesce(sum(x.usd), 0) as usd
       from lanes.budget_hold x join lanes.batch t on t.id = x.batch_id
      where x.budget_id = b.id and t.state not in ('collected', 'released')) h;
end;
