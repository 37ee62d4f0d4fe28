--- One row an incident: a promise that was broken, and whether Slack was told
---   incident_id: The incident's number, as `lanes alerts` says it
---   promise: Which promise is broken
---   workload: Whose; * = every workload
---   severity: digest, warning or critical; the worst so far
---   state: open: `watch` resolves it once it is over; resolved is final
---   value: The newest measurement, in the unit of the promise
---   limit_value: What was promised, in the same unit; 0: any is too much
---   opened_at: When it was found
---   resolved_at: When it was over; null: it goes on
---   subject: Part of the workload, such as batch 41; empty: all of it
---   unit: minutes, percent, seconds, items, calls, fields or sessions
---   sentence: What is wrong, for a person; after the end: how it ended
---   updated_at: When value, severity, state or sentence last changed
---   uid: Its name outside this database, as in Slack's metadata
---   slack_says: What its message in Slack says: open or resolved; null: Slack was not told
---   slack_posted_at: When its message was last posted or edited; null: never
---   slack_error: Why the last try to tell Slack failed, and what to do; null: it went well
---   why: The cause, where its opener met it; null: the briefing says why
---   briefing: Cause, stakes and trend as they were told last, as JSON; null: nothing yet
---   flow_run_id: The run in Prefect that met it; null: it was measured
---   parent_id: The incident that explains it; null: none
---   handling: What a person said about it last: silenced or acknowledged; null: nothing
---   handled_by: Who said it
---   handled_why: Why
---   handled_at: When
---   handled_until: Until when; it is told again then, if it is still open
create or replace view lanes.incident_log as
select i.id as incident_id, i.promise, i.workload, i.severity, i.state, i.value, i.limit_value, i.opened_at, i.resolved_at,
       i.subject, i.unit, i.sentence, i.updated_at, i.uid,
       p.posted_state as slack_says, p.posted_at as slack_posted_at, p.last_error as slack_error,
       i.why, i.briefing, i.flow_run_id, i.parent_id,
       i.handling, i.handled_by, i.handled_why, i.handled_at, i.handled_until
  from lanes.incident i
  left join lanes.slack_post p on p.incident_id = i.id;
