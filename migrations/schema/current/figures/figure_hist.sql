create or replace view lanes.figure_hist as
select s.grain, s.at, s.workload, s.version_id, s.lane, s.purpose, s.consumer, s.kind, s.word, b.bucket, b.n
  from lanes.figure_spread s cross join lateral unnest(s.buckets, s.counts) b (bucket, n);

comment on view lanes.figure_hist is
  'How long what figures count took, a row per bucket: n took 1.04^bucket to 1.04^(bucket + 1) milliseconds, -1 less than one';

comment on column lanes.figure_hist.grain is 'minute, hour or day (of UTC)';
comment on column lanes.figure_hist.at is 'When that begins';
comment on column lanes.figure_hist.workload is 'Name of the workload';
comment on column lanes.figure_hist.version_id is 'The version, by its id in lanes.version; null: not counted apart';
comment on column lanes.figure_hist.lane is 'The lane; null: not counted apart, or none';
comment on column lanes.figure_hist.purpose is 'Why the work existed; null: not counted apart';
comment on column lanes.figure_hist.consumer is
  'Who reads it; null: not counted apart, or none; other: beyond the first fifty';
comment on column lanes.figure_hist.kind is
  'What was timed, such as result (from received to answered) or batch (from submitted to ended)';
comment on column lanes.figure_hist.word is 'Its reason, outcome or standing; null: it has none';
comment on column lanes.figure_hist.bucket is 'It took 1.04^bucket to 1.04^(bucket + 1) milliseconds; -1: less than one';
comment on column lanes.figure_hist.n is 'How many took so long';
