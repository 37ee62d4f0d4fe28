create or replace view lanes.budget_status as
select workload, consumer, period, zone, began_at, ends_at, spent_usd, unknown_usd, reserved_usd, soft_usd, hard_usd,
       case when coalesce(hard_usd, soft_usd) = 0 then 1
            else ((spent_usd + unknown_usd) / coalesce(hard_usd, soft_usd))::float8 end as share,
       refused_at, who, why, set_at
  from lanes.budgets_at(now());

comment on view lanes.budget_status is
  'One row a budget, in its current period: US dollars billed, possibly billed and kept for what is under way; share of its limit';

comment on column lanes.budget_status.workload is 'Whose budget it is';
comment on column lanes.budget_status.consumer is 'Whose items it pays; null: all of the workload';
comment on column lanes.budget_status.period is 'day or month, from midnight in its zone on';
comment on column lanes.budget_status.zone is 'IANA time zone in which the period begins';
comment on column lanes.budget_status.began_at is 'When the current period began';
comment on column lanes.budget_status.ends_at is 'When the next period begins';
comment on column lanes.budget_status.spent_usd is 'US dollars billed in this period';
comment on column lanes.budget_status.unknown_usd is
  'US dollars at most of calls that ended without an answer: they may have been billed';
comment on column lanes.budget_status.reserved_usd is 'US dollars kept for calls and batches that are under way';
comment on column lanes.budget_status.soft_usd is 'From here on what may wait goes to batch, US dollars; null: no such limit';
comment on column lanes.budget_status.hard_usd is 'Never exceeded, US dollars; null: no such limit; 0: nothing is paid';
comment on column lanes.budget_status.share is
  'Billed and perhaps billed, as a share of the hard limit, or else of the soft one; 1 = used up';
comment on column lanes.budget_status.refused_at is
  'Since when less is left than was asked for; null: what was asked last was given';
comment on column lanes.budget_status.who is 'Who set it';
comment on column lanes.budget_status.why is 'The reason that was given';
comment on column lanes.budget_status.set_at is 'When it was set';
