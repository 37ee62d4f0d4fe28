-- Each joined row exists; left joins let the planner omit those whose columns a query does not use.
--- One row a decision, oldest kept
---   workload: Name of the workload
---   key: Names the item within its workload
---   lane: The lane that was chosen: realtime or batch
---   reason: Which rule decided, such as urgent, deadline, split or rescue
---   explanation: The decision as a sentence
---   realtime_usd: What real-time would cost, estimated, US dollars
---   batch_usd: What batch would cost, estimated, US dollars
---   decided_at: When it was decided; the newest decision of an item is in force
---   version: Number of the version by which was decided
---   probability: That a batch is back by the due time, 0 to 1, as it was stated; null: none was weighed
---   binds: The lane that nothing may take the item from; null: it may change
create or replace view lanes.route_log as
select i.workload, i.key, r.lane, r.reason, r.explanation, r.realtime_usd, r.batch_usd, r.decided_at,
       v.number as version, r.probability, r.binds
  from lanes.route r
  left join lanes.item i on i.id = r.item_id
  left join lanes.version v on v.id = r.version_id;
