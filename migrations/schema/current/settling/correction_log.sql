-- Each joined row exists; left joins let the planner omit those whose columns a query does not use.
--- One row where an authoritative result replaced a different provisional one
---   workload: Name of the workload
---   key: Names the item within its workload
---   generation: 0 = live, else the replay's number
---   provisional_output: The answer that was shown before
---   authoritative_output: The answer that replaced it
---   changed_fields: Fields that differ, of those that the workload compares
---   distance: Share of the compared fields that changed, 0 to 1
---   corrected_at: When it was corrected
---   late_context: Parts of the context that came late and caused this second pass: history, label, reference; null: it was due anyway
create or replace view lanes.correction_log as
select i.workload, i.key, c.generation, p.output as provisional_output, a.output as authoritative_output,
       c.changed_fields, c.distance, c.corrected_at, v.place as late_context
  from lanes.correction c
  left join lanes.item i on i.id = c.item_id
  left join lanes.result p on p.id = c.provisional_id
  left join lanes.result a on a.id = c.authoritative_id
  left join lanes.revision v on v.item_id = c.item_id and v.number = a.revision and v.source = 'late_context';
