create or replace view lanes.accuracy as
with judged as (
  select workload, lane, version_id, word, n, items from lanes.figure where grain = 'day' and kind = 'label'
  union all
  select workload, lane, version_id, word, n, items from lanes.figure_delta where kind = 'label'),
counted as (
  select j.workload, j.lane, v.number as version, j.word as field, sum(j.n)::bigint as labels,
         sum(j.items)::float8 / sum(j.n)::float8 as share
    from judged j join lanes.version v on v.id = j.version_id
   group by 1, 2, 3, 4
  having sum(j.n) > 0)
select workload, lane, version, field, labels, share,
       greatest(0, (share + 1.9208 / labels - 1.96 * sqrt((share * (1 - share) + 0.9604 / labels) / labels))
                   / (1 + 3.8416 / labels)) as low,
       least(1, (share + 1.9208 / labels + 1.96 * sqrt((share * (1 - share) + 0.9604 / labels) / labels))
                / (1 + 3.8416 / labels)) as high
  from counted;

comment on view lanes.accuracy is 'Share of labelled fields that were right, with its 95 % Wilson interval';

comment on column lanes.accuracy.workload is 'Name of the workload';
comment on column lanes.accuracy.lane is 'The lane that gave the answers';
comment on column lanes.accuracy.version is 'Number of the version that gave them';
comment on column lanes.accuracy.field is 'The field of the output that was labelled';
comment on column lanes.accuracy.labels is 'How many labelled answers were compared';
comment on column lanes.accuracy.share is 'Share of them that were right, 0 to 1';
comment on column lanes.accuracy.low is 'Lower end of the 95 % Wilson interval of that share';
comment on column lanes.accuracy.high is 'Upper end of the 95 % Wilson interval of that share';
