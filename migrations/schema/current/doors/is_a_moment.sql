-- What `MOMENT` in lanes/doors/item.py takes: ISO 8601, none of the words that a cast takes too.
--- Whether a text names a time, in ISO 8601, that every reader can hold; infinity is none. Null when there is no text
create or replace function lanes.is_a_moment(said text)
returns boolean
language sql stable
begin atomic
  select case when said ~ ('^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,9})?)?'
                           || '(Z|[+-](0[0-9]|1[0-5])(:?[0-5][0-9])?|[+-](0[0-9]|1[0-5]):[0-5][0-9]:[0-5][0-9])?)?$')
                   and pg_input_is_valid(lanes.in_a_zone(said), 'timestamptz')
              then lanes.in_a_zone(said)::timestamptz <@ tstzrange('0002-01-01 00:00Z', '9999-01-01 00:00Z')
              when said is not null then false end;
end;
