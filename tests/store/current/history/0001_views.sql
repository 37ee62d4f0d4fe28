-- What readers rely on. These names stay; columns may be added.

create view lanes.item_status as
select i.workload, i.key, r.lane,
       case
         when i.canceled_at is not null then 'canceled'
         when i.settled_at is not null then 'settled'
         when i.answered_at is not null then 'answered'
         when i.failed_at is not null then 'failed'
         when i.position is null then 'received'
         when exists (select from lanes.work w where w.item_id = i.id and w.state in ('claimed', 'submitted'))
           then 'working'
         else 'routed'
       end as state,
       r.reason as route_reason, i.received_at, i.due_at, i.answered_at, i.settled_at,
       coalesce(a.attempts, 0)::int as attempts, coalesce(a.cost_usd, 0) as cost_usd,
       i.id as item_id, i.consumer, i.entity, i.revision, i.position, i.source, i.failure
  from lanes.item i
  left join lateral (select lane, reason from lanes.route where item_id = i.id order by id desc limit 1) r on true
  left join lateral (select count(*) as attempts, sum(cost_usd) as cost_usd
                       from lanes.attempt where item_id = i.id) a on true;
comment on view lanes.item_status is 'One row an item: where it stands now';

create view lanes.current_results as
select i.workload, i.key, r.output, r.standing, r.generation, r.lane, r.created_at,
       v.number as version, r.revision, i.consumer, i.entity
  from lanes.item i
  join lanes.result r on r.id = i.result_id
  join lanes.version v on v.id = r.version_id;
comment on view lanes.current_results is 'One row an answered item: its current result';

create view lanes.route_log as
select i.workload, i.key, r.lane, r.reason, r.explanation, r.realtime_usd, r.batch_usd, r.decided_at,
       v.number as version
  from lanes.route r
  join lanes.item i on i.id = r.item_id
  join lanes.version v on v.id = r.version_id;
comment on view lanes.route_log is 'One row a decision, oldest kept';

create view lanes.attempt_log as
select i.workload, i.key, a.lane, a.purpose,
       (row_number() over (partition by a.item_id order by a.id))::int as attempt,
       a.outcome, a.error, a.request_id, a.batch_id, a.model, a.input_tokens, a.output_tokens,
       a.cache_read_tokens, a.cache_write_tokens, a.cost_usd, a.latency_ms, a.started_at, a.ended_at,
       a.message_id, a.shown, a.bound_usd
  from lanes.attempt a
  join lanes.item i on i.id = a.item_id;
comment on view lanes.attempt_log is 'One row a try for one item; the parts of a packed call sum exactly to spend';

create view lanes.spend as
select message_id, workload, lane, purpose, model, batch_id, items, input_tokens, output_tokens,
       cache_read_tokens, cache_write_tokens, cost_usd, price_version, billed_at
  from lanes.response;
comment on view lanes.spend is 'One row a billed response, in US dollars';

create view lanes.batch_status as
select id as batch_id, provider_batch_id, workload, model, state, requests, items, succeeded, invalid, errored,
       canceled, expired, missing, submitted_at, expected_end_at, ended_at, collected_at, processed, intended_at, note
  from lanes.batch;
comment on view lanes.batch_status is 'One row a Message Batch; counts are items';

create view lanes.correction_log as
select i.workload, i.key, c.generation, p.output as provisional_output, a.output as authoritative_output,
       c.changed_fields, c.distance, c.corrected_at
  from lanes.correction c
  join lanes.item i on i.id = c.item_id
  join lanes.result p on p.id = c.provisional_id
  join lanes.result a on a.id = c.authoritative_id;
comment on view lanes.correction_log is 'One row where an authoritative result replaced a different provisional one';

create view lanes.rejected_log as
select workload, source, place as position, reason, content, rejected_at, detail from lanes.rejected;
comment on view lanes.rejected_log is 'One row a refused input, kept as it came';

create view lanes.accuracy as
with judged as (
  select i.workload, r.lane, v.number as version, expected.field, (r.output -> expected.field) = expected.value as hit
    from lanes.label l
    join lanes.item i on i.id = l.item_id
    join lanes.result r on r.item_id = i.id
    join lanes.version v on v.id = r.version_id
   cross join lateral jsonb_each(l.expected) as expected (field, value)),
counted as (
  select workload, lane, version, field, count(*) as labels,
         count(*) filter (where hit)::float8 / count(*) as share
    from judged group by workload, lane, version, field)
select workload, lane, version, field, labels, share,
       greatest(0, (share + 1.9208 / labels - 1.96 * sqrt((share * (1 - share) + 0.9604 / labels) / labels))
                   / (1 + 3.8416 / labels)) as low,
       least(1, (share + 1.9208 / labels + 1.96 * sqrt((share * (1 - share) + 0.9604 / labels) / labels))
                / (1 + 3.8416 / labels)) as high
  from counted;
comment on view lanes.accuracy is 'Share of labelled fields that were right, with its 95 % Wilson interval';

create view lanes.lane_latency as
with answered as (
  select i.workload, r.lane, date_trunc('minute', r.created_at) as minute,
         extract(epoch from r.created_at - i.received_at) as seconds
    from lanes.result r join lanes.item i on i.id = r.item_id
   where r.generation = 0),
latency as (
  select workload, lane, minute, count(*) as items,
         percentile_cont(0.5) within group (order by seconds) as p50_s,
         percentile_cont(0.95) within group (order by seconds) as p95_s,
         percentile_cont(0.99) within group (order by seconds) as p99_s
    from answered group by workload, lane, minute),
tried as (
  select workload, lane, date_trunc('minute', ended_at) as minute,
         count(*) filter (where outcome <> 'valid')::float8 / count(*) as error_rate
    from lanes.attempt group by workload, lane, date_trunc('minute', ended_at))
select workload, lane, minute, coalesce(items, 0) as items, p50_s, p95_s, p99_s, coalesce(error_rate, 0) as error_rate
  from latency full join tried using (workload, lane, minute);
comment on view lanes.lane_latency is 'Seconds from received to answered, and the share of failed tries, by minute';

create view lanes.routing_mix as
select i.workload, date_trunc('hour', r.decided_at) as hour, r.reason, r.lane, count(*) as items,
       count(*)::float8 / sum(count(*)) over (partition by i.workload, date_trunc('hour', r.decided_at)) as share
  from lanes.route r join lanes.item i on i.id = r.item_id
 group by i.workload, date_trunc('hour', r.decided_at), r.reason, r.lane;
comment on view lanes.routing_mix is 'How an hour''s decisions were made';
