create or replace view lanes.correction_log as
select i.workload, i.key, c.generation, p.output as provisional_output, a.output as authoritative_output,
       c.changed_fields, c.distance, c.corrected_at
  from lanes.correction c
  join lanes.item i on i.id = c.item_id
  join lanes.result p on p.id = c.provisional_id
  join lanes.result a on a.id = c.authoritative_id;

comment on view lanes.correction_log is 'One row where an authoritative result replaced a different provisional one';

comment on column lanes.correction_log.workload is 'Name of the workload';
comment on column lanes.correction_log.key is 'Names the item within its workload';
comment on column lanes.correction_log.generation is '0 = live, else the replay''s number';
comment on column lanes.correction_log.provisional_output is 'The answer that was shown before';
comment on column lanes.correction_log.authoritative_output is 'The answer that replaced it';
comment on column lanes.correction_log.changed_fields is 'Fields that differ, of those that the workload compares';
comment on column lanes.correction_log.distance is 'Share of the compared fields that changed, 0 to 1';
comment on column lanes.correction_log.corrected_at is 'When it was corrected';
