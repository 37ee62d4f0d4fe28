create or replace view lanes.revision_log as
select i.workload, i.key, r.number as revision, r.payload, r.source, r.place as position, r.received_at,
       r.occurred_at, r.outdated
  from lanes.revision r
  join lanes.item i on i.id = r.item_id
union all
select workload, key, null, payload, source, place, received_at, occurred_at, false
  from lanes.amendment where outcome is null;

comment on view lanes.revision_log is
  'One row a revision of an amended item; a revision of null is an amendment that waits for its item';
