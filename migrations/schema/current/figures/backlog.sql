-- Work is not counted here: a long queue takes as long to count. `since` of items and work is that of the first in order. It is
-- looked for among the first 200 of a queue, because a replay may fill the rest: its work has later ranks.
--- One row a queue in which something waits, and since when
---   queue: received (items that no router has seen), ready (work for a lane), events (for Prefect), slack, webhook, or figures
---     (what is not folded yet)
---   workload: Name of the workload, of items and work; null: of none
---   lane: The lane that it waits for; null: none
---   urgent: Whether its items are urgent; null: it holds no items
---   subscriber: Name of the webhook; null: none
---   waiting: How many wait, of events, slack and figures up to 10,000; null: not counted
---   since: Since when the first in order has waited; null: not known
create or replace view lanes.backlog as
select 'received' as queue, f.name as workload, null::text as lane, u.urgent, null::text as subscriber, null::bigint as waiting,
       first.received_at as since
  from lanes.workload f cross join (values (true), (false)) u (urgent)
 cross join lateral (
   select i.received_at from lanes.item i
    where i.workload = f.name and i.urgent = u.urgent and i.position is null and i.canceled_at is null
    order by i.due_at, i.id limit 1) first
union all
select 'ready', f.name, l.lane, u.urgent, null, null, first.waits_since
  from lanes.workload f cross join (values ('realtime'), ('batch')) l (lane) cross join (values (true), (false)) u (urgent)
 cross join lateral (
   select w.waits_since
     from ((select w.waits_since, w.purpose, w.urgent, w.rank_at, w.id from lanes.work w
             where u.urgent and w.workload = f.name and w.lane = l.lane and w.state = 'ready' and w.urgent
             order by w.rank_at, w.id limit 200)
           union all
           (select w.waits_since, w.purpose, w.urgent, w.rank_at, w.id from lanes.work w
             where not u.urgent and w.workload = f.name and w.lane = l.lane and w.state = 'ready'
             order by w.rank_at, w.id limit 200)) w
    where w.urgent = u.urgent and w.purpose in ('answer', 'authoritative')
    order by w.rank_at, w.id limit 1) first
union all
select 'events', null, null, null, null, count(*), min(e.occurred_at)
  from (select occurred_at from lanes.event_outbox order by id limit 10000) e
union all
select 'slack', null, null, null, null, count(*), min(m.since)
  from (select created_at as since from lanes.slack_note where next_try_at is not null
        union all
        select i.opened_at from lanes.slack_post p join lanes.incident i on i.id = p.incident_id
         where p.posted_state is distinct from 'resolved' and p.attempts > 0
        limit 10000) m
union all
select 'webhook', null, null, null, h.name, greatest(m.position - h.position, 0) + t.waiting, least(e.occurred_at, t.since)
  from lanes.webhook h
  join lanes.watermark m on m.name = 'webhooks'
  left join lateral (
    select e.occurred_at from lanes.webhook_event e where e.position > h.position order by e.position limit 1) e on true
 cross join lateral (
   select count(*) as waiting, min(e.occurred_at) as since
     from lanes.webhook_try t join lanes.webhook_event e on e.position = t.position
    where t.webhook_id = h.id and t.next_try_at is not null) t
union all
select 'figures', null, null, null, null, count(*), min(d.at) filter (where d.kind in ('route', 'attempt', 'call', 'result'))
  from (select at, kind from lanes.figure_delta where not set_aside order by id limit 10000) d;
