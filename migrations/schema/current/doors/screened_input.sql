create type lanes.screened_input as (
  place int, input jsonb, workload text, key text, payload jsonb, content_hash bytea, due_at timestamptz,
  occurred_at timestamptz, urgent boolean, consumer text, entity text, lane text, ack boolean, source_place text,
  refusal text, detail text);

comment on type lanes.screened_input is 'An input as lanes.screened found it: what its item would be, or why there is none';
