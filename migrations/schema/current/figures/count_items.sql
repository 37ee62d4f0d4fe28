-- Most updates of an item move it nowhere. How it stood is joined by hash (`enable_nestloop`), also where a plan was made for one.
--- Counts each change of items in the figures
create or replace function lanes.count_items()
returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_sort = off set enable_memoize = off set enable_nestloop = off as $$
begin
  insert into lanes.figure_delta (at, workload, lane, consumer, kind, word, n, items, realtime_usd, batch_usd, buckets, counts)
  with moved as materialized (
    select m.*, r.lane, r.realtime_usd, r.batch_usd
      from (select n.id, date_trunc('minute', n.received_at, 'UTC') as at, n.workload, n.consumer, n.received_at, n.due_at, n.urgent,
                   o.answered_at as answered_before, n.answered_at, o.failed_at as failed_before, n.failed_at,
                   o.canceled_at is not null as canceled_before, n.canceled_at is not null as canceled,
                   lanes.figure_stands(o.answered_at, o.settled_at, o.failed_at, o.canceled_at) as word_before,
                   lanes.figure_stands(n.answered_at, n.settled_at, n.failed_at, n.canceled_at) as word
              from before o join added n on n.id = o.id
             where (o.answered_at, o.settled_at, o.failed_at, o.canceled_at)
                   is distinct from (n.answered_at, n.settled_at, n.failed_at, n.canceled_at)
            offset 0) m
      left join lateral (
        select r.lane, r.realtime_usd, r.batch_usd from lanes.route r
         where r.item_id = m.id order by r.id + 0 desc limit 1) r on true),
  answered as materialized (
    select m.at, m.workload, m.consumer, m.received_at, s.sign, s.answered_at, a.lane, t.read_at
      from moved m
     cross join lateral (values (-1, m.answered_before, m.canceled_before), (1, m.answered_at, m.canceled)) s (sign, answered_at, canceled)
     cross join lateral (
        select r.lane from lanes.result r
         where r.item_id = m.id and r.generation = 0 order by r.created_at, r.id + 0 limit 1) a
      left join lateral (
        select min(r.read_at) as read_at from lanes.read r
         where r.item_id = m.id and r.result_id is not null and r.read_at >= s.answered_at and a.lane = 'realtime') t on true
     where s.answered_at is not null and not s.canceled
       and (m.canceled <> m.canceled_before or m.answered_at is distinct from m.answered_before)),
  asked as materialized (
    select m.at, m.workload, m.consumer, m.urgent, m.due_at - m.received_at as due_in, case when m.canceled then -1 else 1 end as sign, f.*
      from moved m
     cross join lateral (
        select r.lane, r.reason, r.realtime_usd, r.batch_usd from lanes.route r
         where r.item_id = m.id order by r.id + 0 limit 1) f
     where m.canceled <> m.canceled_before),
  due as materialized (
    select date_trunc('minute', s.at, 'UTC') as at, m.workload, r.lane, s.sign, coalesce((s.answered_at <= m.due_at)::int, 0) as met,
           case when m.due_at <= m.received_at then 'overdue' when r.reason = 'overdue' then 'deadline' else r.reason end as reason
      from moved m
     cross join lateral (values
        (-1, coalesce(m.answered_before, m.failed_before), m.answered_before, m.canceled_before),
        (1, coalesce(m.answered_at, m.failed_at), m.answered_at, m.canceled)) s (sign, at, answered_at, canceled)
     cross join lateral (
        select r.lane, r.reason from lanes.route r
         where r.item_id = m.id
         order by r.decided_at > s.at, case when r.decided_at > s.at then r.id else -r.id end limit 1) r
     where m.due_at is not null and s.at is not null and not s.canceled
       and (m.answered_before, m.failed_before, m.canceled_before) is distinct from (m.answered_at, m.failed_at, m.canceled))
  select at, workload, lane, null, 'item', word, count(*), count(answered_at), coalesce(sum(realtime_usd), 0),
         coalesce(sum(batch_usd), 0), null::int[], null::bigint[]
    from moved where lane is not null or canceled group by 1, 2, 3, 6
  union all
  select at, workload, lane, null, 'item', word_before, -count(*), -count(answered_before), -coalesce(sum(realtime_usd), 0),
         -coalesce(sum(batch_usd), 0), null, null
    from moved where lane is not null or canceled_before group by 1, 2, 3, 6
  union all
  select at, workload, lane, consumer, 'asked', reason, sum(sign)::bigint, 0, sum(sign * realtime_usd), sum(sign * batch_usd), null, null
    from asked group by 1, 2, 3, 4, 6
  union all
  select at, workload, null, null, 'urgent', null, sum(sign)::bigint, 0, 0, 0, null, null
    from asked where urgent group by 1, 2
  union all
  select at, workload, null, null, 'due', null, sum(n)::bigint, 0, 0, 0, array_agg(bucket), array_agg(n)
    from (select at, workload, lanes.figure_bucket(due_in) as bucket, sum(sign)::bigint as n
            from asked where due_in is not null group by 1, 2, 3) due
   group by 1, 2
  union all
  select at, workload, lane, consumer, 'first', null, sum(n)::bigint, 0, 0, 0, array_agg(bucket), array_agg(n)
    from (select at, workload, lane, consumer, lanes.figure_bucket(answered_at - received_at) as bucket, sum(sign)::bigint as n
            from answered group by 1, 2, 3, 4, 5) first
   group by 1, 2, 3, 4
  union all
  select at, workload, null, consumer, 'read', null, sum(n)::bigint, sum(items)::bigint, 0, 0, array_agg(bucket), array_agg(n)
    from (select at, workload, consumer, lanes.figure_bucket(read_at - answered_at) as bucket, sum(sign)::bigint as n,
                 coalesce(sum(sign) filter (where read_at <= answered_at + interval '1 minute'), 0) as items
            from answered where read_at is not null group by 1, 2, 3, 4) read
   group by 1, 2, 4
  union all
  select at, workload, lane, null, 'deadline', reason, sum(sign)::bigint, sum(sign * met)::bigint, 0, 0, null, null
    from due group by 1, 2, 3, 6;
  return null;
end $$;
