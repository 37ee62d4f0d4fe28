--- Why a job takes no item of this workload, as a reason and a sentence; null where it does, or there is none of that name
create or replace function lanes.job_refusal(name text, its_workload text, closed_at timestamptz, workload text)
returns text[]
language sql stable
begin atomic
  select case
    when its_workload <> workload then array['job_conflict', format(
      'job "%s" holds items of workload "%s"; name another job', name, its_workload)]
    when closed_at is not null then array['job_conflict', format(
      'job "%s" was sent as a whole and takes no other items; name another job', name)]
  end;
end;
