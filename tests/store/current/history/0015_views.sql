create or replace view lanes.attempt_log as
select i.workload, i.key, a.lane, a.purpose,
       (row_number() over (partition by a.item_id order by a.id))::int as attempt,
       a.outcome, a.error, a.request_id, a.batch_id, a.model, a.input_tokens, a.output_tokens,
       a.cache_read_tokens, a.cache_write_tokens, a.cost_usd, a.latency_ms, a.started_at, a.ended_at,
       a.message_id, a.shown, a.bound_usd, a.flow_run_id
  from lanes.attempt a
  join lanes.item i on i.id = a.item_id;

create or replace view lanes.batch_status as
select id as batch_id, provider_batch_id, workload, model, state, requests, items, succeeded, invalid, errored,
       canceled, expired, missing, submitted_at, expected_end_at, ended_at, collected_at, processed, intended_at, note,
       flow_run_id
  from lanes.batch;

create or replace view lanes.incident_log as
select i.id as incident_id, i.promise, i.workload, i.severity, i.state, i.value, i.limit_value, i.opened_at, i.resolved_at,
       i.subject, i.unit, i.sentence, i.updated_at, i.uid,
       p.posted_state as slack_says, p.posted_at as slack_posted_at, p.last_error as slack_error,
       i.why, i.briefing, i.flow_run_id
  from lanes.incident i
  left join lanes.slack_post p on p.incident_id = i.id;
