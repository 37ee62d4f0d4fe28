create type lanes.figure_row as (
  at timestamptz, workload text, version_id bigint, lane text, purpose text, consumer text, kind text, word text, n bigint,
  items bigint, usd numeric, bound_usd numeric, realtime_usd numeric, batch_usd numeric, input bigint, output bigint,
  cached bigint, written bigint, first_at timestamptz, last_at timestamptz, bucket int);

comment on type lanes.figure_row is 'What one fact adds to one figure; null adds nothing';
