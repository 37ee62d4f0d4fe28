create or replace view lanes.routing_mix as
with decided as (
  select workload, at as hour, word as reason, lane, n from lanes.figure where grain = 'hour' and kind = 'route'
  union all
  select workload, date_trunc('hour', at, 'UTC'), word, lane, n from lanes.figure_delta where kind = 'route')
select workload, hour, reason, lane, sum(n)::bigint as items,
       sum(n)::float8 / (sum(sum(n)) over (partition by workload, hour))::float8 as share
  from decided
 group by workload, hour, reason, lane;

comment on view lanes.routing_mix is 'How an hour''s decisions were made';

comment on column lanes.routing_mix.workload is 'Name of the workload';
comment on column lanes.routing_mix.hour is 'When the hour begins in which was decided';
comment on column lanes.routing_mix.reason is 'Which rule decided, as in route_log';
comment on column lanes.routing_mix.lane is 'The lane that was chosen';
comment on column lanes.routing_mix.items is 'How many decisions were made so';
comment on column lanes.routing_mix.share is 'Their share of the workload''s decisions of the hour, 0 to 1';
