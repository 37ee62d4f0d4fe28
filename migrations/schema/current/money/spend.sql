create or replace view lanes.spend as
select message_id, workload, lane, purpose, model, batch_id, items, input_tokens, output_tokens,
       cache_read_tokens, cache_write_tokens, cost_usd, price_version, billed_at
  from lanes.response;

comment on view lanes.spend is 'One row a billed response, in US dollars';

comment on column lanes.spend.message_id is 'The provider''s name for the response: billed once, booked once';
comment on column lanes.spend.workload is 'Name of the workload';
comment on column lanes.spend.lane is 'The lane that asked; batch pays the batch price';
comment on column lanes.spend.purpose is 'answer, authoritative, shadow (checks packing) or replay';
comment on column lanes.spend.model is 'The model that answered';
comment on column lanes.spend.batch_id is 'The batch it came in, as in batch_status; null: a real-time call';
comment on column lanes.spend.items is 'How many items shared the call';
comment on column lanes.spend.input_tokens is 'Input tokens, without those read from or written to the cache';
comment on column lanes.spend.output_tokens is 'Output tokens';
comment on column lanes.spend.cache_read_tokens is 'Input tokens read from the provider''s cache';
comment on column lanes.spend.cache_write_tokens is 'Input tokens written to the provider''s cache';
comment on column lanes.spend.cost_usd is 'What it costs, US dollars';
comment on column lanes.spend.price_version is 'Which price table said so';
comment on column lanes.spend.billed_at is 'When the response was served';
