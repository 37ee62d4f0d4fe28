--- What was counted by day (UTC), to be summed; what is not folded yet too
---   day: When the day begins
---   workload: Name of the workload
---   version_id: The version, by its id in lanes.version; null: not counted apart
---   lane: The lane; null: not counted apart, or none
---   purpose: Why the work existed; null: not counted apart
---   consumer: Who reads it; null: not counted apart, or none; other: beyond the first fifty
---   kind: What is counted: route, attempt, call, result, correction and deadline in the day of the fact, item in the day in
---     which the item was received
---   word: Its reason, outcome, standing or state; null: it has none
---   n: How many; negative: fewer
---   items: A second count: items that shared a call, or of deadline those in time
---   usd: US dollars billed
---   bound_usd: US dollars at most of calls that ended without an answer
---   realtime_usd: US dollars that real-time would cost, estimated
---   batch_usd: US dollars that batch would cost, estimated
---   input: Input tokens, without cached ones
---   output: Output tokens
---   cached: Input tokens read from a cache
---   written: Input tokens written to a cache
create or replace view lanes.daily_figures as
select at as day, workload, version_id, lane, purpose, consumer, kind, word, n, items, usd, bound_usd, realtime_usd, batch_usd,
       input, output, cached, written
  from lanes.figure where grain = 'day'
union all
select date_trunc('day', at, 'UTC'), workload, version_id, lane, purpose, consumer, kind, word, n, items, usd, bound_usd,
       realtime_usd, batch_usd, input, output, cached, written
  from lanes.figure_delta;
