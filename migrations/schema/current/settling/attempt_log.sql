-- A try is numbered by a count of its own item's: a window over all of them would keep conditions of a reader off the tables.
-- Each joined row exists; left joins let the planner omit those whose columns a query does not use.
--- One row a try for one item; the parts of a packed call sum exactly to spend
---   workload: Name of the workload; NAME/golden where the item is of the golden set of NAME
---   key: Names the item within its workload
---   lane: The lane that tried
---   purpose: answer, authoritative, shadow (only measures), replay or golden
---   attempt: Which try of the item it was, from 1
---   outcome: How it ended: valid, invalid, refused, truncated, errored, poison, pack_refused, unserved, canceled, expired,
---     missing, unknown or given_up
---   error: What went wrong; null: nothing
---   request_id: The provider's name for the request; null: it told none
---   batch_id: The batch that carried it, as in batch_status; null: a real-time call
---   model: The model that the response names; without a response, the one that was asked
---   input_tokens: Its part of the input tokens, without those read from or written to the cache
---   output_tokens: Its part of the output tokens
---   cache_read_tokens: Its part of the input tokens read from the provider's cache
---   cache_write_tokens: Its part of the input tokens written to the provider's cache
---   cost_usd: Its part of the response's cost, US dollars
---   latency_ms: Milliseconds of the provider call; batch: from submitted to ended
---   started_at: When the call began; batch: when it was submitted
---   ended_at: When it ended
---   message_id: The provider's name for the response, as in spend; null: there was none
---   shown: Whether its answer became a result
---   bound_usd: Of a call without an answer: the most it can have cost, US dollars; not in spend
---   flow_run_id: The run in Prefect that saved it; null: not known
---   version: Number of the version that was tried
---   service_tier: The provider's tier that served it; null: the usual one
---   inference_geo: Where the provider served it; null: it does not say
---   speed: At which speed the provider served it; null: the usual one
create or replace view lanes.attempt_log as
select i.workload, i.key, a.lane, a.purpose,
       (select count(*) from lanes.attempt b where b.item_id = a.item_id and b.id <= a.id)::int as attempt,
       a.outcome, a.error, a.request_id, a.batch_id, a.model, a.input_tokens, a.output_tokens,
       a.cache_read_tokens, a.cache_write_tokens, a.cost_usd, a.latency_ms, a.started_at, a.ended_at,
       a.message_id, a.shown, a.bound_usd, a.flow_run_id, v.number as version,
       r.service_tier, r.inference_geo, r.speed
  from lanes.attempt a
  left join lanes.item i on i.id = a.item_id
  left join lanes.version v on v.id = a.version_id
  left join lanes.response r on r.message_id = a.message_id;
