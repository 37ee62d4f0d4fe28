--- The middle of a bucket of durations: right within 2 %
create or replace function lanes.figure_seconds(bucket int)
returns float8
language sql immutable
begin atomic
  select case when bucket is null then null when bucket >= 0 then power(1.04::float8, bucket + 0.5) / 1000 else 0 end;
end;
