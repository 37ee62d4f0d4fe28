create or replace function lanes.in_a_zone(said text)
returns text
language sql immutable
begin atomic
  select regexp_replace(said, '([.][0-9]{6})[0-9]+', '\1') || case when substr(said, 17) ~ '[Z+-]' then '' else ' UTC' end;
end;

comment on function lanes.in_a_zone is
  'The text of a time for a cast: UTC where it names no zone, whatever the session''s is, and cut at microseconds as Python cuts it';
