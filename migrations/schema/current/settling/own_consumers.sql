--- The consumers that the login of this session is bound to by `lanes roles --tenant`: it reads and sends items of no other.
--- Empty where it is not bound: then it reads none, and a sender may name any
create or replace function lanes.own_consumers()
returns text[]
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select coalesce(array_agg(t.consumer), '{}') from lanes.tenant t where t.login = session_user
$$;
