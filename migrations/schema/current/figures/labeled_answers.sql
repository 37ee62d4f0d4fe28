-- A label counts once for each lane and version that answered its item: by the answer that is shown, or else the newest, a live
-- one before that of a replay. What a dropped replay answered, and what was emptied, counts for nothing.
create or replace view lanes.labeled_answers as
select i.workload, i.key, r.lane, v.number as version, f.field, f.value as expected, r.output -> f.field as answer,
       coalesce(r.output -> f.field = f.value, false) as correct, l.source, l.labeled_at, i.received_at
  from lanes.label l
 cross join lateral (select i.workload, i.key, i.received_at, i.result_id from lanes.item i where i.id = l.item_id offset 0) i
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

comment on view lanes.labeled_answers is 'Labelled fields beside the answers, once for each lane and version that answered the item';

comment on column lanes.labeled_answers.workload is 'Name of the workload';
comment on column lanes.labeled_answers.key is 'Names the item within its workload';
comment on column lanes.labeled_answers.lane is 'The lane that gave the answer';
comment on column lanes.labeled_answers.version is 'Number of the version that gave it';
comment on column lanes.labeled_answers.field is 'The field of the output that was labelled';
comment on column lanes.labeled_answers.expected is 'What the label says is right';
comment on column lanes.labeled_answers.answer is 'What the answer says; null: it lacks the field';
comment on column lanes.labeled_answers.correct is 'Whether the answer is right';
comment on column lanes.labeled_answers.source is 'Who labelled it';
comment on column lanes.labeled_answers.labeled_at is 'When that was';
comment on column lanes.labeled_answers.received_at is 'When the item was received';
