--- The names of an object's fields, for a sentence: five at most, and of each no more than its beginning, without control
--- characters
create or replace function lanes.field_names(value jsonb)
returns text
language sql immutable
begin atomic
  select string_agg(format('"%s"', regexp_replace(left(name, 40), '[\u0001-\u001f\u007f-\u009f]', '?', 'g')), ', ') from (select jsonb_object_keys(value) limit 5) as found (name);
end;
