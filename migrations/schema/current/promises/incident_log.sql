create or replace view lanes.incident_log as
select i.id as incident_id, i.promise, i.workload, i.severity, i.state, i.value, i.limit_value, i.opened_at, i.resolved_at,
       i.subject, i.unit, i.sentence, i.updated_at, i.uid,
       p.posted_state as slack_says, p.posted_at as slack_posted_at, p.last_error as slack_error,
       i.why, i.briefing, i.flow_run_id, i.parent_id
  from lanes.incident i
  left join lanes.slack_post p on p.incident_id = i.id;

comment on view lanes.incident_log is 'One row an incident: a promise that was broken, and whether Slack was told';
