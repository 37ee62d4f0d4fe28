create type lanes.item_state as (
  id bigint, workload text, received_at timestamptz, due_at timestamptz, urgent boolean, consumer text, answered_at timestamptz,
  settled_at timestamptz, failed_at timestamptz, canceled_at timestamptz);

comment on type lanes.item_state is 'What of an item decides how figures count it';
