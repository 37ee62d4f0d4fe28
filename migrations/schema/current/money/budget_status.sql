create or replace view lanes.budget_status as
select workload, consumer, period, zone, began_at, ends_at, spent_usd, unknown_usd, reserved_usd, soft_usd, hard_usd,
       case when coalesce(hard_usd, soft_usd) = 0 then 1
            else ((spent_usd + unknown_usd) / coalesce(hard_usd, soft_usd))::float8 end as share,
       refused_at, who, why, set_at
  from lanes.budgets_at(now());

comment on view lanes.budget_status is
  'One row a budget, in its current period: US dollars billed, possibly billed and kept for what is under way; share of its limit';
