-- Lane and state follow the work that is open for the newest revision; an item without any stands where its newest route
-- sent it, and so does one that was rescued and is answered, whose batch owes the pass. Replays and shadows never move an item.
-- That revision can fail while an older answer is still shown: failed is asked before answered. Items of golden sets have
-- negative positions and are of no consumer's business.
--- One row an item that is not archived: where it stands now
---   workload: Name of the workload
---   key: Names the item within its workload
---   lane: The lane of its open work, else of its newest route; null: not routed yet
---   state: received, routed, working, answered (provisional), settled, failed or canceled
---   route_reason: Which rule decided its newest route; null: not routed yet
---   received_at: When its admission was committed
---   due_at: When its answer is due; null: at no time
---   answered_at: When a first answer stood; null: none yet
---   settled_at: When an authoritative answer stood; null: none yet
---   attempts: How often it was tried, on any lane and for any purpose
---   cost_usd: What its tries cost so far, US dollars
---   item_id: The item's number in this database
---   consumer: Who reads its result; null: not named
---   entity: What it is about; keeps its bucket of the split; null: its key does
---   revision: Which revision of its input is in force: 0, or an amendment's
---   position: Its place in the stream, given by the router; null: not routed yet
---   source: The door it came by: event, sql, client or a file's name
---   failure: Why it failed, or why its authoritative pass did; null: neither
---   emptied_at: When what it said was emptied by its age; null: it is still kept
---   settled_reason: not_sampled: its provisional answer stands, and its second pass was left out; null: any other end
create or replace view lanes.item_status as
select i.workload, i.key,
       coalesce((select w.lane from lanes.work w
                  where w.item_id = i.id and w.revision = i.revision and w.generation = 0 and w.purpose = 'answer'
                    and w.state in ('ready', 'claimed', 'submitted')
                    and i.settled_at is null and i.canceled_at is null and not (w.rescued and i.answered_at is not null)
                  order by w.id desc limit 1), r.lane) as lane,
       case
         when i.canceled_at is not null then 'canceled'
         when i.settled_at is not null then 'settled'
         when i.failed_at is not null then 'failed'
         when i.answered_at is not null then 'answered'
         when i.position is null then 'received'
         when exists (select from lanes.work w
                       where w.item_id = i.id and w.revision = i.revision and w.generation = 0
                         and w.purpose in ('answer', 'authoritative') and w.state in ('claimed', 'submitted'))
           then 'working'
         else 'routed'
       end as state,
       r.reason as route_reason, i.received_at, i.due_at, i.answered_at, i.settled_at,
       coalesce(a.attempts, 0)::int as attempts, coalesce(a.cost_usd, 0) as cost_usd,
       i.id as item_id, i.consumer, i.entity, i.revision, i.position, i.source, i.failure, i.emptied_at, i.settled_reason
  from lanes.item i
  left join lateral (select lane, reason from lanes.route where item_id = i.id order by id desc limit 1) r on true
  left join lateral (select count(*) as attempts, sum(cost_usd) as cost_usd
                       from lanes.attempt where item_id = i.id) a on true
 where (i.position is null or i.position > 0) and i.archive_id is null;
