--- One row a budget, in its current period: US dollars spent (billed, or possibly billed), reserved for what is under way,
--- and left
---   workload: Whose budget it is
---   consumer: Whose items it pays; null: all of the workload
---   period: day or month, from midnight in its zone on
---   zone: IANA time zone in which the period begins
---   began_at: When the current period began
---   ends_at: When the next period begins
---   spent_usd: US dollars billed in this period
---   unknown_usd: US dollars at most of calls that ended without an answer: they may have been billed
---   reserved_usd: US dollars that calls and batches under way may cost at most; what they do not use comes back as they end
---   left_usd: US dollars that are neither spent nor reserved: what the next calls may cost; null: no hard limit
---   soft_usd: From here on what may wait goes to batch, US dollars; null: no such limit
---   hard_usd: Never exceeded, US dollars; null: no such limit; 0: nothing is paid
---   share: Billed and perhaps billed, as a share of the hard limit, or else of the soft one; 1 = used up
---   refused_at: Since when less is left than the next call may cost; null: the last one was paid for
---   refused_usd: US dollars that this call may cost: it waits for reserved money, or for the next period where less is unspent
---   who: Who set it
---   why: The reason that was given
---   set_at: When it was set
create or replace view lanes.budget_status as
select workload, consumer, period, zone, began_at, ends_at, spent_usd, unknown_usd, calls_usd + batches_usd as reserved_usd,
       greatest(0, hard_usd - spent_usd - unknown_usd - calls_usd - batches_usd) as left_usd, soft_usd, hard_usd,
       case when coalesce(hard_usd, soft_usd) = 0 then 1
            else ((spent_usd + unknown_usd) / coalesce(hard_usd, soft_usd))::float8 end as share,
       refused_at, refused_usd, who, why, set_at
  from lanes.budgets_at(now());
