create or replace view lanes.budget_status as
select workload, consumer, period, zone, began_at, ends_at, spent_usd, unknown_usd, calls_usd + batches_usd as reserved_usd,
       greatest(0, hard_usd - spent_usd - unknown_usd - calls_usd - batches_usd) as left_usd, soft_usd, hard_usd,
       case when coalesce(hard_usd, soft_usd) = 0 then 1
            else ((spent_usd + unknown_usd) / coalesce(hard_usd, soft_usd))::float8 end as share,
       refused_at, refused_usd, who, why, set_at
  from lanes.budgets_at(now());

comment on view lanes.budget_status is
  'One row a budget, in its current period: US dollars spent (billed, or possibly billed), reserved for what is under way, and left';

comment on column lanes.budget_status.workload is 'Whose budget it is';
comment on column lanes.budget_status.consumer is 'Whose items it pays; null: all of the workload';
comment on column lanes.budget_status.period is 'day or month, from midnight in its zone on';
comment on column lanes.budget_status.zone is 'IANA time zone in which the period begins';
comment on column lanes.budget_status.began_at is 'When the current period began';
comment on column lanes.budget_status.ends_at is 'When the next period begins';
comment on column lanes.budget_status.spent_usd is 'US dollars billed in this period';
comment on column lanes.budget_status.unknown_usd is
  'US dollars at most of calls that ended without an answer: they may have been billed';
comment on column lanes.budget_status.reserved_usd is
  'US dollars that calls and batches under way may cost at most; what they do not use comes back as they end';
comment on column lanes.budget_status.left_usd is
  'US dollars that are neither spent nor reserved: what the next calls may cost; null: no hard limit';
comment on column lanes.budget_status.soft_usd is 'From here on what may wait goes to batch, US dollars; null: no such limit';
comment on column lanes.budget_status.hard_usd is 'Never exceeded, US dollars; null: no such limit; 0: nothing is paid';
comment on column lanes.budget_status.share is
  'Billed and perhaps billed, as a share of the hard limit, or else of the soft one; 1 = used up';
comment on column lanes.budget_status.refused_at is
  'Since when less is left than the next call may cost; null: the last one was paid for';
comment on column lanes.budget_status.refused_usd is
  'US dollars that this call may cost: it waits for reserved money, or for the next period where less is unspent';
comment on column lanes.budget_status.who is 'Who set it';
comment on column lanes.budget_status.why is 'The reason that was given';
comment on column lanes.budget_status.set_at is 'When it was set';
