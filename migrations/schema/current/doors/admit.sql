-- The doors. One path admits: every door, in SQL or Python, ends here. An input is screened once: what was found then is
-- what happens to it, whatever is published meanwhile.
create or replace function lanes.admit(inputs jsonb, door text, at timestamptz default clock_timestamp())
returns table (place int, outcome text, detail text, key text)
language plpgsql as $$
#variable_conflict use_column
declare
  screened lanes.screened_input[];
  born bigint[];
begin
  screened := array(select row(s.*)::lanes.screened_input from lanes.screened(inputs) s);

  with taken as (
    insert into lanes.item (workload, key, payload, content_hash, consumer, entity, urgent, ack, pin, due_at,
                            occurred_at, received_at, source)
    select s.workload, s.key, s.payload, s.content_hash, s.consumer, s.entity, s.urgent, coalesce(s.ack, false), s.lane,
           s.due_at, coalesce(s.occurred_at, at), at, door
      from unnest(screened) s
     where s.refusal is null
     order by s.place
    on conflict (workload, key) do nothing
    returning item.id)
  select coalesce(array_agg(taken.id), '{}') into born from taken;

  -- A second snapshot: it has the items that others committed while we waited for them.
  return query
  with judged as (
    select s.*, i.id as item_id, i.content_hash as known_hash, i.forgotten_at is not null as is_forgotten,
           row_number() over (partition by i.id order by s.place) = 1 and i.id = any (born) as is_new
      from unnest(screened) s
      left join lanes.item i on i.workload = s.workload and i.key = s.key and s.refusal is null),
  told as (
    select j.*,
           case when j.refusal is not null then j.refusal
                when j.known_hash <> j.content_hash then 'key_conflict'
                when j.is_new then 'accepted'
                else 'duplicate' end as verdict,
           case when j.refusal is not null then j.detail
                when j.known_hash <> j.content_hash then format(
                  'item "%s" of workload "%s" exists with other content; send an amendment, or another key',
                  j.key, j.workload) end as sentence
      from judged j),
  refused as (
    select t.*
      from (select told.*, row_number() over (partition by told.source_place, told.verdict order by told.place) as nth
              from told
             where told.verdict not in ('accepted', 'duplicate')) t
     where door <> 'event'  -- an event that is read again is the same refusal
        or t.nth = 1 and not exists (select from lanes.rejected r
                                      where r.source = door and r.place = t.source_place and r.reason = t.verdict)),
  kept as (
    insert into lanes.rejected (workload, key, source, place, reason, detail, content, rejected_at)
    select r.workload, r.key, door, r.source_place, r.verdict, r.sentence,
           case when r.is_forgotten then '' else left(coalesce(r.payload, r.input)::text, 65536) end, at
      from refused r
     order by r.place),
  announced as (
    insert into lanes.event_outbox (event, resource, payload, occurred_at)
    select a.event, 'lanes.workload.' || coalesce(left(a.workload, 512), 'unknown'),
           jsonb_strip_nulls(jsonb_build_object('key', left(a.key, 512), 'outcome', a.verdict, 'detail', a.sentence,
                                                'source', door, 'place', left(a.source_place, 512))), at
      from (select 'lanes.item.accepted' as event, t.place, t.workload, t.key, t.verdict, t.sentence, t.source_place
              from told t
             where t.ack and t.verdict in ('accepted', 'duplicate')
             union all
            select 'lanes.item.rejected', r.place, r.workload, r.key, r.verdict, r.sentence, r.source_place
              from refused r) a
     order by a.place)
  select t.place, t.verdict, t.sentence, t.key from told t order by t.place;
  perform pg_notify('lanes', '');
end $$;

comment on function lanes.admit is
  'Admits a list of inputs: accepted, duplicate (same key and content), or refused with its reason and kept in rejected_log';
