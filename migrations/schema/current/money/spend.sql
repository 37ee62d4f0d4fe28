create or replace view lanes.spend as
select message_id, workload, lane, purpose, model, batch_id, items, input_tokens, output_tokens,
       cache_read_tokens, cache_write_tokens, cost_usd, price_version, billed_at
  from lanes.response;

comment on view lanes.spend is 'One row a billed response, in US dollars';
