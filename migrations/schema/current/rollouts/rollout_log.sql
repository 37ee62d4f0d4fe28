create or replace view lanes.rollout_log as
select r.id as rollout_id, r.playbook, r.workload, r.consumer, r.state, e.event, e.step,
       round(e.basis_points / 100.0, 2) as percent, e.who, e.why, e.at, round(r.share_before / 100.0, 2) as percent_before,
       r.started_at, r.ended_at
  from lanes.rollout r
  join lanes.rollout_event e on e.rollout_id = r.id;

comment on view lanes.rollout_log is 'One row an event of a rollout: what happened, who wanted it and why';

comment on column lanes.rollout_log.rollout_id is 'The rollout''s number';
comment on column lanes.rollout_log.playbook is 'Name of the playbook that it follows';
comment on column lanes.rollout_log.workload is 'Whose traffic it moves';
comment on column lanes.rollout_log.consumer is 'Whose items it moves; null: all of the workload';
comment on column lanes.rollout_log.state is
  'How the rollout stands now: running, waiting_approval, finished, rolled_back or aborted';
comment on column lanes.rollout_log.event is
  'started, stepped, held, approval_asked, approved, declined, rolled_back, finished or aborted';
comment on column lanes.rollout_log.step is 'The step in force afterwards, from 0';
comment on column lanes.rollout_log.percent is 'Share of undecided items to real-time afterwards, 0 to 100';
comment on column lanes.rollout_log.who is 'Who wanted it: a person, or the rollout itself';
comment on column lanes.rollout_log.why is 'The reason, with what was measured';
comment on column lanes.rollout_log.at is 'When it happened';
comment on column lanes.rollout_log.percent_before is 'Share before the rollout, 0 to 100: a failure sets it again';
comment on column lanes.rollout_log.started_at is 'When the rollout started';
comment on column lanes.rollout_log.ended_at is 'When the rollout ended; null: it is under way';
