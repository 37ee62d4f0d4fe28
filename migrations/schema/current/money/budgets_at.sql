-- A period is known by the midnight at which it begins in the budget's zone, whatever the clocks do in it.
create or replace function lanes.budgets_at(at timestamptz)
returns table (budget_id bigint, workload text, consumer text, period text, zone text, began_at timestamptz, ends_at timestamptz,
               spent_usd numeric, unknown_usd numeric, reserved_usd numeric, soft_usd numeric, hard_usd numeric,
               refused_at timestamptz, who text, why text, set_at timestamptz)
language sql stable as $$
  select b.id, b.workload, b.consumer, b.period, b.zone, p.began_at,
         (date_trunc(b.period, budgets_at.at at time zone b.zone) + ('1 ' || b.period)::interval) at time zone b.zone,
         coalesce(s.usd, 0) + u.usd, coalesce(s.bound_usd, 0) + u.bound_usd, h.usd, b.soft_usd, b.hard_usd, b.refused_at, b.who,
         b.why, b.set_at
    from lanes.budget b
   cross join lateral (select date_trunc(b.period, budgets_at.at, b.zone) as began_at) p
    left join lanes.budget_spent s on s.budget_id = b.id and s.began_at = p.began_at
   cross join lateral (
     select coalesce(sum(x.usd), 0) as usd, coalesce(sum(x.bound_usd), 0) as bound_usd
       from lanes.budget_use x where x.budget_id = b.id and x.began_at = p.began_at) u
   cross join lateral (
     select coalesce(sum(x.usd), 0) as usd
       from lanes.budget_hold x left join lanes.batch t on t.id = x.batch_id
      where x.budget_id = b.id and (t.id is null or t.state not in ('collected', 'released'))) h
$$;

comment on function lanes.budgets_at is
  'Every budget in the period of that moment: what was billed, what may have been, and what is kept for calls and batches under way';
