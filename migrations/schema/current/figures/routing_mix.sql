create or replace view lanes.routing_mix as
select i.workload, date_trunc('hour', r.decided_at) as hour, r.reason, r.lane, count(*) as items,
       count(*)::float8 / sum(count(*)) over (partition by i.workload, date_trunc('hour', r.decided_at)) as share
  from lanes.route r join lanes.item i on i.id = r.item_id
 group by i.workload, date_trunc('hour', r.decided_at), r.reason, r.lane;

comment on view lanes.routing_mix is 'How an hour''s decisions were made';
