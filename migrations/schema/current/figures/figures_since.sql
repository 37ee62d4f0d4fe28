-- Days, with the hours before the first whole one and the minutes before those; what is not folded yet is added. What is folded
-- into hours and days alone is asked from a whole hour on.
--- The figures of these kinds from the minute of `since` on, to be summed: as few rows as hold them, what is not folded yet too
create or replace function lanes.figures_since(kinds text[], since timestamptz)
returns setof lanes.figure
language sql stable
begin atomic
  select f.* from lanes.figure f
   where f.grain = 'day' and f.kind = any (figures_since.kinds)
     and f.at >= (select date_trunc('day', figures_since.since + interval '1 day' - interval '1 minute', 'UTC'))
  union all
  select f.* from lanes.figure f
   where f.grain = 'hour' and f.kind = any (figures_since.kinds)
     and f.at >= (select date_trunc('hour', figures_since.since + interval '1 hour' - interval '1 minute', 'UTC'))
     and f.at < (select date_trunc('day', figures_since.since + interval '1 day' - interval '1 minute', 'UTC'))
  union all
  select f.* from lanes.figure f
   where f.grain = 'minute' and f.kind = any (figures_since.kinds)
     and f.at >= (select date_trunc('minute', figures_since.since, 'UTC'))
     and f.at < (select date_trunc('hour', figures_since.since + interval '1 hour' - interval '1 minute', 'UTC'))
  union all
  select 'minute', d.at, d.workload, d.version_id, d.lane, d.purpose, d.consumer, d.kind, d.word, d.n, d.items, d.usd, d.bound_usd,
         d.realtime_usd, d.batch_usd, d.input, d.output, d.cached, d.written, d.first_at, d.last_at
    from lanes.figure_delta d
   where d.kind = any (figures_since.kinds) and d.at >= (select date_trunc('minute', figures_since.since, 'UTC'));
end;
