--- Why a value that jsonb takes cannot be read in Python, a clause; null when it can
create or replace function lanes.unreadable(value jsonb)
returns text
language sql immutable
begin atomic
  select case when jsonb_path_exists(value, 'strict $.**{100} ? (@.type() == "object" || @.type() == "array")') then 'is nested deeper than 100 levels; flatten it'
              when jsonb_path_exists(value, 'strict $.** ? (@.type() == "number" && (@ > 1e308 || @ < -1e308))')
                then 'holds a number beyond 1e308' end;
end;
