-- No condition of a reader is tried on rows of others, where an error, its time or a count of `explain` could reveal them: a barrier
-- lets comparisons that cannot fail pass, `offset 0` lets none. So each query reads all that is of the login's own consumers.
--- Of `correction_log`, the corrections of items of the login's own consumers
---   workload: Name of the workload
---   key: Names the item within its workload
---   provisional_output: The answer that was shown before
---   authoritative_output: The answer that replaced it
---   changed_fields: Fields that differ, of those that the workload compares
---   corrected_at: When it was corrected
---   consumer: Who reads the answers
create or replace view lanes.own_corrections with (security_barrier) as
select c.workload, c.key, c.provisional_output, c.authoritative_output, c.changed_fields, c.corrected_at, i.consumer
  from lanes.item i
  join lanes.correction_log c on c.workload = i.workload and c.key = i.key
 where i.consumer = any ((select lanes.own_consumers())::text[])
offset 0;
