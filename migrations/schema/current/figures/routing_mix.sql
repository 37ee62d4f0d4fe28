--- How an hour's decisions were made
---   workload: Name of the workload
---   hour: When the hour begins in which was decided
---   reason: Which rule decided, as in route_log
---   lane: The lane that was chosen
---   items: How many decisions were made so
---   share: Their share of the workload's decisions of the hour, 0 to 1
create or replace view lanes.routing_mix as
with decided as (
  select workload, at as hour, word as reason, lane, n from lanes.figure where grain = 'hour' and kind = 'route'
  union all
  select workload, date_trunc('hour', at, 'UTC'), word, lane, n from lanes.figure_delta where kind = 'route')
select workload, hour, reason, lane, sum(n)::bigint as items,
       sum(n)::float8 / (sum(sum(n)) over (partition by workload, hour))::float8 as share
  from decided
 group by workload, hour, reason, lane;
