create or replace view lanes.figure_hist as
select s.grain, s.at, s.workload, s.version_id, s.lane, s.purpose, s.consumer, s.kind, s.word, b.bucket, b.n
  from lanes.figure_spread s cross join lateral unnest(s.buckets, s.counts) b (bucket, n);

comment on view lanes.figure_hist is
  'How long what figures count took, a row per bucket: n took 1.04^bucket to 1.04^(bucket + 1) milliseconds, -1 less than one';
