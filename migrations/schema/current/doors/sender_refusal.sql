--- Why a login that is bound to these consumers (to none: it may send for all) may not send for this one, or into this job, whose
--- first item tells whose it is, as a reason and a sentence; null where it may
create or replace function lanes.sender_refusal(own text[], consumer text, job bigint)
returns text[]
language sql stable
begin atomic
  select case
    when not lanes.is_own(own, consumer) then array['foreign_consumer', case
      when own = '{""}' then format('login "%s" may send for no consumer; ask an operator for lanes roles --tenant', session_user)
      else format('login "%s" may send for consumer "%s" only: name it as "consumer", or ask an operator for lanes roles --tenant',
                  session_user, array_to_string(own, '" or "')) end]
    when own <> '{}' and job is not null and exists (
      select from (select i.consumer from lanes.item i where i.job_id = job order by i.id limit 1) first
       where not lanes.is_own(own, first.consumer))
      then array['job_conflict', 'a job of this name holds items of another consumer; name another job']
  end;
end;
