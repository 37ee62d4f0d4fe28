create or replace view lanes.route_log as
select i.workload, i.key, r.lane, r.reason, r.explanation, r.realtime_usd, r.batch_usd, r.decided_at,
       v.number as version, r.probability, r.binds
  from lanes.route r
  join lanes.item i on i.id = r.item_id
  join lanes.version v on v.id = r.version_id;

comment on view lanes.route_log is 'One row a decision, oldest kept';

comment on column lanes.route_log.workload is 'Name of the workload';
comment on column lanes.route_log.key is 'Names the item within its workload';
comment on column lanes.route_log.lane is 'The lane that was chosen: realtime or batch';
comment on column lanes.route_log.reason is 'Which rule decided, such as urgent, deadline, split or rescue';
comment on column lanes.route_log.explanation is 'The decision as a sentence';
comment on column lanes.route_log.realtime_usd is 'What real-time would cost, estimated, US dollars';
comment on column lanes.route_log.batch_usd is 'What batch would cost, estimated, US dollars';
comment on column lanes.route_log.decided_at is 'When it was decided; the newest decision of an item is in force';
comment on column lanes.route_log.version is 'Number of the version by which was decided';
comment on column lanes.route_log.probability is
  'That a batch is back by the due time, 0 to 1, as it was stated; null: none was weighed';
comment on column lanes.route_log.binds is 'The lane that nothing may take the item from; null: it may change';
