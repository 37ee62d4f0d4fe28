create or replace view lanes.current_results as
select i.workload, i.key, r.output, r.standing, r.generation, r.lane, r.created_at,
       v.number as version, r.revision, i.consumer, i.entity
  from lanes.item i
  join lanes.result r on r.id = i.result_id
  join lanes.version v on v.id = r.version_id;

comment on view lanes.current_results is 'One row an answered item: its current result';

comment on column lanes.current_results.workload is 'Name of the workload';
comment on column lanes.current_results.key is 'Names the item within its workload';
comment on column lanes.current_results.output is
  'The answer, as the workload''s output schema says; null: it was emptied by its age';
comment on column lanes.current_results.standing is 'provisional (an authoritative pass is owed) or authoritative';
comment on column lanes.current_results.generation is '0 = live, else the number of the replay that was promoted';
comment on column lanes.current_results.lane is 'The lane that gave it';
comment on column lanes.current_results.created_at is 'When it was saved';
comment on column lanes.current_results.version is 'Number of the version that gave it';
comment on column lanes.current_results.revision is 'Which revision of the item it answers: 0, or an amendment''s';
comment on column lanes.current_results.consumer is 'Who reads it; null: not named';
comment on column lanes.current_results.entity is 'What the item is about; null: not named';
