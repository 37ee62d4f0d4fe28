"""The database roles that a platform engineer grants to logins, their rights, and the owner of schema `lanes`.

The roles have no login and no password. PUBLIC has no rights: every right is granted here.
"""

from collections import defaultdict
from collections.abc import Sequence
from enum import StrEnum
from typing import LiteralString

from sqlalchemy import Connection, text

from lanes.errors import ActionRefused
from lanes.store.tables import SCHEMA

DOORS = ("amend", "cancel", "label", "submit", "submit_item", "submit_many")
READ = ("read_result", "reads_to_correct")
OWN = (
    "own_consumers",
    "own_result",
    "own_item",
    "own_items_since",
    "own_results_since",
    "own_corrections_since",
)


class DatabaseRole(StrEnum):
    """A group role of the server."""

    INTAKE = "lanes_intake"  # sends items through the doors; reads nothing
    READER = "lanes_reader"  # reads views and results
    TENANT = "lanes_tenant"  # reads the data of the consumers that are bound to its login
    WORKER = "lanes_worker"  # runs Lanes: flows, tasks, commands and the client
    OWNER = "lanes_owner"  # owns the schema; migrations and doors have its rights


_EXIST = text("select rolname from pg_roles where rolname = any (:roles)")
_IN_USE = text("select has_schema_privilege(:role, :schema, 'usage')")
_FUNCTIONS = text("""
select proname, oid::regprocedure::text as called from pg_proc
 where pronamespace = to_regnamespace(:schema) and prorettype <> 'trigger'::regtype
""")
# A view calls functions with its reader's rights.
_OF_VIEWS = text("""
select distinct d.refobjid::regprocedure::text
  from pg_depend d
  join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
  join pg_class c on c.oid = r.ev_class and c.relnamespace = to_regnamespace(:schema)
  join pg_proc p on d.refclassid = 'pg_proc'::regclass and d.refobjid = p.oid and p.pronamespace = c.relnamespace
""")
_VIEWS = text(
    "select oid::regclass::text from pg_class where relnamespace = to_regnamespace(:schema) and relkind = 'v'"
)
_OWNER = text("""
select nspowner::regrole::text as owner, pg_has_role(nspowner, 'set') as may_be, nspowner::regrole::text = current_user as is_us
  from pg_namespace where nspname = :schema
""")


def become_owner(connection: Connection, *, local: bool = True) -> bool:
    """Act as the schema's owner until the transaction (`local`) or the session ends; return whether this is allowed."""
    row = connection.execute(_OWNER, {"schema": SCHEMA}).one_or_none()
    if row is None or row.is_us:
        return True
    if row.may_be:
        connection.execute(text(f"set {'local ' if local else ''}role {row.owner}"))
    return row.may_be


def schema_owner(connection: Connection) -> str | None:
    """Return the role that owns the schema, as SQL writes it, or None without a schema."""
    found = connection.execute(_OWNER, {"schema": SCHEMA}).one_or_none()
    return None if found is None else found.owner


def secure(connection: Connection) -> None:
    """Revoke every right from PUBLIC, and grant each role its rights, if the roles are in use here."""
    for objects in ("functions", "tables", "sequences"):
        connection.execute(text(f"revoke all on all {objects} in schema {SCHEMA} from public"))
    asked = {"role": str(DatabaseRole.WORKER), "schema": SCHEMA}
    if (
        DatabaseRole.WORKER in _read_existing(connection)
        and connection.execute(_IN_USE, asked).scalar_one()
    ):
        grant(connection)


def grant(connection: Connection) -> None:
    """Grant each role exactly its rights."""
    parameters = {"schema": SCHEMA}
    functions = connection.execute(_FUNCTIONS, parameters).all()
    doors = [each.called for each in functions if each.proname in DOORS]
    results = [each.called for each in functions if each.proname in READ]
    views = connection.execute(_VIEWS, parameters).scalars().all()
    called = connection.execute(_OF_VIEWS, parameters).scalars().all()
    intake, reader, worker = DatabaseRole.INTAKE, DatabaseRole.READER, DatabaseRole.WORKER
    for statement in (
        f"grant usage on schema {SCHEMA} to {intake}, {reader}, {worker}",
        f"grant execute on function {', '.join(doors)} to {intake}",
        f"grant execute on function {', '.join([*results, *called])} to {reader}",
        f"grant select on {', '.join(views)} to {reader}",
        f"grant select, insert, update, delete on all tables in schema {SCHEMA} to {worker}",
        f"grant usage, select on all sequences in schema {SCHEMA} to {worker}",
        f"grant execute on function {', '.join(each.called for each in functions)} to {worker}",
        f"revoke insert, update, delete on {SCHEMA}.alembic_version from {worker}",
    ):
        connection.execute(text(statement))
    if (tenant := DatabaseRole.TENANT) in _read_existing(connection):
        own = [each.called for each in functions if each.proname in OWN]
        mine = [each for each in views if each.startswith(f"{SCHEMA}.own_")]
        connection.execute(text(f"grant usage on schema {SCHEMA} to {tenant}"))
        connection.execute(text(f"grant execute on function {', '.join(own)} to {tenant}"))
        connection.execute(text(f"grant select on {', '.join(mine)} to {tenant}"))


def bind(connection: Connection, tenants: Sequence[tuple[str, str]]) -> None:
    """Bind logins to consumers, so that a login reads the data of its consumers and submits for them only.

    An empty consumer removes all consumers from a login, which stays bound to none; an unbound login may submit for all.

    Raises:
        ActionRefused: a login does not exist.
    """
    for login, consumer in tenants:
        parameters = {"login": login, "consumer": consumer}
        login_query = text("select from pg_roles where rolname = :login and rolcanlogin")
        if consumer and connection.execute(login_query, parameters).first() is None:
            raise ActionRefused(
                f'there is no login "{login}": create it in role lanes_tenant first'
            )
        extra_condition = "" if consumer else " or true"
        deletion = (
            f"delete from lanes.tenant where login = :login and (consumer = ''{extra_condition})"
        )
        connection.execute(text(deletion), parameters)
        insertion = "insert into lanes.tenant values (:login, :consumer) on conflict do nothing"
        connection.execute(text(insertion), parameters)


def create(connection: Connection) -> list[str]:
    """Create the missing roles and return them; from then on the current role may act as the owner."""
    missing = [each for each in DatabaseRole if each not in _read_existing(connection)]
    for role in missing:
        connection.execute(text(f"create role {role} nologin"))
    if not connection.execute(
        text("select pg_has_role(:role, 'set')"), {"role": str(DatabaseRole.OWNER)}
    ).scalar_one():
        connection.execute(
            text(f"grant {DatabaseRole.OWNER} to current_user with inherit true, set true")
        )
    return list(missing)


def give_schema(connection: Connection) -> None:
    """Give the schema and everything in it to `lanes_owner`; a previous owner that can log in keeps its rights."""
    previous_owner = schema_owner(connection)
    owner = DatabaseRole.OWNER
    if previous_owner is None:
        connection.execute(text(f"create schema {SCHEMA} authorization {owner}"))
        return
    if previous_owner == owner:
        return
    connection.execute(text(f"grant usage, create on schema {SCHEMA} to {owner}"))
    given: Sequence[str] = (
        connection.exec_driver_sql(GIVE, {"schema": SCHEMA, "owner": str(owner)}).scalars().all()
    )
    for statement in given:
        connection.execute(text(statement))
    is_user = text(
        "select rolcanlogin and not rolsuper from pg_roles where oid = cast(:role as regrole)"
    )
    if connection.execute(is_user, {"role": previous_owner}).scalar_one():
        connection.execute(text(f"grant {owner}, {DatabaseRole.WORKER} to {previous_owner}"))


def let_migrate(connection: Connection) -> None:
    """Let the owner create temporary objects, which a migration needs for its comparisons."""
    connection.execute(
        text(f"grant temporary on database {_database(connection)} to {DatabaseRole.OWNER}")
    )


def close_database(connection: Connection) -> None:
    """Let only the roles connect, because any session could take the advisory locks of the standing runs."""
    database = _database(connection)
    roles = ", ".join(DatabaseRole)
    connection.execute(text(f"revoke connect on database {database} from public"))
    connection.execute(text(f"grant connect on database {database} to {roles}"))
    connection.execute(text("revoke create on schema public from public"))


def _database(connection: Connection) -> str:
    return connection.execute(text("select quote_ident(current_database())")).scalar_one()


def _read_existing(connection: Connection) -> set[str]:
    return set(connection.execute(_EXIST, {"roles": list(DatabaseRole)}).scalars())


Object = tuple[str, str]  # kind and name
Grant = tuple[str, str, bool]  # privilege, grantee as SQL writes it, whether it may be passed on

_GRANTS = text("""
with found (kind, name, oid, acl) as (
  select 'table', relname, oid, coalesce(relacl, acldefault('r', relowner))
    from pg_class where relnamespace = to_regnamespace(:schema) and relkind = 'v'
  union all
  select 'function', proname, oid, coalesce(proacl, acldefault('f', proowner))
    from pg_proc where pronamespace = to_regnamespace(:schema))
select f.kind, f.name,
       case f.kind when 'table' then f.oid::regclass::text else f.oid::regprocedure::text end as identity,
       a.privilege_type, case a.grantee when 0 then 'public' else a.grantee::regrole::text end as grantee, a.is_grantable
  from found f cross join lateral aclexplode(f.acl) a
""")


def read_grants(connection: Connection) -> dict[Object, set[Grant]]:
    """Return the grants on each view and function of schema `lanes`; overloads are taken together."""
    return _read(connection)[0]


def restore(connection: Connection, before: dict[Object, set[Grant]]) -> None:
    """Restore the rights on views and functions that existed before; grants on single columns are lost."""
    current_grants, identities = _read(connection)
    for object_key in before.keys() & current_grants.keys():
        for identity in identities[object_key]:
            for privilege, grantee, may_pass_on in sorted(
                before[object_key] - current_grants[object_key]
            ):
                passing = " with grant option" if may_pass_on else ""
                connection.execute(
                    text(f"grant {privilege} on {object_key[0]} {identity} to {grantee}{passing}")
                )
            for privilege, grantee, _ in sorted(current_grants[object_key] - before[object_key]):
                connection.execute(
                    text(f"revoke {privilege} on {object_key[0]} {identity} from {grantee}")
                )


def _read(connection: Connection) -> tuple[dict[Object, set[Grant]], dict[Object, set[str]]]:
    grants, identities = defaultdict[Object, set[Grant]](set), defaultdict[Object, set[str]](set)
    for row in connection.execute(_GRANTS, {"schema": SCHEMA}):
        grants[row.kind, row.name].add((row.privilege_type, row.grantee, row.is_grantable))
        identities[row.kind, row.name].add(row.identity)
    return grants, identities


# Statements that give a schema and everything in it to a role, except the objects of extensions. Sequences of columns and
# indexes follow their table. The text uses psycopg's syntax: %s is a parameter.
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
