-- A replay is found by its own work, and its answers by that work's items: nothing else of the history is read.
create or replace view lanes.replay_log as
select g.workload, g.number as generation, v.number as version, g.state, g.from_position, g.to_position,
       g.cursor_position, g.items,
       coalesce(o.answered, 0)::int as answered, coalesce(w.open, 0)::int as open, coalesce(w.failed, 0)::int as failed,
       coalesce(w.cost_usd, 0) as cost_usd, g.who, g.why,
       g.created_at, g.completed_at, g.promoted_at, g.demoted_at, g.dropped_at
  from lanes.generation g
  join lanes.version v on v.id = g.version_id
  left join lateral (
    select count(*) filter (where w.state in ('ready', 'claimed', 'submitted')) as open,
           count(*) filter (where w.state = 'failed') as failed,
           sum((select sum(a.cost_usd) from lanes.attempt a where a.work_id = w.id)) as cost_usd
      from lanes.work w
     where w.workload = g.workload and w.generation = g.number and w.generation > 0) w on true
  left join lateral (
    select count(*) as answered
      from lanes.result r
     where r.generation = g.number and r.generation > 0
       and (select i.workload from lanes.item i where i.id = r.item_id) = g.workload) o on true;

comment on view lanes.replay_log is 'One row a replay: what it reads, how far it is, and what was decided';

comment on column lanes.replay_log.workload is 'Name of the workload';
comment on column lanes.replay_log.generation is 'Number of the replay within its workload';
comment on column lanes.replay_log.version is 'Number of the version that answers';
comment on column lanes.replay_log.state is 'running, complete (a person promotes or drops it), promoted, demoted or dropped';
comment on column lanes.replay_log.from_position is 'First position of the stream that it reads';
comment on column lanes.replay_log.to_position is 'Last position of the stream that it reads';
comment on column lanes.replay_log.cursor_position is 'Everything up to here has its work';
comment on column lanes.replay_log.items is 'How many items got work';
comment on column lanes.replay_log.answered is 'How many of them it answered';
comment on column lanes.replay_log.open is 'How many of them are still under way';
comment on column lanes.replay_log.failed is 'How many of them failed';
comment on column lanes.replay_log.cost_usd is 'What its tries were billed so far, US dollars';
comment on column lanes.replay_log.who is 'Who started it';
comment on column lanes.replay_log.why is 'The reason that was given';
comment on column lanes.replay_log.created_at is 'When it was started';
comment on column lanes.replay_log.completed_at is 'When the last of its work ended; null: not yet';
comment on column lanes.replay_log.promoted_at is 'When its results became the current ones; null: never';
comment on column lanes.replay_log.demoted_at is 'When that was taken back; null: never';
comment on column lanes.replay_log.dropped_at is 'When it was forgotten; null: never';
