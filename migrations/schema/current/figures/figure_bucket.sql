--- Bucket n holds durations of 1.04^n to 1.04^(n + 1) milliseconds, -1 those of less than one
create or replace function lanes.figure_bucket(span interval)
returns int
language sql immutable
begin atomic
  select case when date_part('epoch', span) >= 0.001
              then floor(ln(date_part('epoch', span) * 1000) / ln(1.04::float8))::int else -1 end;
end;
