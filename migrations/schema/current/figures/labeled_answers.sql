-- A label counts once for each lane and version that answered its item: by the answer that is shown, or else the newest, a live
-- one before that of a replay. What a dropped replay answered, and what was emptied, counts for nothing.
--- Labelled fields beside the answers, once for each lane and version that answered the item
---   workload: Name of the workload
---   key: Names the item within its workload
---   lane: The lane that gave the answer
---   version: Number of the version that gave it
---   field: The field of the output that was labelled
---   expected: What the label says is right
---   answer: What the answer says; null: it lacks the field
---   correct: Whether the answer is right
---   source: Who labelled it
---   labeled_at: When that was
---   received_at: When the item was received
---   basis: How the item was chosen: given, uniform or review
---   label_id: The label, by its id in lanes.label
create or replace view lanes.labeled_answers as
select i.workload, i.key, r.lane, v.number as version, f.field, f.value as expected, r.output -> f.field as answer,
       coalesce(r.output -> f.field = f.value, false) as correct, l.source, l.labeled_at, i.received_at,
       l.basis, l.id as label_id
  from lanes.label l
  join lanes.item i on i.id = l.item_id
 cross join lateral (
   select distinct on (r.lane, r.version_id) r.lane, r.version_id, r.output
     from lanes.result r
    where r.item_id = l.item_id and r.output is not null
      and (r.generation = 0
           or exists (select from lanes.generation g
                       where g.workload = i.workload and g.number = r.generation and g.state <> 'dropped'))
    order by r.lane, r.version_id, r.id is not distinct from i.result_id desc, r.generation = 0 desc, r.id desc
   offset 0) r
  join lanes.version v on v.id = r.version_id
 cross join lateral jsonb_each(l.expected) f (field, value);
