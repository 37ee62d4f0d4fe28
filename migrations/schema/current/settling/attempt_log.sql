create or replace view lanes.attempt_log as
select i.workload, i.key, a.lane, a.purpose,
       (row_number() over (partition by a.item_id order by a.id))::int as attempt,
       a.outcome, a.error, a.request_id, a.batch_id, a.model, a.input_tokens, a.output_tokens,
       a.cache_read_tokens, a.cache_write_tokens, a.cost_usd, a.latency_ms, a.started_at, a.ended_at,
       a.message_id, a.shown, a.bound_usd, a.flow_run_id, v.number as version
  from lanes.attempt a
  join lanes.item i on i.id = a.item_id
  join lanes.version v on v.id = a.version_id;

comment on view lanes.attempt_log is 'One row a try for one item; the parts of a packed call sum exactly to spend';

comment on column lanes.attempt_log.workload is 'Name of the workload';
comment on column lanes.attempt_log.key is 'Names the item within its workload';
comment on column lanes.attempt_log.lane is 'The lane that tried';
comment on column lanes.attempt_log.purpose is 'answer, authoritative, shadow (checks packing) or replay';
comment on column lanes.attempt_log.attempt is 'Which try of the item it was, from 1';
comment on column lanes.attempt_log.outcome is
  'How it ended: valid, invalid, refused, truncated, errored, poison, pack_refused, unserved, canceled, expired, '
  'missing, unknown or given_up';
comment on column lanes.attempt_log.error is 'What went wrong; null: nothing';
comment on column lanes.attempt_log.request_id is 'The provider''s name for the request; null: it told none';
comment on column lanes.attempt_log.batch_id is 'The batch that carried it, as in batch_status; null: a real-time call';
comment on column lanes.attempt_log.model is 'The model that was asked';
comment on column lanes.attempt_log.input_tokens is
  'Its part of the input tokens, without those read from or written to the cache';
comment on column lanes.attempt_log.output_tokens is 'Its part of the output tokens';
comment on column lanes.attempt_log.cache_read_tokens is 'Its part of the input tokens read from the provider''s cache';
comment on column lanes.attempt_log.cache_write_tokens is 'Its part of the input tokens written to the provider''s cache';
comment on column lanes.attempt_log.cost_usd is 'Its part of the response''s cost, US dollars';
comment on column lanes.attempt_log.latency_ms is 'Milliseconds of the provider call; batch: from submitted to ended';
comment on column lanes.attempt_log.started_at is 'When the call began; batch: when it was submitted';
comment on column lanes.attempt_log.ended_at is 'When it ended';
comment on column lanes.attempt_log.message_id is 'The provider''s name for the response, as in spend; null: there was none';
comment on column lanes.attempt_log.shown is 'Whether its answer became a result';
comment on column lanes.attempt_log.bound_usd is
  'Of a call without an answer: the most it can have cost, US dollars; not in spend';
comment on column lanes.attempt_log.flow_run_id is 'The run in Prefect that saved it; null: not known';
comment on column lanes.attempt_log.version is 'Number of the version that was tried';
