create or replace view lanes.correction_log as
select i.workload, i.key, c.generation, p.output as provisional_output, a.output as authoritative_output,
       c.changed_fields, c.distance, c.corrected_at
  from lanes.correction c
  join lanes.item i on i.id = c.item_id
  join lanes.result p on p.id = c.provisional_id
  join lanes.result a on a.id = c.authoritative_id;

comment on view lanes.correction_log is 'One row where an authoritative result replaced a different provisional one';
