create or replace view lanes.rollout_log as
select r.id as rollout_id, r.playbook, r.workload, r.consumer, r.state, e.event, e.step,
       round(e.basis_points / 100.0, 2) as percent, e.who, e.why, e.at, round(r.share_before / 100.0, 2) as percent_before,
       r.started_at, r.ended_at
  from lanes.rollout r
  join lanes.rollout_event e on e.rollout_id = r.id;

comment on view lanes.rollout_log is 'One row an event of a rollout: what happened, who wanted it and why';
