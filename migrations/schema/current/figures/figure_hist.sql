--- How long what figures count took, a row per bucket: n took 1.04^bucket to 1.04^(bucket + 1) milliseconds, -1 less than one
---   grain: minute, hour or day (of UTC)
---   at: When that begins
---   workload: Name of the workload
---   version_id: The version, by its id in lanes.version; null: not counted apart
---   lane: The lane; null: not counted apart, or none
---   purpose: Why the work existed; null: not counted apart
---   consumer: Who reads it; null: not counted apart, or none; other: beyond the first fifty
---   kind: What was timed, such as result (from received to answered) or batch (from submitted to ended)
---   word: Its reason, outcome or standing; null: it has none
---   bucket: It took 1.04^bucket to 1.04^(bucket + 1) milliseconds; -1: less than one
---   n: How many took so long
create or replace view lanes.figure_hist as
select s.grain, s.at, s.workload, s.version_id, s.lane, s.purpose, s.consumer, s.kind, s.word, b.bucket, b.n
  from lanes.figure_spread s cross join lateral unnest(s.buckets, s.counts) b (bucket, n);
