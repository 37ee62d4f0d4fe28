--- The text of a time for a cast: UTC where it names no zone, whatever the session's is, and cut at microseconds as Python
--- cuts it
create or replace function lanes.in_a_zone(said text)
returns text
language sql immutable
begin atomic
  select case when length(said) > 26 and strpos('0123456789', substr(said, 27, 1)) > 0
              then regexp_replace(said, '([.][0-9]{6})[0-9]+', '\1') else said end
         || case when translate(substr(said, 17), 'Z+-', '') = substr(said, 17) then ' UTC' else '' end;
end;
