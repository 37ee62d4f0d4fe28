--- How much a bucket of n durations, the last of them number upto of whole, has of a percentile: it is the sum of what all have
create or replace function lanes.figure_weight(share float8, upto bigint, n bigint, whole bigint)
returns float8
language sql immutable
begin atomic
  select case when floor(share * (whole - 1)) >= upto - n and floor(share * (whole - 1)) < upto
              then 1 - (share * (whole - 1) - floor(share * (whole - 1))) else 0 end
       + case when ceil(share * (whole - 1)) >= upto - n and ceil(share * (whole - 1)) < upto
              then share * (whole - 1) - floor(share * (whole - 1)) else 0 end;
end;
