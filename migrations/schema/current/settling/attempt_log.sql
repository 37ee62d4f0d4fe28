create or replace view lanes.attempt_log as
select i.workload, i.key, a.lane, a.purpose,
       (row_number() over (partition by a.item_id order by a.id))::int as attempt,
       a.outcome, a.error, a.request_id, a.batch_id, a.model, a.input_tokens, a.output_tokens,
       a.cache_read_tokens, a.cache_write_tokens, a.cost_usd, a.latency_ms, a.started_at, a.ended_at,
       a.message_id, a.shown, a.bound_usd, a.flow_run_id
  from lanes.attempt a
  join lanes.item i on i.id = a.item_id;

comment on view lanes.attempt_log is 'One row a try for one item; the parts of a packed call sum exactly to spend';
