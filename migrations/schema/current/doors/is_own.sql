--- Whether a login that is bound to these consumers (to none: it may send for all) may change an item of this consumer
create or replace function lanes.is_own(own text[], consumer text)
returns boolean
language sql immutable
begin atomic
  select own = '{}' or (consumer = any (own)) is true;
end;
