--- One row an event of a rollout: what happened, who wanted it and why
---   rollout_id: The rollout's number
---   playbook: Name of the playbook that it follows
---   workload: Whose traffic it moves
---   consumer: Whose items it moves; null: all of the workload
---   state: How the rollout stands now: running, waiting_approval, finished, rolled_back or aborted
---   event: started, stepped, held, approval_asked, approved, declined, rolled_back, finished or aborted
---   step: The step in force afterwards, from 0
---   percent: Share of undecided items to real-time, or of all items to the version, afterwards, 0 to 100
---   who: Who wanted it: a person, or the rollout itself
---   why: The reason, with what was measured
---   at: When it happened
---   percent_before: Share before the rollout, 0 to 100: a failure sets it again
---   started_at: When the rollout started
---   ended_at: When the rollout ended; null: it is under way
---   version: Number of the version that gets the share; null: real-time does
create or replace view lanes.rollout_log as
select r.id as rollout_id, r.playbook, r.workload, r.consumer, r.state, e.event, e.step,
       round(e.basis_points / 100.0, 2) as percent, e.who, e.why, e.at, round(r.share_before / 100.0, 2) as percent_before,
       r.started_at, r.ended_at, r.version
  from lanes.rollout r
  join lanes.rollout_event e on e.rollout_id = r.id;
