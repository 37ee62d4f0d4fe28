--- What batches count for that stood like `before` and stand like `after`, in the minute in which each was intended
create or replace function lanes.batch_figures(before lanes.batch[], after lanes.batch[])
returns table (at timestamptz, workload text, version_id bigint, kind text, word text, n bigint, items bigint, buckets int[],
               counts bigint[])
language sql stable set search_path = pg_catalog, pg_temp as $$
  with each as (
    select date_trunc('minute', b.intended_at, 'UTC') as at, b.workload, b.version_id, f.kind, f.word, f.bucket,
           sum(b.sign * f.n)::bigint as n, sum(b.sign * f.items)::bigint as items
      from (select -1 as sign, u.* from unnest(batch_figures.before) u
            union all
            select 1, u.* from unnest(batch_figures.after) u) b
     cross join lateral (values
        ('batch', b.state, 1, b.items, case when b.ended_at is not null and b.submitted_at is not null
                                            then lanes.figure_bucket(b.ended_at - b.submitted_at) end),
        ('request', null, b.requests, b.items, null),
        ('carried', 'succeeded', b.succeeded, 0, null), ('carried', 'invalid', b.invalid, 0, null),
        ('carried', 'errored', b.errored, 0, null), ('carried', 'canceled', b.canceled, 0, null),
        ('carried', 'expired', b.expired, 0, null), ('carried', 'missing', b.missing, 0, null)
      ) f (kind, word, n, items, bucket)
     group by 1, 2, 3, 4, 5, 6
    having sum(b.sign * f.n) <> 0 or sum(b.sign * f.items) <> 0)
  select e.at, e.workload, e.version_id, e.kind, e.word, sum(e.n)::bigint, sum(e.items)::bigint,
         array_agg(e.bucket) filter (where e.bucket is not null and e.n <> 0),
         array_agg(e.n) filter (where e.bucket is not null and e.n <> 0)
    from each e
   group by e.at, e.workload, e.version_id, e.kind, e.word
$$;
