--- Why an input with a known key and other content is refused, a sentence
create or replace function lanes.conflict(workload text, key text)
returns text
language sql immutable
begin atomic
  select format('item "%s" of workload "%s" exists with other content; send an amendment, or another key', key, workload);
end;
