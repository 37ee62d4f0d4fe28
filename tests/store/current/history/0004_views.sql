-- The newest revision of an amended item can fail while an older answer is still shown: failed is asked before answered.
-- Replays never move an item.
create or replace view lanes.item_status as
select i.workload, i.key, r.lane,
       case
         when i.canceled_at is not null then 'canceled'
         when i.settled_at is not null then 'settled'
         when i.failed_at is not null then 'failed'
         when i.answered_at is not null then 'answered'
         when i.position is null then 'received'
         when exists (select from lanes.work w where w.item_id = i.id and w.state in ('claimed', 'submitted')
                                                 and w.purpose in ('answer', 'authoritative'))
           then 'working'
         else 'routed'
       end as state,
       r.reason as route_reason, i.received_at, i.due_at, i.answered_at, i.settled_at,
       coalesce(a.attempts, 0)::int as attempts, coalesce(a.cost_usd, 0) as cost_usd,
       i.id as item_id, i.consumer, i.entity, i.revision, i.position, i.source, i.failure
  from lanes.item i
  left join lateral (select lane, reason from lanes.route where item_id = i.id order by id desc limit 1) r on true
  left join lateral (select count(*) as attempts, sum(cost_usd) as cost_usd
                       from lanes.attempt where item_id = i.id) a on true;

create view lanes.revision_log as
select i.workload, i.key, r.number as revision, r.payload, r.source, r.place as position, r.received_at
  from lanes.revision r
  join lanes.item i on i.id = r.item_id
union all
select workload, key, null, payload, source, place, received_at
  from lanes.amendment where outcome is null;
comment on view lanes.revision_log is
  'One row a revision of an amended item; a revision of null is an amendment that waits for its item';

create view lanes.replay_log as
select g.workload, g.number as generation, v.number as version, g.state, g.from_position, g.to_position,
       g.cursor_position, g.items,
       coalesce(o.answered, 0)::int as answered, coalesce(w.open, 0)::int as open, coalesce(w.failed, 0)::int as failed,
       coalesce(w.cost_usd, 0) as cost_usd, g.who, g.why,
       g.created_at, g.completed_at, g.promoted_at, g.demoted_at, g.dropped_at
  from lanes.generation g
  join lanes.version v on v.id = g.version_id
  left join lateral (
    select count(*) filter (where w.state in ('ready', 'claimed', 'submitted')) as open,
           count(*) filter (where w.state = 'failed') as failed, sum(a.cost_usd) as cost_usd
      from lanes.work w
      left join lateral (select sum(cost_usd) as cost_usd from lanes.attempt where work_id = w.id) a on true
     where w.workload = g.workload and w.generation = g.number) w on true
  left join lateral (
    select count(*) as answered from lanes.result r join lanes.item i on i.id = r.item_id
     where r.generation = g.number and i.workload = g.workload) o on true;
comment on view lanes.replay_log is 'One row a replay: what it reads, how far it is, and what was decided';
