--- Whether an input that is refused for this reason may have been admitted by an earlier version of its workload: then it is
--- a duplicate
create or replace function lanes.may_be_known(reason text)
returns boolean
language sql immutable
begin atomic
  select reason in ('payload_too_large', 'schema_mismatch', 'job_conflict');
end;
