-- Each revision has its item; a left join lets the planner omit it when a query uses none of its columns.
--- One row a revision of an amended item; a revision of null is an amendment that waits for its item
---   workload: Name of the workload
---   key: Names the item within its workload
---   revision: 0 = as admitted, then one more for each amendment or pass for late context; null: an amendment that waits for its item
---   payload: What the item says in this revision
---   source: The door it came by: event, sql, client or a file's name; late_context: it was asked again as it was
---   position: What names it within its door, such as an event's id; of late_context: what had changed; null: nothing
---   received_at: When a door took it
---   occurred_at: When it happened, as its sender says; null: not known
---   outdated: True: what was in force when it was read had occurred later, so that this one never was
create or replace view lanes.revision_log as
select i.workload, i.key, r.number as revision, r.payload, r.source, r.place as position, r.received_at,
       r.occurred_at, r.outdated
  from lanes.revision r
  left join lanes.item i on i.id = r.item_id
union all
select workload, key, null, payload, source, place, received_at, occurred_at, false
  from lanes.amendment where outcome is null;
