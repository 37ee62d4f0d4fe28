create or replace view lanes.route_log as
select i.workload, i.key, r.lane, r.reason, r.explanation, r.realtime_usd, r.batch_usd, r.decided_at,
       v.number as version, r.probability, r.binds
  from lanes.route r
  join lanes.item i on i.id = r.item_id
  join lanes.version v on v.id = r.version_id;

comment on view lanes.route_log is 'One row a decision, oldest kept';
