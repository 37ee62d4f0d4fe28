--- Begins the job of this name, unless there is one, or an item of this workload would be refused anyway
create or replace function lanes.begin_job(name text, workload text, at timestamptz)
returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (select from lanes.job j where j.name = begin_job.name) then
    insert into lanes.job (name, workload, created_at)
    select begin_job.name, w.name, at from lanes.workload w
     where w.name = begin_job.workload and w.version_id is not null and length(begin_job.name) between 1 and 512
    on conflict on constraint uq_job_name do nothing;
  end if;
end $$;
