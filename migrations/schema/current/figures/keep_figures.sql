-- One statement adds up what facts count for: what a transaction has just written, or all facts of a period. It sorts by bytes:
-- comparing words as a language has them would take longer than everything else. It is planned once for a session: planning it
-- for each of many small transactions would take longer still. What it was planned for may have been an empty table: so it never
-- reads one as a whole where an index leads to the rows.
create or replace function lanes.keep_figures(of text, ids bigint[] default '{}', before lanes.item_state[] default '{}',
                                              after lanes.item_state[] default '{}', whole boolean default true,
                                              routes_before bigint default 9223372036854775807,
                                              reads_before bigint default 9223372036854775807,
                                              since timestamptz default '-infinity', until timestamptz default 'infinity')
returns void
language sql set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
  insert into lanes.figure_delta (at, workload, version_id, lane, purpose, consumer, kind, word, n, items, usd, bound_usd,
                                  realtime_usd, batch_usd, input, output, cached, written, first_at, last_at, buckets, counts)
  with facts as (
    select 1 as sign, f.* from lanes.route_figures(keep_figures.ids) f where keep_figures.of = 'route'
    union all
    select 1, f.* from lanes.attempt_figures(keep_figures.ids) f where keep_figures.of = 'attempt'
    union all
    select 1, f.* from lanes.response_figures(keep_figures.ids) f where keep_figures.of = 'response'
    union all
    select 1, f.* from lanes.result_figures(keep_figures.ids) f where keep_figures.of = 'result'
    union all
    select 1, f.* from lanes.correction_figures(keep_figures.ids) f where keep_figures.of = 'correction'
    union all
    select -1, f.* from lanes.item_figures(keep_figures.before, keep_figures.whole, keep_figures.routes_before,
                                             keep_figures.reads_before) f
    union all
    select 1, f.* from lanes.item_figures(keep_figures.after, keep_figures.whole) f),
  each as (
    select at, workload collate "C" as workload, version_id, lane collate "C" as lane, purpose collate "C" as purpose,
           consumer collate "C" as consumer, kind collate "C" as kind, word collate "C" as word, bucket,
           sum(sign * n)::bigint as n,
           coalesce(sum(sign * items), 0)::bigint as items, coalesce(sum(sign * usd), 0) as usd,
           coalesce(sum(sign * bound_usd), 0) as bound_usd, coalesce(sum(sign * realtime_usd), 0) as realtime_usd,
           coalesce(sum(sign * batch_usd), 0) as batch_usd, coalesce(sum(input), 0)::bigint as input,
           coalesce(sum(output), 0)::bigint as output, coalesce(sum(cached), 0)::bigint as cached,
           coalesce(sum(written), 0)::bigint as written, min(first_at) as first_at, max(last_at) as last_at
      from facts
     where at >= keep_figures.since and at < keep_figures.until
     group by 1, 2, 3, 4, 5, 6, 7, 8, 9
    having sum(sign * n) <> 0 or sum(sign * items) <> 0 or sum(sign * realtime_usd) <> 0 or sum(sign * batch_usd) <> 0)
  select at, workload, version_id, lane, purpose, consumer, kind, word, sum(n)::bigint, sum(items)::bigint, sum(usd),
         sum(bound_usd), sum(realtime_usd), sum(batch_usd), sum(input)::bigint, sum(output)::bigint, sum(cached)::bigint,
         sum(written)::bigint, min(first_at), max(last_at), array_agg(bucket) filter (where bucket is not null and n <> 0),
         array_agg(n) filter (where bucket is not null and n <> 0)
    from each
   group by at, workload, version_id, lane, purpose, consumer, kind, word
$$;

comment on function lanes.keep_figures is
  'What these facts count for stands in figure_delta: of the table `of`, and of items that stood like `before` and stand like `after`';
