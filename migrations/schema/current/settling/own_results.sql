-- As in own_corrections, no condition of a reader is tried on rows of others.
--- Of `current_results`, the answers to items of the login's own consumers
---   workload: Name of the workload
---   key: Names the item within its workload
---   output: The answer, as the workload's output schema says; null: it was emptied by its age
---   standing: provisional (an authoritative pass is owed) or authoritative
---   generation: 0 = live, else the number of the replay that was promoted
---   lane: The lane that gave it
---   created_at: When it was saved
---   consumer: Who reads it
---   entity: What the item is about; null: not named
create or replace view lanes.own_results with (security_barrier) as
select workload, key, output, standing, generation, lane, created_at, consumer, entity
  from lanes.current_results where consumer = any ((select lanes.own_consumers())::text[])
offset 0;
