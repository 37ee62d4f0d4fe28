--- How long what these kinds count took, from the minute of `since` on, to be summed; what is not folded yet too
create or replace function lanes.figure_hist_since(kinds text[], since timestamptz)
returns setof lanes.figure_spread
language sql stable
begin atomic
  select f.* from lanes.figure_spread f
   where f.grain = 'day' and f.kind = any (figure_hist_since.kinds)
     and f.at >= (select date_trunc('day', figure_hist_since.since + interval '1 day' - interval '1 minute', 'UTC'))
  union all
  select f.* from lanes.figure_spread f
   where f.grain = 'hour' and f.kind = any (figure_hist_since.kinds)
     and f.at >= (select date_trunc('hour', figure_hist_since.since + interval '1 hour' - interval '1 minute', 'UTC'))
     and f.at < (select date_trunc('day', figure_hist_since.since + interval '1 day' - interval '1 minute', 'UTC'))
  union all
  select f.* from lanes.figure_spread f
   where f.grain = 'minute' and f.kind = any (figure_hist_since.kinds)
     and f.at >= (select date_trunc('minute', figure_hist_since.since, 'UTC'))
     and f.at < (select date_trunc('hour', figure_hist_since.since + interval '1 hour' - interval '1 minute', 'UTC'))
  union all
  select 'minute', d.at, d.workload, d.version_id, d.lane, d.purpose, case when d.kind <> 'first' then d.consumer end, d.kind,
         d.word, d.buckets, d.counts
    from lanes.figure_delta d
   where d.buckets is not null and d.kind = any (figure_hist_since.kinds) and d.at >= (select date_trunc('minute', figure_hist_since.since, 'UTC'));
end;
