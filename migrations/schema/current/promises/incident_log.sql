create or replace view lanes.incident_log as
select i.id as incident_id, i.promise, i.workload, i.severity, i.state, i.value, i.limit_value, i.opened_at, i.resolved_at,
       i.subject, i.unit, i.sentence, i.updated_at, i.uid,
       p.posted_state as slack_says, p.posted_at as slack_posted_at, p.last_error as slack_error,
       i.why, i.briefing, i.flow_run_id, i.parent_id
  from lanes.incident i
  left join lanes.slack_post p on p.incident_id = i.id;

comment on view lanes.incident_log is 'One row an incident: a promise that was broken, and whether Slack was told';

comment on column lanes.incident_log.incident_id is 'The incident''s number, as `lanes alerts` says it';
comment on column lanes.incident_log.promise is 'Which promise is broken';
comment on column lanes.incident_log.workload is 'Whose; * = every workload';
comment on column lanes.incident_log.severity is 'warning or critical; the worst so far';
comment on column lanes.incident_log.state is 'open: `watch` resolves it once it is over; resolved is final';
comment on column lanes.incident_log.value is 'The newest measurement, in the unit of the promise';
comment on column lanes.incident_log.limit_value is 'What was promised, in the same unit; 0: any is too much';
comment on column lanes.incident_log.opened_at is 'When it was found';
comment on column lanes.incident_log.resolved_at is 'When it was over; null: it goes on';
comment on column lanes.incident_log.subject is 'Part of the workload, such as batch 41; empty: all of it';
comment on column lanes.incident_log.unit is 'minutes, percent, seconds, items, calls, fields or sessions';
comment on column lanes.incident_log.sentence is 'What is wrong, for a person; after the end: how it ended';
comment on column lanes.incident_log.updated_at is 'When value, severity, state or sentence last changed';
comment on column lanes.incident_log.uid is 'Its name outside this database, as in Slack''s metadata';
comment on column lanes.incident_log.slack_says is 'What its message in Slack says: open or resolved; null: Slack was not told';
comment on column lanes.incident_log.slack_posted_at is 'When its message was last posted or edited; null: never';
comment on column lanes.incident_log.slack_error is 'Why the last try to tell Slack failed, and what to do; null: it went well';
comment on column lanes.incident_log.why is 'The cause, where its opener met it; null: the briefing says why';
comment on column lanes.incident_log.briefing is 'Cause, stakes and trend as they were told last, as JSON; null: nothing yet';
comment on column lanes.incident_log.flow_run_id is 'The run in Prefect that met it; null: it was measured';
comment on column lanes.incident_log.parent_id is 'The incident that explains it; null: none';
