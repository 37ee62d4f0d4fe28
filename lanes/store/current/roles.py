"""The roles that a platform engineer grants to logins: what each may do with schema `lanes`, and whom the schema belongs to.

They have no login and no password of their own. PUBLIC may do nothing: every right stands here.
"""

from collections.abc import Sequence
from enum import StrEnum

from sqlalchemy import Connection, text

from lanes.store.current.owning import GIVE
from lanes.store.tables import SCHEMA

DOORS = ("amend", "cancel", "label", "submit", "submit_item", "submit_many")


class DatabaseRole(StrEnum):
    """A group role of the server."""

    INTAKE = "lanes_intake"  # sends items through the doors, and reads nothing
    READER = "lanes_reader"  # reads views and results
    WORKER = "lanes_worker"  # is Lanes at work: flows, tasks, commands and the client
    OWNER = "lanes_owner"  # owns the schema; migrations and doors have its rights


_EXIST = text("select rolname from pg_roles where rolname = any (:roles)")
_IN_USE = text("select has_schema_privilege(:role, :schema, 'usage')")
_FUNCTIONS = text("""
select proname, oid::regprocedure::text as called from pg_proc
 where pronamespace = to_regnamespace(:schema) and prorettype <> 'trigger'::regtype
""")
# Functions that a view calls are called with the rights of its reader.
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


def become_owner(connection: Connection) -> bool:
    """Act as the schema's owner until the transaction ends, so that everything in it has one owner; return whether we may."""
    found = connection.execute(_OWNER, {"schema": SCHEMA}).one_or_none()
    if found is None or found.is_us:
        return True
    if found.may_be:
        connection.execute(text(f"set local role {found.owner}"))
    return found.may_be


def schema_owner(connection: Connection) -> str | None:
    """Return the role that the schema belongs to, as SQL writes it; None: there is no schema."""
    found = connection.execute(_OWNER, {"schema": SCHEMA}).one_or_none()
    return None if found is None else found.owner


def secure(connection: Connection) -> None:
    """Take every right from PUBLIC, and give each role what it may do, where the roles are in use here."""
    for objects in ("functions", "tables", "sequences"):
        connection.execute(text(f"revoke all on all {objects} in schema {SCHEMA} from public"))
    asked = {"role": str(DatabaseRole.WORKER), "schema": SCHEMA}
    if (
        DatabaseRole.WORKER in _existing(connection)
        and connection.execute(_IN_USE, asked).scalar_one()
    ):
        grant(connection)


def grant(connection: Connection) -> None:
    """Give each role exactly what it may do."""
    here = {"schema": SCHEMA}
    functions = connection.execute(_FUNCTIONS, here).all()
    doors = [each.called for each in functions if each.proname in DOORS]
    results = [each.called for each in functions if each.proname == "read_result"]
    views = connection.execute(_VIEWS, here).scalars().all()
    called = connection.execute(_OF_VIEWS, here).scalars().all()
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


def create(connection: Connection) -> list[str]:
    """Create the roles that are missing, and return them. The current role may act as the owner from then on."""
    missing = [each for each in DatabaseRole if each not in _existing(connection)]
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
    """Hand the schema and everything in it to `lanes_owner`. Its owner so far, where that can log in, works on as before."""
    before = schema_owner(connection)
    owner = DatabaseRole.OWNER
    if before is None:
        connection.execute(text(f"create schema {SCHEMA} authorization {owner}"))
        return
    if before == owner:
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
    if connection.execute(is_user, {"role": before}).scalar_one():
        connection.execute(text(f"grant {owner}, {DatabaseRole.WORKER} to {before}"))


def let_migrate(connection: Connection) -> None:
    """Let the owner of the schema do what a migration does in the database: it compares objects with temporary ones."""
    connection.execute(
        text(f"grant temporary on database {_database(connection)} to {DatabaseRole.OWNER}")
    )


def close_database(connection: Connection) -> None:
    """Let only the roles connect: each session that may connect could take the advisory locks of Lanes's roles."""
    database = _database(connection)
    roles = ", ".join(DatabaseRole)
    connection.execute(text(f"revoke connect on database {database} from public"))
    connection.execute(text(f"grant connect on database {database} to {roles}"))
    connection.execute(text("revoke create on schema public from public"))


def _database(connection: Connection) -> str:
    return connection.execute(text("select quote_ident(current_database())")).scalar_one()


def _existing(connection: Connection) -> set[str]:
    return set(connection.execute(_EXIST, {"roles": list(DatabaseRole)}).scalars())
