-- Read where labels and answers stand: two transactions that write a label and its answer at once are both seen.
create or replace view lanes.accuracy as
select workload, lane, version, field, labels, share, lanes.wilson(share, labels, -1) as low, lanes.wilson(share, labels, 1) as high
  from (select workload, lane, version, field, count(*) as labels, avg(correct::int)::float8 as share
          from lanes.labeled_answers group by 1, 2, 3, 4) counted;

comment on view lanes.accuracy is 'Share of labelled fields that were right, with its 95 % Wilson interval';

comment on column lanes.accuracy.workload is 'Name of the workload';
comment on column lanes.accuracy.lane is 'The lane that gave the answers';
comment on column lanes.accuracy.version is 'Number of the version that gave them';
comment on column lanes.accuracy.field is 'The field of the output that was labelled';
comment on column lanes.accuracy.labels is 'How many labelled answers were compared';
comment on column lanes.accuracy.share is 'Share of them that were right, 0 to 1';
comment on column lanes.accuracy.low is 'Lower end of the 95 % Wilson interval of that share';
comment on column lanes.accuracy.high is 'Upper end of the 95 % Wilson interval of that share';
