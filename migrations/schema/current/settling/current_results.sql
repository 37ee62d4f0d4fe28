-- A result is joined by its item as well, so that a condition on results finds the items by their primary key.
--- One row an answered item: its current result
---   workload: Name of the workload
---   key: Names the item within its workload
---   output: The answer, as the workload's output schema says; null: it was emptied by its age
---   standing: provisional (an authoritative pass is owed) or authoritative
---   generation: 0 = live, else the number of the replay that was promoted
---   lane: The lane that gave it
---   created_at: When it was saved
---   version: Number of the version that gave it
---   revision: Which revision of the item it answers: 0, or an amendment's
---   consumer: Who reads it; null: not named
---   entity: What the item is about; null: not named
create or replace view lanes.current_results as
select i.workload, i.key, r.output, r.standing, r.generation, r.lane, r.created_at,
       v.number as version, r.revision, i.consumer, i.entity
  from lanes.item i
  join lanes.result r on r.id = i.result_id and r.item_id = i.id
  join lanes.version v on v.id = r.version_id;
