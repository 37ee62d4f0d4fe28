create or replace view lanes.current_results as
select i.workload, i.key, r.output, r.standing, r.generation, r.lane, r.created_at,
       v.number as version, r.revision, i.consumer, i.entity
  from lanes.item i
  join lanes.result r on r.id = i.result_id
  join lanes.version v on v.id = r.version_id;

comment on view lanes.current_results is 'One row an answered item: its current result';
