-- What each item counts for as it stands. Of its routes and reads only those before a number are looked at: so a trigger sees
-- how it stood before those that were just written (`id + 0`: no plan walks through a table by its numbers). Without `whole` what only a cancellation changes is left out.
create or replace function lanes.item_figures(states lanes.item_state[], whole boolean default true,
                                              routes_before bigint default 9223372036854775807,
                                              reads_before bigint default 9223372036854775807)
returns setof lanes.figure_row
language sql stable as $$
  select date_trunc('minute', i.received_at, 'UTC'), i.workload, null::bigint, f.lane, null::text, f.consumer, f.kind, f.word,
         1::bigint, f.items, null::numeric, null::numeric, f.realtime_usd, f.batch_usd, null::bigint, null::bigint, null::bigint,
         null::bigint, null::timestamptz, null::timestamptz, f.bucket
    from unnest(item_figures.states) i
    left join lateral (
      select r.lane, r.realtime_usd, r.batch_usd from lanes.route r
       where r.item_id = i.id and r.id + 0 < item_figures.routes_before order by r.item_id desc, r.id desc limit 1) newest on true
    left join lateral (
      select r.lane, r.reason, r.realtime_usd, r.batch_usd from lanes.route r
       where r.item_id = i.id and r.id + 0 < item_figures.routes_before and item_figures.whole and i.canceled_at is null
       order by r.item_id, r.id limit 1) asked on true
    left join lateral (
      select r.lane from lanes.result r
       where r.item_id = i.id and r.generation = 0 and i.answered_at is not null and i.canceled_at is null
       order by r.created_at, r.id limit 1) answer on true  -- by its number alone, all results might be walked through
    left join lateral (
      select r.read_at from lanes.read r
       where r.item_id = i.id and r.id + 0 < item_figures.reads_before and r.result_id is not null and r.read_at >= i.answered_at
         and answer.lane = 'realtime'
       order by r.read_at, r.id limit 1) taken on true
   cross join lateral (
      select 'item' as kind, newest.lane, null::text as consumer,
             case when i.canceled_at is not null then 'canceled' when i.settled_at is not null then 'settled'
                  when i.failed_at is not null then 'failed' when i.answered_at is not null then 'answered' else 'open' end as word,
             case when i.answered_at is not null then 1::bigint end as items, newest.realtime_usd, newest.batch_usd,
             null::int as bucket
       where newest.lane is not null or i.canceled_at is not null
      union all
      select 'asked', asked.lane, i.consumer, asked.reason, null, asked.realtime_usd, asked.batch_usd, null
       where asked.lane is not null
      union all
      select 'due', null, null, null, null, null, null, lanes.figure_bucket(i.due_at - i.received_at)
       where asked.lane is not null and i.due_at is not null
      union all
      select 'urgent', null, null, null, null, null, null, null
       where asked.lane is not null and i.urgent
      union all
      select 'first', answer.lane, i.consumer, null, null, null, null, lanes.figure_bucket(i.answered_at - i.received_at)
       where answer.lane is not null
      union all
      select 'read', null, i.consumer, null, case when taken.read_at <= i.answered_at + interval '1 minute' then 1 end, null, null,
             lanes.figure_bucket(taken.read_at - i.answered_at)
       where taken.read_at is not null) f
$$;

comment on function lanes.item_figures is 'What items that stand like that count for, in the minute in which each was received';
