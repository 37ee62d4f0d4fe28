-- Admission. An input is screened once: what was found then is what happens to it, whatever is published meanwhile. Every door
-- ends here with a list, or in lanes.admit_one with a single input. Items are numbered in the order of the list, which is their
-- order in the stream, and inserted in the order of their keys: two senders of the same keys never wait for each other.
--- Admits a list of inputs: accepted, duplicate (same key and content), or refused with its reason and kept in rejected_log
create or replace function lanes.admit(inputs jsonb, door text, at timestamptz default clock_timestamp(),
                                       of_workload text default null, nameless text default null)
returns table (place int, outcome text, detail text, key text)
language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  told lanes.screened_input[];
  born bigint[];
  own text[] := lanes.own_consumers();
begin
  if inputs @? '$[*].job' then
    perform lanes.begin_job(of.job, of.workload, at)
       from (select distinct input->>'job' as job, coalesce(of_workload, input->>'workload') as workload
               from jsonb_array_elements(inputs) input order by 1, 2) of;
  end if;
  with seen as materialized (
    select s.*, nextval('lanes.item_id_seq') as number
      from (select * from lanes.screened(inputs, of_workload, nameless) order by place) s),
  taken as (
    insert into lanes.item (id, workload, key, payload, content_hash, consumer, entity, urgent, ack, pin, due_at,
                            occurred_at, received_at, source, job_id, trace)
    overriding system value
    select s.number, s.workload, s.key, s.payload, s.content_hash, s.consumer, s.entity, s.urgent, s.ack, s.lane, s.due_at,
           coalesce(s.occurred_at, at), at, door, s.job_id, s.trace
      from seen s
     where s.refusal is null
     order by s.workload collate "C", s.key collate "C", s.place
    on conflict (workload, key) do nothing
    returning item.id, item.job_id),
  of_jobs as (
    insert into lanes.job_use (job_id, received) select job_id, count(*) from taken where job_id is not null group by 1)
  select array(select row(s.place, s.workload, s.key, s.content_hash, s.ack, s.source_place, coalesce(s.refusal, 'accepted'),
                          s.detail, false)::lanes.screened_input
                 from seen s order by s.place),
         array(select taken.id from taken)
    into told, born;

  if cardinality(born) < cardinality(told) then
    -- A second snapshot: it has the items that others committed while we waited for them.
    told := array(
      select row(m.place, m.workload, m.key, m.content_hash, m.ack, m.source_place,
                 case when m.outcome <> 'accepted' and m.known_hash is distinct from m.content_hash then m.outcome
                      when m.known_hash <> m.content_hash then 'key_conflict'
                      when m.is_new then 'accepted'
                      else 'duplicate' end,
                 case when m.known_hash = m.content_hash then null
                      when m.outcome <> 'accepted' then m.detail
                      when m.known_hash <> m.content_hash then lanes.conflict(m.workload, m.key) end,
                 m.is_forgotten)::lanes.screened_input
        from (select s.*, case when lanes.is_own(own, i.consumer) then i.content_hash else '' end as known_hash, i.forgotten_at is not null as is_forgotten,
                     i.id in (select unnest(born)) and s.outcome = 'accepted'
                     and row_number() over (partition by i.id order by s.outcome <> 'accepted', s.place) = 1 as is_new
                from unnest(told) s
                left join lanes.item i on i.workload = s.workload and i.key = s.key
                                       and (s.outcome = 'accepted' or lanes.may_be_known(s.outcome))) m
       order by m.place);
    perform lanes.refuse(door, t.source_place, t.workload, t.key, t.outcome, t.detail,
                         case when t.forgotten then ''
                              else coalesce(inputs->(t.place - 1)->'payload', inputs->(t.place - 1))::text end, at)
       from unnest(told) t
      where t.outcome not in ('accepted', 'duplicate')
      order by t.place;
  end if;

  insert into lanes.event_outbox (event, resource, payload, occurred_at)
  select 'lanes.item.accepted', 'lanes.workload.' || t.workload,
         jsonb_strip_nulls(jsonb_build_object('key', t.key, 'outcome', t.outcome, 'source', door,
                                              'place', left(t.source_place, 512))), at
    from unnest(told) t
   where t.ack and t.outcome in ('accepted', 'duplicate')
   order by t.place;
  perform pg_notify('lanes', '');
  return query select t.place, t.outcome, t.detail, t.key from unnest(told) t;
end $$;
