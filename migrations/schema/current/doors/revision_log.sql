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

comment on column lanes.revision_log.workload is 'Name of the workload';
comment on column lanes.revision_log.key is 'Names the item within its workload';
comment on column lanes.revision_log.revision is
  '0 = as admitted, then one more for each amendment; null: an amendment that waits for its item';
comment on column lanes.revision_log.payload is 'What the item says in this revision';
comment on column lanes.revision_log.source is 'The door it came by: event, sql, client or a file''s name';
comment on column lanes.revision_log.position is 'What names it within its door, such as an event''s id; null: nothing';
comment on column lanes.revision_log.received_at is 'When a door took it';
comment on column lanes.revision_log.occurred_at is 'When it happened, as its sender says; null: not known';
comment on column lanes.revision_log.outdated is
  'True: what was in force when it was read had occurred later, so that this one never was';
