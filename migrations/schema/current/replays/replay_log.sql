-- A replay is found by its own work, and its answers by that work's items: nothing else of the history is read.
--- One row a replay: what it reads, how far it is, and what was decided
---   workload: Name of the workload
---   generation: Number of the replay within its workload
---   version: Number of the version that answers
---   state: running, complete (a person promotes or drops it), promoted, demoted or dropped
---   from_position: First position of the stream that it reads
---   to_position: Last position of the stream that it reads
---   cursor_position: Everything up to here has its work
---   items: How many items got work
---   skipped: How many would be asked exactly as their current answer was, and keep it
---   erased: How many of the selected items have no payload any more
---   selection: The conditions that its items meet, by name, and its lane, if that is realtime; {} for none
---   answered: How many of them it answered
---   open: How many of them are still under way
---   failed: How many of them failed
---   cost_usd: What its tries were billed so far, US dollars
---   who: Who started it
---   why: The reason that was given
---   created_at: When it was started
---   completed_at: When the last of its work ended; null: not yet
---   promoted_at: When its results became the current ones; null: never
---   demoted_at: When that was taken back; null: never
---   dropped_at: When it was forgotten; null: never
---   paused_at: Since when it is paused; null: it is not
create or replace view lanes.replay_log as
select g.workload, g.number as generation, v.number as version, g.state, g.from_position, g.to_position,
       g.cursor_position, g.items, g.skipped, g.erased, g.selection,
       coalesce(o.answered, 0)::int as answered, coalesce(w.open, 0)::int as open, coalesce(w.failed, 0)::int as failed,
       coalesce(w.cost_usd, 0) as cost_usd, g.who, g.why,
       g.created_at, g.completed_at, g.promoted_at, g.demoted_at, g.dropped_at, g.paused_at
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
