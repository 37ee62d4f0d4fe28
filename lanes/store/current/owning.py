"""Whom a schema and everything in it belongs to. What an extension brought stays with the extension."""

from typing import LiteralString

# Sequences of a column and indexes follow their table. `format` quotes what needs it.
GIVE: LiteralString = """
with found (kind, identity, owner) as (
  select case relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence' when 'c' then 'type'
                      when 'f' then 'foreign table' else 'table' end,
         format('%%I.%%I', nspname, relname), relowner
    from pg_class c join pg_namespace n on n.oid = relnamespace
   where nspname = %(schema)s and relkind in ('r', 'p', 'v', 'm', 'S', 'c', 'f')
     and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid
                                               and (d.deptype = 'e' or relkind = 'S' and d.deptype in ('a', 'i')))
  union all
  select 'routine', p.oid::regprocedure::text, proowner
    from pg_proc p join pg_namespace n on n.oid = pronamespace
   where nspname = %(schema)s
     and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
  union all
  select 'type', format('%%I.%%I', nspname, typname), typowner
    from pg_type t join pg_namespace n on n.oid = typnamespace
   where nspname = %(schema)s and typtype in ('d', 'e')
     and not exists (select from pg_depend d where d.classid = 'pg_type'::regclass and d.objid = t.oid and d.deptype = 'e')
  union all
  select 'schema', quote_ident(nspname), nspowner from pg_namespace where nspname = %(schema)s and nspname <> 'public')
select format('alter %%s %%s owner to %%I', kind, identity, cast(%(owner)s as text))
  from found where owner <> cast(cast(%(owner)s as text) as regrole)
"""
