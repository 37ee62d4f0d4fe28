--- The consumers whose items the login of this session may read: `lanes roles --tenant` binds them
create or replace function lanes.own_consumers()
returns text[]
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select coalesce(array_agg(t.consumer), '{}') from lanes.tenant t where t.login = session_user
$$;
