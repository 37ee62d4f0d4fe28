--- One row a billed response, in US dollars
---   message_id: The provider's name for the response: billed once, booked once
---   workload: Name of the workload
---   lane: The lane that asked; batch pays the batch price
---   purpose: answer, authoritative, shadow (only measures), replay or golden
---   model: The model that answered
---   batch_id: The batch it came in, as in batch_status; null: a real-time call
---   items: How many items shared the call
---   input_tokens: Input tokens, without those read from or written to the cache
---   output_tokens: Output tokens
---   cache_read_tokens: Input tokens read from the provider's cache
---   cache_write_tokens: Input tokens written to the provider's cache
---   cost_usd: What it costs, US dollars
---   price_version: Which price table said so
---   billed_at: When the response was served
---   service_tier: The provider's tier that served it; null: the usual one
---   inference_geo: Where the provider served it; null: it does not say
---   speed: At which speed the provider served it; null: the usual one
create or replace view lanes.spend as
select message_id, workload, lane, purpose, model, batch_id, items, input_tokens, output_tokens,
       cache_read_tokens, cache_write_tokens, cost_usd, price_version, billed_at, service_tier, inference_geo, speed
  from lanes.response;
