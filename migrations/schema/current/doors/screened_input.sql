--- An input as lanes.screened found it, without its payload: what its item goes by, and what became of it once that is known
create type lanes.screened_input as (
  place int, workload text, key text, content_hash bytea, ack boolean, source_place text, outcome text, detail text,
  forgotten boolean);
