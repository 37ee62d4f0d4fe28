--- One row a workload and lane that answered: its newest answer, among its 20 newest tries
---   workload: Name of the workload
---   lane: The lane that gave it
---   item_id: The item's number in this database
---   trace: Trace id, span id and flags of its sender's traceparent, 25 bytes; null: it gave none
---   received_at: When its admission was committed
---   ended_at: When the call or batch ended that answered it
create or replace view lanes.newest_answers as
select f.name as workload, l.lane, i.id as item_id, i.trace, i.received_at, newest.ended_at
  from lanes.workload f cross join (values ('realtime'), ('batch')) l (lane)
 cross join lateral (
   select a.item_id, a.ended_at
     from (select a.item_id, a.ended_at, a.shown from lanes.attempt a
            where a.workload = f.name and a.lane = l.lane order by a.ended_at desc limit 20) a
    where a.shown order by a.ended_at desc limit 1) newest
  join lanes.item i on i.id = newest.item_id;
