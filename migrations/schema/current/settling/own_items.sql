-- As in own_corrections, no condition of a reader is tried on rows of others.
-- A barrier: no condition of a reader is tried on rows of others, where an error or its time could reveal them.
--- Of `item_status`, the items of the login's own consumers
---   workload: Name of the workload
---   key: Names the item within its workload
---   lane: The lane of its open work, else of its newest route; null: not routed yet
---   state: received, routed, working, answered (provisional), settled, failed or canceled
---   received_at: When its admission was committed
---   due_at: When its answer is due; null: at no time
---   answered_at: When a first answer stood; null: none yet
---   settled_at: When an authoritative answer stood; null: none yet
---   consumer: Who reads its result
---   entity: What it is about; null: its key
---   failure: Why it failed, or why its authoritative pass did; null: neither
create or replace view lanes.own_items with (security_barrier) as
select workload, key, lane, state, received_at, due_at, answered_at, settled_at, consumer, entity, failure
  from lanes.item_status where consumer = any ((select lanes.own_consumers())::text[])
offset 0;
