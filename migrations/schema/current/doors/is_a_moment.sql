create or replace function lanes.is_a_moment(said text)
returns boolean
language sql stable
begin atomic
  select case when pg_input_is_valid(said, 'timestamptz')
              then said::timestamptz between '0002-01-01 00:00Z' and '9998-12-31 00:00Z'
              when said is not null then false end;
end;

comment on function lanes.is_a_moment is
  'Whether a text names a time that every reader can hold; infinity is none. Null when there is no text';
